//! What becomes of what is let in.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use matcher_discovery::app::PruningPlace;
use serde_json::{Value, json};

use super::{Endpoint, ITEM, count, created, expect_taken, start};
use crate::support::TestApp;

/// One row as JSON, in the columns' own names.
async fn rows(app: &TestApp, table: &str) -> Vec<Value> {
    let query = format!("SELECT to_jsonb(t) FROM {table} t ORDER BY t.id");
    app.column(&query).await
}

async fn outcomes(app: &TestApp) -> Vec<String> {
    app.column("SELECT event || ' ' || outcome || ' ' || hint FROM deliveries ORDER BY event")
        .await
}

#[tokio::test]
async fn an_event_and_the_pull_it_asks_for_are_written_down() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let event = created("event-1");
    expect_taken(&endpoint.deliver(&app, &event).await);

    let body: Vec<Vec<u8>> = app.column("SELECT body FROM deliveries").await;
    assert_eq!(body, [event.to_string().into_bytes()]);
    let [delivery] = &rows(&app, "deliveries").await[..] else {
        panic!("one delivery");
    };
    let [pull] = &rows(&app, "pulls").await[..] else {
        panic!("one pull");
    };
    for (name, value) in [
        ("tenant_id", json!(app.tenant)),
        ("event", json!("transactions/created")),
        ("event_key", json!("event-1")),
        ("key_expires", json!(false)),
        ("outcome", json!("queued")),
        ("hint", json!("created")),
        ("hint_account", json!("acc-1")),
        ("hint_since", json!("2026-03-01T11:59:00+00:00")),
        ("hint_ids", Value::Null),
        ("received_at", json!("2026-03-01T12:00:00+00:00")),
        ("pull_id", pull["id"].clone()),
        ("connection_id", pull["connection_id"].clone()),
    ] {
        assert_eq!(delivery[name], value, "{name}");
    }
    assert!(
        endpoint
            .connection
            .ends_with(pull["connection_id"].as_str().unwrap())
    );
    assert!(
        endpoint
            .record
            .ends_with(delivery["token_id"].as_str().unwrap())
    );
    for (name, value) in [
        ("tenant_id", json!(app.tenant)),
        ("state", json!("queued")),
        ("reason", json!("webhook")),
        ("priority", json!(30)),
        ("attempts", json!(0)),
        ("due_at", json!("2026-03-01T12:00:00+00:00")),
    ] {
        assert_eq!(pull[name], value, "{name}");
    }
}

#[tokio::test]
async fn what_an_event_names_is_kept_name_by_name() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let ids = json!(["plain", "with \"quotes\", {braces} and \\", "é", "NULL", ""]);
    let names = &ids.as_array().unwrap()[..4];
    for (kind, key) in [("updated", "a"), ("deleted", "b")] {
        let event = json!({
            "event": format!("transactions/{kind}"), "eventId": key, "itemId": ITEM,
            "accountId": "acc-1", "transactionIds": names,
        });
        expect_taken(&endpoint.deliver(&app, &event).await);
    }
    let kept: Vec<Value> = app
        .column("SELECT to_jsonb(hint_ids) FROM deliveries ORDER BY hint")
        .await;
    assert_eq!(kept, [json!(names), json!(names)]);
}

#[tokio::test]
async fn a_thousand_copies_at_once_are_one_delivery_and_one_pull() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let event = created("event-1");
    let copies = (0..1000).map(|_| endpoint.deliver(&app, &event));
    for answer in join_all(copies).await {
        expect_taken(&answer);
    }
    assert_eq!(count(&app, "deliveries").await, 1);
    assert_eq!(count(&app, "pulls").await, 1);
}

#[tokio::test]
async fn five_hundred_events_of_a_connection_wait_for_one_pull() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let events: Vec<Value> = (0..500).map(|n| created(&format!("event-{n}"))).collect();
    let all = events.iter().map(|event| endpoint.deliver(&app, event));
    for answer in join_all(all).await {
        expect_taken(&answer);
    }
    assert_eq!(count(&app, "deliveries").await, 500);
    let asked: Vec<i64> = app
        .column(
            "SELECT count(*) FROM pulls p JOIN deliveries d
             ON d.tenant_id = p.tenant_id AND d.pull_id = p.id GROUP BY p.id",
        )
        .await;
    assert_eq!(asked, [500]);
}

