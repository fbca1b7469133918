//! The admin page: `/health`, `/ready`, `/metrics`, `/api/*` and the page for browsers on a listener of its own,
//! read-only.
//!
//! Invariants: no request changes anything or carries a body that is read; what is known of machines and events is
//! told only to who has the token; names that came from events never become metric labels (labels come from the
//! configuration only).

pub mod compliance;
mod metrics;
pub mod receipts;
pub mod status;
mod web;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use axum::extract::{Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use wharfinger_formats::Time;

use crate::identity::Snapshot;
use crate::journal::Journal;
use crate::policy::Judge;
use crate::sinks::receipts::Keep;
use crate::sinks::{SinkState, SinkStats};
use crate::stats::{self, SourceStats};

/// One sink as the page shows it.
#[derive(Debug, Clone)]
pub struct SinkView {
    pub name: String,
    /// `type` in the configuration.
    pub kind: &'static str,
    pub stats: Arc<SinkStats>,
}

/// One source as the page shows it.
#[derive(Debug, Clone)]
pub struct SourceView {
    pub name: String,
    /// `type` in the configuration.
    pub kind: &'static str,
    pub stats: Arc<SourceStats>,
}

/// What the page reads: answered by the gateway, which knows its parts after each reload.
pub trait View: Send + Sync {
    fn journal(&self) -> &Journal;
    /// How long the journal takes what comes in at the present rate, if nothing leaves it.
    fn seconds_left(&self) -> Option<u64>;
    fn sources(&self) -> Vec<SourceView>;
    fn sinks(&self) -> Vec<SinkView>;
    /// The machines as they are known now.
    fn machines(&self) -> Arc<Snapshot>;
    /// None where there is no policy.
    fn judge(&self) -> Option<Arc<Judge>>;
    /// Where receipts are; none where none are kept.
    fn receipts(&self) -> Option<&Keep>;
    /// How the digests stand, by name.
    fn digests(&self) -> Vec<status::DigestRow>;
}

/// Answers until `stop`; `/api` to who sends the token. How often a wrong one came is counted in `wrong_tokens`.
///
/// # Errors
/// The listener failed for good.
pub async fn serve(
    listener: TcpListener,
    view: Arc<dyn View>,
    token: &str,
    wrong_tokens: Arc<AtomicU64>,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let router = Router::new()
        .route("/api/status", get(|State(view): State<Arc<dyn View>>| async move { Json(status::page(&*view)) }))
        .route("/api/compliance", get(compliance_page))
        .route("/api/machine", get(machine_page))
        .route("/api/findings", get(findings_page))
        .route("/api/event", get(event_page))
        .route_layer(from_fn_with_state((Digested::new(token), wrong_tokens), with_token))
        .route("/health", get(|| async { Json(json!({"status": "ok"})) }))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics_page))
        .route("/", get(web::index))
        .route("/page/{name}", get(web::file))
        .layer(from_fn(same_host))
        .with_state(view);
    axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
}

/// Ready means: what is sent now will be taken into custody. A sink whose peer is down does not
/// change that; it is named in the answer.
async fn ready(State(view): State<Arc<dyn View>>) -> Response {
    let status = view.journal().status();
    let sinks: serde_json::Map<String, serde_json::Value> = view
        .sinks()
        .into_iter()
        .map(|sink| (sink.name, json!({"state": state_name(sink.stats.state()), "error": sink.stats.last_error()})))
        .collect();
    let code = if status.healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let journal = if status.healthy { "ok" } else { "cannot store" };
    (code, Json(json!({"ready": status.healthy, "journal": journal, "sinks": sinks}))).into_response()
}

pub(crate) fn state_name(state: SinkState) -> &'static str {
    match state {
        SinkState::Working => "working",
        SinkState::Retrying => "retrying",
        SinkState::Alarm => "alarm",
        SinkState::Stopped => "stopped",
    }
}

