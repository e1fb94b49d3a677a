//! What operators ask for by hand: replays and retries.

use chrono::TimeDelta;
use matcher_discovery::worker::work_off;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use super::{House, last_pull};

impl House {
    /// An event of Pluggy, of which no row is named.
    async fn tell_pluggy(&self, event: &str, key: &str) {
        let reference = self.vendors.connection("pluggy", "x")["accountRef"].clone();
        let told = json!({"event": event, "eventId": key, "itemId": reference});
        self.deliver("pluggy", &told).await;
    }

    /// Replays the delivery of that key; answers the pull.
    async fn replay(&self, key: &str) -> Value {
        let list = format!("{}/deliveries", self.path("pluggy"));
        let page = self.client.get(&list).await.expect(200);
        let items = page["items"].as_array().unwrap();
        let known = |one: &&Value| one["key"].as_str().is_some_and(|known| known.contains(key));
        let id = items.iter().find(known).unwrap()["id"].as_str().unwrap();
        let replay = format!("/v1/discovery/deliveries/{id}/replay");
        self.client.post(&replay, &json!({})).await.expect(202)
    }

    /// Makes a row of the recent past look as if it had changed at Pluggy.
    async fn spoil_a_recent_row(&self) {
        let spoilt = self
            .app
            .execute(
                "UPDATE transactions SET description = 'of yesterday',
                     content_hash = decode(repeat('00', 16), 'hex')
                 WHERE id = (SELECT t.id FROM transactions t
                             JOIN connections c ON c.id = t.connection_id
                             WHERE c.type = 'pluggy' AND t.civil_date <= '2026-03-01'
                             ORDER BY t.civil_date DESC, t.id LIMIT 1)",
            )
            .await;
        assert_eq!(spoilt, 1);
    }

    async fn ask(&self, vendor: &str) -> Value {
        let pulls = format!("{}/pulls", self.path(vendor));
        self.client.post(&pulls, &json!({})).await.expect(202)
    }

    async fn unavailable(&self, path: &str) {
        let fault = json!({"kind": "unavailable"});
        let rule = json!({"vendor": "pluggy", "path": path, "fault": fault});
        self.vendors.fault(&rule).await;
    }
}

#[tokio::test]
async fn what_is_replayed_is_read_again_even_by_a_pull_that_waits_already() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::minutes(7));
    house.tell_pluggy("transactions/updated", "first").await;
    assert_eq!(house.work().await, 1);
    house.spoil_a_recent_row().await;

    house.app.clock.advance(TimeDelta::minutes(7));
    house.tell_pluggy("transactions/created", "second").await;
    let waiting = last_pull(&house.client, house.path("pluggy")).await;
    let replayed = house.replay("first").await;
    assert_eq!(replayed["id"], waiting["id"]);
    assert_eq!(house.work().await, 1);
    house.expect_truth("pluggy", "a replay").await;
}

#[tokio::test]
async fn a_replay_does_not_wait_for_what_backs_off() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::minutes(7));
    house.tell_pluggy("transactions/updated", "first").await;
    house.unavailable("/accounts").await;
    assert_eq!(house.work().await, 1);
    house.vendors.no_faults().await;
    assert_eq!(house.work().await, 0, "it backs off");

    let replayed = house.replay("first").await;
    assert_eq!(replayed["state"], "retrying", "{replayed:#}");
    assert_eq!(replayed["attempts"], 0, "{replayed:#}");
    assert_eq!(house.work().await, 1);
    let pull = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(pull["state"], "succeeded", "{pull:#}");
}

#[tokio::test]
async fn a_retry_by_hand_hastens_the_pull_that_does_the_work() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::hours(1));
    let fault = json!({"kind": "answer", "status": 404, "body": {"code": 404}});
    let rule = json!({"vendor": "pluggy", "path": "/items/", "fault": fault});
    house.vendors.fault(&rule).await;
    house.tell_pluggy("transactions/updated", "first").await;
    assert_eq!(house.work().await, 1);
    let failed = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(failed["state"], "failed", "{failed:#}");

    house.vendors.no_faults().await;
    house.unavailable("/accounts").await;
    house.app.clock.advance(TimeDelta::minutes(1));
    house.tell_pluggy("transactions/updated", "second").await;
    assert_eq!(house.work().await, 1);
    house.vendors.no_faults().await;
    assert_eq!(house.work().await, 0, "it backs off");

    let retry = format!(
        "/v1/discovery/pulls/{}/retry",
        failed["id"].as_str().unwrap()
    );
    let hastened = house.client.post(&retry, &json!({})).await.expect(202);
    assert_ne!(hastened["id"], failed["id"]);
    assert_eq!(hastened["attempts"], 0, "{hastened:#}");
    let first_among: Vec<i16> = house
        .app
        .column("SELECT priority FROM pulls WHERE state = 'retrying'")
        .await;
    assert_eq!(first_among, [10]);
    assert_eq!(house.work().await, 1);
    let pull = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(pull["state"], "succeeded", "{pull:#}");
}

#[tokio::test]
async fn what_takes_over_a_pull_that_somebody_asked_for_is_as_urgent() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::hours(1));
    house.ask("pluggy").await;
    let running = house.app.app().claim_pull().await.unwrap().unwrap();
    house.tell_pluggy("transactions/updated", "first").await;
    house.unavailable("/accounts").await;
    let never = CancellationToken::new();
    house.app.app().run_pull(running, &never).await;
    let first_among: Vec<i16> = house
        .app
        .column("SELECT priority FROM pulls WHERE state = 'retrying'")
        .await;
    assert_eq!(first_among, [10]);
}

#[tokio::test]
async fn progress_adds_up_however_often_a_pull_is_begun() {
    let house = House::build().await;
    let accounts: Vec<i64> = house
        .app
        .column(
            "SELECT count(*) FROM accounts a JOIN connections c ON c.id = a.connection_id
             WHERE c.type = 'pluggy'",
        )
        .await;
    house.app.clock.advance(TimeDelta::hours(1));
    house.ask("pluggy").await;
    house.unavailable("/v2/transactions").await;
    assert_eq!(house.work().await, 1);
    house.vendors.no_faults().await;
    house.app.clock.advance(TimeDelta::hours(2));
    let fault = json!({"kind": "answer", "status": 400, "body": {"code": 400}});
    let rule = json!({"vendor": "pluggy", "path": "/v2/transactions", "after": 1, "fault": fault});
    house.vendors.fault(&rule).await;
    assert_eq!(house.work().await, 1);
    house.vendors.no_faults().await;
    let failed = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(failed["state"], "failed", "{failed:#}");
    assert_eq!(failed["progress"]["accounts"], accounts[0], "{failed:#}");
    assert!(failed["progress"]["pages"].as_i64() > Some(0), "{failed:#}");

    let id = failed["id"].as_str().unwrap();
    let retry = format!("/v1/discovery/pulls/{id}/retry");
    let anew = house.client.post(&retry, &json!({})).await.expect(202);
    assert_eq!(anew.get("startedAt"), None, "{anew:#}");
    assert_eq!(anew["progress"], failed["progress"], "{anew:#}");
    assert_eq!(work_off(house.app.app()).await.unwrap(), 1);
    let done = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(done["state"], "succeeded", "{done:#}");
    // Each attempt lists them all.
    assert_eq!(done["progress"]["accounts"], accounts[0], "{done:#}");
    for part in ["pages", "seen", "unchanged"] {
        let told = [&failed, &done].map(|pull| pull["progress"][part].as_i64());
        assert!(told[1] > told[0], "{part}: {done:#}");
    }
}
