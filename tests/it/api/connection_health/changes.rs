//! Verdicts, as time and changes go by.

use chrono::TimeDelta;
use serde_json::json;

use super::{create, healthy, verdicts};
use crate::support::TestApp;

#[tokio::test]
async fn a_verdict_keeps_its_time_until_it_changes() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = create(&client, &vendors.connection("pluggy", "pluggy")).await;
    let since = async |name: &str| {
        let status = client.get(&format!("{path}/status")).await.expect(200);
        status[name]["since"].as_str().unwrap().to_owned()
    };
    app.clock.advance(TimeDelta::hours(1));
    assert!(healthy(&client, "pluggy").await);
    assert_eq!(since("credential").await, "2026-03-01T13:00:00.000Z");
    app.clock.advance(TimeDelta::hours(1));
    assert!(healthy(&client, "pluggy").await);
    assert_eq!(since("credential").await, "2026-03-01T13:00:00.000Z");
    vendors
        .scenario("pluggy", "disable-client", &json!({}))
        .await;
    assert!(!healthy(&client, "pluggy").await);
    assert_eq!(since("credential").await, "2026-03-01T14:00:00.000Z");
    assert_eq!(since("source").await, "2026-03-01T13:00:00.000Z");
}

#[tokio::test]
async fn a_verdict_ends_with_what_it_was_on() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let body = vendors.connection("pluggy", "pluggy");
    let path = create(&client, &body).await;
    let kept = json!({
        "configName": "pluggy", "baseUrl": body["baseUrl"], "accountRef": body["accountRef"],
    });
    assert!(healthy(&client, "pluggy").await);
    client.put(&path, &kept).await.expect(200);
    let [credential, source] = verdicts(&client, &path).await;
    assert_eq!(credential, "ok accepted", "nothing that it was on changed");
    assert!(source.starts_with("ok "));

    let mut rotated = kept.clone();
    rotated["clientId"] = json!("other");
    rotated["secret"] = json!("other");
    client.put(&path, &rotated).await.expect(200);
    let [credential, source] = verdicts(&client, &path).await;
    assert_eq!(credential, "unknown changed_since_last_check");
    assert!(source.starts_with("ok "), "{source}");

    let mut moved = kept.clone();
    moved["accountRef"] = json!("another");
    client.put(&path, &moved).await.expect(200);
    let [_, source] = verdicts(&client, &path).await;
    assert_eq!(source, "unknown changed_since_last_check");
}

#[tokio::test]
async fn a_verdict_on_what_a_connection_was_is_not_written() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let body = vendors.connection("pluggy", "pluggy");
    let path = create(&client, &body).await;
    let slow =
        json!({"vendor": "pluggy", "path": "/auth", "fault": {"kind": "delay", "millis": 700}});
    vendors.fault(&slow).await;
    let change = async {
        // The test has begun once the vendor was asked.
        while vendors.calls().await.is_empty() {
            tokio::task::yield_now().await;
        }
        let rotated = json!({
            "configName": "pluggy", "baseUrl": body["baseUrl"], "accountRef": body["accountRef"],
            "clientId": "other", "secret": "other",
        });
        client.put(&path, &rotated).await.expect(200);
    };
    let (is_healthy, ()) = tokio::join!(healthy(&client, "pluggy"), change);
    assert!(is_healthy, "what was tested was healthy");
    let [credential, _] = verdicts(&client, &path).await;
    assert_eq!(credential, "unknown changed_since_last_check");
}

#[tokio::test]
async fn a_credential_that_was_accepted_in_time_stays_accepted() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    for (vendor, start) in [("pluggy", "/items"), ("belvo", "/api/links")] {
        let path = create(&client, &vendors.connection(vendor, vendor)).await;
        let rule = json!({"vendor": vendor, "path": start, "fault": {"kind": "hang"}});
        vendors.fault(&rule).await;
        assert!(!healthy(&client, vendor).await);
        let told = verdicts(&client, &path).await;
        assert_eq!(told, ["ok accepted", "unknown timeout"], "{vendor}");
    }
}
