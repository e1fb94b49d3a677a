//! Rows that the vendor says are gone, more of them than are read by name.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::{
    House,
    continued::{allow, attempt, long_listings},
    drift::missing,
    last_pull,
};

/// Many rows of an account go at Belvo that are older than the recent past, and one event names them all.
async fn many_go(house: &House) -> Vec<String> {
    house.app.clock.advance(TimeDelta::minutes(7));
    let rows: Vec<String> = house
        .app
        .column(
            "SELECT t.vendor_id FROM transactions t JOIN connections c ON c.id = t.connection_id
             WHERE c.type = 'belvo' AND t.civil_date < '2026-02-01'
             ORDER BY count(*) OVER (PARTITION BY t.account_id) DESC, t.account_id, t.vendor_id
             LIMIT 25",
        )
        .await;
    assert_eq!(rows.len(), 25);
    for row in &rows {
        house
            .happens("belvo", "delete-row", &json!({"row": row}))
            .await;
    }
    let event = told(house, "transactions_deleted", &rows);
    house.deliver("belvo", &event).await;
    rows
}

/// What Belvo tells of these rows.
fn told(house: &House, code: &str, rows: &[String]) -> Value {
    json!({
        "webhook_type": "TRANSACTIONS", "webhook_code": code,
        "link_id": house.vendors.connection("belvo", "x")["accountRef"],
        "data": {"updated_transactions": rows},
    })
}

/// A connection to Belvo with many rows, all of them read.
async fn house_with_many() -> House {
    let house = long_listings("belvo").await;
    assert_eq!(attempt(&house, "belvo").await["state"], "succeeded");
    house
}

/// How many calls asked for one of these rows by its name.
async fn asked_by_name(house: &House, rows: &[String]) -> usize {
    let calls = house.vendors.calls().await;
    let asked = calls
        .iter()
        .filter(|call| rows.iter().any(|row| call.contains(row.as_str())));
    asked.count()
}

#[tokio::test]
async fn many_rows_that_are_said_to_be_gone_are_once_everything_was_read_without_them() {
    let house = house_with_many().await;
    let rows = many_go(&house).await;
    house.vendors.calls().await;
    assert_eq!(attempt(&house, "belvo").await["state"], "succeeded");
    assert_eq!(asked_by_name(&house, &rows).await, 0);
    house.expect_truth("belvo", "many deletions").await;
}

#[tokio::test]
async fn many_rows_that_are_said_to_be_gone_are_asked_for_where_a_listing_in_parts_can_not_tell() {
    let house = house_with_many().await;
    let rows = many_go(&house).await;
    allow(&house, "belvo", 2).await;
    assert_eq!(attempt(&house, "belvo").await["state"], "retrying");
    house.vendors.no_faults().await;
    house.app.clock.advance(TimeDelta::minutes(10));
    house.vendors.calls().await;
    assert_eq!(attempt(&house, "belvo").await["state"], "succeeded");
    assert_eq!(asked_by_name(&house, &rows).await, rows.len());
    house.expect_truth("belvo", "many deletions").await;
}

#[tokio::test]
async fn rows_that_are_named_while_many_that_are_gone_are_asked_for_are_not_taken_for_read() {
    let house = house_with_many().await;
    let mut gone = many_go(&house).await;
    // Six more rows of that account, the last by name first; of that one nothing is told at once.
    let others: Vec<String> = house
        .app
        .column(&format!(
            "SELECT vendor_id FROM transactions
             WHERE account_id = (SELECT account_id FROM transactions WHERE vendor_id = '{0}')
               AND civil_date < '2026-02-01' AND vendor_id <> ALL ('{{{1}}}')
             ORDER BY vendor_id DESC LIMIT 6",
            gone[0],
            gone.join(",")
        ))
        .await;
    let (late, changed) = others.split_at(1);
    let row = json!({"row": late[0]});
    house.happens("belvo", "delete-row", &row).await;
    allow(&house, "belvo", 2).await;
    assert_eq!(attempt(&house, "belvo").await["state"], "retrying");

    house.app.clock.advance(TimeDelta::minutes(10));
    for row in changed {
        let row = json!({"row": row});
        house.happens("belvo", "edit-amount", &row).await;
    }
    for (code, rows) in [
        ("transactions_updated", changed),
        ("transactions_deleted", late),
    ] {
        house.deliver("belvo", &told(&house, code, rows)).await;
    }
    gone.extend_from_slice(late);

    // The listing comes to its end, those that are gone are asked for, and the next listing is refused.
    allow(&house, "belvo", 28).await;
    house.vendors.calls().await;
    let pull = attempt(&house, "belvo").await;
    assert_eq!(pull["state"], "retrying", "{pull:#}");
    assert_eq!(asked_by_name(&house, &gone).await, gone.len());
    let noted = "SELECT listing FROM cursors WHERE listing IS NOT NULL";
    assert_eq!(house.app.column::<String>(noted).await, [""; 0]);

    house.vendors.no_faults().await;
    house.app.clock.advance(TimeDelta::minutes(10));
    assert_eq!(attempt(&house, "belvo").await["state"], "succeeded");
    house.expect_truth("belvo", "changes among deletions").await;
}

