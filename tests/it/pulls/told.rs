//! What pulls are told, by webhooks and by operators.

use chrono::TimeDelta;
use matcher_discovery::domain::clock::Clock as _;
use serde_json::json;

use super::{House, last_pull};

#[tokio::test]
async fn only_what_no_webhook_announced_counts_as_missed() {
    let house = House::build().await;
    let missed = async |vendor: &str| {
        let pull = last_pull(&house.client, house.path(vendor)).await;
        assert_eq!(pull["state"], "succeeded", "{pull:#}");
        let missed = pull["progress"]["missedByWebhooks"].as_i64();
        missed.unwrap()
    };
    // Events that name no row are followed by listings, and those find what was announced.
    for (vendor, scenario, event) in [
        ("pluggy", "edit-amount", "transactions/updated"),
        ("pluggy", "delete-row", "transactions/deleted"),
        ("pluggy", "daily-sync", "transactions/created"),
        ("belvo", "daily-refresh", "new_transactions_available"),
        ("belvo", "edit-amount", "transactions_updated"),
        ("belvo", "daily-refresh", "historical_update"),
    ] {
        house.app.clock.advance(TimeDelta::minutes(7));
        house.happens(vendor, scenario, &json!({})).await;
        let reference = house.vendors.connection(vendor, "x")["accountRef"].clone();
        let told = match vendor {
            "pluggy" => json!({"event": event, "eventId": event, "itemId": reference}),
            _ => json!({
                "webhook_type": "TRANSACTIONS", "webhook_code": event, "link_id": reference,
            }),
        };
        house.deliver(vendor, &told).await;
        assert_eq!(house.work().await, 1, "{event}");
        assert_eq!(missed(vendor).await, 0, "{vendor} {event}");
    }
    // What is not told of at all is.
    for (vendor, scenario) in [
        ("pluggy", "daily-sync"),
        ("pluggy", "edit-amount"),
        ("belvo", "daily-refresh"),
    ] {
        house.happens(vendor, scenario, &json!({})).await;
        house.sweep().await;
        assert!(missed(vendor).await > 0, "{vendor} {scenario}");
        house.sweep().await;
        assert_eq!(missed(vendor).await, 0, "{vendor} {scenario}: once");
    }
}

#[tokio::test]
async fn a_new_credential_tries_a_pull_that_waits_to_be_tried_again_at_once() {
    let house = House::build().await;
    let path = house.path("pluggy");
    house.app.clock.advance(TimeDelta::hours(1));
    let rule = json!({"vendor": "pluggy", "path": "/accounts", "fault": {"kind": "unavailable"}});
    house.vendors.fault(&rule).await;
    let pulls = format!("{path}/pulls");
    house.client.post(&pulls, &json!({})).await.expect(202);
    for _ in 0..3 {
        assert_eq!(house.work().await, 1);
        house.app.clock.advance(TimeDelta::hours(2));
    }
    house.vendors.no_faults().await;
    house.app.clock.advance(-TimeDelta::hours(2));
    let waiting = last_pull(&house.client, path).await;
    assert_eq!(
        (&waiting["state"], &waiting["attempts"]),
        (&json!("retrying"), &json!(3))
    );
    assert_eq!(house.work().await, 0, "it waits");

    let mut change = house.vendors.connection("pluggy", "pluggy");
    change.as_object_mut().unwrap().remove("vendor");
    house.client.put(path, &change).await.expect(200);
    let hastened = last_pull(&house.client, path).await;
    assert_eq!(hastened["id"], waiting["id"]);
    assert_eq!(hastened["attempts"], 0);
    assert_eq!(house.work().await, 1);
    let done = last_pull(&house.client, path).await;
    assert_eq!(
        (&done["state"], &done["attempts"]),
        (&json!("succeeded"), &json!(1))
    );
    // With a new credential everything is read, since it may show more than the old one did.
    assert!(done["progress"]["seen"].as_i64() >= Some(house.vendors.rows("pluggy").await));
}

