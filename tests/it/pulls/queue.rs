//! The queue: which pull is next, and whose.

use chrono::{DateTime, TimeDelta, Utc};
use matcher_discovery::{
    domain::clock::Clock as _,
    storage::{Claim, Served},
};
use sqlx::{Connection as _, Executor as _, PgConnection};
use uuid::Uuid;

use crate::{
    api::aggregator_connections::{self, PATH},
    rows::{plan, plan_as, sent_query},
    support::{Client, TestApp},
};

/// Connections, each with the pull that a new one asks for.
async fn connect(client: &Client, names: &[&str]) {
    for name in names {
        let body = aggregator_connections::body(name);
        client.post(PATH, &body).await.expect(201);
    }
}

/// The name of the connection whose pull is claimed next.
async fn next(app: &TestApp) -> Option<String> {
    let claimed = app.app().claim_pull().await.unwrap()?;
    let query = format!(
        "SELECT config_name FROM connections WHERE id = '{}'",
        claimed.connection
    );
    Some(app.column(&query).await.remove(0))
}

/// Sets when the pull of a connection was due, and how urgent it is.
async fn set(app: &TestApp, name: &str, priority: i16, due_at: DateTime<Utc>) {
    let change = format!(
        "UPDATE pulls SET priority = {priority}, due_at = '{}'
         WHERE connection_id = (SELECT id FROM connections WHERE config_name = '{name}')",
        due_at.to_rfc3339()
    );
    assert_eq!(app.execute(&change).await, 1);
}

#[tokio::test]
async fn what_waits_long_enough_goes_before_what_is_more_urgent() {
    for (minutes, first) in [(29, "asked for"), (31, "by the calendar")] {
        let app = TestApp::start().await;
        connect(&app.client(), &["by the calendar", "asked for"]).await;
        let now = app.clock.now();
        set(
            &app,
            "by the calendar",
            40,
            now - TimeDelta::minutes(minutes),
        )
        .await;
        set(&app, "asked for", 10, now).await;
        assert_eq!(next(&app).await.as_deref(), Some(first));
    }
}

#[tokio::test]
async fn a_runner_that_is_kept_serves_only_whoever_has_nothing_running() {
    let app = TestApp::start().await;
    connect(&app.client(), &["one", "two", "three"]).await;
    let kept = async || {
        let claimed = app.app().claim_pull_of(Served::WhoeverHasNothingRunning);
        claimed.await.unwrap().map(|claimed| claimed.tenant)
    };
    assert_eq!(kept().await, Some(app.tenant));
    assert_eq!(kept().await, None);
    connect(&app.other_tenant(), &["theirs", "theirs, too"]).await;
    assert!(kept().await.is_some_and(|tenant| tenant != app.tenant));
    assert_eq!(kept().await, None);
    assert!(app.app().claim_pull().await.unwrap().is_some());
}

#[tokio::test]
async fn a_race_that_is_lost_is_told_from_an_empty_queue() {
    let app = TestApp::start().await;
    let claim = async || {
        let mut tx = app.store().begin_system().await.unwrap();
        let now = app.clock.now();
        let until = now + TimeDelta::minutes(1);
        let token = Uuid::from_u128(1);
        let claim = tx.claim_pull(Served::Anybody, token, now, until).await;
        tx.commit().await.unwrap();
        claim.unwrap()
    };
    assert!(matches!(claim().await, Claim::Nothing));
    connect(&app.client(), &["one"]).await;
    let mut other = PgConnection::connect_with(&app.admin_options())
        .await
        .unwrap();
    let mut holds = other.begin().await.unwrap();
    holds
        .execute("SELECT FROM pulls FOR NO KEY UPDATE")
        .await
        .unwrap();
    assert!(matches!(claim().await, Claim::LostRace));
    holds.rollback().await.unwrap();
    assert!(matches!(claim().await, Claim::Claimed(_)));
    assert!(matches!(claim().await, Claim::Nothing));
}

