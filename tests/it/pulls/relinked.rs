//! Connections that are led to another item or link, or deleted and made anew.

use chrono::TimeDelta;
use matcher_discovery::domain::clock::Clock as _;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{
    House,
    continued::{allow, attempt, long_listings},
    create, last_pull, living,
};
use crate::api::transaction_changes::{held_by_feed, settled};

/// The user connects the bank once more; answers the new item or link, and the events told of it.
pub(super) async fn relink(house: &House, vendor: &str) -> (String, Vec<Value>) {
    let params = match vendor {
        "pluggy" => json!({}),
        // The old one is there for a while, so that it could still be read.
        _ => json!({"keep_old": true}),
    };
    let told = house.happens(vendor, "relink", &params).await;
    let member = match vendor {
        "pluggy" => "itemId",
        _ => "link_id",
    };
    let new = told.last().unwrap()[member].as_str().unwrap().to_owned();
    (new, told)
}

/// The operator leads the connection there.
async fn lead(house: &House, vendor: &str, reference: &str) {
    let mut change = house.vendors.connection(vendor, vendor);
    change.as_object_mut().unwrap().remove("vendor");
    change["accountRef"] = json!(reference);
    house
        .client
        .put(house.path(vendor), &change)
        .await
        .expect(200);
}

async fn accounts(house: &House, vendor: &str) -> Vec<String> {
    let path = format!("{}/accounts", house.path(vendor));
    let page = house.client.get(&path).await.expect(200);
    let items = page["items"].as_array().unwrap();
    let mut names: Vec<String> = items
        .iter()
        .map(|account| account["vendorId"].as_str().unwrap().to_owned())
        .collect();
    names.sort_unstable();
    names
}

pub(super) async fn expect_truth_of(house: &House, vendor: &str, reference: &str) {
    let clock = house.app.clock.clone();
    let mut truth = house.vendors.read_all_of(vendor, reference, clock).await;
    truth.sort_unstable();
    assert!(!truth.is_empty());
    assert_eq!(house.ours(vendor).await, truth, "{vendor}");
}

/// How many living rows stand for one of the old place.
async fn linked(house: &House) -> usize {
    let linked: Vec<i64> = house
        .app
        .column(
            "SELECT count(*) FROM transactions n JOIN transactions o ON o.id = n.replaces_id
             WHERE n.deleted_at IS NULL AND o.deleted_at IS NOT NULL
               AND n.account_id <> o.account_id AND n.amount = o.amount",
        )
        .await;
    usize::try_from(linked[0]).unwrap()
}

fn listing(vendor: &str) -> &'static str {
    match vendor {
        "pluggy" => "/v2/transactions",
        _ => "/api/transactions",
    }
}

#[tokio::test]
async fn a_bank_that_was_connected_anew_takes_the_place_of_the_old_connection() {
    for vendor in ["pluggy", "belvo"] {
        let house = House::build().await;
        let (before, old) = (house.ours(vendor).await, accounts(&house, vendor).await);
        house.app.clock.advance(TimeDelta::minutes(7));
        let (reference, _) = relink(&house, vendor).await;
        lead(&house, vendor, &reference).await;
        // Until the new place was read whole, nothing of the old one goes.
        let rule = json!({
            "vendor": vendor, "path": listing(vendor), "after": 1, "fault": {"kind": "unavailable"},
        });
        house.vendors.fault(&rule).await;
        assert_eq!(house.work().await, 1);
        let pull = last_pull(&house.client, house.path(vendor)).await;
        assert_eq!(pull["state"], "retrying", "{vendor}: {pull:#}");
        let now = house.ours(vendor).await;
        assert!(before.iter().all(|row| now.contains(row)), "{vendor}");

        house.vendors.no_faults().await;
        house.app.clock.advance(TimeDelta::hours(2));
        assert_eq!(house.work().await, 1);
        let pull = last_pull(&house.client, house.path(vendor)).await;
        assert_eq!(pull["state"], "succeeded", "{vendor}: {pull:#}");
        assert_eq!(pull["progress"]["deleted"], before.len(), "{pull:#}");
        expect_truth_of(&house, vendor, &reference).await;
        let listed = accounts(&house, vendor).await;
        assert_eq!(listed.len(), old.len(), "{vendor}: {listed:?}");
        assert!(listed.iter().all(|one| !old.contains(one)), "{vendor}");
        settled(&house.app).await;
        let held = held_by_feed(&house.app).await;
        assert_eq!(held, living(&house.app).await, "{vendor}");
        // Only Belvo tells the bank's own names of accounts.
        let expected = if vendor == "belvo" { before.len() } else { 0 };
        assert_eq!(linked(&house).await, expected, "{vendor}");

        // Nobody asks for what is of the past.
        let seen = house.vendors.calls_after(0).await.len();
        house.sweep().await;
        let calls = house
            .vendors
            .calls_after(u64::try_from(seen).unwrap())
            .await;
        let asked = format!("{calls:?}");
        assert!(old.iter().all(|one| !asked.contains(one)), "{vendor}");
        expect_truth_of(&house, vendor, &reference).await;
    }
}