#[tokio::test]
async fn a_row_that_is_named_without_its_account_is_asked_for_once() {
    let house = House::build().await;
    let rows: Vec<String> = house
        .app
        .column(
            "SELECT min(t.vendor_id) FROM transactions t JOIN connections c ON c.id = t.connection_id
             WHERE c.type = 'belvo' GROUP BY t.account_id ORDER BY 1",
        )
        .await;
    assert!(rows.len() > 1, "the link has several accounts");
    for (code, changed) in [
        ("transactions_updated", "updated"),
        ("transactions_deleted", "deleted"),
    ] {
        house.app.clock.advance(TimeDelta::minutes(7));
        for row in &rows {
            let query = format!(
                "UPDATE transactions SET content_hash = decode(repeat('00', 16), 'hex')
                 WHERE vendor_id = '{row}'"
            );
            house.app.execute(&query).await;
        }
        let unknown = "00000000-0000-4000-8000-000000000000";
        let mut ids = rows.clone();
        ids.push(unknown.to_owned());
        let event = json!({
            "webhook_type": "TRANSACTIONS", "webhook_code": code,
            "link_id": house.vendors.connection("belvo", "x")["accountRef"],
            "data": {"updated_transactions": ids},
        });
        house.deliver("belvo", &event).await;
        house.vendors.calls().await;
        assert_eq!(house.work().await, 1);
        let calls = house.vendors.calls().await;
        for id in &ids {
            let asked = calls.iter().filter(|call| call.contains(id.as_str()));
            assert_eq!(asked.count(), 1, "{changed}: {calls:#?}");
        }
        let pull = last_pull(&house.client, house.path("belvo")).await;
        assert_eq!(pull["progress"]["updated"], rows.len(), "{pull:#}");
        // The vendor has them all the same.
        assert_eq!(pull["progress"]["deleted"], 0);
        house.expect_truth("belvo", code).await;
    }
}

#[tokio::test]
async fn a_row_that_can_never_be_read_by_name_holds_up_others_for_a_while_only() {
    let house = House::build().await;
    let rows: Vec<String> = house
        .app
        .column(
            "SELECT t.vendor_id FROM transactions t JOIN connections c ON c.id = t.connection_id
             WHERE c.type = 'belvo' ORDER BY t.vendor_id LIMIT 2",
        )
        .await;
    let [broken, other] = &rows[..] else {
        panic!("{rows:?}")
    };
    for row in &rows {
        let query = format!(
            "UPDATE transactions SET description = 'of yesterday',
                 content_hash = decode(repeat('00', 16), 'hex')
             WHERE vendor_id = '{row}'"
        );
        house.app.execute(&query).await;
    }
    let path = format!("/api/transactions/{broken}/");
    let rule = json!({"vendor": "belvo", "path": path, "fault": {"kind": "unavailable"}});
    house.vendors.fault(&rule).await;
    let tell = async |row: &String| {
        let event = json!({
            "webhook_type": "TRANSACTIONS", "webhook_code": "transactions_updated",
            "link_id": house.vendors.connection("belvo", "x")["accountRef"],
            "data": {"updated_transactions": [row]},
        });
        house.app.clock.advance(TimeDelta::minutes(7));
        house.deliver("belvo", &event).await;
    };
    let mut states = Vec::new();
    tell(broken).await;
    for _ in 0..4 {
        tell(other).await;
        while house.work().await > 0 {
            house.app.clock.advance(TimeDelta::hours(2));
        }
        let pull = last_pull(&house.client, house.path("belvo")).await;
        states.push(pull["state"].as_str().unwrap().to_owned());
    }
    assert_eq!(states, ["failed", "failed", "failed", "succeeded"]);
    house.expect_truth("belvo", "a row that breaks").await;
}

#[tokio::test]
async fn the_next_pull_makes_up_for_one_that_failed_unless_it_was_called_off() {
    let house = House::build().await;
    let pulls = format!("{}/pulls", house.path("pluggy"));
    for called_off in [false, true] {
        house.app.clock.advance(TimeDelta::hours(1));
        let fault = json!({"kind": "answer", "status": 404, "body": {"code": 404}});
        let rule = json!({"vendor": "pluggy", "path": "/items/", "fault": fault});
        house.vendors.fault(&rule).await;
        let first = if called_off {
            "2025-07-01"
        } else {
            "2025-06-01"
        };
        let window = json!({"from": first, "to": "2025-07-30"});
        house.client.post(&pulls, &window).await.expect(202);
        assert_eq!(house.work().await, 1);
        house.vendors.no_faults().await;
        let failed = last_pull(&house.client, house.path("pluggy")).await;
        assert_eq!(failed["state"], "failed", "{failed:#}");
        if called_off {
            let id = failed["id"].as_str().unwrap();
            let cancel = format!("/v1/discovery/pulls/{id}/cancel");
            let cancelled = house.client.post(&cancel, &json!({})).await.expect(200);
            assert_eq!(cancelled["state"], "cancelled");
            assert_eq!(cancelled["finishedAt"], failed["finishedAt"]);
            let again = house.client.post(&cancel, &json!({})).await;
            again.expect_problem(409, "MTCH-0007");
        }
        house.app.clock.advance(TimeDelta::minutes(1));
        house.client.post(&pulls, &json!({})).await.expect(202);
        assert_eq!(house.work().await, 1);
        let read = format!("SELECT count(*) FROM cursors WHERE backfill_from = '{first}'");
        let read: Vec<i64> = house.app.column(&read).await;
        assert_eq!(read[0] > 0, !called_off, "{first}");
    }
}

