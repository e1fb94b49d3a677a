//! Pulls: what the vendor has becomes what we have.

mod by_hand;
mod continued;
mod deleted;
mod drift;
mod left;
mod locks;
mod queue;
mod refused;
mod relinked;
mod told;
mod turns;
mod verdicts;

use std::collections::BTreeMap;

use chrono::TimeDelta;
use matcher_discovery::{domain::clock::Clock as _, worker::work_off};
use serde_json::{Value, json};

use crate::{
    api::aggregator_connections::PATH,
    support::{Client, TestApp, Vendors},
};

async fn create(client: &Client, vendors: &Vendors, vendor: &str) -> String {
    let answer = client.post(PATH, &vendors.connection(vendor, vendor)).await;
    answer.expect(201);
    answer.header("location").to_owned()
}

async fn last_pull(client: &Client, path: &str) -> Value {
    let page = client.get(&format!("{path}/pulls")).await.expect(200);
    page["items"][0].clone()
}

/// How many rows live.
async fn living(app: &TestApp) -> i64 {
    let count: Vec<i64> = app
        .column("SELECT count(*) FROM transactions WHERE deleted_at IS NULL")
        .await;
    count[0]
}

#[tokio::test]
async fn a_new_connection_is_pulled_whole_and_then_nothing_changes() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    for vendor in ["pluggy", "belvo"] {
        let path = create(&client, &vendors, vendor).await;
        assert_eq!(last_pull(&client, &path).await["state"], "queued");
        assert_eq!(work_off(app.app()).await.unwrap(), 1);
        let pull = last_pull(&client, &path).await;
        assert_eq!(pull["state"], "succeeded", "{pull:#}");
        assert_eq!(pull["reason"], "initial");
        let inserted = pull["progress"]["inserted"].as_i64().unwrap();
        assert!(inserted > 100, "{pull:#}");
        assert_eq!(vendors.rows(vendor).await, inserted, "{vendor}");
        assert_eq!(living(&app).await, inserted);

        app.clock.advance(TimeDelta::minutes(1));
        client
            .post(&format!("{path}/pulls"), &json!({}))
            .await
            .expect(202);
        assert_eq!(work_off(app.app()).await.unwrap(), 1);
        let again = last_pull(&client, &path).await;
        assert_eq!(again["state"], "succeeded", "{again:#}");
        for part in ["inserted", "updated", "deleted", "missedByWebhooks"] {
            assert_eq!(again["progress"][part], 0, "{vendor}: {again:#}");
        }
        assert!(again["progress"]["unchanged"].as_i64().unwrap() > 0);
        client.delete(&path).await.expect(204);
        app.execute("DELETE FROM transaction_versions").await;
        app.execute("DELETE FROM transactions").await;
    }
}

/// A server whose webhooks are signed, the vendors, and one connection to each.
struct House {
    app: TestApp,
    vendors: Vendors,
    client: Client,
    endpoints: BTreeMap<&'static str, (String, String)>,
}

impl House {
    async fn build() -> Self {
        let secrets = [
            ("DISCOVERY_PLUGGY_WEBHOOK_IPS", "127.0.0.1"),
            ("DISCOVERY_BELVO_WEBHOOK_IPS", "127.0.0.1"),
        ];
        let (app, vendors) = TestApp::with_vendors_and(&secrets).await;
        let client = app.client();
        let mut endpoints = BTreeMap::new();
        for vendor in ["pluggy", "belvo"] {
            let path = create(&client, &vendors, vendor).await;
            let mint = json!({"vendor": vendor, "connection_config_name": vendor});
            let minted = client.post("/v1/discovery/webhooks/tokens", &mint).await;
            let url = minted.expect(201)["webhookUrl"]
                .as_str()
                .unwrap()
                .to_owned();
            let receiver = url.trim_start_matches("http://discovery.test").to_owned();
            endpoints.insert(vendor, (path, receiver));
        }
        let house = Self {
            app,
            vendors,
            client,
            endpoints,
        };
        house.work().await;
        house
    }

    fn path(&self, vendor: &str) -> &str {
        &self.endpoints[vendor].0
    }

    async fn work(&self) -> usize {
        work_off(self.app.app()).await.unwrap()
    }

