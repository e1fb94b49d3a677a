//! What a connection's status tells of its webhooks.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use matcher_discovery::domain::clock::Clock as _;
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use super::{Endpoint, TOKENS, created, expect_taken, send, start};
use crate::support::TestApp;

/// A connection whose webhooks are told of.
struct Told {
    app: TestApp,
    endpoint: Endpoint,
}

impl Told {
    async fn start() -> Self {
        let app = start().await;
        let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
        Self { app, endpoint }
    }

    /// The time, once so many seconds more have passed.
    fn after(&self, seconds: i64) -> DateTime<Utc> {
        self.app.clock.advance(TimeDelta::seconds(seconds));
        self.app.clock.now()
    }

    async fn accepted(&self) {
        let event = created(&self.app.clock.now().to_string());
        expect_taken(&self.endpoint.deliver(&self.app, &event).await);
    }

    async fn refused(&self) {
        let answer = send(&self.app, &self.endpoint.path(), "203.0.113.7", &[], "{}").await;
        answer.expect_problem(401, "MTCH-0212");
    }

    async fn webhooks(&self) -> Value {
        self.app.refresh_webhook_bindings().await;
        let path = format!("{}/status", self.endpoint.connection);
        self.app.client().get(&path).await.expect(200)["webhooks"].clone()
    }

    async fn expect(&self, verdict: &str, reason: &str, since: DateTime<Utc>) {
        let told = self.webhooks().await;
        let since = since.to_rfc3339_opts(SecondsFormat::Millis, true);
        assert_eq!(
            [&told["verdict"], &told["reason"], &told["since"]],
            [&json!(verdict), &json!(reason), &json!(since)],
            "at {}",
            self.app.clock.now()
        );
    }
}

#[tokio::test]
async fn the_verdict_is_that_of_the_last_webhook_and_keeps_its_time() {
    let told = Told::start().await;
    told.expect("never", "none_received", told.app.clock.now())
        .await;
    let first = told.after(10);
    // Within the minute, and past it.
    for seconds in [0, 10, 90] {
        told.after(seconds);
        told.refused().await;
        told.expect("rejected", "source_not_accepted", first).await;
    }
    let first = told.after(10);
    for seconds in [0, 10, 90, 24 * 3600] {
        told.after(seconds);
        told.accepted().await;
        told.expect("ok", "accepted", first).await;
    }
    // As soon as they alternate, each minute.
    for _ in 0..3 {
        let now = told.after(5);
        told.refused().await;
        told.expect("rejected", "source_not_accepted", now).await;
        let now = told.after(5);
        told.accepted().await;
        told.expect("ok", "accepted", now).await;
    }
    let last = told.app.clock.now();
    told.after(3 * 24 * 3600 + 1);
    let silent_since = last + TimeDelta::days(3);
    told.expect("silent", "none_for_days", silent_since).await;
    let now = told.after(5);
    told.accepted().await;
    told.expect("ok", "accepted", now).await;
}

#[tokio::test]
async fn of_what_happens_between_two_looks_the_last_decides() {
    let told = Told::start().await;
    told.accepted().await;
    told.after(1);
    told.refused().await;
    let now = told.after(1);
    told.accepted().await;
    told.expect("ok", "accepted", now).await;
    told.after(1);
    told.accepted().await;
    let now = told.after(1);
    told.refused().await;
    told.expect("rejected", "source_not_accepted", now).await;
}

#[tokio::test]
async fn the_tokens_of_a_connection_are_judged_together() {
    let told = Told::start().await;
    let mut other = Told {
        endpoint: Endpoint {
            vendor: told.endpoint.vendor,
            connection: told.endpoint.connection.clone(),
            token: String::new(),
            record: String::new(),
        },
        app: told.app,
    };
    let mint = json!({"vendor": "pluggy", "connection_config_name": "one"});
    let minted = other.app.client().post(TOKENS, &mint).await;
    minted.expect(201)["token"]
        .as_str()
        .unwrap()
        .clone_into(&mut other.endpoint.token);
    let mut old = told.endpoint;

    let first = other.app.clock.now();
    other.accepted().await;
    other.expect("ok", "accepted", first).await;
    // By the old one, and by the new one again, all within a minute.
    for _ in 0..2 {
        std::mem::swap(&mut old, &mut other.endpoint);
        let now = other.after(5);
        other.refused().await;
        other.expect("rejected", "source_not_accepted", now).await;
        std::mem::swap(&mut old, &mut other.endpoint);
        let now = other.after(5);
        other.accepted().await;
        other.expect("ok", "accepted", now).await;
    }
    // What came by one goes on by the other.
    let since = other.app.clock.now();
    std::mem::swap(&mut old, &mut other.endpoint);
    other.after(120);
    other.accepted().await;
    other.expect("ok", "accepted", since).await;
}

#[tokio::test]
async fn what_was_refused_for_its_token_says_nothing_of_the_connection() {
    let told = Told::start().await;
    let created = told.app.clock.now();
    let belvo = told.endpoint.path().replace("pluggy", "belvo");
    let answer = send(&told.app, &belvo, "203.0.113.7", &[], "{}").await;
    answer.expect_problem(401, "MTCH-0212");
    told.expect("never", "none_received", created).await;
    told.app
        .execute("UPDATE webhook_tokens SET expires_at = created_at")
        .await;
    told.refused().await;
    told.expect("never", "none_received", created).await;
}

#[tokio::test]
async fn what_could_not_be_noted_is_noted_later() {
    let told = Told::start().await;
    let url = told.app.database_url();
    let mut operator = PgConnection::connect(&url).await.unwrap();
    let mut tx = operator.begin().await.unwrap();
    sqlx::raw_sql("SELECT FROM webhook_tokens FOR NO KEY UPDATE")
        .execute(&mut *tx)
        .await
        .unwrap();
    told.accepted().await;
    assert_eq!(told.webhooks().await["verdict"], "never");
    tx.rollback().await.unwrap();
    told.expect("ok", "accepted", told.app.clock.now()).await;
    // Not even whose token it was.
    let mut tx = operator.begin().await.unwrap();
    sqlx::raw_sql("LOCK TABLE webhook_tokens")
        .execute(&mut *tx)
        .await
        .unwrap();
    let now = told.after(5);
    told.refused().await;
    told.app.refresh_webhook_bindings().await;
    tx.rollback().await.unwrap();
    told.expect("rejected", "source_not_accepted", now).await;
}

#[tokio::test]
async fn what_happened_until_the_end_is_noted_at_the_end() {
    let told = Told::start().await;
    // The first look is over, and the next one is not due yet.
    told.app.refresh_webhook_bindings().await;
    told.accepted().await;
    told.app.end_tasks().await;
    let noted: Vec<bool> = told
        .app
        .column("SELECT last_used_at IS NOT NULL FROM webhook_tokens")
        .await;
    assert_eq!(noted, [true]);
}