#[tokio::test]
async fn workers_that_come_together_leave_nothing_that_is_due() {
    let app = TestApp::start().await;
    let names: Vec<String> = (0..12).map(|number| format!("c-{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    connect(&app.client(), &names).await;
    let claims = names.iter().map(|_| app.app().claim_pull());
    let claimed = futures_util::future::join_all(claims).await;
    assert!(claimed.into_iter().all(|claim| claim.unwrap().is_some()));
}

/// How many pages the whole of a plan found in memory.
fn hits(plan: &str) -> u64 {
    let pages = plan.lines().find(|line| line.contains("Buffers")).unwrap();
    let hit = pages.split("hit=").nth(1).unwrap();
    let count = hit.split([' ', '\n']).next().unwrap();
    count.parse().unwrap()
}

/// Finding the next pull reads neither what is over nor what is not due yet.
#[tokio::test]
async fn the_next_pull_is_found_among_very_many_that_are_not() {
    let app = TestApp::start().await;
    connect(&app.client(), &["one"]).await;
    let queue = format!(
        "INSERT INTO connections (tenant_id, id, kind, type, config_name, host, account_ref, credential,
                                  version, created_at, updated_at)
         SELECT '{tenant}', md5('c' || n)::uuid, 'aggregator', 'pluggy', 'many-' || n, 'h', 'r', '',
                1, now(), now()
         FROM generate_series(1, 20000) AS n;
         INSERT INTO pulls (tenant_id, id, connection_id, state, reason, priority, due_at, asked_at,
                            created_at, finished_at)
         SELECT '{tenant}', gen_random_uuid(), md5('c' || n)::uuid,
                CASE WHEN n % 4 = 0 THEN 'retrying' ELSE 'succeeded' END, 'webhook', 30,
                '2026-03-02', '2026-03-01', '2026-03-01', CASE WHEN n % 4 > 0 THEN now() END
         FROM generate_series(1, 20000) AS n;",
        tenant = app.tenant
    );
    app.execute(&queue).await;
    app.execute("VACUUM ANALYZE pulls").await;
    let query = sent_query("AS turn");
    let arguments = [
        "gen_random_uuid()",
        "'2026-03-01T13:00Z'",
        "'2026-03-01T13:01Z'",
        "'{10,20,30,40,50}'",
        "false",
    ];
    let plan = plan_as(&app, "discovery_system", &query, &arguments).await;
    assert!(!plan.contains("Seq Scan on pulls"), "{plan}");
    assert!(hits(&plan) < 100, "{plan}");
    assert_eq!(next(&app).await.as_deref(), Some("one"));
}

/// What every pull asks of those before it, and a connection's status, is answered by the last of them,
/// however many there were.
#[tokio::test]
async fn a_pull_does_not_look_through_all_those_before_it() {
    let app = TestApp::start().await;
    let connection = Uuid::from_u128(5);
    let pulled_often = |id: Uuid| {
        format!(
            "INSERT INTO connections (tenant_id, id, kind, type, config_name, host, account_ref,
                                      credential, version, created_at, updated_at)
             VALUES ('{tenant}', '{id}', 'aggregator', 'pluggy', '{id}', 'h', 'r', '', 1, now(), now());
             INSERT INTO pulls (tenant_id, id, connection_id, state, reason, priority, due_at, asked_at,
                                created_at, finished_at, inserted, demand)
             SELECT '{tenant}', gen_random_uuid(), '{id}',
                    CASE WHEN n % 10 = 0 THEN 'failed' ELSE 'succeeded' END, 'webhook', 30,
                    now(), now(), now(), now() - n * interval '1 minute', 1,
                    CASE WHEN n % 49 = 0 THEN 1 ELSE 0 END
             FROM generate_series(1, 10000) AS n;",
            tenant = app.tenant
        )
    };
    app.execute(&pulled_often(connection)).await;
    app.execute("VACUUM ANALYZE pulls").await;
    let arguments = [format!("'{}'", app.tenant), format!("'{connection}'")];
    let [tenant, connection] = arguments.each_ref().map(String::as_str);
    for (mark, arguments) in [
        (
            "AND state = 'failed'\n                 --",
            &[tenant, connection, "3"][..],
        ),
        ("AND inserted + deleted > 0)", &[tenant, connection]),
    ] {
        let plan = plan(&app, &sent_query(mark), arguments).await;
        assert!(hits(&plan) < 30, "{plan}");
    }
    // The status is asked seldom enough to look through a table that has only this connection's.
    app.execute(&pulled_often(Uuid::from_u128(6))).await;
    app.execute(&pulled_often(Uuid::from_u128(7))).await;
    app.execute("VACUUM ANALYZE pulls").await;
    let query = sent_query("AS failing_since");
    let plan = plan(&app, &query, &[tenant, connection]).await;
    assert!(hits(&plan) < 100, "{plan}");
}