async fn compliance_page(State(view): State<Arc<dyn View>>, Query(query): Query<compliance::Query>) -> Response {
    match compliance::page(&*view, &query, now()) {
        Ok(page) => Json(page).into_response(),
        Err(error) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
    }
}

/// Which machine is wanted.
#[derive(serde::Deserialize)]
struct Key {
    key: String,
}

async fn machine_page(State(view): State<Arc<dyn View>>, Query(Key { key }): Query<Key>) -> Response {
    match compliance::machine(&*view, &key, now()) {
        Some(machine) => Json(machine).into_response(),
        None => (StatusCode::NOT_FOUND, "no machine is called so\n").into_response(),
    }
}

async fn event_page(State(view): State<Arc<dyn View>>, Query(query): Query<receipts::Query>) -> Response {
    // Logs are read from end to end.
    let page = tokio::task::spawn_blocking(move || receipts::page(&*view, &query, now())).await;
    match page {
        Ok(Ok(page)) => Json(page).into_response(),
        Ok(Err(error)) => (StatusCode::BAD_REQUEST, format!("{error}\n")).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

async fn findings_page(
    State(view): State<Arc<dyn View>>,
    Query(query): Query<compliance::FindingQuery>,
) -> Json<compliance::Findings> {
    Json(compliance::findings(&*view, &query))
}

fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

async fn metrics_page(State(view): State<Arc<dyn View>>) -> Response {
    match metrics::render(view) {
        Ok(text) => {
            ([(CONTENT_TYPE, "application/openmetrics-text; version=1.0.0; charset=utf-8")], text).into_response()
        }
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// The token; digested, so that a comparison tells nothing of it by the time it takes.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Digested([u8; 32]);

impl Digested {
    fn new(token: &str) -> Digested {
        Digested(Sha256::digest(token).into())
    }
}

/// Whoever is on this machine can reach the listener: the token shows that it is somebody who may read the data
/// directory.
async fn with_token(
    State((token, wrong_tokens)): State<(Digested, Arc<AtomicU64>)>,
    request: Request,
    next: Next,
) -> Response {
    let sent = request.headers().get(AUTHORIZATION);
    let bearer = sent.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    if bearer.is_some_and(|sent| Digested::new(sent) == token) {
        return next.run(request).await;
    }
    // A browser that was not given it yet asks without.
    if sent.is_some() {
        stats::add(&wrong_tokens, 1);
    }
    let hint = "send `Authorization: Bearer TOKEN`; the token is in the file `page-token` of the data directory\n";
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], hint).into_response()
}

/// A page of the open internet must not read this one through a visitor's browser (DNS rebinding):
/// the Host header must be an address or `localhost`, and an Origin must be the same place.
async fn same_host(request: Request, next: Next) -> Response {
    if is_same_host(request.headers()) {
        return next.run(request).await;
    }
    let hint = "ask by address or as `localhost`\n";
    (StatusCode::FORBIDDEN, format!("this Host or Origin is not answered; {hint}")).into_response()
}

fn is_same_host(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let Some(host) = text(HOST) else { return false };
    let name = host.rsplit_once(':').filter(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.map_or(host, |(name, _)| name).trim_start_matches('[').trim_end_matches(']');
    let named_by_address = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok();
    named_by_address && text(ORIGIN).is_none_or(|origin| origin.split_once("://").is_some_and(|(_, at)| at == host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_localhost_are_answered() {
        let check = |host: &str, origin: Option<&str>| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, host.parse().unwrap());
            if let Some(origin) = origin {
                headers.insert(ORIGIN, origin.parse().unwrap());
            }
            is_same_host(&headers)
        };
        assert!(check("127.0.0.1:8686", None));
        assert!(check("[::1]:8686", None));
        assert!(check("LOCALHOST", None));
        assert!(check("localhost:8686", Some("http://localhost:8686")));
        assert!(!check("localhost:8686", Some("http://evil.example")));
        assert!(!check("evil.example:8686", None));
        assert!(!check("127.0.0.1.evil.example", None));
        assert!(!is_same_host(&HeaderMap::new()));
    }
}