    /// Lets something happen at a vendor; answers the events that it sends of it.
    async fn happens(&self, vendor: &str, scenario: &str, params: &Value) -> Vec<Value> {
        let fired = self.vendors.scenario(vendor, scenario, params).await;
        let notices = fired["notices"].as_array().unwrap();
        notices
            .iter()
            .map(|notice| notice["body"].clone())
            .collect()
    }

    async fn deliver(&self, vendor: &str, event: &Value) {
        let receiver = &self.endpoints[vendor].1;
        let answer = self.app.anonymous().post(receiver, event).await;
        answer.expect(202);
    }

    /// The calendar asks for a look at everything.
    async fn sweep(&self) {
        self.app.clock.advance(TimeDelta::hours(26));
        self.app.app().ask_for_sweeps().await.unwrap();
        self.work().await;
    }

    /// What the vendor has, read afresh.
    async fn truth(&self, vendor: &str) -> Vec<String> {
        let mut rows = self.vendors.read_all(vendor, self.app.clock.clone()).await;
        rows.sort_unstable();
        rows
    }

    /// What we have.
    async fn ours(&self, vendor: &str) -> Vec<String> {
        let id = self.path(vendor).rsplit('/').next().unwrap();
        let mut rows: Vec<String> = self
            .app
            .column(&format!(
                "SELECT vendor_id || ' ' || civil_date || ' ' || trim_scale(amount) || ' ' || status
                        || ' ' || description
                 FROM transactions WHERE connection_id = '{id}' AND deleted_at IS NULL"
            ))
            .await;
        rows.sort_unstable();
        rows
    }

    async fn expect_truth(&self, vendor: &str, after: &str) {
        let (ours, truth) = (self.ours(vendor).await, self.truth(vendor).await);
        let missing: Vec<_> = truth.iter().filter(|row| !ours.contains(row)).collect();
        let extra: Vec<_> = ours.iter().filter(|row| !truth.contains(row)).collect();
        assert!(
            missing.is_empty() && extra.is_empty(),
            "{vendor} after {after}: missing {missing:#?}, extra {extra:#?}"
        );
    }
}

const PLUGGY: [&str; 17] = [
    "daily-sync",
    "pending-row",
    "pending-posts-same-id",
    "pending-row",
    "pending-posts-recreated",
    "back-dated-row",
    "edit-description",
    "edit-amount",
    "delete-row",
    "scheduled-then-posted",
    "double-bill-payment",
    "instalment-plan",
    "foreign-card-row",
    "refund",
    "midnight-rows",
    "odd-mcc",
    "unknown-enum-and-field",
];

const BELVO: [&str; 8] = [
    "daily-refresh",
    "pending-processed",
    "edit-amount",
    "edit-description",
    "delete-row",
    "dedupe",
    "bill-closes",
    "unknown-enum-and-field",
];

fn everything() -> impl Iterator<Item = (&'static str, &'static str)> {
    let pluggy = PLUGGY.map(|scenario| ("pluggy", scenario));
    let belvo = BELVO.map(|scenario| ("belvo", scenario));
    pluggy.into_iter().chain(belvo)
}

#[tokio::test]
async fn whatever_happens_at_a_vendor_is_here_after_its_webhook() {
    let house = House::build().await;
    for (vendor, scenario) in everything() {
        house.app.clock.advance(TimeDelta::minutes(7));
        let events = house.happens(vendor, scenario, &json!({})).await;
        assert!(!events.is_empty(), "{scenario} sends something");
        for event in &events {
            house.deliver(vendor, event).await;
        }
        assert_eq!(house.work().await, 1, "{scenario}: one pull does it all");
        house.expect_truth(vendor, scenario).await;
    }
}

#[tokio::test]
async fn webhooks_that_were_lost_doubled_and_mixed_up_change_nothing_in_the_end() {
    let house = House::build().await;
    let mut kept = Vec::new();
    for (number, (vendor, scenario)) in everything().enumerate() {
        house.app.clock.advance(TimeDelta::minutes(3));
        let events = house.happens(vendor, scenario, &json!({})).await;
        // A third is lost, a third comes twice, and what comes, comes last first.
        if number % 3 > 0 {
            kept.extend(events.iter().cloned().map(|event| (vendor, event)));
        }
        if number % 3 == 1 {
            kept.extend(events.into_iter().map(|event| (vendor, event)));
        }
    }
    for (vendor, event) in kept.iter().rev() {
        house.deliver(vendor, event).await;
    }
    assert_eq!(house.work().await, 2, "one pull for each connection");
    // What was lost is found by looking; what is gone, by looking twice.
    house.sweep().await;
    house.sweep().await;
    for vendor in ["pluggy", "belvo"] {
        house.expect_truth(vendor, "two sweeps").await;
    }
}