#[tokio::test]
async fn how_much_waits_and_runs_is_measured() {
    let app = TestApp::start().await;
    connect(&app.client(), &["one", "two", "three"]).await;
    connect(&app.other_tenant(), &["theirs"]).await;
    assert!(app.app().claim_pull().await.unwrap().is_some());
    let waiting: Vec<String> = app
        .column(
            "SELECT config_name FROM connections c JOIN pulls p ON p.connection_id = c.id
             WHERE p.state = 'queued' ORDER BY c.id",
        )
        .await;
    let now = app.clock.now();
    set(&app, &waiting[0], 30, now - TimeDelta::seconds(90)).await;
    set(&app, &waiting[1], 30, now + TimeDelta::hours(1)).await;
    let depth = app.app().measure_queue().await.unwrap();
    assert_eq!((depth.waiting, depth.running), (3, 1));
    assert_eq!(depth.longest_due.as_secs(), 90);
    let metrics = app.anonymous().get("/metrics").await;
    let metrics = String::from_utf8(metrics.body).unwrap();
    for name in [
        "pulls{state=\"waiting\"}",
        "pulls{state=\"running\"}",
        "pulls_longest_due_seconds",
    ] {
        assert!(metrics.contains(name), "{metrics}");
    }
}

#[tokio::test]
async fn old_pulls_that_nothing_refers_to_are_cleared_away() {
    let app = TestApp::start().await;
    connect(&app.client(), &["one"]).await;
    let now = app.clock.now();
    for (message, state, days, changed) in [
        ("old", "failed", 95, "0"),
        ("old", "cancelled", 91, "0"),
        ("since when it fails", "failed", 92, "0"),
        ("fails still", "failed", 91, "0"),
        ("old", "succeeded", 94, "0"),
        ("named by a row", "succeeded", 94, "inserted"),
        ("named by a version", "failed", 94, "updated"),
        ("named by a tombstone", "failed", 94, "deleted"),
        ("the last success", "succeeded", 93, "0"),
        ("young", "failed", 89, "0"),
    ] {
        let count = |column: &str| i32::from(column == changed);
        let add = format!(
            "INSERT INTO pulls (tenant_id, id, connection_id, state, reason, priority, due_at, asked_at,
                                created_at, finished_at, error_message, inserted, updated, deleted)
             SELECT tenant_id, gen_random_uuid(), connection_id, '{state}', 'sweep', 40, created_at,
                    created_at, created_at, '{at}', '{message}', {}, {}, {}
             FROM pulls WHERE state = 'queued'",
            count("inserted"),
            count("updated"),
            count("deleted"),
            at = (now - TimeDelta::days(days)).to_rfc3339()
        );
        assert_eq!(app.execute(&add).await, 1);
    }
    assert_eq!(app.app().prune_pulls().await.unwrap(), 4);
    let left: Vec<String> = app
        .column("SELECT coalesce(error_message, state) FROM pulls ORDER BY 1")
        .await;
    assert_eq!(
        left,
        [
            "named by a row",
            "named by a tombstone",
            "named by a version",
            "queued",
            "since when it fails",
            "the last success",
            "young",
        ]
    );
    assert_eq!(app.app().prune_pulls().await.unwrap(), 0);
}
