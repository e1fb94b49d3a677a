//! The stack around the routes, tried with routes that misbehave.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use axum::{
    Router,
    body::Body,
    extract::Path,
    http::{Method, Request, StatusCode, header},
    response::Response,
    routing::{get, post},
};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;

use super::{
    Api, ApiParts,
    auth::{Authenticator, ScopeRule, TokenRules},
    body::JsonBody,
    middleware, nothing_here, other_methods,
    problem::{Code, Problem},
};
use crate::{
    app::{App, ExtractionRules, Parts, WebhookSources},
    connectors::{Limits, Registry},
    domain::{clock::SystemClock, random::OsRandom},
    net::{Client, NetConfig},
    shutdown::Shutdown,
    storage::{Intake, Store, StoreOptions},
    telemetry,
    vault::{KeyRing, Vault},
};

/// A server whose database nobody will ever ask.
fn api() -> Api {
    let random = Arc::new(OsRandom);
    let entry = KeyRing::generate_entry("k", &*random).unwrap();
    let vault = Vault::new(KeyRing::parse(&entry).unwrap(), random.clone());
    let signer = vault.signer();
    let client = Client::new(NetConfig {
        connect_timeout: Duration::from_secs(1),
        total_timeout: Duration::from_secs(1),
        body_cap: 1024,
        exemptions: Vec::new(),
        proxy: None,
    });
    let rules = TokenRules {
        hmac_secret: Some(vec![7; 32].into()),
        jwks: None,
        jwks_over_loopback_http: false,
        issuer: None,
        audience: None,
        scopes: ScopeRule::IfPresent,
    };
    let store = Store::new(StoreOptions {
        connect: "postgres://nobody@localhost/nothing".parse().unwrap(),
        max_connections: 1,
        acquire_timeout: Duration::from_millis(1),
    });
    let authenticator = Authenticator::new(rules, Arc::new(SystemClock), client.unwrap());
    Api(Arc::new(ApiParts {
        app: App::new(Parts {
            aggregators: std::collections::BTreeMap::default(),
            intake: Intake::start(&store, random.clone(), &Shutdown::new()),
            webhook_sources: WebhookSources::default(),
            extraction_rules: ExtractionRules {
                limits: Limits {
                    connect: Duration::ZERO,
                    total: Duration::ZERO,
                    rows: 0,
                    bytes: 0,
                },
                retention: Duration::ZERO,
                tenant_bytes: 0,
            },
            store,
            vault,
            clock: Arc::new(SystemClock),
            random: random.clone(),
            registry: Registry::default(),
            hosts: BTreeMap::new(),
            rest_private_hosts: Vec::new(),
            tasks: Shutdown::new(),
            public_url: "https://discovery.test".to_owned(),
        }),
        authenticator: Arc::new(authenticator.unwrap()),
        signer,
        clock: Arc::new(SystemClock),
        random,
        public_url: "https://discovery.test".to_owned(),
        shutdown: Shutdown::new(),
        metrics: telemetry::metrics(),
    }))
}

async fn problem_of(Path(code): Path<String>) -> Problem {
    let code = Code::ALL.iter().find(|one| one.as_str() == code).unwrap();
    Problem::new(*code, "what happened this time")
}

async fn panics() {
    panic!("with a canary");
}

async fn never_answers() {
    std::future::pending::<()>().await;
}

async fn reads(JsonBody(fields): JsonBody) -> Result<(), Problem> {
    fields.finish(Some(()))
}

async fn bare() -> StatusCode {
    StatusCode::INTERNAL_SERVER_ERROR
}

fn router() -> Router {
    router_within(middleware::TIME_LIMIT)
}

fn router_within(time_limit: Duration) -> Router {
    let api = api();
    let routes = Router::new()
        .route("/problem/{code}", get(problem_of))
        .route("/panics", get(panics))
        .route("/never", get(never_answers))
        .route("/v1/reads", post(reads))
        .route("/bare", get(bare))
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_methods);
    middleware::wrap(
        routes,
        &api,
        &["https://console.example".to_owned()],
        time_limit,
    )
}

async fn ask(request: Request<Body>) -> (Response<()>, Value) {
    ask_of(router(), request).await
}

async fn ask_of(router: Router, request: Request<Body>) -> (Response<()>, Value) {
    let answer = router.oneshot(request).await.unwrap();
    let (parts, body) = answer.into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    (Response::from_parts(parts, ()), body)
}

fn plain(method: Method, path: &str) -> Request<Body> {
    Request::builder()
        .method(method)
        .uri(path)
        .body(Body::empty())
        .unwrap()
}

#[tokio::test]
async fn every_code_is_written_as_a_whole_problem() {
    for code in Code::ALL {
        let (answer, body) = ask(plain(Method::GET, &format!("/problem/{code}"))).await;
        assert_eq!(answer.status(), code.status());
        assert_eq!(
            answer.headers()[header::CONTENT_TYPE],
            "application/problem+json"
        );
        let members: Vec<&String> = body.as_object().unwrap().keys().collect();
        assert_eq!(
            members,
            ["code", "detail", "instance", "status", "title", "type"]
        );
        assert_eq!(body["code"], code.as_str());
        assert_eq!(body["status"], code.status().as_u16());
        assert_eq!(body["title"], code.title());
        let page = format!("https://discovery.test/errors/{code}");
        assert_eq!(body["type"], page);
        let id = answer.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(body["instance"], format!("urn:request:{id}"));
        let told = body["detail"].as_str().unwrap();
        let ours = code.status().is_server_error();
        assert_eq!(told.contains("what happened this time"), !ours);
        assert_eq!(told.contains(id), ours);
        let waits = answer.headers().contains_key(header::RETRY_AFTER);
        assert_eq!(waits, [429, 503].contains(&code.status().as_u16()));
    }
}