#[tokio::test]
async fn a_row_that_was_made_anew_is_linked_to_the_one_it_replaces() {
    let house = House::build().await;
    for scenario in ["pending-row", "pending-posts-recreated"] {
        house.app.clock.advance(TimeDelta::minutes(7));
        for event in house.happens("pluggy", scenario, &json!({})).await {
            house.deliver("pluggy", &event).await;
        }
        house.work().await;
    }
    let linked: Vec<i64> = house
        .app
        .column(
            "SELECT count(*) FROM transactions n JOIN transactions o ON o.id = n.replaces_id
             WHERE n.deleted_at IS NULL AND o.deleted_at IS NOT NULL AND n.amount = o.amount",
        )
        .await;
    assert_eq!(linked, [1]);
}

#[tokio::test]
async fn what_a_pull_that_failed_left_unlinked_is_linked_by_the_next_one_and_by_itself() {
    let house = House::build().await;
    for scenario in ["pending-row", "pending-posts-recreated"] {
        house.app.clock.advance(TimeDelta::minutes(7));
        for event in house.happens("pluggy", scenario, &json!({})).await {
            house.deliver("pluggy", &event).await;
        }
        house.work().await;
    }
    let path = house.path("pluggy");
    let did = last_pull(&house.client, path).await;
    let id = did["id"].as_str().unwrap();
    let others: Vec<String> = house
        .app
        .column(
            "SELECT min(t.vendor_id) || ' ' || a.vendor_id
             FROM transactions t JOIN accounts a ON a.id = t.account_id
             JOIN connections c ON c.id = t.connection_id
             WHERE c.type = 'pluggy' AND t.deleted_at IS NULL AND NOT EXISTS (
                 SELECT FROM transactions n WHERE n.account_id = a.id AND n.replaces_id IS NOT NULL)
             GROUP BY a.vendor_id",
        )
        .await;
    let (row, account) = others[0].split_once(' ').unwrap();
    let of_another_account = json!({
        "event": "transactions/updated", "eventId": "e-1", "accountId": account,
        "itemId": house.vendors.connection("pluggy", "x")["accountRef"], "transactionIds": [row],
    });
    for (state, again, later) in [
        ("failed", format!("{path}/pulls"), TimeDelta::minutes(7)),
        (
            "failed",
            format!("/v1/discovery/pulls/{id}/retry"),
            TimeDelta::minutes(7),
        ),
        ("cancelled", String::new(), TimeDelta::minutes(7)),
        ("failed", format!("{path}/pulls"), TimeDelta::days(3)),
        (
            "failed",
            format!("/v1/discovery/pulls/{id}/retry"),
            TimeDelta::days(3),
        ),
    ] {
        house.app.clock.advance(TimeDelta::minutes(7));
        let now = house.app.clock.now().to_rfc3339();
        // As if the attempt had ended before it linked anything.
        let unlinked = "UPDATE transactions SET replaces_id = NULL WHERE replaces_id IS NOT NULL";
        assert_eq!(house.app.execute(unlinked).await, 1);
        let failed = format!(
            "UPDATE pulls SET state = '{state}', error_class = 'internal', error_message = '',
                    finished_at = '{now}' WHERE id = '{id}'"
        );
        assert_eq!(house.app.execute(&failed).await, 1);
        house.app.clock.advance(later);
        if again.is_empty() {
            house.deliver("pluggy", &of_another_account).await;
        } else {
            house.client.post(&again, &json!({})).await.expect(202);
        }
        assert_eq!(house.work().await, 1);
        let linked: Vec<String> = house
            .app
            .column(
                "SELECT p.state || ' ' || (p.updated > 0) FROM transactions t
                 JOIN pulls p ON p.id = t.pull_id WHERE t.replaces_id IS NOT NULL",
            )
            .await;
        assert_eq!(linked, ["succeeded true"], "{again} {later}");
    }
}

