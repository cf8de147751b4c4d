//! `/v1/routes`, `/v1/neighbors`, `/v1/explain`.

use std::str::FromStr;

use hyper::body::Incoming;
use hyper::{Method, Request, StatusCode};
use ipnet::IpNet;
use std::net::IpAddr;

use super::routes::{Answer, Failure, ask, body, empty, json, unknown_parameter};
use super::types;
use crate::control::{ControlHandle, Refused};

/// The values of these parameters, none of which may be given twice or be another one.
fn parameters<'a, const N: usize>(
    query: &'a [(String, String)],
    names: [&str; N],
) -> Result<[Option<&'a str>; N], Failure> {
    let mut values = [None; N];
    for (key, value) in query {
        let position = names.iter().position(|name| name == key).ok_or_else(|| unknown_parameter(key))?;
        if values[position].replace(value.as_str()).is_some() {
            return Err(Refused::Invalid(format!("{key} is given twice")).into());
        }
    }
    Ok(values)
}

fn parsed<T: FromStr>(name: &str, value: &str, expected: &str) -> Result<T, Failure> {
    value.parse().map_err(|_| Refused::Invalid(format!("{name}={value}: {expected} is expected")).into())
}

fn required<'a>(name: &str, value: Option<&'a str>) -> Result<&'a str, Failure> {
    value.ok_or_else(|| Refused::Invalid(format!("{name}= is missing")).into())
}

/// `/v1/routes`
pub(super) async fn routes(
    steps: &[&str],
    request: Request<Incoming>,
    query: &[(String, String)],
    control: &ControlHandle,
) -> Result<Answer, Failure> {
    match (steps, request.method()) {
        ([], &Method::GET) => {
            let [] = parameters(query, [])?;
            Ok(json(StatusCode::OK, &ask(control, |control| control.routes()).await?))
        }
        ([], &Method::POST) => {
            let [] = parameters(query, [])?;
            let new: types::NewRoute = body(request).await?;
            let route = ask(control, move |control| control.add_route(&new)).await??;
            Ok(json(StatusCode::CREATED, &route))
        }
        ([], &Method::DELETE) => {
            let [dst, metric] = parameters(query, ["dst", "metric"])?;
            let dst = required("dst", dst)?;
            let prefix = match dst.parse::<IpAddr>() {
                Ok(address) => IpNet::from(address),
                Err(_) => parsed("dst", dst, "a network or an address")?,
            };
            let metric = metric.map(|metric| parsed("metric", metric, "a number")).transpose()?;
            ask(control, move |control| control.delete_route(prefix, metric)).await??;
            Ok(empty())
        }
        (["get"], &Method::GET) => {
            let [dst] = parameters(query, ["dst"])?;
            let address = parsed("dst", required("dst", dst)?, "an address")?;
            let answer = ask(control, move |control| control.route_to(address)).await??;
            Ok(json(StatusCode::OK, &answer))
        }
        ([], _) => Err(Failure::WrongMethod("GET, POST, DELETE")),
        (["get"], _) => Err(Failure::WrongMethod("GET")),
        _ => Err(Failure::NoSuchPath),
    }
}

/// `/v1/neighbors`
pub(super) async fn neighbors(
    request: Request<Incoming>,
    query: &[(String, String)],
    control: &ControlHandle,
) -> Result<Answer, Failure> {
    match *request.method() {
        Method::GET => {
            let [] = parameters(query, [])?;
            Ok(json(StatusCode::OK, &ask(control, |control| control.neighbors()).await?))
        }
        Method::DELETE => {
            let [dev] = parameters(query, ["dev"])?;
            let dev = dev.map(str::to_owned);
            let flushed = ask(control, move |control| control.flush_neighbors(dev.as_deref())).await??;
            Ok(json(StatusCode::OK, &flushed))
        }
        _ => Err(Failure::WrongMethod("GET, DELETE")),
    }
}

/// `/v1/explain`
pub(super) async fn explain(request: Request<Incoming>, control: &ControlHandle) -> Result<Answer, Failure> {
    if request.method() != Method::POST {
        return Err(Failure::WrongMethod("POST"));
    }
    let types::ExplainRequest { packet } = body(request).await?;
    let steps = ask(control, move |control| control.explain(&packet)).await??;
    Ok(json(StatusCode::OK, &steps))
}
