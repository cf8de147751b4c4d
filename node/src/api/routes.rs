//! From a request to an answer.

use std::time::Duration;

use http_body_util::{BodyExt, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::body::AnswerBody;
use super::{capture, metrics, router, types};
use crate::config::PortConfig;
use crate::control::{Control, ControlGone, ControlHandle, Refused};

/// Longest body of a request.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// How long a client may take for the body.
const BODY: Duration = Duration::from_secs(10);
/// How long the control side may take.
const ANSWER: Duration = Duration::from_secs(20);
/// How long it may take to be called healthy.
const HEALTHY: Duration = Duration::from_secs(3);

/// What a socket is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Access {
    /// Everything.
    Full,
    /// `/metrics`, `/healthz`, `/readyz`.
    MetricsOnly,
}

pub(super) type Answer = Response<AnswerBody>;

/// Why a request gets no answer of its own kind.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(Refused),
    NoSuchPath,
    WrongMethod(&'static str),
    TooLong,
    Slow,
    Gone(ControlGone),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        Self::Refused(refused)
    }
}

impl From<ControlGone> for Failure {
    fn from(gone: ControlGone) -> Self {
        Self::Gone(gone)
    }
}

impl Failure {
    fn status(&self) -> StatusCode {
        match self {
            Self::Refused(Refused::Invalid(_)) => StatusCode::BAD_REQUEST,
            Self::Refused(Refused::NotFound(_)) | Self::NoSuchPath => StatusCode::NOT_FOUND,
            Self::Refused(Refused::Conflict(_)) => StatusCode::CONFLICT,
            Self::Refused(Refused::Failed(_)) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Refused(Refused::Unavailable(_)) | Self::Gone(_) => StatusCode::SERVICE_UNAVAILABLE,
            Self::WrongMethod(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
        }
    }

    fn sentence(&self) -> String {
        match self {
            Self::Refused(refused) => refused.to_string(),
            Self::NoSuchPath => "there is no such path; this version knows /v1/ports, /v1/fdb, /v1/routes, \
                                 /v1/neighbors, /v1/explain, /v1/status, /v1/stats, /v1/capture, /metrics, /healthz and /readyz"
                .to_owned(),
            Self::WrongMethod(allowed) => format!("the path is for {allowed} only"),
            Self::TooLong => format!("the body is longer than {BODY_BYTES_MAX} bytes"),
            Self::Slow => "the body did not come in time".to_owned(),
            Self::Gone(gone) => gone.to_string(),
        }
    }
}

/// Answers one request; failures are answers too.
pub(super) async fn answer(request: Request<Incoming>, control: ControlHandle, access: Access) -> Answer {
    match route(request, control, access).await {
        Ok(answer) => answer,
        Err(failure) => {
            let mut answer = json(failure.status(), &types::Error { error: failure.sentence() });
            if let Failure::WrongMethod(allowed) = failure {
                answer.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
            }
            answer
        }
    }
}

async fn route(
    request: Request<Incoming>,
    control: ControlHandle,
    access: Access,
) -> Result<Answer, Failure> {
    let path = request.uri().path().trim_end_matches('/').to_owned();
    let query: Vec<(String, String)> =
        form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect();
    let steps: Vec<&str> = path.split('/').skip(1).collect();
    let method = request.method().clone();
    match steps.as_slice() {
        ["healthz"] => return health(&control).await,
        ["readyz"] => return readiness(&control).await,
        ["metrics"] => return metrics_page(&control).await,
        _ if access == Access::MetricsOnly => return Err(Failure::NoSuchPath),
        _ => {}
    }
    match (steps.as_slice(), &method) {
        (["v1", "ports", ..], _) => ports(&steps[2..], request, &control).await,
        (["v1", "fdb", ..], _) => fdb(&steps[2..], request, &query, &control).await,
        (["v1", "routes", ..], _) => router::routes(&steps[2..], request, &query, &control).await,
        (["v1", "neighbors"], _) => router::neighbors(request, &query, &control).await,
        (["v1", "explain"], _) => router::explain(request, &control).await,
        (["v1", "status"], &Method::GET) => {
            let status = ask(&control, |control| control.status()).await?;
            Ok(json(StatusCode::OK, &status))
        }
        (["v1", "stats", ..], &Method::GET) => stats(&steps[2..], &control).await,
        (["v1", "capture"], &Method::GET) => capture::start(&query, control).await,
        (["v1", "status" | "stats" | "capture", ..], _) => Err(Failure::WrongMethod("GET")),
        _ => Err(Failure::NoSuchPath),
    }
}

async fn ports(
    steps: &[&str],
    request: Request<Incoming>,
    control: &ControlHandle,
) -> Result<Answer, Failure> {
    let name = steps.first().map(|name| (*name).to_owned());
    match (steps, request.method(), name) {
        ([], &Method::GET, _) => {
            let ports = ask(control, |control| control.describe_all()).await?;
            Ok(json(StatusCode::OK, &ports))
        }
        ([], &Method::POST, _) => {
            let port: PortConfig = body(request).await?;
            let port = ask(control, move |control| control.add_port(port)).await??;
            Ok(json(StatusCode::CREATED, &port))
        }
        ([_], &Method::GET, Some(name)) => {
            let port = ask(control, move |control| control.describe(&name)).await??;
            Ok(json(StatusCode::OK, &port))
        }
        ([_], &Method::DELETE, Some(name)) => {
            ask(control, move |control| control.delete_port(&name)).await??;
            Ok(empty())
        }
        ([_, "state"], &Method::POST, Some(name)) => {
            let types::SetState { state } = body(request).await?;
            let port = ask(control, move |control| control.set_port(&name, state)).await??;
            Ok(json(StatusCode::OK, &port))
        }
        ([], ..) => Err(Failure::WrongMethod("GET, POST")),
        ([_], ..) => Err(Failure::WrongMethod("GET, DELETE")),
        ([_, "state"], ..) => Err(Failure::WrongMethod("POST")),
        _ => Err(Failure::NoSuchPath),
    }
}

async fn fdb(
    steps: &[&str],
    request: Request<Incoming>,
    query: &[(String, String)],
    control: &ControlHandle,
) -> Result<Answer, Failure> {
    let mut dev = None;
    for (key, value) in query {
        match key.as_str() {
            "dev" => dev = Some(value.clone()),
            other => return Err(unknown_parameter(other)),
        }
    }
    match (steps, request.method()) {
        ([], &Method::GET) => {
            let entries = ask(control, move |control| control.fdb_entries(dev.as_deref())).await??;
            Ok(json(StatusCode::OK, &entries))
        }
        ([], &Method::POST) => {
            let types::NewFdbEntry { mac, dev } = body(request).await?;
            let entry = ask(control, move |control| control.add_fdb_entry(mac, &dev)).await??;
            Ok(json(StatusCode::CREATED, &entry))
        }
        ([], &Method::DELETE) => {
            let flushed = ask(control, move |control| control.flush_fdb(dev.as_deref())).await??;
            Ok(json(StatusCode::OK, &flushed))
        }
        ([mac], &Method::DELETE) => {
            let mac = mac.parse().map_err(|error| Refused::Invalid(format!("\"{mac}\" is {error}")))?;
            ask(control, move |control| control.delete_fdb_entry(mac)).await??;
            Ok(empty())
        }
        ([], _) => Err(Failure::WrongMethod("GET, POST, DELETE")),
        ([_], _) => Err(Failure::WrongMethod("DELETE")),
        _ => Err(Failure::NoSuchPath),
    }
}

async fn stats(steps: &[&str], control: &ControlHandle) -> Result<Answer, Failure> {
    match steps {
        [] => Ok(json(StatusCode::OK, &ask(control, Control::stats).await?)),
        ["drops"] => Ok(json(StatusCode::OK, &ask(control, |control| control.drops()).await?)),
        ["workers"] => Ok(json(StatusCode::OK, &ask(control, |control| control.workers()).await?)),
        ["ports"] => Ok(json(StatusCode::OK, &ask(control, Control::port_stats).await?)),
        _ => Err(Failure::NoSuchPath),
    }
}

async fn health(control: &ControlHandle) -> Result<Answer, Failure> {
    let question = control.call(|control| control.dead_worker());
    match tokio::time::timeout(HEALTHY, question).await {
        Ok(Ok(None)) => Ok(text(StatusCode::OK, "flyover is running\n".to_owned())),
        Ok(Ok(Some(worker))) => {
            Err(Refused::Unavailable(format!("worker {worker} ended unexpectedly")).into())
        }
        Ok(Err(gone)) => Err(gone.into()),
        Err(_) => Err(Refused::Unavailable("the control side is busy".to_owned()).into()),
    }
}

async fn readiness(control: &ControlHandle) -> Result<Answer, Failure> {
    if ask(control, |control| control.is_ready()).await? {
        Ok(text(StatusCode::OK, "flyover is ready\n".to_owned()))
    } else {
        Err(Refused::Unavailable("flyover is not ready yet: a configured port does not exist".to_owned())
            .into())
    }
}

async fn metrics_page(control: &ControlHandle) -> Result<Answer, Failure> {
    let page = ask(control, |control| metrics::page(&control.status(), &control.stats())).await?;
    let mut answer = text(StatusCode::OK, page);
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    answer.headers_mut().insert(CONTENT_TYPE, kind);
    Ok(answer)
}

/// Has the control side do something, for as long as that may take.
pub(super) async fn ask<R: Send + 'static>(
    control: &ControlHandle,
    job: impl FnOnce(&mut Control) -> R + Send + 'static,
) -> Result<R, Failure> {
    match tokio::time::timeout(ANSWER, control.call(job)).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Refused::Unavailable("the control side is busy".to_owned()).into()),
    }
}