#[tokio::test]
async fn what_goes_wrong_at_a_vendor_loses_nothing_and_is_told() {
    for (vendor, path) in [
        ("pluggy", "/v2/transactions"),
        ("belvo", "/api/transactions"),
    ] {
        let house = House::build().await;
        let daily = if vendor == "pluggy" {
            "daily-sync"
        } else {
            "daily-refresh"
        };
        for (kind, class) in [
            (json!({"kind": "unavailable"}), "vendor_fault"),
            (json!({"kind": "reset"}), "unreachable"),
            (json!({"kind": "cut"}), "malformed_answer"),
            (json!({"kind": "too-many", "reset": 20}), "throttled"),
            (json!({"kind": "error-inside"}), "malformed_answer"),
        ] {
            house.app.clock.advance(TimeDelta::minutes(7));
            let events = house.happens(vendor, daily, &json!({})).await;
            for event in &events {
                house.deliver(vendor, event).await;
            }
            let rule = json!({"vendor": vendor, "path": path, "fault": kind});
            house.vendors.fault(&rule).await;
            assert_eq!(house.work().await, 1, "{kind}");
            let pull = last_pull(&house.client, house.path(vendor)).await;
            assert_eq!(pull["state"], "retrying", "{vendor} {kind}: {pull:#}");
            assert_eq!(pull["error"]["class"], class, "{vendor} {kind}");
            assert_eq!(house.work().await, 0, "{kind}: it waits");

            house.vendors.no_faults().await;
            house.app.clock.advance(TimeDelta::hours(2));
            assert_eq!(house.work().await, 1, "{kind}");
            let pull = last_pull(&house.client, house.path(vendor)).await;
            assert_eq!(pull["state"], "succeeded", "{vendor} {kind}: {pull:#}");
            house.expect_truth(vendor, class).await;
        }
    }
}

#[tokio::test]
async fn nothing_is_deleted_because_a_consent_is_gone_or_a_listing_is_empty() {
    let house = House::build().await;
    for (vendor, over) in [("pluggy", "consent-revoked"), ("belvo", "link-invalid")] {
        let before = house.ours(vendor).await;
        house.happens(vendor, over, &json!({})).await;
        for _ in 0..3 {
            house.sweep().await;
        }
        assert_eq!(house.ours(vendor).await, before, "{vendor}");
    }
    let status = house
        .client
        .get(&format!("{}/status", house.path("pluggy")))
        .await
        .expect(200);
    assert_eq!(status["source"]["verdict"], "consent_expired", "{status:#}");
    assert_eq!(status["data"]["verdict"], "failing", "{status:#}");
}

#[tokio::test]
async fn an_item_that_the_vendor_forgot_fails_its_pull_and_keeps_its_rows() {
    let house = House::build().await;
    let before = house.ours("pluggy").await;
    house.happens("pluggy", "item-deleted", &json!({})).await;
    house.sweep().await;
    let pull = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(pull["state"], "failed", "{pull:#}");
    assert_eq!(pull["error"]["class"], "gone");
    assert_eq!(house.ours("pluggy").await, before);

    let id = pull["id"].as_str().unwrap();
    let retried = house
        .client
        .post(&format!("/v1/discovery/pulls/{id}/retry"), &json!({}))
        .await
        .expect(202);
    assert_eq!(retried["state"], "queued");
    house.work().await;
    let again = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(again["state"], "failed");
}

#[tokio::test]
async fn a_deleted_connection_is_pulled_no_more() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::hours(1));
    let path = house.path("pluggy").to_owned();
    let asked = house
        .client
        .post(&format!("{path}/pulls"), &json!({}))
        .await;
    let id = asked.expect(202)["id"].as_str().unwrap().to_owned();
    house.client.delete(&path).await.expect(204);
    let pull = house.client.get(&format!("/v1/discovery/pulls/{id}")).await;
    assert_eq!(pull.expect(200)["state"], "cancelled");
    assert_eq!(house.work().await, 0);
    house.app.clock.advance(TimeDelta::hours(30));
    house.app.app().ask_for_sweeps().await.unwrap();
    assert_eq!(house.work().await, 1, "the other connection is looked at");
}

