//! Tokens that somebody made up, however many.

use futures_util::future::{Either, join_all, select};
use matcher_discovery::domain::{random::OsRandom, webhook_token::WebhookToken};
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};

use super::{Endpoint, TOKENS, created, expect_taken, send, sign, start};
use crate::support::{Answer, TestApp};

/// How many unknown tokens are looked up at once.
const MOST: usize = 128;

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
async fn unknown_tokens_are_looked_up_a_few_at_a_time() {
    let app = start().await;
    // Opens the connections.
    guess(&app).await.expect_problem(401, "MTCH-0212");
    let mut operator = PgConnection::connect(&app.database_url()).await.unwrap();
    let mut tx = operator.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE webhook_tokens IN ACCESS EXCLUSIVE MODE")
        .execute(&mut *tx)
        .await
        .unwrap();
    let waiting = Box::pin(join_all((0..MOST).map(|_| guess(&app))));
    let Either::Right((answer, waiting)) = select(waiting, Box::pin(guess(&app))).await else {
        panic!("those that were first were answered first");
    };
    answer.expect_problem(503, "MTCH-0008");
    assert_eq!(answer.header("retry-after"), "1");
    tx.rollback().await.unwrap();
    // On a slow machine it may have been too long for some of them; their places are free again.
    for answer in waiting.await {
        assert!([401, 503].contains(&answer.status.as_u16()), "{answer:?}");
    }
    guess(&app).await.expect_problem(401, "MTCH-0212");
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
    sqlx::raw_sql("SELECT pg_advisory_unlock(1)")
        .execute(&mut holder)
        .await
        .unwrap();
    for answer in looking_up.await {
        expect_taken(&answer);
    }
}
