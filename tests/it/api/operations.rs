//! What operators and their machines ask: health, readiness, metrics, version, documents.

use axum::{body::Body, http::Method};

use crate::support::TestApp;

#[tokio::test]
async fn a_server_that_can_work_says_so() {
    let app = TestApp::start().await;
    let client = app.anonymous();
    client.get("/health").await.expect(200);
    let ready = client.get("/ready").await.expect(200);
    assert_eq!(ready["checks"]["database"], "ok", "{ready:#}");
    assert_eq!(ready["checks"]["migrations"], "ok", "{ready:#}");
    assert_eq!(ready["checks"]["keyring"], "ok", "{ready:#}");
}

#[tokio::test]
async fn a_server_without_its_database_lives_but_is_not_ready() {
    let app = TestApp::start().await;
    app.close_database().await;
    let client = app.anonymous();
    client.get("/health").await.expect(200);
    let ready = client.get("/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["checks"]["database"], "failing");
    let answer = app
        .client()
        .get("/v1/discovery/aggregator-connections")
        .await;
    answer.expect_problem(503, "MTCH-0008");
    assert!(answer.header("retry-after").parse::<u32>().unwrap() > 0);
}

#[tokio::test]
async fn a_server_whose_key_ring_lost_a_key_is_not_ready() {
    let app = TestApp::start().await;
    crate::api::aggregator_connections::create(&app.client(), "main").await;
    app.execute("UPDATE tenant_keys SET ring_key_id = 'lost'")
        .await;
    let ready = app.anonymous().get("/ready").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["checks"]["keyring"], "failing");
}

#[tokio::test]
async fn without_configured_origins_nothing_is_said_to_browsers() {
    let app = TestApp::start().await;
    let request = app
        .client()
        .request(Method::OPTIONS, "/v1/discovery/connector-types")
        .header("origin", "https://anywhere.example")
        .header("access-control-request-method", "GET")
        .body(Body::empty());
    let answer = app.client().send(request.unwrap()).await;
    answer.expect_problem(405, "MTCH-0006");
    assert_eq!(answer.header("allow"), "GET,HEAD");
    assert!(!answer.headers.contains_key("access-control-allow-origin"));
}

#[tokio::test]
async fn metrics_name_routes_and_neither_tenants_nor_tokens() {
    let app = TestApp::start().await;
    let client = app.client();
    crate::api::aggregator_connections::create(&client, "main").await;
    client
        .get("/v1/discovery/webhooks/pluggy/whk_in-the-path-of-a-metric")
        .await;
    let metrics = app.anonymous().get("/metrics").await;
    assert_eq!(metrics.status, 200);
    let text = String::from_utf8(metrics.body).unwrap();
    assert!(text.contains("http_requests_total"), "{text}");
    assert!(
        text.contains("/v1/discovery/aggregator-connections"),
        "{text}"
    );
    assert!(!text.contains("whk_"), "{text}");
    assert!(!text.contains(&app.tenant.to_string()), "{text}");
}