#[tokio::test]
async fn a_window_of_days_is_asked_for_as_days() {
    let house = House::build().await;
    let pulls = format!("{}/pulls", house.path("pluggy"));
    for (body, places) in [
        (json!({"from": "2026-01-01"}), vec!["body.to"]),
        (json!({"to": "2026-01-01"}), vec!["body.from"]),
        (
            json!({"from": "2026-02-01", "to": "2026-01-01"}),
            vec!["body.to"],
        ),
        (
            json!({"from": "1.1.2026", "to": "+262142-12-31"}),
            vec!["body.from", "body.to"],
        ),
        (json!({"days": 3}), vec!["body.days"]),
    ] {
        let answer = house.client.post(&pulls, &body).await;
        answer.expect_faults("MTCH-0001", &places);
    }
    house.app.clock.advance(TimeDelta::hours(1));
    let window = json!({"from": "2025-06-01", "to": "2025-06-30"});
    let asked = house.client.post(&pulls, &window).await.expect(202);
    assert_eq!(asked["reason"], "backfill");
    assert_eq!(asked["from"], "2025-06-01");
    house.vendors.calls().await;
    assert_eq!(house.work().await, 1);
    let calls = house.vendors.calls_after(0).await;
    let listings: Vec<&str> = calls
        .iter()
        .filter(|call| call["path"] == "/v2/transactions")
        .map(|call| call["query"].as_str().unwrap())
        .collect();
    assert!(!listings.is_empty(), "{calls:#?}");
    for query in listings {
        for part in ["dateFrom=2025-06-01", "dateTo=2025-06-30"] {
            assert!(query.contains(part), "{query}");
        }
    }
    let id = house.path("pluggy").rsplit('/').next().unwrap();
    let of_those_days: Vec<i64> = house
        .app
        .column(&format!(
            "SELECT count(*) FROM transactions
             WHERE connection_id = '{id}' AND civil_date BETWEEN '2025-06-01' AND '2025-06-30'"
        ))
        .await;
    assert!(of_those_days[0] > 0, "the demo has rows of those days");
    let pull = last_pull(&house.client, house.path("pluggy")).await;
    assert_eq!(pull["state"], "succeeded");
    assert_eq!(pull["progress"]["seen"], of_those_days[0], "{pull:#}");
    assert_eq!(pull["progress"]["inserted"], 0);
    house.expect_truth("pluggy", "a backfill").await;
}

#[tokio::test]
async fn an_account_that_is_not_listed_just_now_is_read_all_the_same() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::minutes(7));
    let events = house.happens("pluggy", "edit-amount", &json!({})).await;
    for event in &events {
        house.deliver("pluggy", event).await;
    }
    let nothing = json!({"page": 1, "total": 0, "totalPages": 0, "results": []});
    let fault = json!({"kind": "answer", "status": 200, "body": nothing});
    let rule = json!({"vendor": "pluggy", "path": "/accounts", "times": 1, "fault": fault});
    house.vendors.fault(&rule).await;
    assert_eq!(house.work().await, 1);
    house
        .expect_truth("pluggy", "a list without accounts")
        .await;
}

#[tokio::test]
async fn a_row_that_is_said_to_have_changed_and_does_not_come_is_not_deleted() {
    let house = House::build().await;
    let before = house.ours("pluggy").await;
    house.app.clock.advance(TimeDelta::minutes(7));
    let account = house.vendors.pluggy_account().await;
    let rows: Vec<String> = house
        .app
        .column(&format!(
            "SELECT t.vendor_id FROM transactions t JOIN accounts a ON a.id = t.account_id
             WHERE a.vendor_id = '{account}' LIMIT 2"
        ))
        .await;
    let event = json!({
        "event": "transactions/updated", "eventId": "e-1", "accountId": account,
        "itemId": house.vendors.connection("pluggy", "x")["accountRef"], "transactionIds": rows,
    });
    house.deliver("pluggy", &event).await;
    // The vendor's reads lag behind its events.
    let nothing = json!({"results": [], "next": null});
    let fault = json!({"kind": "answer", "status": 200, "body": nothing});
    let rule = json!({"vendor": "pluggy", "path": "/v2/transactions", "fault": fault});
    house.vendors.fault(&rule).await;
    assert_eq!(house.work().await, 1);
    assert_eq!(house.ours("pluggy").await, before);
}
