//! What an attempt, or a whole pull, leaves to the one after it.

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{House, continued::allow, last_pull};

/// Runs attempts with so many calls for transactions each until the pull is through; answers how many
/// there were.
async fn attempts(house: &House, vendor: &str, calls: u32) -> u32 {
    let mut attempts = 0;
    loop {
        attempts += 1;
        assert!(attempts < 20, "{vendor}: there is no end");
        allow(house, vendor, calls).await;
        assert_eq!(house.work().await, 1);
        let pull = last_pull(&house.client, house.path(vendor)).await;
        if pull["state"] == "succeeded" {
            house.vendors.no_faults().await;
            return attempts;
        }
        assert_eq!(pull["state"], "retrying", "{vendor}: {pull:#}");
        house.app.clock.advance(TimeDelta::minutes(10));
    }
}

fn reference(house: &House, vendor: &str) -> Value {
    house.vendors.connection(vendor, "x")["accountRef"].clone()
}

/// Some rows of a connection, as names.
async fn some_rows(house: &House, vendor: &str, count: u32) -> Vec<String> {
    house
        .app
        .column(&format!(
            "SELECT t.vendor_id FROM transactions t JOIN connections c ON c.id = t.connection_id
             WHERE c.type = '{vendor}' ORDER BY t.vendor_id LIMIT {count}"
        ))
        .await
}

#[tokio::test]
async fn new_rows_of_several_accounts_are_read_over_several_attempts() {
    for (vendor, scenario) in [("pluggy", "daily-sync"), ("belvo", "daily-refresh")] {
        let house = House::build().await;
        house.app.clock.advance(TimeDelta::minutes(7));
        for event in house.happens(vendor, scenario, &json!({})).await {
            house.deliver(vendor, &event).await;
        }
        let attempts = attempts(&house, vendor, 1).await;
        assert!(attempts > 1, "{vendor}: {attempts}");
        house.expect_truth(vendor, scenario).await;
    }
}

#[tokio::test]
async fn rows_that_are_named_are_read_over_several_attempts_and_each_once() {
    let house = House::build().await;
    let ids = some_rows(&house, "belvo", 17).await;
    for row in &ids {
        let query = format!(
            "UPDATE transactions SET description = 'of yesterday',
                 content_hash = decode(repeat('00', 16), 'hex')
             WHERE vendor_id = '{row}'"
        );
        house.app.execute(&query).await;
    }
    house.app.clock.advance(TimeDelta::minutes(7));
    let event = json!({
        "webhook_type": "TRANSACTIONS", "webhook_code": "transactions_updated",
        "link_id": reference(&house, "belvo"), "data": {"updated_transactions": ids},
    });
    house.deliver("belvo", &event).await;
    house.vendors.calls().await;
    assert_eq!(attempts(&house, "belvo", 6).await, 4);
    let calls = house.vendors.calls().await;
    let asked = calls
        .iter()
        .filter(|call| ids.iter().any(|id| call.contains(id.as_str())));
    // The sixth and the seventh call of each attempt: what is written is not asked for again.
    assert!(asked.count() <= 17 + 2 * 3, "{calls:#?}");
    house.expect_truth("belvo", "many names").await;
}

#[tokio::test]
async fn a_deletion_that_is_told_while_nobody_can_judge_it_is_left_to_the_next_pull() {
    for (vendor, trouble, recovers) in [
        ("pluggy", "login-error", "item-recovers"),
        ("belvo", "link-invalid", "link-recovers"),
    ] {
        let house = House::build().await;
        let before = house.ours(vendor).await;
        house.app.clock.advance(TimeDelta::minutes(7));
        house.happens(vendor, trouble, &json!({})).await;
        let told = house.happens(vendor, "delete-row", &json!({})).await;
        for event in &told {
            house.deliver(vendor, event).await;
        }
        assert_eq!(house.work().await, 1);
        assert_eq!(house.ours(vendor).await, before, "{vendor}");
        let pull = last_pull(&house.client, house.path(vendor)).await;
        assert_eq!(pull["state"], "failed", "{vendor}: {pull:#}");
        assert_eq!(pull["error"]["class"], "login_refused", "{vendor}");

        house.app.clock.advance(TimeDelta::minutes(7));
        house.happens(vendor, recovers, &json!({})).await;
        let pulls = format!("{}/pulls", house.path(vendor));
        house.client.post(&pulls, &json!({})).await.expect(202);
        assert_eq!(house.work().await, 1);
        house.expect_truth(vendor, "a deletion that waited").await;
    }
}

/// The vendor lists no account of Pluggy's just now, the first time it is asked.
async fn hide_accounts(house: &House) {
    let nothing = json!({"page": 1, "total": 0, "totalPages": 0, "results": []});
    let fault = json!({"kind": "answer", "status": 200, "body": nothing});
    let rule = json!({"vendor": "pluggy", "path": "/accounts", "times": 1, "fault": fault});
    house.vendors.fault(&rule).await;
}