#[tokio::test]
async fn a_row_that_goes_while_the_first_pull_is_cut_short_is_not_kept() {
    let house = House::build().await;
    // As an attempt leaves it that stored pages and never came to the end.
    house.app.execute("DELETE FROM cursors").await;
    for scenario in ["edit-amount", "delete-row"] {
        house.app.clock.advance(TimeDelta::minutes(7));
        for event in house.happens("pluggy", scenario, &json!({})).await {
            house.deliver("pluggy", &event).await;
        }
    }
    assert_eq!(house.work().await, 1);
    house.expect_truth("pluggy", "a first pull").await;
}

#[tokio::test]
async fn what_joined_a_pull_that_was_put_back_meanwhile_counts_as_unheard() {
    let house = House::build().await;
    let reference = house.vendors.connection("pluggy", "x")["accountRef"].clone();
    for (again, heard) in [(false, true), (true, false)] {
        house.app.clock.advance(TimeDelta::minutes(7));
        let key = format!("told {again}");
        let told = json!({"event": "item/updated", "eventId": key, "itemId": reference});
        house.deliver("pluggy", &told).await;
        let failed = house.app.app().claim_pull().await.unwrap().unwrap();
        let pull = failed.lease.pull;
        let state = if again { "queued" } else { "failed" };
        let put = format!(
            "UPDATE pulls SET state = '{state}', lease = NULL, lease_until = NULL WHERE id = '{pull}'"
        );
        assert_eq!(house.app.execute(&put).await, 1);
        // An attempt that had inherited its work ends.
        let now = house.app.clock.now();
        let mut tx = house.app.store().begin(failed.tenant).await.unwrap();
        tx.note_heard(failed.connection, &[pull], now)
            .await
            .unwrap();
        tx.commit().await.unwrap();
        let noted = format!("SELECT heard_at IS NOT NULL FROM deliveries WHERE pull_id = '{pull}'");
        let noted: Vec<bool> = house.app.column(&noted).await;
        assert_eq!(noted, [heard], "{state}");
    }
}

#[tokio::test]
async fn a_row_that_is_said_to_be_gone_is_judged_by_an_answer_whose_rows_have_names() {
    for (vendor, path, nameless) in [
        (
            "pluggy",
            "/v2/transactions",
            json!({"results": [{"id": null}], "next": null}),
        ),
        ("belvo", "/api/transactions/", json!({"id": null})),
    ] {
        let house = House::build().await;
        house.app.clock.advance(TimeDelta::minutes(7));
        let before = house.ours(vendor).await;
        for event in house.happens(vendor, "delete-row", &json!({})).await {
            house.deliver(vendor, &event).await;
        }
        let fault = json!({"kind": "answer", "status": 200, "body": nameless});
        let rule = json!({"vendor": vendor, "path": path, "fault": fault});
        house.vendors.fault(&rule).await;
        assert_eq!(house.work().await, 1);
        let pull = last_pull(&house.client, house.path(vendor)).await;
        assert_eq!(pull["state"], "retrying", "{vendor}: {pull:#}");
        assert_eq!(pull["error"]["class"], "malformed_answer", "{pull:#}");
        assert_eq!(house.ours(vendor).await, before, "{vendor}");

        house.vendors.no_faults().await;
        house.app.clock.advance(TimeDelta::hours(2));
        assert_eq!(house.work().await, 1);
        house.expect_truth(vendor, "an answer with names").await;
    }
}

#[tokio::test]
async fn a_row_that_is_said_to_be_gone_is_even_if_another_one_comes_twice() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::minutes(7));
    for event in house.happens("pluggy", "delete-row", &json!({})).await {
        house.deliver("pluggy", &event).await;
    }
    let another = json!({"id": "another"});
    let twice = json!({"results": [another, another], "next": null});
    let fault = json!({"kind": "answer", "status": 200, "body": twice});
    let rule = json!({"vendor": "pluggy", "path": "/v2/transactions", "fault": fault});
    house.vendors.fault(&rule).await;
    assert_eq!(house.work().await, 1);
    house.vendors.no_faults().await;
    house.expect_truth("pluggy", "a row that came twice").await;
}
