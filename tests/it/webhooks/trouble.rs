//! When it can't be written down: nobody is told that it was.

use std::{sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::future::join_all;
use matcher_discovery::{
    domain::{
        clock::Clock as _,
        delivery::{DeliveryId, DeliveryOutcome, NewDelivery},
        event::Hint,
        ids::{ConnectionId, WebhookTokenId},
        random::OsRandom,
    },
    shutdown::Shutdown,
    storage::{Accepted, Intake, NotTaken},
};
use sqlx::Connection as _;
use uuid::Uuid;

use super::{Endpoint, count, created, expect_taken, start};
use crate::support::TestApp;

/// Lets nobody but the superuser connect, and ends every connection there is.
async fn take_database_away(app: &TestApp) {
    let name: Vec<String> = app.column("SELECT current_database()::text").await;
    app.execute(&format!("ALTER DATABASE {} CONNECTION LIMIT 0", name[0]))
        .await;
    end_connections(app).await;
}

async fn give_database_back(app: &TestApp) {
    let name: Vec<String> = app.column("SELECT current_database()::text").await;
    app.execute(&format!("ALTER DATABASE {} CONNECTION LIMIT -1", name[0]))
        .await;
}

async fn end_connections(app: &TestApp) {
    app.execute(
        "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .await;
}

/// Ends what would wait for ever.
pub(super) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    let done = tokio::time::timeout(Duration::from_secs(30), work).await;
    done.expect("it waits for ever")
}

/// Tells of it until it is taken: the writer's patience with a row that is held is short, the vendor's is
/// not.
pub(super) async fn taken(intake: &Intake, told: impl Fn() -> NewDelivery) -> Accepted {
    in_time(async {
        loop {
            match intake.accept(told()).await {
                Ok(accepted) => return accepted,
                Err(error) => assert_eq!(error, NotTaken::Refused),
            }
        }
    })
    .await
}

#[tokio::test]
async fn without_the_database_nothing_is_acknowledged_and_afterwards_all_is_well() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    expect_taken(&endpoint.deliver(&app, &created("event-1")).await);
    take_database_away(&app).await;
    let answer = endpoint.deliver(&app, &created("event-2")).await;
    answer.expect_problem(503, "MTCH-0008");
    assert_eq!(answer.header("retry-after"), "1");
    give_database_back(&app).await;
    assert_eq!(count(&app, "deliveries").await, 1);
    expect_taken(&endpoint.deliver(&app, &created("event-2")).await);
    assert_eq!(count(&app, "deliveries").await, 2);
}

#[tokio::test]
async fn a_connection_that_died_unnoticed_costs_nobody_anything() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    expect_taken(&endpoint.deliver(&app, &created("event-1")).await);
    end_connections(&app).await;
    expect_taken(&endpoint.deliver(&app, &created("event-2")).await);
    assert_eq!(count(&app, "deliveries").await, 2);
}

/// As a full disk would, at the very end of the transaction.
pub(super) async fn let_commits_fail(app: &TestApp) {
    app.execute(
        "CREATE FUNCTION full_disk() RETURNS trigger LANGUAGE plpgsql AS
             $$ BEGIN RAISE EXCEPTION 'no space left on device' USING ERRCODE = '53100'; END $$;
         CREATE CONSTRAINT TRIGGER full_disk AFTER INSERT ON deliveries
             DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION full_disk()",
    )
    .await;
}

#[tokio::test]
async fn when_the_commit_fails_nothing_is_acknowledged() {
    let app = start().await;
    let endpoint = Endpoint::create(&app, &app.client(), "pluggy", "one").await;
    let_commits_fail(&app).await;
    let event = created("event-1");
    let all = (0..20).map(|_| endpoint.deliver(&app, &event));
    for answer in join_all(all).await {
        answer.expect_problem(503, "MTCH-0008");
    }
    super::nothing_was_written(&app).await;
    app.execute("DROP TRIGGER full_disk ON deliveries").await;
    expect_taken(&endpoint.deliver(&app, &event).await);
}

pub(super) fn intake(app: &TestApp, shutdown: &Shutdown) -> Intake {
    Intake::start(&app.store(), Arc::new(OsRandom), shutdown)
}

/// A delivery for a connection, as the gates would let it through.
pub(super) fn delivery(app: &TestApp, connection: ConnectionId, key: &str) -> NewDelivery {
    NewDelivery {
        tenant: app.tenant,
        id: DeliveryId::of(connection, key),
        connection,
        token: WebhookTokenId(Uuid::nil()),
        event: "item/updated".to_owned(),
        event_key: key.to_owned(),
        key_expires: false,
        body: b"{}".to_vec(),
        outcome: DeliveryOutcome::Queued,
        hint: Hint::Source,
        received_at: app.clock.now(),
    }
}

