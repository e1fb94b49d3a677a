//! What one statement writes, and what it costs.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use matcher_discovery::{
    domain::{clock::Clock as _, delivery::NewDelivery, event::Hint, ids::PullId},
    shutdown::Shutdown,
    storage::Intake,
};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use super::{
    count, start,
    trouble::{connection, delivery, intake},
};
use crate::support::TestApp;

/// Writes deliveries; all of them wait before the writer gets its turn.
async fn write(intake: &Intake, deliveries: Vec<NewDelivery>) {
    let answers = join_all(deliveries.into_iter().map(|one| intake.accept(one))).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}

/// Ends every session, so that Postgres counts what they read.
pub(super) async fn end_sessions(app: &TestApp, shutdown: &Shutdown) {
    let patience = std::time::Duration::from_mins(1);
    shutdown.drain(patience).await.unwrap();
    app.close_database().await;
    let sessions = "pg_stat_activity
                    WHERE datname = current_database() AND pid <> pg_backend_pid()";
    while count(app, sessions).await > 0 {
        tokio::task::yield_now().await;
    }
}

/// How many entries of a table's indexes were read.
pub(super) async fn entries_read(app: &TestApp, table: &str) -> i64 {
    let read = format!(
        "SELECT sum(idx_tup_read)::bigint FROM pg_stat_user_indexes WHERE relname = '{table}'"
    );
    app.column(&read).await.remove(0)
}

#[tokio::test]
async fn a_pull_is_due_from_its_first_event_on_and_reads_what_the_last_one_asks_for() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    let now = app.clock.now();
    let told = |key: &str, seconds, hint| NewDelivery {
        hint,
        received_at: now + TimeDelta::seconds(seconds),
        ..delivery(&app, mine, key)
    };
    let batch = vec![
        told("b", 1, Hint::Source),
        told("c", 3, Hint::Window),
        told("a", 0, Hint::Source),
        told("d", 2, Hint::Full),
        told("e", 4, Hint::Source),
    ];
    write(&intake, batch).await;
    let times: Vec<DateTime<Utc>> = app
        .column("SELECT unnest(ARRAY[due_at, hints_since, asked_at]) FROM pulls")
        .await;
    assert_eq!(times, [now, now, now + TimeDelta::seconds(3)]);

    // One that was held up on its way is not left out.
    write(&intake, vec![told("f", -5, Hint::Source)]).await;
    let since: Vec<DateTime<Utc>> = app.column("SELECT hints_since FROM pulls").await;
    assert_eq!(since, [now - TimeDelta::seconds(5)]);
}

#[tokio::test]
async fn a_pull_looks_as_far_back_as_what_is_moved_to_it_came_in() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let now = app.clock.now();
    // As a server of the version before does it, as either of its roles.
    for role in ["discovery_app", "discovery_system"] {
        let mine = connection(&app, role).await;
        for hours in [0, 1] {
            let told = NewDelivery {
                received_at: now + TimeDelta::hours(hours),
                ..delivery(&app, mine, &format!("after {hours}"))
            };
            write(&intake, vec![told]).await;
            app.execute("UPDATE pulls SET state = 'failed' WHERE hints_since = created_at")
                .await;
        }
        let of_mine = format!("connection_id = '{mine}'");
        let newest =
            format!("(SELECT id FROM pulls WHERE {of_mine} ORDER BY created_at DESC LIMIT 1)");
        let mut other = app.connect_as(role).await;
        let moving = format!(
            "SET app.tenant_id = '{}'; UPDATE deliveries SET pull_id = {newest} WHERE {of_mine}",
            app.tenant
        );
        sqlx::raw_sql(AssertSqlSafe(moving))
            .execute(&mut other)
            .await
            .unwrap();
        let since = format!("SELECT hints_since FROM pulls WHERE id = {newest}");
        let since: Vec<DateTime<Utc>> = app.column(&since).await;
        assert_eq!(since, [now], "{role}");
    }
}

#[tokio::test]
async fn large_bodies_are_written_a_few_at_a_time() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    let batch = (0..10).map(|n| NewDelivery {
        body: vec![b' '; 1024 * 1024],
        ..delivery(&app, mine, &format!("event-{n}"))
    });
    write(&intake, batch.collect()).await;
    let written: Vec<i64> = app
        .column("SELECT count(*) FROM deliveries GROUP BY xmin::text ORDER BY min(event_key)")
        .await;
    assert_eq!(written, [4, 4, 2]);
}

/// Planned while there was nothing, and without statistics ever since.
#[tokio::test]
async fn the_pull_that_waits_is_found_past_all_that_are_over() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    app.execute("ALTER TABLE pulls SET (autovacuum_enabled = false)")
        .await;
    app.execute("VACUUM ANALYZE pulls").await;
    write(&intake, vec![delivery(&app, mine, "first")]).await;
    app.execute(&format!(
        "INSERT INTO pulls (tenant_id, id, connection_id, state, reason, priority, due_at, asked_at,
                            created_at)
         SELECT '{}', gen_random_uuid(), '{}', 'succeeded', 'webhook', 30, now(), now(), now()
         FROM generate_series(1, 5000)",
        app.tenant, mine
    ))
    .await;
    for n in 0..20 {
        write(&intake, vec![delivery(&app, mine, &format!("event-{n}"))]).await;
    }
    end_sessions(&app, &shutdown).await;
    let read = entries_read(&app, "pulls").await;
    assert!(read < 1_000, "{read} entries were read");
}

/// The same of what a pull is asked for.
#[tokio::test]
async fn what_asks_for_a_pull_is_found_past_all_that_asked_before() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    app.execute("ALTER TABLE deliveries SET (autovacuum_enabled = false)")
        .await;
    app.execute(&format!(
        "INSERT INTO deliveries (tenant_id, id, connection_id, token_id, event, event_key, key_expires,
                                 body, outcome, hint, pull_id, received_at)
         SELECT '{}', gen_random_uuid(), '{}', gen_random_uuid(), 'item/updated', n, false, '', 'queued',
                'full', gen_random_uuid(), '{}'::timestamptz - interval '1 minute' * n
         FROM generate_series(1, 5000) AS n",
        app.tenant,
        mine,
        app.clock.now()
    ))
    .await;
    write(&intake, vec![delivery(&app, mine, "event")]).await;
    let pull: Vec<Uuid> = app.column("SELECT id FROM pulls").await;
    let mut tx = app.store().begin(app.tenant).await.unwrap();
    let hints = tx.hints_of_pulls(mine, &[PullId(pull[0])]).await.unwrap();
    tx.commit().await.unwrap();
    assert!(!hints.full, "{hints:?}");
    end_sessions(&app, &shutdown).await;
    let read = entries_read(&app, "deliveries").await;
    assert!(read < 1_000, "{read} entries were read");
}