#[tokio::test]
async fn a_repeated_event_changes_nothing_even_when_its_pull_is_over() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    expect_taken(&endpoint.deliver(&app, &created("event-1")).await);
    app.execute("UPDATE pulls SET state = 'succeeded'").await;
    let before = (rows(&app, "deliveries").await, rows(&app, "pulls").await);
    app.clock.advance(TimeDelta::days(1));
    expect_taken(&endpoint.deliver(&app, &created("event-1")).await);
    let after = (rows(&app, "deliveries").await, rows(&app, "pulls").await);
    assert_eq!(before, after);
}

/// An event of Belvo that is like every other of its kind.
fn keyless(code: &str) -> Value {
    json!({
        "webhook_id": "5c3b2d", "webhook_type": "TRANSACTIONS", "webhook_code": code,
        "link_id": ITEM,
    })
}

#[tokio::test]
async fn an_event_without_a_key_is_a_new_one_as_soon_as_its_pull_has_begun() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "belvo", "one").await;
    let event = keyless("transactions_updated");
    expect_taken(&endpoint.deliver(&app, &event).await);
    app.clock.advance(TimeDelta::hours(3));
    expect_taken(&endpoint.deliver(&app, &event).await);
    let received = "deliveries WHERE received_at = '2026-03-01T12:00Z'";
    assert_eq!(count(&app, received).await, 1, "still the same event");
    assert_eq!(count(&app, "pulls").await, 1);

    let running = "state = 'running', lease = gen_random_uuid(), lease_until = now()";
    let over = "state = 'succeeded', lease = NULL, lease_until = NULL";
    for (pulls, begun) in [(2, running), (3, over)] {
        app.execute(&format!("UPDATE pulls SET {over} WHERE state = 'running'"))
            .await;
        app.execute(&format!("UPDATE pulls SET {begun} WHERE state = 'queued'"))
            .await;
        app.clock.advance(TimeDelta::seconds(1));
        expect_taken(&endpoint.deliver(&app, &event).await);
        expect_taken(&endpoint.deliver(&app, &event).await);
        let waiting = "pulls p JOIN deliveries d ON d.pull_id = p.id WHERE p.state = 'queued'";
        assert_eq!(
            count(&app, waiting).await,
            1,
            "one more pull, however often"
        );
        assert_eq!(count(&app, "pulls").await, pulls);
        assert_eq!(count(&app, "deliveries").await, 1);
    }
    let received: Vec<DateTime<Utc>> = app.column("SELECT received_at FROM deliveries").await;
    assert_eq!(
        received,
        ["2026-03-01T15:00:02Z".parse::<DateTime<Utc>>().unwrap()]
    );
}

#[tokio::test]
async fn an_event_without_a_key_joins_a_pull_that_is_to_be_tried_again() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "belvo", "one").await;
    let event = keyless("transactions_updated");
    expect_taken(&endpoint.deliver(&app, &event).await);
    app.execute("UPDATE pulls SET state = 'retrying', attempts = 1")
        .await;
    app.clock.advance(TimeDelta::minutes(1));
    expect_taken(&endpoint.deliver(&app, &event).await);
    // What its first attempt has read was read before the event.
    let asked: Vec<DateTime<Utc>> = app.column("SELECT asked_at FROM pulls").await;
    let received: Vec<DateTime<Utc>> = app.column("SELECT received_at FROM deliveries").await;
    let told_again = "2026-03-01T12:01:00Z".parse::<DateTime<Utc>>().unwrap();
    assert_eq!((asked, received), (vec![told_again], vec![told_again]));
}

#[tokio::test]
async fn a_thousand_copies_of_an_event_without_a_key_are_one_delivery_and_one_pull() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "belvo", "one").await;
    let event = keyless("transactions_updated");
    // The event has been told before, and its pull is over: every copy finds it out of date.
    expect_taken(&endpoint.deliver(&app, &event).await);
    app.execute("UPDATE pulls SET state = 'succeeded'").await;
    let copies = (0..1000).map(|_| endpoint.deliver(&app, &event));
    for answer in join_all(copies).await {
        expect_taken(&answer);
    }
    assert_eq!(count(&app, "deliveries").await, 1);
    assert_eq!(count(&app, "pulls WHERE state = 'queued'").await, 1);
    assert_eq!(count(&app, "pulls").await, 2);
}