#[tokio::test]
async fn a_connection_that_is_led_back_has_its_rows_again() {
    let house = House::build().await;
    let before = house.ours("belvo").await;
    let first = house.vendors.connection("belvo", "x")["accountRef"].clone();
    let (reference, _) = relink(&house, "belvo").await;
    for to in [reference.as_str(), first.as_str().unwrap()] {
        house.app.clock.advance(TimeDelta::hours(1));
        lead(&house, "belvo", to).await;
        assert_eq!(house.work().await, 1);
        expect_truth_of(&house, "belvo", to).await;
    }
    assert_eq!(house.ours("belvo").await, before);
}

#[tokio::test]
async fn a_new_link_that_is_not_loaded_yet_takes_no_rows_away() {
    let house = House::build().await;
    let before = house.ours("belvo").await;
    house.app.clock.advance(TimeDelta::minutes(7));
    let (reference, told) = relink(&house, "belvo").await;
    lead(&house, "belvo", &reference).await;
    let nothing = json!({"count": 0, "next": null, "previous": null, "results": []});
    let fault = json!({"kind": "answer", "status": 200, "body": nothing});
    let rule = json!({"vendor": "belvo", "path": "/api/transactions", "fault": fault});
    house.vendors.fault(&rule).await;
    assert_eq!(house.work().await, 1);
    let pull = last_pull(&house.client, house.path("belvo")).await;
    assert_eq!(pull["state"], "succeeded", "{pull:#}");
    assert_eq!(house.ours("belvo").await, before);

    house.vendors.no_faults().await;
    house.app.clock.advance(TimeDelta::minutes(7));
    for event in &told {
        house.deliver("belvo", event).await;
    }
    assert_eq!(house.work().await, 1);
    expect_truth_of(&house, "belvo", &reference).await;
}

#[tokio::test]
async fn a_new_link_that_has_nothing_for_a_week_has_nothing() {
    let house = House::build().await;
    let (before, old) = (house.ours("belvo").await, accounts(&house, "belvo").await);
    let (reference, _) = relink(&house, "belvo").await;
    lead(&house, "belvo", &reference).await;
    let nothing = json!({"count": 0, "next": null, "previous": null, "results": []});
    let fault = json!({"kind": "answer", "status": 200, "body": nothing});
    let rule = json!({"vendor": "belvo", "path": "/api/transactions", "fault": fault});
    house.vendors.fault(&rule).await;
    for days in [0, 5] {
        house.app.clock.advance(TimeDelta::days(days));
        house.sweep().await;
        assert_eq!(house.ours("belvo").await, before);
    }
    house.sweep().await;
    assert_eq!(house.ours("belvo").await, [""; 0]);
    let listed = accounts(&house, "belvo").await;
    assert_eq!(listed.len(), old.len());
    assert!(listed.iter().all(|one| !old.contains(one)), "{listed:?}");
}

#[tokio::test]
async fn a_new_link_that_lists_its_accounts_late_has_a_week_from_then() {
    let house = House::build().await;
    let before = house.ours("belvo").await;
    let (reference, told) = relink(&house, "belvo").await;
    lead(&house, "belvo", &reference).await;
    let nothing = json!({"count": 0, "next": null, "previous": null, "results": []});
    let fault = json!({"kind": "answer", "status": 200, "body": nothing});
    // At first there is nothing at all, and then accounts without a row.
    for (path, days) in [("/api/accounts", 8), ("/api/transactions", 0)] {
        house.vendors.no_faults().await;
        let rule = json!({"vendor": "belvo", "path": path, "fault": fault});
        house.vendors.fault(&rule).await;
        house.sweep().await;
        assert_eq!(house.ours("belvo").await, before, "{path}");
        house.app.clock.advance(TimeDelta::days(days));
    }
    house.vendors.no_faults().await;
    house.app.clock.advance(TimeDelta::minutes(7));
    for event in &told {
        house.deliver("belvo", event).await;
    }
    assert_eq!(house.work().await, 1);
    expect_truth_of(&house, "belvo", &reference).await;
    assert_eq!(linked(&house).await, before.len());
}

