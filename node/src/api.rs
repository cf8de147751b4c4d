//! The control API: HTTP/1.1 and JSON on a unix socket. `/metrics`, `/healthz` and `/readyz` are also
//! answered on TCP where `[metrics]` asks for it.
//!
//! | request | answer |
//! |---|---|
//! | `GET /v1/ports`, `/v1/ports/NAME` | [`types::Port`], a list or one |
//! | `POST /v1/ports` with a [`PortConfig`](crate::config::PortConfig) | 201, the [`types::Port`] |
//! | `POST /v1/ports/NAME/state` with a [`types::SetState`] | the [`types::Port`] |
//! | `DELETE /v1/ports/NAME` | 204 |
//! | `GET /v1/fdb[?dev=PORT]` | a list of [`types::FdbEntry`] |
//! | `POST /v1/fdb` with a [`types::NewFdbEntry`] | 201, the [`types::FdbEntry`] |
//! | `DELETE /v1/fdb/MAC` | 204 |
//! | `DELETE /v1/fdb[?dev=PORT]` | [`types::Flushed`]: learned entries forgotten |
//! | `GET /v1/routes` | a list of [`types::Route`] |
//! | `GET /v1/routes/get?dst=ADDRESS` | [`types::RouteAnswer`] |
//! | `POST /v1/routes` with a [`types::NewRoute`] | 201, the [`types::Route`] |
//! | `DELETE /v1/routes?dst=NETWORK[&metric=N]` | 204 |
//! | `GET /v1/neighbors` | a list of [`types::Neighbor`] |
//! | `DELETE /v1/neighbors[?dev=LINK]` | [`types::Flushed`]: learned neighbors forgotten |
//! | `POST /v1/explain` with a [`types::ExplainRequest`] | a list of [`types::ExplainStep`] |
//! | `GET /v1/status` | [`types::Status`] |
//! | `GET /v1/stats` | [`types::Stats`]; `/v1/stats/drops`, `/workers`, `/ports` its parts |
//! | `GET /v1/capture[?port=][&count=][&drops=true][&filter=]` | pcapng, until the client leaves |
//! | `GET /metrics`, `/healthz`, `/readyz` | text |
//!
//! Errors are [`types::Error`] with a fitting status: 400 what is asked for makes no sense, 404 there is no
//! such thing, 409 it clashes with what there is, 413, 503 the control side does not answer, 500 the system
//! refused.

mod body;
mod capture;
mod metrics;
mod router;
mod routes;
pub mod server;
pub mod types;
