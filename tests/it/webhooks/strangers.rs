//! Tokens that somebody made up, however many.

use axum::http::StatusCode;
use futures_util::future::{Either, join_all, select};
use matcher_discovery::domain::{random::OsRandom, webhook_token::WebhookToken};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use super::{Endpoint, SECRET, TOKENS, count, created, expect_taken, send, sign, start};
use crate::support::{Answer, TestApp};

/// Somebody who keeps whoever looks up a connection's token waiting, if its name begins with `slow`.
async fn hold_slow_ones(app: &TestApp) -> PgConnection {
    app.execute(
        "CREATE FUNCTION held() RETURNS boolean LANGUAGE plpgsql
             AS $$ BEGIN PERFORM pg_advisory_xact_lock_shared(1); RETURN true; END $$;
         CREATE TABLE slow AS SELECT t.id FROM webhook_tokens t
             JOIN connections c ON c.id = t.connection_id WHERE c.config_name LIKE 'slow-%';
         GRANT SELECT ON slow TO discovery_system;
         ALTER POLICY webhook_tokens_bindings ON webhook_tokens
             USING (CASE WHEN id IN (SELECT id FROM slow) THEN held() ELSE true END)",
    )
    .await;
    let mut holder = PgConnection::connect(&app.database_url()).await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_lock(1)")
        .execute(&mut holder)
        .await
        .unwrap();
    holder
}

async fn let_go(mut holder: PgConnection) {
    sqlx::raw_sql("SELECT pg_advisory_unlock(1)")
        .execute(&mut holder)
        .await
        .unwrap();
}

/// How many look-ups wait for somebody.
async fn held(app: &TestApp) -> i64 {
    let waiting = "pg_stat_activity
         WHERE datname = current_database() AND wait_event_type = 'Lock'";
    count(app, waiting).await
}

/// Sends a webhook by a token of the right form that nobody minted.
async fn guess(app: &TestApp) -> Answer {
    let token = WebhookToken::mint(&OsRandom);
    let path = format!("/v1/discovery/webhooks/pluggy/{}", token.expose());
    let body = created("event-1").to_string();
    let signature = sign(body.as_bytes());
    let headers = [("x-webhook-signature", signature.as_str())];
    send(app, &path, "203.0.113.7", &headers, body).await
}

#[tokio::test]
async fn unknown_tokens_wait_for_room_to_be_looked_up() {
    let app = start().await;
    // Opens the connections.
    guess(&app).await.expect_problem(401, "MTCH-0212");
    for answer in join_all((0..200).map(|_| guess(&app))).await {
        answer.expect_problem(401, "MTCH-0212");
    }
}

#[tokio::test]
async fn what_its_source_vouches_for_does_not_wait_for_strangers() {
    let address = "198.51.100.1";
    let app = TestApp::configured(&[
        ("DISCOVERY_PLUGGY_WEBHOOK_HMAC_SECRET", SECRET),
        ("DISCOVERY_PLUGGY_WEBHOOK_IPS", address),
    ])
    .await;
    let client = app.client();
    let vouched = Endpoint::create(&app, &client, "pluggy", "vouched").await;
    let mut slow = Vec::new();
    for number in 0..8 {
        let name = format!("slow-{number}");
        slow.push(Endpoint::create(&app, &client, "pluggy", &name).await);
    }
    let holder = hold_slow_ones(&app).await;
    let event = created("event-1");
    let strangers = Box::pin(join_all(slow.iter().map(|one| one.deliver(&app, &event))));
    let waited_for = Box::pin(async {
        while held(&app).await < 2 {}
        send(&app, &vouched.path(), address, &[], event.to_string()).await
    });
    let Either::Right((answer, strangers)) = select(strangers, waited_for).await else {
        panic!("what somebody may have made up was answered first");
    };
    expect_taken(&answer);
    assert_eq!(held(&app).await, 2, "no more of them are looked up at once");
    let_go(holder).await;
    for answer in strangers.await {
        // On a slow machine it may have been too long for some of them.
        let fair = [StatusCode::ACCEPTED, StatusCode::SERVICE_UNAVAILABLE];
        assert!(fair.contains(&answer.status), "{answer:?}");
    }
}

#[tokio::test]
async fn known_tokens_are_kept_while_others_are_looked_up() {
    let app = start().await;
    let client = app.client();
    let known = Endpoint::create(&app, &client, "pluggy", "known").await;
    expect_taken(&known.deliver(&app, &created("event-1")).await);
    let mut slow = Vec::new();
    for name in ["slow-1", "slow-2", "slow-3"] {
        slow.push(Endpoint::create(&app, &client, "pluggy", name).await);
    }
    // Whoever looks up one of these waits for as long as somebody holds the lock.
    let holder = hold_slow_ones(&app).await;
    let event = created("event-1");
    let looking_up = Box::pin(join_all(slow.iter().map(|one| one.deliver(&app, &event))));
    let refreshing = Box::pin(app.refresh_webhook_bindings());
    let Either::Right(((), looking_up)) = select(looking_up, refreshing).await else {
        panic!("what is known waited for what is not");
    };
    let tokens = client.get(TOKENS).await.expect(200);
    let used = tokens["items"].as_array().unwrap();
    let used = used
        .iter()
        .filter(|token| token["lastUsedAt"] != Value::Null);
    assert_eq!(used.count(), 1);
    let_go(holder).await;
    for answer in looking_up.await {
        expect_taken(&answer);
    }
}
