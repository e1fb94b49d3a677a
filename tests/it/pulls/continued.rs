//! Listings that are longer than the vendor lets one attempt read.

use chrono::{DateTime, TimeDelta, Utc};
use matcher_discovery::domain::clock::Clock as _;
use serde_json::{Value, json};

use super::{House, last_pull};

fn listing(vendor: &str) -> &'static str {
    match vendor {
        "pluggy" => "/v2/transactions",
        _ => "/api/transactions",
    }
}

/// A connection to `vendor` with an account of many pages, where everything is due to be read again.
pub(super) async fn long_listings(vendor: &str) -> House {
    let house = House::build().await;
    let count = match vendor {
        "pluggy" => 900,
        _ => 3500,
    };
    let rows = json!({"count": count, "days": 200});
    house.vendors.add_rows(vendor, &rows).await;
    house.sweep().await;
    let small = json!({"pageSize": 20});
    house.vendors.scenario("pluggy", "configure", &small).await;
    house.app.clock.advance(TimeDelta::days(8));
    house.app.app().ask_for_sweeps().await.unwrap();
    house
}

/// So many calls for transactions are not enough for one listing.
fn too_few(vendor: &str) -> u32 {
    match vendor {
        "pluggy" => 12,
        _ => 2,
    }
}

/// Lets the vendor take so many calls for transactions, and no more for ten minutes.
pub(super) async fn allow(house: &House, vendor: &str, calls: u32) {
    house.vendors.no_faults().await;
    let fault = json!({"kind": "too-many", "reset": 600});
    let rule = json!({
        "vendor": vendor, "path": listing(vendor), "after": calls, "fault": fault,
    });
    house.vendors.fault(&rule).await;
}

/// Runs one attempt at the pull of `vendor`, and nothing of the other one's.
pub(super) async fn attempt(house: &House, vendor: &str) -> Value {
    let other = match vendor {
        "pluggy" => "belvo",
        _ => "pluggy",
    };
    house
        .app
        .execute(&format!(
            "DELETE FROM pulls WHERE state IN ('queued', 'retrying') AND connection_id IN
                 (SELECT id FROM connections WHERE type = '{other}')"
        ))
        .await;
    assert_eq!(house.work().await, 1);
    last_pull(&house.client, house.path(vendor)).await
}

async fn column(house: &House, vendor: &str, query: &str) -> Vec<String> {
    let id = house.path(vendor).rsplit('/').next().unwrap();
    house
        .app
        .column(&format!("{query} AND connection_id = '{id}'"))
        .await
}

#[tokio::test]
async fn a_listing_that_no_attempt_can_read_whole_is_read_over_several() {
    for vendor in ["pluggy", "belvo"] {
        let house = long_listings(vendor).await;
        let began = house.app.clock.now();
        let mut pull = Value::Null;
        let mut attempts = 0;
        while pull["state"] != "succeeded" {
            attempts += 1;
            assert!(attempts < 30, "{vendor}: {pull:#}");
            allow(&house, vendor, too_few(vendor)).await;
            pull = attempt(&house, vendor).await;
            house.app.clock.advance(TimeDelta::minutes(10));
        }
        assert!(attempts > 3, "{vendor}: {attempts}");
        house.vendors.no_faults().await;
        house.expect_truth(vendor, "a listing in parts").await;
        // What the vendor took in after the first part was read is not in it for sure.
        let read: Vec<DateTime<Utc>> = house
            .app
            .column("SELECT full_at FROM cursors WHERE full_at > '2026-03-04' ORDER BY full_at")
            .await;
        assert_eq!(read[0], began, "{vendor}");
        let left = "SELECT listing FROM cursors WHERE listing IS NOT NULL";
        assert_eq!(column(&house, vendor, left).await, [""; 0]);
    }
}

#[tokio::test]
async fn nothing_is_missing_from_a_listing_whose_first_part_is_not_known() {
    for vendor in ["pluggy", "belvo"] {
        let house = long_listings(vendor).await;
        allow(&house, vendor, too_few(vendor)).await;
        assert_eq!(attempt(&house, vendor).await["state"], "retrying");
        house.vendors.no_faults().await;
        house.app.clock.advance(TimeDelta::minutes(10));
        assert_eq!(attempt(&house, vendor).await["state"], "succeeded");
        let missing = "SELECT vendor_id FROM transactions
                       WHERE (missing_since IS NOT NULL OR deleted_at IS NOT NULL)";
        assert_eq!(column(&house, vendor, missing).await, [""; 0], "{vendor}");
    }
}

