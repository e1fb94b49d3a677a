//! How often a connection may be tested, and what a test may cost.

use chrono::TimeDelta;
use matcher_discovery::domain::{clock::Clock as _, ids::ConnectionId};
use serde_json::json;

use super::{create, healthy, test, verdicts};
use crate::support::TestApp;

#[tokio::test]
async fn a_connection_is_tested_ten_times_a_minute_and_no_more() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    create(&client, &vendors.connection("pluggy", "one")).await;
    create(&client, &vendors.connection("pluggy", "two")).await;
    for _ in 0..9 {
        test(&client, "pluggy", "one").await.expect(200);
    }
    app.clock.advance(TimeDelta::seconds(20));
    test(&client, "pluggy", "one").await.expect(200);
    let refused = test(&client, "pluggy", "one").await;
    refused.expect_problem(429, "MTCH-0009");
    assert_eq!(refused.header("retry-after"), "41");
    test(&client, "pluggy", "two").await.expect(200);

    app.clock.advance(TimeDelta::seconds(41));
    for _ in 0..9 {
        test(&client, "pluggy", "one").await.expect(200);
    }
    test(&client, "pluggy", "one")
        .await
        .expect_problem(429, "MTCH-0009");
}

#[tokio::test]
async fn tests_at_the_same_moment_are_counted_too() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    create(&client, &vendors.connection("belvo", "one")).await;
    let tests = (0..25).map(|_| test(&client, "belvo", "one"));
    let answers = futures_util::future::join_all(tests).await;
    let passed = answers.iter().filter(|answer| answer.status == 200).count();
    assert_eq!(passed, 10);
    for answer in answers.iter().filter(|answer| answer.status != 200) {
        answer.expect_problem(429, "MTCH-0009");
    }
}

/// Requests read the clock before they wait for each other, so that they come in any order.
#[tokio::test]
async fn tests_are_counted_whatever_the_order_of_their_clocks() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = create(&client, &vendors.connection("belvo", "one")).await;
    let id: ConnectionId = path.rsplit('/').next().unwrap().parse().unwrap();
    let mut passed = 0;
    for number in 0..20 {
        let now = app.clock.now() - TimeDelta::milliseconds(number);
        let mut tx = app.store().begin(app.tenant).await.unwrap();
        passed += i32::from(tx.count_test(id, now).await.unwrap().is_ok());
        tx.commit().await.unwrap();
    }
    assert_eq!(passed, 10);
    // A clock that is set back by more than that keeps nobody out for long.
    let earlier = app.clock.now() - TimeDelta::hours(1);
    let mut tx = app.store().begin(app.tenant).await.unwrap();
    assert!(tx.count_test(id, earlier).await.unwrap().is_ok());
}

#[tokio::test]
async fn a_spent_rate_limit_is_told_as_throttled_and_not_overdrawn() {
    let limits = [("DISCOVERY_BELVO_RATE_LIMIT", "10")];
    let (app, vendors) = TestApp::with_vendors_and(&limits).await;
    vendors.limits(&json!({"belvo": {"all": 10}})).await;
    let client = app.client();
    let path = create(&client, &vendors.connection("belvo", "belvo")).await;
    while healthy(&client, "belvo").await {}
    // The credential took what there was, or there was nothing left for the link.
    let told = verdicts(&client, &path).await;
    let throttled = [
        ["throttled own_rate_limit", "ok valid"],
        ["ok accepted", "unknown own_rate_limit"],
        ["throttled own_rate_limit", "unknown not_checked_yet"],
    ];
    assert!(throttled.iter().any(|one| told == *one), "{told:?}");
    assert!(vendors.calls().await.len() <= 10);
}