#[tokio::test]
async fn an_event_without_a_key_that_asks_for_nothing_is_noted_once_an_hour() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "belvo", "one").await;
    let event = keyless("recurring_expenses");
    for minutes in [0, 59, 1] {
        app.clock.advance(TimeDelta::minutes(minutes));
        expect_taken(&endpoint.deliver(&app, &event).await);
    }
    let received: Vec<DateTime<Utc>> = app.column("SELECT received_at FROM deliveries").await;
    assert_eq!(
        received,
        ["2026-03-01T13:00:00Z".parse::<DateTime<Utc>>().unwrap()]
    );
    assert_eq!(count(&app, "pulls").await, 0);
}

#[tokio::test]
async fn an_event_joins_the_pull_that_waits_and_hastens_it_unless_it_failed() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    expect_taken(&endpoint.deliver(&app, &created("event-1")).await);
    for (number, state, due) in [
        (2, "queued", "2026-03-01T12:00:00Z"),
        (3, "retrying", "2026-03-01T15:00:00Z"),
    ] {
        app.execute(&format!(
            "UPDATE pulls SET state = '{state}', due_at = '2026-03-01T15:00Z', priority = 50"
        ))
        .await;
        expect_taken(
            &endpoint
                .deliver(&app, &created(&format!("event-{number}")))
                .await,
        );
        let found: Vec<DateTime<Utc>> = app.column("SELECT due_at FROM pulls").await;
        assert_eq!(found, [due.parse::<DateTime<Utc>>().unwrap()], "{state}");
        let priority: Vec<i16> = app.column("SELECT priority FROM pulls").await;
        assert_eq!(priority, [30], "{state}");
    }
    // A pull that runs may have read the vendor already, so what comes now needs another one.
    app.execute(
        "UPDATE pulls SET state = 'running', lease = gen_random_uuid(), lease_until = now()",
    )
    .await;
    expect_taken(&endpoint.deliver(&app, &created("event-4")).await);
    let states: Vec<String> = app.column("SELECT state FROM pulls ORDER BY state").await;
    assert_eq!(states, ["queued", "running"]);
    let joined = "deliveries d JOIN pulls p ON p.id = d.pull_id WHERE p.state = 'queued'";
    assert_eq!(count(&app, joined).await, 1);
}

#[tokio::test]
async fn what_is_of_no_use_is_kept_and_asks_for_nothing() {
    let app = start().await;
    let pluggy = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let belvo = Endpoint::create(&app, &app.client(), "belvo", "two").await;
    let foreign = |event: &str| {
        let mut event = created(event);
        event["itemId"] = json!("00000000-0000-4000-8000-000000000000");
        event
    };
    for body in [&b"not JSON"[..], b"", b"\0\xff", b"[]", b"{}"] {
        expect_taken(&pluggy.deliver_bytes(&app, body.to_vec()).await);
        expect_taken(&belvo.deliver_bytes(&app, body.to_vec()).await);
    }
    expect_taken(&pluggy.deliver(&app, &foreign("event-1")).await);
    let connector = json!({"event": "connector/status_updated", "eventId": "e2", "id": "201"});
    expect_taken(&pluggy.deliver(&app, &connector).await);
    assert_eq!(count(&app, "deliveries WHERE event = 'unknown'").await, 10);
    app.execute("DELETE FROM deliveries WHERE event = 'unknown'")
        .await;
    assert_eq!(
        outcomes(&app).await,
        [
            "connector/status_updated ignored nothing",
            "transactions/created unmatched created",
        ]
    );
    assert_eq!(count(&app, "pulls").await, 0);
}

#[tokio::test]
async fn a_reference_matches_however_it_is_written_and_by_account_too() {
    let app = start().await;
    let client = app.client();
    let endpoint = Endpoint::create(&app, &client, "pluggy", "one").await;
    let mut event = created("event-1");
    event["itemId"] = json!(ITEM.to_uppercase());
    expect_taken(&endpoint.deliver(&app, &event).await);

    let change = json!({
        "configName": "one", "accountRef": "acc-1", "baseUrl": "https://api.pluggy.ai",
    });
    client.put(&endpoint.connection, &change).await.expect(200);
    expect_taken(&endpoint.deliver(&app, &created("event-2")).await);
    let mut other = created("event-3");
    other["accountId"] = json!("acc-2");
    expect_taken(&endpoint.deliver(&app, &other).await);
    let found: Vec<String> = app
        .column("SELECT event_key || ' ' || outcome FROM deliveries ORDER BY event_key")
        .await;
    assert_eq!(
        found,
        ["event-1 queued", "event-2 queued", "event-3 unmatched"]
    );
}