#[tokio::test]
async fn a_place_that_is_lost_or_old_is_not_gone_on_from() {
    // The vendor does not know it, its rows moved, or it is too long ago.
    for (vendor, how) in [
        ("pluggy", "refused"),
        ("belvo", "refused"),
        ("belvo", "moved"),
        ("pluggy", "old"),
    ] {
        let house = long_listings(vendor).await;
        allow(&house, vendor, too_few(vendor)).await;
        assert_eq!(attempt(&house, vendor).await["state"], "retrying");
        let mark = "SELECT account_id::text FROM cursors WHERE listing_mark IS NOT NULL";
        let left = column(&house, vendor, mark).await;
        let [account] = &left[..] else {
            panic!("{vendor} {how}: {left:?}")
        };
        house.vendors.no_faults().await;
        house.app.clock.advance(TimeDelta::minutes(10));
        match how {
            "refused" => {
                let wrong = match vendor {
                    "pluggy" => "'0:1:nonsense'",
                    _ => "'4999'",
                };
                let query = format!(
                    "UPDATE cursors SET listing_mark = {wrong} WHERE listing_mark IS NOT NULL"
                );
                house.app.execute(&query).await;
            }
            "moved" => house.vendors.add_rows(vendor, &json!({"count": 1})).await,
            _ => {
                house.app.clock.advance(TimeDelta::days(1));
            }
        }
        let began = house.app.clock.now();
        let pull = attempt(&house, vendor).await;
        assert_eq!(pull["state"], "succeeded", "{vendor} {how}: {pull:#}");
        house.expect_truth(vendor, how).await;
        let query = format!("SELECT full_at FROM cursors WHERE account_id = '{account}'");
        let read: Vec<DateTime<Utc>> = house.app.column(&query).await;
        assert_eq!(read, [began], "{vendor} {how}: it was begun anew");
        // Not even of a listing that was begun anew and is too short for a place of its own.
        assert_eq!(
            column(&house, vendor, mark).await,
            [""; 0],
            "{vendor} {how}"
        );
    }
}

#[tokio::test]
async fn days_that_were_asked_for_are_read_over_several_attempts_too() {
    let house = long_listings("pluggy").await;
    let path = house.path("pluggy").to_owned();
    attempt(&house, "pluggy").await;
    house.app.clock.advance(TimeDelta::minutes(1));
    let window = json!({"from": "2025-01-01", "to": "2026-03-20"});
    house
        .client
        .post(&format!("{path}/pulls"), &window)
        .await
        .expect(202);
    let mut pull = Value::Null;
    let mut attempts = 0;
    while pull["state"] != "succeeded" {
        attempts += 1;
        assert!(attempts < 30, "{pull:#}");
        allow(&house, "pluggy", 12).await;
        pull = attempt(&house, "pluggy").await;
        house.app.clock.advance(TimeDelta::minutes(10));
    }
    assert!(attempts > 3, "{attempts}");
}

#[tokio::test]
async fn days_that_are_called_off_are_not_read_by_the_next_pull() {
    let house = long_listings("pluggy").await;
    let path = house.path("pluggy").to_owned();
    attempt(&house, "pluggy").await;
    house.app.clock.advance(TimeDelta::minutes(1));
    let window = json!({"from": "2025-01-01", "to": "2026-03-20"});
    let pulls = format!("{path}/pulls");
    house.client.post(&pulls, &window).await.expect(202);
    allow(&house, "pluggy", 12).await;
    let pull = attempt(&house, "pluggy").await;
    assert_eq!(pull["state"], "retrying", "{pull:#}");
    let left = "SELECT listing FROM cursors WHERE listing IS NOT NULL";
    assert_eq!(column(&house, "pluggy", left).await.len(), 1);
    let id = pull["id"].as_str().unwrap();
    let cancel = format!("/v1/discovery/pulls/{id}/cancel");
    house.client.post(&cancel, &json!({})).await.expect(200);
    assert_eq!(column(&house, "pluggy", left).await, [""; 0]);
}

#[tokio::test]
async fn a_place_that_the_vendor_refuses_is_forgotten() {
    for vendor in ["pluggy", "belvo"] {
        let house = long_listings(vendor).await;
        allow(&house, vendor, too_few(vendor)).await;
        assert_eq!(attempt(&house, vendor).await["state"], "retrying");
        let noted = "SELECT listing FROM cursors WHERE listing IS NOT NULL";
        assert_eq!(column(&house, vendor, noted).await, ["full"], "{vendor}");

        house.vendors.no_faults().await;
        house.app.clock.advance(TimeDelta::minutes(10));
        let fault = json!({"kind": "answer", "status": 400, "body": {"code": 400}});
        let rule = json!({"vendor": vendor, "path": listing(vendor), "fault": fault});
        house.vendors.fault(&rule).await;
        let pull = attempt(&house, vendor).await;
        assert_eq!(pull["error"]["class"], "wrong_request", "{pull:#}");
        assert_eq!(column(&house, vendor, noted).await, [""; 0], "{vendor}");
    }
}
