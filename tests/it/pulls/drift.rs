//! Listings whose rows move while they are read.

use chrono::TimeDelta;
use matcher_discovery::domain::clock::Clock as _;
use serde_json::json;

use super::{
    House,
    continued::{attempt, long_listings},
};

/// At each of so many later pages a row goes that was on an earlier one.
async fn drift(house: &House, pages: usize) {
    for _ in 0..pages {
        let one = json!({"delete": 1});
        house.vendors.scenario("belvo", "page-drift", &one).await;
    }
}

/// How many accounts of Belvo's were read whole since everything was due.
async fn read_whole(house: &House) -> i64 {
    let read: Vec<i64> = house
        .app
        .column(
            "SELECT count(*) FROM cursors k JOIN connections c ON c.id = k.connection_id
             WHERE c.type = 'belvo' AND k.full_at > c.created_at + interval '8 days'",
        )
        .await;
    read[0]
}

pub(super) async fn missing(house: &House) -> i64 {
    let missing: Vec<i64> = house
        .app
        .column("SELECT count(*) FROM transactions WHERE missing_since IS NOT NULL")
        .await;
    missing[0]
}

#[tokio::test]
async fn a_listing_whose_rows_moved_is_begun_anew() {
    let house = long_listings("belvo").await;
    let accounts: Vec<i64> = house
        .app
        .column(
            "SELECT count(*) FROM accounts a JOIN connections c ON c.id = a.connection_id
             WHERE c.type = 'belvo'",
        )
        .await;
    drift(&house, 1).await;
    let pull = attempt(&house, "belvo").await;
    assert_eq!(pull["state"], "succeeded", "{pull:#}");
    assert_eq!(pull["progress"]["unsettled"], 0, "{pull:#}");
    assert_eq!(read_whole(&house).await, accounts[0]);
    // The second reading was whole, so what it lacks is told.
    assert_eq!(missing(&house).await, 1);
}

#[tokio::test]
async fn a_listing_whose_rows_move_each_time_is_left_to_the_next_look() {
    let house = long_listings("belvo").await;
    // Three later pages of three readings.
    drift(&house, 9).await;
    let pull = attempt(&house, "belvo").await;
    assert_eq!(pull["state"], "succeeded", "{pull:#}");
    assert_eq!(pull["progress"]["unsettled"], 1, "{pull:#}");
    let others = read_whole(&house).await;
    assert!(others > 0, "the other accounts are read all the same");
    assert_eq!(missing(&house).await, 0);
    // The next look is the calendar's: no webhook waits for it.
    let seen = u64::try_from(house.vendors.calls_after(0).await.len()).unwrap();
    house.app.clock.advance(TimeDelta::minutes(7));
    for event in house.happens("belvo", "edit-amount", &json!({})).await {
        house.deliver("belvo", &event).await;
    }
    assert_eq!(house.work().await, 1);
    let calls = format!("{:?}", house.vendors.calls_after(seen).await);
    assert!(calls.contains("transactions"), "{calls}");
    assert_eq!(read_whole(&house).await, others, "{calls}");
    let read_anew = "SELECT count(*) FROM cursors WHERE watermark IS NULL";
    assert_eq!(house.app.column::<i64>(read_anew).await, [0]);
    house.sweep().await;
    assert_eq!(read_whole(&house).await, others + 1);
    house.app.clock.advance(TimeDelta::days(7));
    house.sweep().await;
    house.expect_truth("belvo", "two quiet looks").await;
}

#[tokio::test]
async fn what_was_announced_and_moved_each_time_is_read_by_the_next_daily_look() {
    let house = long_listings("belvo").await;
    assert_eq!(attempt(&house, "belvo").await["progress"]["unsettled"], 0);
    house.app.clock.advance(TimeDelta::minutes(7));
    let told = house.app.clock.now();
    let not_since = format!(
        "SELECT count(*) FROM cursors k JOIN connections c ON c.id = k.connection_id
         WHERE c.type = 'belvo' AND k.full_at < '{told}'"
    );
    drift(&house, 9).await;
    let event = json!({
        "webhook_type": "TRANSACTIONS", "webhook_code": "historical_update",
        "link_id": house.vendors.connection("belvo", "x")["accountRef"],
    });
    house.deliver("belvo", &event).await;
    let pull = attempt(&house, "belvo").await;
    assert_eq!(pull["progress"]["unsettled"], 1, "{pull:#}");
    assert_eq!(house.app.column::<i64>(&not_since).await, [1]);
    house.sweep().await;
    assert_eq!(house.app.column::<i64>(&not_since).await, [0]);
}

#[tokio::test]
async fn a_vendor_that_counts_in_its_own_way_is_read_twice_and_believed() {
    let house = long_listings("belvo").await;
    let body = json!({"count": 7, "next": null, "previous": null, "results": []});
    let fault = json!({"kind": "answer", "status": 200, "body": body});
    let rule = json!({"vendor": "belvo", "path": "/api/transactions", "fault": fault});
    house.vendors.fault(&rule).await;
    let pull = attempt(&house, "belvo").await;
    assert_eq!(pull["state"], "succeeded", "{pull:#}");
    assert_eq!(pull["progress"]["unsettled"], 0, "{pull:#}");
    assert!(read_whole(&house).await > 1);
    assert_eq!(missing(&house).await, 0);
}