#[tokio::test]
async fn a_body_may_have_a_mebibyte_and_no_more() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let most = 1024 * 1024;
    expect_taken(&endpoint.deliver_bytes(&app, vec![b'x'; most]).await);
    // What is not read to its end is not known to be the vendor's.
    endpoint
        .deliver_bytes(&app, vec![b'x'; most + 1])
        .await
        .expect_problem(401, "MTCH-0212");
    assert_eq!(count(&app, "deliveries").await, 1);
}

#[tokio::test]
async fn the_same_event_of_two_tenants_is_two_deliveries() {
    let app = start().await;
    let mine = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let theirs = Endpoint::create(&app, &app.other_tenant(), "pluggy", "one").await;
    expect_taken(&mine.deliver(&app, &created("event-1")).await);
    let whose = |table: &str| format!("SELECT DISTINCT tenant_id FROM {table}");
    for table in ["deliveries", "pulls"] {
        let found: Vec<uuid::Uuid> = app.column(&whose(table)).await;
        assert_eq!(found, [app.tenant.0], "{table}");
    }
    let event = created("event-1");
    let (one, other) =
        futures_util::future::join(mine.deliver(&app, &event), theirs.deliver(&app, &event)).await;
    expect_taken(&one);
    expect_taken(&other);
    for table in ["deliveries", "pulls"] {
        let found: Vec<uuid::Uuid> = app.column(&whose(table)).await;
        assert_eq!(found.len(), 2, "{table}");
        assert_eq!(count(&app, table).await, 2, "{table}");
    }
}

#[tokio::test]
async fn what_was_kept_for_a_month_is_cleared_away_some_at_a_time() {
    let app = start().await;
    let client = app.client();
    let one = Endpoint::create(&app, &client, "pluggy", "one").await;
    let other = Endpoint::create(&app, &app.other_tenant(), "pluggy", "other").await;
    expect_taken(&one.deliver(&app, &created("old")).await);
    expect_taken(&other.deliver(&app, &created("old")).await);
    app.clock
        .advance(TimeDelta::days(30) + TimeDelta::seconds(1));
    expect_taken(&one.deliver(&app, &created("young")).await);
    // A connection that is gone, with more than one round clears away; and many with nothing old.
    app.execute(
        "INSERT INTO deliveries (tenant_id, id, connection_id, token_id, event, event_key,
             key_expires, body, outcome, hint, received_at)
         SELECT tenant_id, gen_random_uuid(), 'ffffffff-ffff-ffff-ffff-ffffffffffff', token_id,
                event, n, false, '', 'ignored', 'nothing', received_at
         FROM deliveries, generate_series(1, 20500) AS n
         WHERE event_key = 'old' AND tenant_id = '11111111-1111-1111-1111-111111111111';
         INSERT INTO deliveries (tenant_id, id, connection_id, token_id, event, event_key,
             key_expires, body, outcome, hint, received_at)
         SELECT tenant_id, gen_random_uuid(), gen_random_uuid(), token_id,
                event, n, false, '', 'ignored', 'nothing', received_at
         FROM deliveries, generate_series(1, 450) AS n WHERE event_key = 'young'",
    )
    .await;
    let old = "deliveries WHERE received_at < '2026-03-02'";
    let all = count(&app, old).await;
    let mut place = PruningPlace::default();
    let mut left = Vec::new();
    loop {
        place = app.app().prune_deliveries(place).await.unwrap();
        left.push(all - count(&app, old).await);
        if place == PruningPlace::default() {
            break;
        }
    }
    let most = left.iter().zip(left.iter().skip(1)).map(|(a, b)| b - a);
    assert!(most.max() <= Some(20_000), "{left:?}");
    assert_eq!(left.last(), Some(&20_502), "{left:?}");
    assert_eq!(count(&app, old).await, 0);
    assert_eq!(count(&app, "deliveries").await, 451);
}
