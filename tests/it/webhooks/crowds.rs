//! Many webhooks at once: those that find a pull that waits are let in by a way of their own, and it has to lead
//! to the same place.

use chrono::TimeDelta;
use futures_util::future::{join, join_all};
use matcher_discovery::{
    domain::{
        clock::Clock as _,
        delivery::{DeliveryOutcome, NewDelivery},
        event::Hint,
        ids::ConnectionId,
    },
    shutdown::Shutdown,
    storage::{Accepted, Intake, NotTaken},
};
use serde_json::Value;
use sqlx::{AssertSqlSafe, Connection as _, postgres::PgListener};

use super::{
    batches::{end_sessions, entries_read},
    count, start,
    trouble::{connection, delivery, in_time, intake, let_commits_fail, taken},
};
use crate::support::TestApp;

/// More than it takes to be a crowd.
const MANY: u8 = 20;

/// Lets nobody make a pull, or look whether there is one to be made: whoever goes the long way fails.
async fn close_long_way(app: &TestApp) {
    app.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql
             AS $$ BEGIN RAISE EXCEPTION 'the long way is closed'; END $$;
         CREATE TRIGGER long_way BEFORE INSERT ON pulls
             FOR EACH STATEMENT EXECUTE FUNCTION refuse()",
    )
    .await;
}

/// Lets a crowd in; all of it waits before the writer gets its turn.
async fn accept(intake: &Intake, crowd: Vec<NewDelivery>) -> Vec<Result<Accepted, NotTaken>> {
    join_all(crowd.into_iter().map(|one| intake.accept(one))).await
}

fn crowd_of(app: &TestApp, connection: ConnectionId, name: &str) -> Vec<NewDelivery> {
    let crowd = (0..MANY).map(|n| delivery(app, connection, &format!("{name}-{n}")));
    crowd.collect()
}

#[tokio::test]
async fn a_crowd_joins_the_pulls_that_wait_and_nothing_else_is_written() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mut crowd = Vec::new();
    for name in ["one", "two", "three"] {
        let mine = connection(&app, name).await;
        intake.accept(delivery(&app, mine, "first")).await.unwrap();
        crowd.extend(crowd_of(&app, mine, name));
    }
    close_long_way(&app).await;
    let before: Vec<String> = app
        .column("SELECT xmin || p::text FROM pulls p ORDER BY 1")
        .await;
    for answer in accept(&intake, crowd).await {
        assert_eq!(answer, Ok(Accepted { duplicate: false }));
    }
    let after: Vec<String> = app
        .column("SELECT xmin || p::text FROM pulls p ORDER BY 1")
        .await;
    assert_eq!(after, before);
    let joined =
        "deliveries d JOIN pulls p ON p.id = d.pull_id AND p.connection_id = d.connection_id";
    assert_eq!(count(&app, joined).await, 3 + 3 * i64::from(MANY));
}

/// What was written, but for the names that are made anew each time.
async fn written(app: &TestApp) -> Vec<Value> {
    let deliveries =
        "SELECT jsonb_build_object('of', c.config_name, 'pull', p.state) || to_jsonb(d)
                             - '{id, tenant_id, connection_id, pull_id}'::text[]
                      FROM deliveries d JOIN connections c ON c.id = d.connection_id
                      LEFT JOIN pulls p ON p.id = d.pull_id
                      ORDER BY c.config_name, d.event_key";
    let pulls = "SELECT jsonb_build_object('of', c.config_name) || to_jsonb(p)
                        - '{id, tenant_id, connection_id}'::text[]
                 FROM pulls p JOIN connections c ON c.id = p.connection_id
                 ORDER BY c.config_name, p.state";
    let mut found: Vec<Value> = app.column(deliveries).await;
    found.extend(app.column::<Value>(pulls).await);
    found
}

/// What was made of the pull before the crowd comes, by connection: most are another reason each not to join it
/// as it is.
const WAITING: [(&str, &str); 8] = [
    (
        "runs",
        "state = 'running', lease = '00000000-0000-0000-0000-000000000001', lease_until = due_at",
    ),
    ("waits", ""),
    (
        "failed",
        "state = 'retrying', due_at = due_at + interval '1 hour'",
    ),
    ("came late", ""),
    ("asks for all", ""),
    ("is due later", "due_at = due_at + interval '1 hour'"),
    ("is less urgent", "priority = 50"),
    ("is over", "state = 'succeeded', finished_at = due_at"),
];