#[tokio::test]
async fn an_unlisted_account_that_is_refused_fails_no_pull() {
    let house = House::build().await;
    for (status, says) in [(403, "ACCOUNT_CLOSED"), (400, "ACCOUNT_NOT_SUPPORTED")] {
        hide_accounts(&house).await;
        let body = json!({"code": status, "codeDescription": says, "message": "no"});
        let fault = json!({"kind": "answer", "status": status, "body": body});
        let rule = json!({"vendor": "pluggy", "path": "/v2/transactions", "fault": fault});
        house.vendors.fault(&rule).await;
        house.sweep().await;
        let pull = last_pull(&house.client, house.path("pluggy")).await;
        assert_eq!(pull["state"], "succeeded", "{says}: {pull:#}");
        house.vendors.no_faults().await;
    }
}

#[tokio::test]
async fn an_item_that_goes_while_an_unlisted_account_is_read_fails_the_pull() {
    let house = House::build().await;
    hide_accounts(&house).await;
    let gone = json!({"kind": "answer", "status": 404, "body": {"code": 404}});
    for (path, after) in [("/v2/transactions", 0), ("/items/", 1)] {
        let rule = json!({"vendor": "pluggy", "path": path, "after": after, "fault": gone});
        house.vendors.fault(&rule).await;
    }
    house.sweep().await;
    let pull = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(pull["state"], "failed", "{pull:#}");
    assert_eq!(pull["error"]["class"], "gone");
}

#[tokio::test]
async fn the_cursor_of_an_unlisted_account_stays_while_it_shows_nothing() {
    let house = House::build().await;
    let read = async || -> Vec<DateTime<Utc>> {
        house
            .app
            .column(
                "SELECT greatest(watermark, window_at, full_at) FROM cursors k
                 JOIN connections c ON c.id = k.connection_id
                 WHERE c.type = 'pluggy' ORDER BY account_id",
            )
            .await
    };
    let before = read().await;
    hide_accounts(&house).await;
    let nothing = json!({"results": [], "next": null});
    let fault = json!({"kind": "answer", "status": 200, "body": nothing});
    let rule = json!({"vendor": "pluggy", "path": "/v2/transactions", "fault": fault});
    house.vendors.fault(&rule).await;
    house.sweep().await;
    assert_eq!(read().await, before);
    // It is there again, with what it got meanwhile.
    house.vendors.no_faults().await;
    house.sweep().await;
    assert!(read().await > before);
}

#[tokio::test]
async fn webhooks_do_not_put_off_the_look_at_the_whole_connection() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::hours(20));
    let events = house.happens("pluggy", "edit-amount", &json!({})).await;
    for event in &events {
        house.deliver("pluggy", event).await;
    }
    assert_eq!(house.work().await, 1);
    house.app.clock.advance(TimeDelta::hours(5));
    assert_eq!(house.app.app().ask_for_sweeps().await.unwrap(), 2);
    assert_eq!(house.work().await, 2);
}

#[tokio::test]
async fn a_row_that_is_there_and_can_not_be_read_is_not_missing() {
    for (vendor, path) in [
        ("pluggy", "/v2/transactions"),
        ("belvo", "/api/transactions"),
    ] {
        let house = House::build().await;
        let row = some_rows(&house, vendor, 1).await.remove(0);
        house
            .app
            .execute(&format!(
                "UPDATE transactions SET missing_since = '2026-03-01', missing_pull_id = id
                 WHERE vendor_id = '{row}'"
            ))
            .await;
        house.app.clock.advance(TimeDelta::minutes(7));
        let account: Vec<String> = house
            .app
            .column(&format!(
                "SELECT a.vendor_id FROM transactions t JOIN accounts a ON a.id = t.account_id
                 WHERE t.vendor_id = '{row}'"
            ))
            .await;
        let (event, body) = match vendor {
            "pluggy" => (
                json!({
                    "event": "transactions/updated", "eventId": "e-1", "accountId": account[0],
                    "itemId": reference(&house, vendor), "transactionIds": [row],
                }),
                json!({"results": [{"id": row}], "next": null}),
            ),
            _ => (
                json!({
                    "webhook_type": "TRANSACTIONS", "webhook_code": "transactions_updated",
                    "link_id": reference(&house, vendor),
                    "data": {"updated_transactions": [row]},
                }),
                json!({"id": row}),
            ),
        };
        house.deliver(vendor, &event).await;
        let fault = json!({"kind": "answer", "status": 200, "body": body});
        house
            .vendors
            .fault(&json!({"vendor": vendor, "path": path, "fault": fault}))
            .await;
        assert_eq!(house.work().await, 1);
        let pull = last_pull(&house.client, house.path(vendor)).await;
        assert_eq!(pull["progress"]["quarantined"], 1, "{vendor}: {pull:#}");
        let missing: Vec<String> = house
            .app
            .column("SELECT vendor_id FROM transactions WHERE missing_since IS NOT NULL")
            .await;
        assert_eq!(missing, [""; 0], "{vendor}");
    }
}