#[tokio::test]
async fn a_panic_is_a_failure_of_ours_that_tells_nothing() {
    let (answer, body) = ask(plain(Method::GET, "/panics")).await;
    assert_eq!(answer.status(), 500);
    assert_eq!(body["code"], "MTCH-0002");
    assert!(!body.to_string().contains("canary"), "{body}");
}

#[tokio::test]
async fn a_handler_that_never_answers_is_given_up() {
    let router = router_within(Duration::ZERO);
    let asking = ask_of(router, plain(Method::GET, "/never"));
    let asked = tokio::time::timeout(Duration::from_secs(30), asking).await;
    let (answer, body) = asked.expect("nobody gives it up");
    assert_eq!(answer.status(), 503);
    assert_eq!(body["code"], Code::Unavailable.as_str());
    assert!(answer.headers().contains_key(header::RETRY_AFTER));
}

#[tokio::test]
async fn an_error_that_no_handler_described_is_a_problem_too() {
    let (answer, body) = ask(plain(Method::GET, "/bare")).await;
    assert_eq!(
        (answer.status().as_u16(), &body["code"]),
        (500, &"MTCH-0002".into())
    );
    let (answer, body) = ask(plain(Method::GET, "/nowhere")).await;
    assert_eq!(
        (answer.status().as_u16(), &body["code"]),
        (404, &"MTCH-0005".into())
    );
    let (answer, body) = ask(plain(Method::GET, "/v1/reads")).await;
    assert_eq!(
        (answer.status().as_u16(), &body["code"]),
        (405, &"MTCH-0006".into())
    );
    assert_eq!(answer.headers()[header::ALLOW], "POST");
}

#[tokio::test]
async fn a_head_is_answered_like_a_get_without_a_body() {
    let (answer, body) = ask(plain(Method::HEAD, "/problem/MTCH-0007")).await;
    assert_eq!(answer.status(), 409);
    assert_eq!(body, Value::Null);
}

#[tokio::test]
async fn every_answer_carries_its_headers() {
    let (answer, _) = ask(plain(Method::GET, "/v1/nowhere")).await;
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert_eq!(answer.headers()["cache-control"], "no-store");
    let (answer, _) = ask(plain(Method::GET, "/nowhere")).await;
    assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    assert!(!answer.headers().contains_key("cache-control"));
}

#[tokio::test]
async fn a_sane_request_id_is_kept_and_any_other_replaced() {
    for (given, kept) in [
        ("abc-123_x.y:z", true),
        (&*"a".repeat(128), true),
        (&*"a".repeat(129), false),
        ("", false),
        ("with space", false),
        ("semi;colon", false),
        ("<script>", false),
    ] {
        let request = Request::builder()
            .uri("/nowhere")
            .header("x-request-id", given)
            .body(Body::empty())
            .unwrap();
        let (answer, _) = ask(request).await;
        let answered = answer.headers()["x-request-id"].to_str().unwrap();
        assert_eq!(answered == given, kept, "{given:?} became {answered:?}");
        assert!(!answered.is_empty());
    }
}

#[tokio::test]
async fn a_body_in_pieces_is_bounded_like_any_other() {
    let piece: Result<_, std::io::Error> = Ok(vec![b' '; 40 * 1024]);
    let pieces = futures_util::stream::iter([piece, Ok(vec![b' '; 40 * 1024])]);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/reads")
        .header("content-type", "application/json")
        .body(Body::from_stream(pieces))
        .unwrap();
    let (answer, body) = ask(request).await;
    assert_eq!(
        (answer.status().as_u16(), &body["code"]),
        (413, &"MTCH-0010".into())
    );
}

#[tokio::test]
async fn a_body_that_breaks_off_is_the_callers_fault() {
    let pieces = futures_util::stream::iter([
        Ok(b"{".to_vec()),
        Err(std::io::Error::other("the line went dead")),
    ]);
    let request = Request::builder()
        .method(Method::POST)
        .uri("/v1/reads")
        .header("content-type", "application/json")
        .body(Body::from_stream(pieces))
        .unwrap();
    let (answer, body) = ask(request).await;
    assert_eq!(answer.status(), 400);
    assert_eq!(body["errors"][0]["location"], "body");
}

#[tokio::test]
async fn only_a_configured_origin_may_read_answers_in_a_browser() {
    for (origin, allowed) in [
        ("https://console.example", true),
        ("https://console.example.evil.example", false),
        ("null", false),
    ] {
        let request = Request::builder()
            .method(Method::OPTIONS)
            .uri("/v1/reads")
            .header("origin", origin)
            .header("access-control-request-method", "POST")
            .body(Body::empty())
            .unwrap();
        let (answer, _) = ask(request).await;
        let told = answer.headers().get("access-control-allow-origin");
        assert_eq!(told.is_some(), allowed, "{origin}");
        assert!(
            !answer
                .headers()
                .contains_key("access-control-allow-credentials")
        );
    }
}