pub(super) async fn connection(app: &TestApp, name: &str) -> ConnectionId {
    let endpoint = Endpoint::create(app, &app.client(), "pluggy", name).await;
    let id = endpoint.connection.rsplit('/').next().unwrap();
    id.parse().unwrap()
}

#[tokio::test]
async fn a_row_that_the_database_refuses_costs_only_itself() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    let nowhere = ConnectionId(Uuid::from_u128(5));
    let mut batch: Vec<NewDelivery> = (0..40)
        .map(|n| delivery(&app, mine, &format!("event-{n}")))
        .collect();
    // A text that Postgres can't hold, and a connection that there is not.
    batch[7] = delivery(&app, mine, "with a \0");
    batch[31] = delivery(&app, nowhere, "event-31");
    // All of them wait before the writer gets its turn, so they are one batch.
    let answers = join_all(batch.into_iter().map(|one| intake.accept(one))).await;
    for (number, answer) in answers.into_iter().enumerate() {
        let expected = match number {
            7 | 31 => Err(NotTaken::Refused),
            _ => Ok(Accepted { duplicate: false }),
        };
        assert_eq!(answer, expected, "{number}");
    }
    assert_eq!(count(&app, "deliveries").await, 38);
    assert_eq!(count(&app, "pulls").await, 1);
}

#[tokio::test]
async fn a_pull_that_somebody_holds_on_to_delays_only_its_own_webhooks() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let held = connection(&app, "held").await;
    let free = connection(&app, "free").await;
    intake.accept(delivery(&app, held, "first")).await.unwrap();

    let mut other = app.connect_as("discovery_system").await;
    let mut tx = other.begin().await.unwrap();
    sqlx::raw_sql("SELECT FROM pulls FOR UPDATE")
        .execute(&mut *tx)
        .await
        .unwrap();
    let (blocked, passed) = futures_util::future::join(
        intake.accept(delivery(&app, held, "second")),
        intake.accept(delivery(&app, free, "first")),
    )
    .await;
    assert_eq!(blocked, Err(NotTaken::Refused));
    assert_eq!(passed, Ok(Accepted { duplicate: false }));
    tx.rollback().await.unwrap();
    intake.accept(delivery(&app, held, "second")).await.unwrap();
}

#[tokio::test]
async fn however_many_pulls_are_held_the_other_webhooks_wait_for_one_lock_only() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mut connections = Vec::new();
    for number in 0..8 {
        connections.push(connection(&app, &format!("c-{number}")).await);
    }
    let mut ordered = connections.clone();
    ordered.sort_by_key(|one| one.0);
    // The others have no pull that waits, so that none is let in as one of a crowd.
    let held = &ordered[..3];
    for one in held {
        intake.accept(delivery(&app, *one, "first")).await.unwrap();
    }
    // Counts how often it is tried; a sequence keeps its number when a transaction fails.
    app.execute(
        "CREATE SEQUENCE tried;
         CREATE FUNCTION count_try() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
             AS $$ BEGIN PERFORM nextval('tried'); RETURN NULL; END $$;
         CREATE TRIGGER count_tries BEFORE INSERT ON pulls EXECUTE FUNCTION count_try()",
    )
    .await;
    let mut other = app.connect_as("discovery_system").await;
    let mut tx = other.begin().await.unwrap();
    sqlx::raw_sql("SELECT FROM pulls FOR UPDATE")
        .execute(&mut *tx)
        .await
        .unwrap();
    // One batch, mixed.
    let batch: Vec<NewDelivery> = (0..200)
        .map(|n| delivery(&app, connections[n % 8], &format!("event-{n}")))
        .collect();
    let ids: Vec<ConnectionId> = batch.iter().map(|one| one.connection).collect();
    let answers = join_all(batch.into_iter().map(|one| intake.accept(one))).await;
    for (id, answer) in ids.iter().zip(answers) {
        let expected = if held.contains(id) {
            Err(NotTaken::Refused)
        } else {
            Ok(Accepted { duplicate: false })
        };
        assert_eq!(answer, expected);
    }
    // All together, those that are free, and those that are held once more.
    let tried: Vec<i64> = app.column("SELECT last_value FROM tried").await;
    assert_eq!(tried, [3]);
    tx.rollback().await.unwrap();
    intake
        .accept(delivery(&app, held[0], "again"))
        .await
        .unwrap();
}