/// The body of a request as a value.
pub(super) async fn body<T: DeserializeOwned>(request: Request<Incoming>) -> Result<T, Failure> {
    let collecting = Limited::new(request.into_body(), BODY_BYTES_MAX).collect();
    let bytes = match tokio::time::timeout(BODY, collecting).await {
        Err(_) => return Err(Failure::Slow),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => return Err(Failure::TooLong),
        Ok(Err(error)) => return Err(Refused::Invalid(format!("the body cannot be read: {error}")).into()),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    serde_json::from_slice(&bytes)
        .map_err(|error| Refused::Invalid(format!("the body cannot be understood: {error}")).into())
}

pub(super) fn unknown_parameter(name: &str) -> Failure {
    Refused::Invalid(format!("there is no parameter \"{name}\" here")).into()
}

pub(super) fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    // The types have string keys and no custom serializers that fail.
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    with_type(status, "application/json", bytes.into())
}

fn text(status: StatusCode, text: String) -> Answer {
    with_type(status, "text/plain; charset=utf-8", text.into())
}

pub(super) fn empty() -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(None));
    *answer.status_mut() = StatusCode::NO_CONTENT;
    answer
}

fn with_type(status: StatusCode, kind: &'static str, bytes: Bytes) -> Answer {
    let mut answer = Response::new(AnswerBody::Whole(Some(bytes)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}
