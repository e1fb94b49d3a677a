//! What happens to every request, in this order, outermost first:
//!
//! 1. compression of what goes out,
//! 2. [`observe`]: the request's id, its span, its metrics, its problem written down, its headers,
//! 3. CORS, where origins are configured,
//! 4. panics become problems,
//! 5. the time limit,
//! 6. the route.

use std::{
    any::Any,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::Body,
    extract::{MatchedPath, Request, State},
    http::{HeaderName, HeaderValue, Method, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use serde::Serialize;
use serde_json::Value;
use tower::ServiceBuilder;
use tower_http::{
    catch_panic::CatchPanicLayer,
    compression::{
        CompressionLayer,
        predicate::{NotForContentType, Predicate as _, SizeAbove},
    },
    cors::CorsLayer,
};
use tracing::{Instrument as _, field};

use super::{
    Api, openapi,
    problem::{Code, Problem},
};
use crate::{domain::ids, telemetry};

/// No request of ours takes longer.
pub(super) const TIME_LIMIT: Duration = Duration::from_secs(30);
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// How metrics and logs call a path that is none of ours: what was asked for may hold a token.
const NO_ROUTE: &str = "(none)";

/// Puts the whole stack around the routes.
pub(super) fn wrap(
    routes: Router,
    api: &Api,
    cors_origins: &[String],
    time_limit: Duration,
) -> Router {
    // Where no page in a browser may call, nothing is said about it either.
    let cors = (!cors_origins.is_empty()).then(|| cors(cors_origins));
    // All of it as one layer: for each request, every layer of a router makes a copy of all that
    // is below it.
    routes.layer(
        ServiceBuilder::new()
            .layer(CompressionLayer::new().compress_when(
                SizeAbove::new(1024).and(NotForContentType::new("application/x-ndjson")),
            ))
            .layer(middleware::from_fn_with_state(api.clone(), observe))
            .option_layer(cors)
            .layer(CatchPanicLayer::custom(panicked))
            .layer(middleware::from_fn_with_state(time_limit, limit_time)),
    )
}

/// The id of the request, as its answer and the log show it.
#[derive(Clone, Debug)]
pub(super) struct RequestId(pub(super) String);

async fn observe(State(api): State<Api>, mut request: Request, next: Next) -> Response {
    let started = Instant::now();
    let id = request_id(&api, &request);
    let operation = request
        .extensions()
        .get::<MatchedPath>()
        .and_then(|path| openapi::template(path.as_str()))
        .unwrap_or(NO_ROUTE);
    let method = method_name(request.method());
    let is_api = request.uri().path().starts_with("/v1");
    request.extensions_mut().insert(id.clone());
    let span = tracing::info_span!(
        "http.request",
        http.method = method,
        http.route = operation,
        request.id = id.0,
        tenant.id = field::Empty,
        webhook_token.id = field::Empty,
    );
    let answer = next.run(request).instrument(span.clone()).await;
    let entered = span.enter();
    let mut answer = write_problem(&api, &id, answer);
    let headers = answer.headers_mut();
    if let Ok(value) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, value);
    }
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if is_api {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    let elapsed = started.elapsed();
    telemetry::record_request(operation, method, answer.status().as_u16(), elapsed);
    tracing::debug!(
        http.status = answer.status().as_u16(),
        duration_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX),
        "answered"
    );
    drop(entered);
    answer
}

/// The caller's id if it is sane, so that one id leads through several systems; else a new one.
fn request_id(api: &Api, request: &Request) -> RequestId {
    let sane = |text: &&str| {
        (1..=128).contains(&text.len())
            && text
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte))
    };
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok())
        .filter(sane);
    RequestId(given.map_or_else(
        || ids::new_uuid(api.clock(), api.random()).to_string(),
        ToOwned::to_owned,
    ))
}

/// A method as a label; whatever a caller makes up is one and the same.
fn method_name(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

async fn limit_time(State(limit): State<Duration>, request: Request, next: Next) -> Response {
    tokio::time::timeout(limit, next.run(request))
        .await
        .unwrap_or_else(|_| {
            Problem::new(
                Code::Unavailable,
                "The server was too slow to answer; whether something was changed is not known.",
            )
            .into_response()
        })
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the signature is that of the layer's hook"
)]
fn panicked(panic: Box<dyn Any + Send>) -> Response {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Problem::internal(format!("a handler panicked: {message}")).into_response()
}

fn cors(origins: &[String]) -> CorsLayer {
    let origins: Vec<HeaderValue> = origins
        .iter()
        .filter_map(|origin| HeaderValue::from_str(origin).ok())
        .collect();
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
        ])
        .allow_headers([
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_MATCH,
            REQUEST_ID,
        ])
        .expose_headers([
            header::ETAG,
            header::LOCATION,
            header::RETRY_AFTER,
            REQUEST_ID,
        ])
        .max_age(Duration::from_mins(10))
}

/// A problem as it is sent.
#[derive(Serialize)]
struct Written<'a> {
    r#type: String,
    title: &'a str,
    status: u16,
    detail: String,
    instance: String,
    code: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<WrittenFault<'a>>,
}

#[derive(Serialize)]
struct WrittenFault<'a> {
    location: &'a str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<&'a Value>,
}

/// Writes down the problem that an answer carries; an error that somebody else answered becomes one.
fn write_problem(api: &Api, id: &RequestId, mut answer: Response) -> Response {
    let problem = match answer.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None => match foreign_error(answer.status()) {
            Some(code) => Problem::new(code, code.title()),
            None => return answer,
        },
    };
    log(&problem);
    let written = Written {
        r#type: format!("{}/errors/{}", api.public_url(), problem.code),
        title: problem.code.title(),
        status: problem.code.status().as_u16(),
        detail: problem.detail_for(&id.0),
        instance: format!("urn:request:{}", id.0),
        code: problem.code.as_str(),
        errors: problem
            .errors
            .iter()
            .map(|fault| WrittenFault {
                location: &fault.location,
                message: &fault.message,
                value: fault.value.as_ref(),
            })
            .collect(),
    };
    let (mut parts, _) = answer.into_parts();
    parts.status = problem.code.status();
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/problem+json"),
    );
    let body = serde_json::to_vec(&written).unwrap_or_default();
    Response::from_parts(parts, Body::from(body))
}

/// The code of an error that no handler of ours answered.
fn foreign_error(status: StatusCode) -> Option<Code> {
    Some(match status {
        StatusCode::NOT_FOUND => Code::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => Code::MethodNotAllowed,
        StatusCode::PAYLOAD_TOO_LARGE => Code::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => Code::UnsupportedMediaType,
        StatusCode::INTERNAL_SERVER_ERROR => Code::Internal,
        _ if status.is_client_error() => Code::InvalidRequest,
        // A server that is not ready says so in its own words.
        _ => return None,
    })
}

/// An error is logged once, here, with everything that led to it.
fn log(problem: &Problem) {
    let status = problem.code.status();
    let code = problem.code.as_str();
    let cause = problem
        .cause
        .as_deref()
        .map(|cause| telemetry::with_causes(cause));
    if status.is_server_error() {
        tracing::error!(
            code,
            error = cause.as_deref().unwrap_or(&problem.detail),
            "a request failed"
        );
    } else {
        tracing::debug!(code, "a request was refused");
    }
}