#[tokio::test]
async fn an_attempt_that_ends_behind_a_listing_that_moved_each_time_leaves_no_place_in_it() {
    let house = house_with_many().await;
    many_go(&house).await;
    // Three readings of four pages, and some of the rows that are said to be gone. At the second page of each
    // reading there is a row less, and at the third one more, so that in the end they count as before.
    for (delete, insert) in [(1, 0), (0, 1), (0, 0)].repeat(3) {
        let some = json!({"delete": delete, "insert": insert});
        house.vendors.scenario("belvo", "page-drift", &some).await;
    }
    allow(&house, "belvo", 12 + 3).await;
    assert_eq!(attempt(&house, "belvo").await["state"], "retrying");
    assert_eq!(missing(&house).await, 0);

    house.vendors.no_faults().await;
    house.app.clock.advance(TimeDelta::minutes(10));
    assert_eq!(attempt(&house, "belvo").await["state"], "succeeded");
    // The listing was begun anew and was whole, so what it lacks is told.
    assert_eq!(missing(&house).await, 3);
}

#[tokio::test]
async fn many_rows_that_are_said_to_be_gone_wait_until_somebody_can_judge_them() {
    let house = house_with_many().await;
    let before = house.ours("belvo").await;
    many_go(&house).await;
    let nameless = json!({"id": null, "count": 1, "next": null, "results": [{"id": null}]});
    let fault = json!({"kind": "answer", "status": 200, "body": nameless});
    let rule = json!({"vendor": "belvo", "path": "/api/transactions", "fault": fault});
    house.vendors.fault(&rule).await;
    let pull = attempt(&house, "belvo").await;
    assert_eq!(pull["state"], "retrying", "{pull:#}");
    assert_eq!(pull["error"]["class"], "malformed_answer", "{pull:#}");
    assert_eq!(house.ours("belvo").await, before);

    house.vendors.no_faults().await;
    house.app.clock.advance(TimeDelta::hours(2));
    assert_eq!(attempt(&house, "belvo").await["state"], "succeeded");
    house.expect_truth("belvo", "answers with names").await;
}

#[tokio::test]
async fn many_rows_that_are_said_to_be_gone_stay_while_their_link_is_invalid() {
    let house = house_with_many().await;
    let before = house.ours("belvo").await;
    house.happens("belvo", "link-invalid", &json!({})).await;
    many_go(&house).await;
    attempt(&house, "belvo").await;
    let pull = last_pull(&house.client, house.path("belvo")).await;
    assert_eq!(pull["state"], "failed", "{pull:#}");
    assert_eq!(pull["error"]["class"], "login_refused", "{pull:#}");
    assert_eq!(house.ours("belvo").await, before);

    house.app.clock.advance(TimeDelta::minutes(7));
    for event in house.happens("belvo", "link-recovers", &json!({})).await {
        house.deliver("belvo", &event).await;
    }
    let pulls = format!("{}/pulls", house.path("belvo"));
    house.client.post(&pulls, &json!({})).await.expect(202);
    assert_eq!(attempt(&house, "belvo").await["state"], "succeeded");
    house.expect_truth("belvo", "a link that recovered").await;
}
