//! What a connection's status tells of its rows.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use matcher_discovery::domain::clock::Clock as _;
use serde_json::{Value, json};

use super::{House, last_pull};
use crate::api::aggregator_connections::PATH;

async fn data(house: &House, path: &str) -> Value {
    let path = format!("{path}/status");
    house.client.get(&path).await.expect(200)["data"].clone()
}

async fn expect(house: &House, vendor: &str, verdict: &str, reason: &str, since: DateTime<Utc>) {
    let told = data(house, house.path(vendor)).await;
    let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
    assert_eq!(
        [&told["verdict"], &told["reason"], &told["since"]],
        [&json!(verdict), &json!(reason), &json!(since)],
        "{vendor} at {}: {told:#}",
        house.app.clock.now()
    );
}

async fn ask(house: &House, vendor: &str, what: Value) {
    let path = format!("{}/pulls", house.path(vendor));
    house.client.post(&path, &what).await.expect(202);
    house.work().await;
}

#[tokio::test]
async fn rows_are_fresh_since_the_first_of_the_pulls_that_followed_each_other() {
    let house = House::build().await;
    let begin = house.app.clock.now();
    expect(&house, "pluggy", "fresh", "pulled", begin).await;
    for _ in 0..3 {
        house.sweep().await;
        expect(&house, "pluggy", "fresh", "pulled", begin).await;
    }
    let last = house.app.clock.now();
    house.app.clock.advance(TimeDelta::hours(40));
    let stale = last + TimeDelta::hours(36);
    expect(&house, "pluggy", "stale", "no_recent_pull", stale).await;
    house.sweep().await;
    let again = house.app.clock.now();
    expect(&house, "pluggy", "fresh", "pulled", again).await;
}

#[tokio::test]
async fn pulls_fail_since_the_first_one_that_did() {
    let house = House::build().await;
    let gone = json!({"vendor": "pluggy", "path": "/items", "fault":
        {"kind": "answer", "status": 404, "body": "{}"}});
    house.vendors.fault(&gone).await;
    house.sweep().await;
    let first = house.app.clock.now();
    expect(&house, "pluggy", "failing", "gone", first).await;
    house.sweep().await;
    expect(&house, "pluggy", "failing", "gone", first).await;
    house.vendors.no_faults().await;
    house.sweep().await;
    let mended = house.app.clock.now();
    expect(&house, "pluggy", "fresh", "pulled", mended).await;
}

#[tokio::test]
async fn rows_grow_old_for_the_reason_that_keeps_their_pull_waiting() {
    let house = House::build().await;
    let begin = house.app.clock.now();
    let down = json!({"vendor": "pluggy", "fault": {"kind": "unavailable"}});
    house.vendors.fault(&down).await;
    house.app.clock.advance(TimeDelta::hours(35));
    ask(&house, "pluggy", json!({})).await;
    let waiting = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(waiting["state"], "retrying", "{waiting:#}");
    expect(&house, "pluggy", "fresh", "pulled", begin).await;
    house.app.clock.advance(TimeDelta::hours(2));
    let stale = begin + TimeDelta::hours(36);
    expect(&house, "pluggy", "stale", "vendor_fault", stale).await;

    let mut body = house.vendors.connection("pluggy", "another");
    body["configName"] = json!("another");
    let answer = house.client.post(PATH, &body).await;
    answer.expect(201);
    let path = answer.header("location");
    let told = data(&house, path).await;
    assert_eq!(
        [&told["verdict"], &told["reason"]],
        ["never", "no_pull_yet"]
    );
    house.work().await;
    let told = data(&house, path).await;
    assert_eq!(
        [&told["verdict"], &told["reason"]],
        ["never", "vendor_fault"]
    );
}

#[tokio::test]
async fn days_that_the_vendor_refuses_say_nothing_of_the_rows_there_are() {
    let house = House::build().await;
    let begin = house.app.clock.now();
    for (vendor, path) in [
        ("pluggy", "/v2/transactions"),
        ("belvo", "/api/transactions"),
    ] {
        let refused = json!({"vendor": vendor, "path": path, "fault":
            {"kind": "answer", "status": 400, "body": "{}"}});
        house.vendors.fault(&refused).await;
        house.app.clock.advance(TimeDelta::hours(1));
        let days = json!({"from": "2025-06-01", "to": "2025-06-30"});
        ask(&house, vendor, days).await;
        let pull = last_pull(&house.client, house.path(vendor)).await;
        assert_eq!(pull["state"], "failed", "{vendor}: {pull:#}");
        assert_eq!(pull["error"]["class"], "wrong_request", "{vendor}");
        expect(&house, vendor, "fresh", "pulled", begin).await;
        let told = data(&house, house.path(vendor)).await;
        assert_eq!(told["lastPullId"], pull["id"]);
        house.vendors.no_faults().await;
        ask(&house, vendor, json!({})).await;
        expect(&house, vendor, "fresh", "pulled", begin).await;
    }
}

#[tokio::test]
async fn what_a_look_found_unannounced_is_told_until_the_next_look() {
    let house = House::build().await;
    let missed = async || {
        let told = data(&house, house.path("pluggy")).await;
        told["missedByWebhooks"].as_u64().unwrap()
    };
    house.happens("pluggy", "daily-sync", &json!({})).await;
    house.sweep().await;
    let found = missed().await;
    assert!(found > 0);
    house.app.clock.advance(TimeDelta::minutes(7));
    for event in house.happens("pluggy", "daily-sync", &json!({})).await {
        house.deliver("pluggy", &event).await;
    }
    assert_eq!(house.work().await, 1);
    let pull = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(pull["progress"]["missedByWebhooks"], 0, "{pull:#}");
    assert_eq!(missed().await, found);
    house.sweep().await;
    assert_eq!(missed().await, 0);
}
