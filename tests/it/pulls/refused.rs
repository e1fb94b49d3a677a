//! Pulls that the vendor refuses as asked for wrongly.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{House, last_pull};

/// Makes rows of a vendor, old ones, look as if they had changed there; answers their names.
async fn changed_long_ago(house: &House, vendor: &str, count: u8) -> Vec<String> {
    let rows: Vec<String> = house
        .app
        .column(&format!(
            "SELECT t.vendor_id FROM transactions t JOIN connections c ON c.id = t.connection_id
             WHERE c.type = '{vendor}' AND t.account_id = (
                 SELECT t.account_id FROM transactions t JOIN connections c ON c.id = t.connection_id
                 WHERE c.type = '{vendor}' GROUP BY 1 ORDER BY count(*) DESC LIMIT 1)
             ORDER BY t.civil_date, t.vendor_id LIMIT {count}"
        ))
        .await;
    for row in &rows {
        let spoil = format!(
            "UPDATE transactions SET description = 'of yesterday',
                 content_hash = decode(repeat('00', 16), 'hex')
             WHERE vendor_id = '{row}'"
        );
        house.app.execute(&spoil).await;
    }
    rows
}

/// Tells that a row changed.
async fn tell(house: &House, vendor: &str, row: &str) {
    let reference = house.vendors.connection(vendor, "x")["accountRef"].clone();
    let account: Vec<String> = house
        .app
        .column(&format!(
            "SELECT a.vendor_id FROM transactions t JOIN accounts a ON a.id = t.account_id
             WHERE t.vendor_id = '{row}'"
        ))
        .await;
    let event = match vendor {
        "pluggy" => json!({
            "event": "transactions/updated", "eventId": row, "accountId": account[0],
            "itemId": reference, "transactionIds": [row],
        }),
        _ => json!({
            "webhook_type": "TRANSACTIONS", "webhook_code": "transactions_updated",
            "link_id": reference, "data": {"updated_transactions": [row]},
        }),
    };
    house.app.clock.advance(TimeDelta::minutes(7));
    house.deliver(vendor, &event).await;
}

/// Refuses what is called below `path`.
async fn refuse(house: &House, vendor: &str, path: &str) {
    let fault = json!({"kind": "answer", "status": 400, "body": {"code": 400, "message": "no"}});
    let rule = json!({"vendor": vendor, "path": path, "fault": fault});
    house.vendors.fault(&rule).await;
}

async fn expect_refused(house: &House, vendor: &str) -> Value {
    let pull = last_pull(&house.client, house.path(vendor)).await;
    assert_eq!(pull["state"], "failed", "{pull:#}");
    assert_eq!(pull["error"]["class"], "wrong_request", "{pull:#}");
    pull
}

#[tokio::test]
async fn days_that_the_vendor_refuses_take_no_event_with_them() {
    let house = House::build().await;
    let rows = changed_long_ago(&house, "pluggy", 2).await;
    // Of two pulls of one moment nobody could tell which is the later.
    house.app.clock.advance(TimeDelta::minutes(1));
    let window = json!({"from": "2025-06-01", "to": "2025-06-30"});
    let pulls = format!("{}/pulls", house.path("pluggy"));
    house.client.post(&pulls, &window).await.expect(202);
    tell(&house, "pluggy", &rows[0]).await;
    refuse(&house, "pluggy", "/v2/transactions").await;
    assert_eq!(house.work().await, 1);
    expect_refused(&house, "pluggy").await;

    house.vendors.no_faults().await;
    tell(&house, "pluggy", &rows[1]).await;
    assert_eq!(house.work().await, 1);
    house.expect_truth("pluggy", "the next event").await;
    let read = "SELECT count(*) FROM cursors WHERE backfill_from IS NOT NULL";
    let read: Vec<i64> = house.app.column(read).await;
    assert_eq!(read, [0], "the days are not asked for again");
}

#[tokio::test]
async fn a_row_whose_name_the_vendor_refuses_is_read_with_everything() {
    let house = House::build().await;
    let rows = changed_long_ago(&house, "belvo", 2).await;
    refuse(&house, "belvo", &format!("/api/transactions/{}/", rows[0])).await;
    tell(&house, "belvo", &rows[0]).await;
    assert_eq!(house.work().await, 1);
    expect_refused(&house, "belvo").await;

    tell(&house, "belvo", &rows[1]).await;
    assert_eq!(house.work().await, 1);
    let pull = last_pull(&house.client, house.path("belvo")).await;
    assert_eq!(pull["state"], "succeeded", "{pull:#}");
    house.expect_truth("belvo", "a name that is refused").await;
}