/// All kinds of hints, some of it told twice, some that asks for nothing.
fn mixture(app: &TestApp, mine: ConnectionId, name: &str) -> Vec<NewDelivery> {
    let start = app.clock.now();
    let told = |key: &str, seconds: i64, hint: Hint| NewDelivery {
        hint,
        received_at: start + TimeDelta::seconds(seconds),
        ..delivery(app, mine, &format!("{name} {key}"))
    };
    let account = || Some("account".to_owned());
    let created = Hint::Created {
        account: account(),
        since: Some(start),
    };
    let updated = Hint::Updated {
        account: account(),
        ids: vec!["a \"quoted\" name".to_owned(), "b".to_owned()],
    };
    let deleted = Hint::Deleted {
        account: None,
        ids: Vec::new(),
    };
    let mut crowd = vec![
        told("created", 5, created),
        told("updated", 6, updated),
        told("deleted", 7, deleted),
        told("source", 8, Hint::Source),
        told("first", 9, Hint::Source),
        told("source", 10, Hint::Source),
        NewDelivery {
            key_expires: true,
            ..told("keyless", 11, Hint::Source)
        },
        NewDelivery {
            outcome: DeliveryOutcome::Ignored,
            ..told("ignored", 12, Hint::Nothing)
        },
        NewDelivery {
            outcome: DeliveryOutcome::Unmatched,
            ..told("unmatched", 13, Hint::Source)
        },
    ];
    match name {
        // Else the long way, which that one has to go, does what this is about.
        "is less urgent" => crowd.retain(|one| !one.key_expires),
        "failed" | "came late" => crowd.push(told("late", -5, Hint::Source)),
        "asks for all" => crowd.extend([
            told("window", 14, Hint::Window),
            told("full", 15, Hint::Full),
            told("after", 16, Hint::Source),
        ]),
        _ => {}
    }
    crowd
}

/// Lets the same in, one by one or as a crowd; answers what was said and what was written.
async fn mixtures_let_in(together: bool) -> (Vec<Result<Accepted, NotTaken>>, Vec<Value>) {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mut crowd = Vec::new();
    for (name, change) in WAITING {
        let mine = connection(&app, name).await;
        let first = format!("{name} first");
        intake.accept(delivery(&app, mine, &first)).await.unwrap();
        if !change.is_empty() {
            let change = format!("UPDATE pulls SET {change} WHERE connection_id = '{mine}'");
            app.execute(&change).await;
        }
        crowd.extend(mixture(&app, mine, name));
    }
    let mut answers = Vec::new();
    if together {
        answers = accept(&intake, crowd).await;
    } else {
        for one in crowd {
            answers.push(intake.accept(one).await);
        }
    }
    (answers, written(&app).await)
}

#[tokio::test]
async fn a_crowd_leaves_what_each_of_it_would_have_left_alone() {
    let alone = mixtures_let_in(false).await;
    assert_eq!(mixtures_let_in(true).await, alone);
}

#[tokio::test]
async fn a_crowd_waits_for_nobody_who_holds_a_pull() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let held = connection(&app, "held").await;
    let free = connection(&app, "free").await;
    for mine in [held, free] {
        intake.accept(delivery(&app, mine, "first")).await.unwrap();
    }
    close_long_way(&app).await;
    let mut other = app.connect_as("discovery_system").await;
    let mut tx = other.begin().await.unwrap();
    let lock = format!("SELECT FROM pulls WHERE connection_id = '{held}' FOR UPDATE");
    sqlx::raw_sql(AssertSqlSafe(lock))
        .execute(&mut *tx)
        .await
        .unwrap();
    let mut crowd = vec![delivery(&app, held, "second")];
    crowd.extend(crowd_of(&app, free, "free"));
    let mut answers = accept(&intake, crowd).await.into_iter();
    assert_eq!(answers.next(), Some(Err(NotTaken::Unavailable)));
    assert!(answers.all(|one| one == Ok(Accepted { duplicate: false })));
}

