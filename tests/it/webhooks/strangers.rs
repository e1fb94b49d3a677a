//! Tokens that somebody made up, however many, and whoever holds them without the vendor's secret.

use futures_util::future::{Either, join_all, select};
use matcher_discovery::domain::{random::OsRandom, webhook_token::WebhookToken};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use super::{Endpoint, SECRET, TOKENS, created, expect_taken, send, sign, start};
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
async fn a_stranger_waits_for_no_look_up_and_the_vendor_for_no_stranger() {
    let address = "198.51.100.1";
    let app = TestApp::configured(&[
        ("DISCOVERY_PLUGGY_WEBHOOK_HMAC_SECRET", SECRET),
        ("DISCOVERY_PLUGGY_WEBHOOK_IPS", address),
    ])
    .await;
    let client = app.client();
    let signed = Endpoint::create(&app, &client, "pluggy", "signed").await;
    let listed = Endpoint::create(&app, &client, "pluggy", "listed").await;
    let mut slow = Vec::new();
    for number in 0..8 {
        let name = format!("slow-{number}");
        slow.push(Endpoint::create(&app, &client, "pluggy", &name).await);
    }
    let holder = hold_slow_ones(&app).await;
    let event = created("event-1");
    let body = event.to_string();
    let wrong = sign(b"another body");
    for proof in [&[][..], &[("x-webhook-signature", wrong.as_str())]] {
        let strangers = slow.iter().map(|one| {
            let (app, path, body) = (&app, one.path(), body.clone());
            async move { send(app, &path, "203.0.113.7", proof, body).await }
        });
        for answer in join_all(strangers).await {
            answer.expect_problem(401, "MTCH-0212");
        }
    }
    expect_taken(&signed.deliver(&app, &event).await);
    expect_taken(&send(&app, &listed.path(), address, &[], body).await);
    let_go(holder).await;
    // Whose tokens they are is still found out.
    app.refresh_webhook_bindings().await;
    for one in &slow {
        let status = client.get(&format!("{}/status", one.connection)).await;
        assert_eq!(status.expect(200)["webhooks"]["verdict"], "rejected");
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