#[tokio::test]
async fn an_old_link_goes_once_the_new_one_was_read_whole_whichever_pull_comes_before() {
    let house = long_listings("belvo").await;
    assert_eq!(attempt(&house, "belvo").await["state"], "succeeded");
    let (before, old) = (house.ours("belvo").await, accounts(&house, "belvo").await);
    house.app.clock.advance(TimeDelta::minutes(7));
    let (reference, _) = relink(&house, "belvo").await;
    lead(&house, "belvo", &reference).await;
    // At three later pages of three readings a row goes that was on an earlier one.
    for _ in 0..9 {
        let one = json!({"delete": 1});
        house.vendors.scenario("belvo", "page-drift", &one).await;
    }
    let pull = attempt(&house, "belvo").await;
    assert_eq!(pull["progress"]["unsettled"], 1, "{pull:#}");
    house.app.clock.advance(TimeDelta::minutes(7));
    let event = json!({
        "webhook_type": "TRANSACTIONS", "webhook_code": "new_transactions_available",
        "link_id": reference,
    });
    house.deliver("belvo", &event).await;
    let pull = attempt(&house, "belvo").await;
    assert_eq!(pull["state"], "succeeded", "{pull:#}");
    let now = house.ours("belvo").await;
    let kept = before.iter().filter(|row| now.contains(row)).count();
    assert_eq!(kept, before.len());
    house.sweep().await;
    let listed = accounts(&house, "belvo").await;
    assert!(listed.iter().all(|one| !old.contains(one)), "{listed:?}");
    assert!(linked(&house).await > 1000);
}

#[tokio::test]
async fn rows_that_came_long_before_the_old_ones_went_replace_them_too() {
    let house = House::build().await;
    let before = house.ours("belvo").await;
    house.app.clock.advance(TimeDelta::minutes(7));
    let (reference, _) = relink(&house, "belvo").await;
    lead(&house, "belvo", &reference).await;
    let path = listing("belvo");
    let fault = json!({"kind": "unavailable"});
    let rule = json!({"vendor": "belvo", "path": path, "after": 1, "fault": fault});
    house.vendors.fault(&rule).await;
    assert_eq!(house.work().await, 1);
    assert!(house.ours("belvo").await.len() > before.len());
    house.vendors.no_faults().await;
    house.app.clock.advance(TimeDelta::days(3));
    assert_eq!(house.work().await, 1);
    expect_truth_of(&house, "belvo", &reference).await;
    assert_eq!(linked(&house).await, before.len());
}

#[tokio::test]
async fn many_rows_of_an_old_link_are_replaced_some_at_a_time() {
    let house = House::build().await;
    let many = json!({"count": 1100, "days": 100});
    house.vendors.add_rows("belvo", &many).await;
    house.sweep().await;
    let before = house.ours("belvo").await;
    // Of two pulls of one moment nobody could tell which is the later.
    house.app.clock.advance(TimeDelta::minutes(1));
    let (reference, _) = relink(&house, "belvo").await;
    lead(&house, "belvo", &reference).await;
    assert_eq!(house.work().await, 1);
    let pull = last_pull(&house.client, house.path("belvo")).await;
    assert_eq!(pull["progress"]["deleted"], before.len(), "{pull:#}");
    expect_truth_of(&house, "belvo", &reference).await;
    assert!(linked(&house).await > 500);
}

#[tokio::test]
async fn days_that_were_asked_for_are_still_asked_for_when_the_connection_is_led_elsewhere() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::hours(1));
    let pulls = format!("{}/pulls", house.path("belvo"));
    let days = json!({"from": "2025-06-01", "to": "2025-06-30"});
    house.client.post(&pulls, &days).await.expect(202);
    house.app.app().claim_pull().await.unwrap().unwrap();
    house.app.clock.advance(TimeDelta::minutes(1));
    let (reference, _) = relink(&house, "belvo").await;
    lead(&house, "belvo", &reference).await;
    let pull = last_pull(&house.client, house.path("belvo")).await;
    assert_eq!(pull["state"], "queued", "{pull:#}");
    assert_eq!(pull["from"], days["from"], "{pull:#}");
    assert_eq!(pull["to"], days["to"], "{pull:#}");
}

