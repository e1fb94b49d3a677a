//! What operators and their machines ask: health, readiness, metrics, version, documents.

use axum::{
    Json, Router,
    extract::{Path, State},
    http::{HeaderValue, StatusCode, header},
    response::{Html, IntoResponse},
};
use serde::Serialize;
use utoipa::ToSchema;
use utoipa_swagger_ui::{Config, SwaggerUi};

use crate::{
    app::{Check, Readiness},
    http::{
        Api,
        openapi::{self, OpenProblems},
        problem::{Code, Problem},
    },
    shutdown::Phase,
};

/// That the process lives.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct HealthResponse {
    /// Always `ok`
    #[schema(examples("ok"))]
    status: &'static str,
}

/// Get health
///
/// Answers as long as the process lives, whatever else is wrong.
#[utoipa::path(
    get,
    path = "/health",
    operation_id = "getHealth",
    tag = "Operations",
    responses((status = 200, description = "OK", body = HealthResponse), OpenProblems)
)]
pub(in crate::http) async fn health() -> Json<HealthResponse> {
    Json(HealthResponse { status: "ok" })
}

/// Whether the server can do its work.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ReadyResponse {
    /// `ready`, `failing` (see the checks) or `draining` (about to end)
    status: ReadyStatus,
    /// Each thing the server needs
    checks: ReadyChecks,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum ReadyStatus {
    Ready,
    Failing,
    Draining,
}

/// Each thing the server needs.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ReadyChecks {
    /// The database answers
    database: CheckStatus,
    /// Its schema is one that this program can work with
    migrations: CheckStatus,
    /// The key ring lists every key that is in use
    keyring: CheckStatus,
    /// Pulls are worked on by this process; `off` where it has no worker
    worker: CheckStatus,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum CheckStatus {
    Ok,
    Failing,
    Off,
}

impl From<Check> for CheckStatus {
    fn from(check: Check) -> Self {
        match check {
            Check::Ok => Self::Ok,
            Check::Failing => Self::Failing,
        }
    }
}

/// Get readiness
///
/// Answers 200 when every check is fine, 503 while one fails or the server is about to end.
#[utoipa::path(
    get,
    path = "/ready",
    operation_id = "getReadiness",
    tag = "Operations",
    responses(
        (status = 200, description = "Ready", body = ReadyResponse),
        (status = 503, description = "Not ready", body = ReadyResponse),
        OpenProblems
    )
)]
pub(in crate::http) async fn ready(State(api): State<Api>) -> impl IntoResponse {
    let Readiness {
        database,
        migrations,
        keyring,
        worker,
    } = api.app().readiness().await;
    let failing =
        [Some(database), Some(migrations), Some(keyring), worker].contains(&Some(Check::Failing));
    let status = match api.phase() {
        Phase::Draining => ReadyStatus::Draining,
        Phase::Running if failing => ReadyStatus::Failing,
        Phase::Running => ReadyStatus::Ready,
    };
    let code = if status == ReadyStatus::Ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    let answer = ReadyResponse {
        status,
        checks: ReadyChecks {
            database: database.into(),
            migrations: migrations.into(),
            keyring: keyring.into(),
            worker: worker.map_or(CheckStatus::Off, Into::into),
        },
    };
    (code, Json(answer))
}

/// Get metrics
///
/// What was measured, in Prometheus' text format.
#[utoipa::path(
    get,
    path = "/metrics",
    operation_id = "getMetrics",
    tag = "Operations",
    responses((status = 200, description = "OK", body = String, content_type = "text/plain"), OpenProblems)
)]
pub(in crate::http) async fn metrics(State(api): State<Api>) -> impl IntoResponse {
    let kind = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    ([(header::CONTENT_TYPE, kind)], api.metrics().render())
}

/// Which program this is.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct VersionResponse {
    /// The program
    name: &'static str,
    /// Its version
    version: &'static str,
}

/// Get version
///
/// Answers which program this is.
#[utoipa::path(
    get,
    path = "/version",
    operation_id = "getVersion",
    tag = "Operations",
    responses((status = 200, description = "OK", body = VersionResponse), OpenProblems)
)]
pub(in crate::http) async fn version() -> Json<VersionResponse> {
    Json(VersionResponse {
        name: env!("CARGO_PKG_NAME"),
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Get OpenAPI document
///
/// Answers this document.
#[utoipa::path(
    get,
    path = "/openapi.json",
    operation_id = "getOpenapiDocument",
    tag = "Operations",
    responses((status = 200, description = "OK", body = Object, content_type = "application/json"), OpenProblems)
)]
pub(in crate::http) async fn document() -> impl IntoResponse {
    let kind = HeaderValue::from_static("application/json");
    ([(header::CONTENT_TYPE, kind)], openapi::to_pretty_json())
}

/// Get error page
///
/// Explains an error code to people: what it means and what to do.
#[utoipa::path(
    get,
    path = "/errors/{code}",
    operation_id = "getErrorPage",
    tag = "Operations",
    params(("code" = String, Path, description = "Error code, as in MTCH-0001")),
    responses(
        (status = 200, description = "OK", body = String, content_type = "text/html"),
        (status = 404, description = "No such code", body = openapi::Detail, content_type = "application/problem+json"),
        OpenProblems
    )
)]
pub(in crate::http) async fn error_page(Path(code): Path<String>) -> Result<Html<String>, Problem> {
    let Some(code) = Code::ALL.iter().find(|one| one.as_str() == code) else {
        return Err(Problem::new(Code::NotFound, "There is no such error code."));
    };
    // Everything here comes out of the catalogue, which holds no markup.
    Ok(Html(format!(
        "<!doctype html>\n<html lang=\"en\">\n<meta charset=\"utf-8\">\n\
         <title>{code}: {title}</title>\n\
         <body style=\"font-family: sans-serif; max-width: 40em; margin: 3em auto\">\n\
         <h1>{title}</h1>\n<p><code>{code}</code>, HTTP status {status}</p>\n<p>{advice}</p>\n\
         <p><a href=\"../docs/\">API reference</a></p>\n</body>\n</html>\n",
        title = code.title(),
        status = code.status().as_u16(),
        advice = code.advice(),
    )))
}

/// The API reference: a page served from this program, with nothing from outside.
pub(in crate::http) fn reference() -> Router<Api> {
    SwaggerUi::new("/docs")
        .config(Config::from("/openapi.json").validator_url("none"))
        .into()
}