#[tokio::test]
async fn no_worker_begins_a_pull_between_a_webhook_and_its_commit() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    intake.accept(delivery(&app, mine, "first")).await.unwrap();
    // A worker is just about to begin the pull: the webhook waits for it, and asks for another one.
    let mut worker = app.connect_as("discovery_system").await;
    let mut tx = worker.begin().await.unwrap();
    sqlx::raw_sql(
        "UPDATE pulls SET state = 'running', lease = gen_random_uuid(), lease_until = now()",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    let accepting = taken(&intake, || delivery(&app, mine, "second"));
    let committing = async {
        // Only once the writer waits for the worker.
        let waiting = "pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while count(&app, waiting).await == 0 {}
        tx.commit().await.unwrap();
    };
    futures_util::future::join(accepting, committing).await;
    let found: Vec<String> = app
        .column(
            "SELECT d.event_key || ' ' || p.state FROM deliveries d
             JOIN pulls p ON p.id = d.pull_id ORDER BY 1",
        )
        .await;
    assert_eq!(found, ["first running", "second queued"]);
}

#[tokio::test]
async fn an_event_that_is_told_again_while_its_attempt_ends_is_not_dropped() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    let told = || NewDelivery {
        key_expires: true,
        ..delivery(&app, mine, "the same")
    };
    intake.accept(told()).await.unwrap();
    app.execute(
        "UPDATE pulls SET state = 'running', lease = gen_random_uuid(), lease_until = now()",
    )
    .await;
    app.clock.advance(TimeDelta::minutes(1));
    // The attempt is just about to be given back: the webhook waits for that, and joins.
    let mut worker = app.connect_as("discovery_system").await;
    let mut tx = worker.begin().await.unwrap();
    sqlx::raw_sql("UPDATE pulls SET state = 'retrying', lease = NULL, lease_until = NULL")
        .execute(&mut *tx)
        .await
        .unwrap();
    let committing = async {
        let waiting = "pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while count(&app, waiting).await == 0 {}
        tx.commit().await.unwrap();
    };
    let (accepted, ()) = futures_util::future::join(taken(&intake, told), committing).await;
    assert_eq!(accepted, Accepted { duplicate: false });
    let received: Vec<DateTime<Utc>> = app.column("SELECT received_at FROM deliveries").await;
    assert_eq!(received, [app.clock.now()]);
    assert_eq!(count(&app, "pulls").await, 1);
}

#[tokio::test]
async fn the_inbox_is_bounded() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    // Nothing is written before all of them have asked.
    let many = (0..5000).map(|n| intake.accept(delivery(&app, mine, &format!("event-{n}"))));
    let answers = join_all(many).await;
    let refused = answers.iter().filter(|one| **one == Err(NotTaken::Full));
    assert_eq!(refused.count(), 5000 - 4096);
    assert_eq!(count(&app, "deliveries").await, 4096);

    let large = (0..70).map(|n| {
        let mut large = delivery(&app, mine, &format!("large-{n}"));
        large.body = vec![b'x'; 1024 * 1024];
        intake.accept(large)
    });
    let answers = join_all(large).await;
    let refused = answers.iter().filter(|one| **one == Err(NotTaken::Full));
    assert_eq!(refused.count(), 70 - 64);
}

#[tokio::test]
async fn what_was_let_in_before_the_end_is_still_written() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    let many = (0..300).map(|n| intake.accept(delivery(&app, mine, &format!("event-{n}"))));
    let ending = async {
        shutdown
            .drain(std::time::Duration::from_mins(1))
            .await
            .unwrap();
    };
    let (answers, ()) = futures_util::future::join(join_all(many), ending).await;
    assert!(answers.iter().all(Result::is_ok));
    let late = intake.accept(delivery(&app, mine, "late")).await;
    assert_eq!(late, Err(NotTaken::Unavailable));
    assert_eq!(count(&app, "deliveries").await, 300);
}

#[tokio::test]
async fn a_plan_that_was_made_for_an_empty_inbox_does_not_outlive_it() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    // Known to be empty, so that the planner can't tell the indexes apart.
    app.execute("VACUUM ANALYZE deliveries").await;
    for round in 0..16 {
        let keys = (0..256).map(|n| format!("event-{round}-{n}"));
        let all = keys.map(|key| intake.accept(delivery(&app, mine, &key)));
        assert!(join_all(all).await.iter().all(Result::is_ok));
    }
    // The server counts up when a connection ends.
    shutdown
        .drain(std::time::Duration::from_mins(1))
        .await
        .unwrap();
    let scans = |index: &str| {
        format!("SELECT idx_scan FROM pg_stat_user_indexes WHERE indexrelname = '{index}'")
    };
    let mut by_key: i64 = 0;
    while by_key == 0 {
        by_key = app.column(&scans("deliveries_pkey")).await.remove(0);
    }
    let by_list: Vec<i64> = app.column(&scans("deliveries_of_connection_idx")).await;
    assert!(
        by_list[0] <= 1024,
        "{by_list:?} of 4096 look-ups read a whole tenant"
    );
}