#[tokio::test]
async fn no_worker_begins_a_pull_between_a_crowd_and_its_commit() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    intake.accept(delivery(&app, mine, "first")).await.unwrap();
    close_long_way(&app).await;
    // The crowd is stopped on its way, with all but its commit behind it.
    app.execute(
        // Longer than the writer would wait for somebody who holds a pull.
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql SET lock_timeout = 0
             AS $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN NULL; END $$;
         CREATE TRIGGER on_the_way AFTER INSERT ON deliveries
             FOR EACH STATEMENT EXECUTE FUNCTION wait()",
    )
    .await;
    let mut listener = PgListener::connect(&app.database_url()).await.unwrap();
    listener.listen("discovery_pulls").await.unwrap();
    let mut warden = app.connect_as("discovery_system").await;
    let mut barrier = warden.begin().await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_xact_lock(7)")
        .execute(&mut *barrier)
        .await
        .unwrap();
    let looking = async {
        let stopped = "pg_locks WHERE locktype = 'advisory' AND NOT granted";
        while count(&app, stopped).await == 0 {}
        let free: Vec<i64> = app
            .column("SELECT count(*) FROM (SELECT FROM pulls FOR UPDATE SKIP LOCKED) AS found")
            .await;
        assert_eq!(free, [0]);
        barrier.rollback().await.unwrap();
    };
    let accepting = accept(&intake, crowd_of(&app, mine, "told"));
    let (answers, ()) = in_time(join(accepting, looking)).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    // Whoever passed it by is told to look again.
    in_time(listener.recv()).await.unwrap();
}

#[tokio::test]
async fn a_crowd_that_finds_its_pull_begun_asks_for_another() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    intake.accept(delivery(&app, mine, "first")).await.unwrap();
    let mut worker = app.connect_as("discovery_system").await;
    let mut tx = worker.begin().await.unwrap();
    sqlx::raw_sql(
        "UPDATE pulls SET state = 'running', lease = gen_random_uuid(), lease_until = now()",
    )
    .execute(&mut *tx)
    .await
    .unwrap();
    let committing = async {
        let waiting = "pg_stat_activity
             WHERE datname = current_database() AND wait_event_type = 'Lock'";
        while count(&app, waiting).await == 0 {}
        tx.commit().await.unwrap();
    };
    let accepting = (0..MANY).map(|n| {
        let (app, intake) = (&app, &intake);
        taken(intake, move || delivery(app, mine, &format!("told-{n}")))
    });
    let (answers, ()) = in_time(join(join_all(accepting), committing)).await;
    for answer in answers {
        assert_eq!(answer, Accepted { duplicate: false });
    }
    let of_state = |state: &str| {
        format!("deliveries d JOIN pulls p ON p.id = d.pull_id WHERE p.state = '{state}'")
    };
    assert_eq!(count(&app, &of_state("running")).await, 1);
    assert_eq!(count(&app, &of_state("queued")).await, i64::from(MANY));
}

#[tokio::test]
async fn a_crowd_whose_commit_fails_is_not_acknowledged() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    intake.accept(delivery(&app, mine, "first")).await.unwrap();
    let_commits_fail(&app).await;
    for answer in accept(&intake, crowd_of(&app, mine, "told")).await {
        assert_eq!(answer, Err(NotTaken::Unavailable));
    }
    assert_eq!(count(&app, "deliveries").await, 1);
}

/// Planned by statistics that were made while no pull waited.
#[tokio::test]
async fn a_crowd_finds_its_pulls_past_all_that_wait() {
    let app = start().await;
    let shutdown = Shutdown::new();
    let intake = intake(&app, &shutdown);
    let mine = connection(&app, "one").await;
    app.execute("ALTER TABLE pulls SET (autovacuum_enabled = false)")
        .await;
    app.execute(&format!(
        "INSERT INTO pulls (tenant_id, id, connection_id, state, reason, priority, due_at, asked_at,
                            created_at, finished_at)
         SELECT '{}', gen_random_uuid(), '{mine}', 'succeeded', 'webhook', 30, now(), now(), now(), now()
         FROM generate_series(1, 1000)",
        app.tenant
    ))
    .await;
    app.execute("VACUUM ANALYZE pulls").await;
    app.execute(
        "INSERT INTO connections SELECT (c).* FROM (
             SELECT jsonb_populate_record(c, jsonb_build_object(
                 'id', gen_random_uuid(), 'config_name', 'other ' || n)) AS c
             FROM connections c, generate_series(1, 1000) AS n) AS made;
         INSERT INTO pulls (tenant_id, id, connection_id, state, reason, priority, due_at, asked_at,
                            created_at)
         SELECT tenant_id, gen_random_uuid(), id, 'queued', 'webhook', 30, now(), now(), now()
         FROM connections WHERE config_name LIKE 'other %'",
    )
    .await;
    intake.accept(delivery(&app, mine, "first")).await.unwrap();
    for round in 0..5 {
        let crowd = crowd_of(&app, mine, &format!("round {round}"));
        for answer in accept(&intake, crowd).await {
            assert_eq!(answer, Ok(Accepted { duplicate: false }));
        }
    }
    end_sessions(&app, &shutdown).await;
    let read = entries_read(&app, "pulls").await;
    assert!(read < 200, "{read} entries were read");
}