#[tokio::test]
async fn a_place_in_a_listing_is_of_no_use_where_the_connection_is_led() {
    let house = long_listings("belvo").await;
    allow(&house, "belvo", 2).await;
    assert_eq!(attempt(&house, "belvo").await["state"], "retrying");
    let noted = "SELECT listing FROM cursors WHERE listing IS NOT NULL";
    assert_eq!(house.app.column::<String>(noted).await, ["full"]);
    let (reference, _) = relink(&house, "belvo").await;
    lead(&house, "belvo", &reference).await;
    assert_eq!(house.app.column::<String>(noted).await, [""; 0]);
}

#[tokio::test]
async fn a_pull_that_runs_while_its_connection_is_led_elsewhere_writes_no_more() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::hours(1));
    let pulls = format!("{}/pulls", house.path("belvo"));
    house.client.post(&pulls, &json!({})).await.expect(202);
    let running = house.app.app().claim_pull().await.unwrap().unwrap();
    let (reference, _) = relink(&house, "belvo").await;
    lead(&house, "belvo", &reference).await;
    let never = CancellationToken::new();
    house.app.app().run_pull(running, &never).await;
    assert_eq!(house.work().await, 1);
    expect_truth_of(&house, "belvo", &reference).await;
}

#[tokio::test]
async fn the_rows_of_a_deleted_connection_are_removed_some_at_a_time() {
    let house = House::build().await;
    let many = json!({"count": 1100, "days": 100});
    house.vendors.add_rows("pluggy", &many).await;
    house.sweep().await;
    let others = house.ours("belvo").await;
    house.client.delete(house.path("pluggy")).await.expect(204);
    let batches = house.app.app().remove_rows_of_deleted().await.unwrap();
    assert!(batches > 2, "{batches}");
    assert_eq!(house.ours("pluggy").await, [""; 0]);
    assert_eq!(house.ours("belvo").await, others);
    settled(&house.app).await;
    assert_eq!(held_by_feed(&house.app).await, living(&house.app).await);
    assert_eq!(
        house.app.app().remove_rows_of_deleted().await.unwrap(),
        0,
        "nothing is left to do"
    );
    // The common repair doubles nothing.
    create(&house.client, &house.vendors, "pluggy").await;
    assert_eq!(house.work().await, 1);
    let ours = living(&house.app).await - i64::try_from(others.len()).unwrap();
    assert_eq!(ours, house.vendors.rows("pluggy").await);
}

#[tokio::test]
async fn rows_are_removed_whoever_deletes_their_connection() {
    let house = House::build().await;
    // As a server does that knows nothing of removals.
    let mut other = house.app.connect_as("discovery_app").await;
    let deletion = format!(
        "BEGIN; SELECT set_config('app.tenant_id', '{}', true);
         UPDATE connections SET deleted_at = now(), credential = NULL WHERE type = 'pluggy';
         COMMIT",
        house.app.tenant
    );
    let deletion = sqlx::raw_sql(sqlx::AssertSqlSafe(deletion));
    deletion.execute(&mut other).await.unwrap();
    house.app.app().remove_rows_of_deleted().await.unwrap();
    assert_eq!(house.ours("pluggy").await, [""; 0]);
    assert!(!house.ours("belvo").await.is_empty());
}

#[tokio::test]
async fn a_pull_of_a_deleted_connection_that_still_runs_brings_nothing_back() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::hours(1));
    let pulls = format!("{}/pulls", house.path("pluggy"));
    house.client.post(&pulls, &json!({})).await.expect(202);
    let running = house.app.app().claim_pull().await.unwrap().unwrap();
    house.client.delete(house.path("pluggy")).await.expect(204);
    // As if it had been claimed while the deletion was not to be seen yet.
    let until = house.app.clock.now() + TimeDelta::minutes(1);
    house
        .app
        .execute(&format!(
            "UPDATE pulls SET state = 'running', lease = '{}', lease_until = '{until}',
                    finished_at = NULL WHERE id = '{}'",
            running.lease.token, running.lease.pull
        ))
        .await;
    house.app.app().remove_rows_of_deleted().await.unwrap();
    let left: Vec<String> = house
        .app
        .column("SELECT state FROM pulls WHERE lease IS NOT NULL")
        .await;
    assert_eq!(left, [""; 0]);
    let never = CancellationToken::new();
    house.app.app().run_pull(running, &never).await;
    assert_eq!(house.ours("pluggy").await, [""; 0]);
}
