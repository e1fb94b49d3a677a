//! Transactions that meet: rows are locked in one order, and nothing is looked up twice.

use chrono::TimeDelta;
use matcher_discovery::{domain::clock::Clock as _, shutdown::Shutdown, worker::work};
use serde_json::json;
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio_util::sync::CancellationToken;

use super::{
    House, create, last_pull,
    relinked::{expect_truth_of, relink},
};
use crate::support::TestApp;

/// Somebody else with a hand on the database.
async fn somebody(app: &TestApp) -> PgConnection {
    PgConnection::connect_with(&app.admin_options())
        .await
        .unwrap()
}

/// Waits until somebody waits for a lock.
async fn someone_waits(app: &TestApp) {
    while waiting(app).await != 1 {}
}

/// How many wait for a lock.
async fn waiting(app: &TestApp) -> i64 {
    let query = "SELECT count(*) FROM pg_stat_activity
                 WHERE datname = current_database() AND wait_event_type = 'Lock'";
    app.column(query).await.remove(0)
}

#[tokio::test]
async fn a_pull_that_meets_the_deletion_of_its_connection_holds_nothing_that_this_waits_for() {
    let (app, vendors) = TestApp::with_vendors().await;
    create(&app.client(), &vendors, "pluggy").await;
    let running = app.app().claim_pull().await.unwrap().unwrap();
    // As a deletion begins.
    let mut other = somebody(&app).await;
    let mut deletion = other.begin().await.unwrap();
    deletion
        .execute("UPDATE connections SET updated_at = updated_at")
        .await
        .unwrap();
    let never = CancellationToken::new();
    let ((), ()) = tokio::join!(app.app().run_pull(running, &never), async {
        someone_waits(&app).await;
        let rest = "SELECT FROM pulls FOR NO KEY UPDATE NOWAIT";
        deletion.execute(rest).await.unwrap();
        deletion.rollback().await.unwrap();
    });
    let states: Vec<String> = app.column("SELECT state FROM pulls").await;
    assert_eq!(states, ["succeeded"]);
}

#[tokio::test]
async fn a_pull_that_began_while_its_connection_was_being_led_elsewhere_begins_again() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::hours(1));
    let pulls = format!("{}/pulls", house.path("belvo"));
    house.client.post(&pulls, &json!({})).await.expect(202);
    let (reference, _) = relink(&house, "belvo").await;
    // As a change that saw nothing run.
    let mut other = somebody(&house.app).await;
    let mut change = other.begin().await.unwrap();
    let id = house.path("belvo").rsplit('/').next().unwrap();
    let now = house.app.clock.now();
    for statement in [
        format!("UPDATE connections SET account_ref = '{reference}' WHERE id = '{id}'"),
        format!("UPDATE accounts SET superseded_at = '{now}' WHERE connection_id = '{id}'"),
    ] {
        let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
        change.execute(statement).await.unwrap();
    }
    let running = house.app.app().claim_pull().await.unwrap().unwrap();
    let never = CancellationToken::new();
    let mut attempt = Box::pin(house.app.app().run_pull(running, &never));
    tokio::select! {
        () = &mut attempt => panic!("it came to its end before the change"),
        () = someone_waits(&house.app) => {}
    }
    change.commit().await.unwrap();
    attempt.await;
    let pull = last_pull(&house.client, house.path("belvo")).await;
    assert_eq!(pull["state"], "retrying", "{pull:#}");
    assert_eq!(pull["attempts"], 0, "{pull:#}");
    assert_eq!(house.work().await, 1);
    expect_truth_of(&house, "belvo", &reference).await;
}

#[tokio::test]
async fn the_trouble_of_an_old_place_fails_no_pull_of_a_connection_that_is_led_elsewhere() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::hours(1));
    let pulls = format!("{}/pulls", house.path("belvo"));
    house.client.post(&pulls, &json!({})).await.expect(202);
    let (reference, _) = relink(&house, "belvo").await;
    // As a change that saw nothing run.
    let mut other = somebody(&house.app).await;
    let mut change = other.begin().await.unwrap();
    let id = house.path("belvo").rsplit('/').next().unwrap();
    let statement = format!("UPDATE connections SET account_ref = '{reference}' WHERE id = '{id}'");
    let statement = sqlx::raw_sql(sqlx::AssertSqlSafe(statement));
    change.execute(statement).await.unwrap();
    let fault = json!({"kind": "answer", "status": 404, "body": {"detail": "Not found."}});
    let rule = json!({"vendor": "belvo", "path": "/api/links/", "fault": fault});
    house.vendors.fault(&rule).await;
    let running = house.app.app().claim_pull().await.unwrap().unwrap();
    let never = CancellationToken::new();
    let mut attempt = Box::pin(house.app.app().run_pull(running, &never));
    tokio::select! {
        () = &mut attempt => panic!("it came to its end before the change"),
        () = someone_waits(&house.app) => {}
    }
    change.commit().await.unwrap();
    attempt.await;
    let pull = last_pull(&house.client, house.path("belvo")).await;
    assert_eq!(pull["state"], "retrying", "{pull:#}");
    assert_eq!(pull["attempts"], 0, "{pull:#}");
}

#[tokio::test]
async fn an_attempt_that_ends_holds_the_running_pull_before_the_waiting_one() {
    let house = House::build().await;
    house.app.clock.advance(TimeDelta::hours(1));
    let pulls = format!("{}/pulls", house.path("pluggy"));
    house.client.post(&pulls, &json!({})).await.expect(202);
    let running = house.app.app().claim_pull().await.unwrap().unwrap();
    house.client.post(&pulls, &json!({})).await.expect(202);
    let fault = json!({"kind": "unavailable"});
    let rule = json!({"vendor": "pluggy", "path": "/accounts", "fault": fault});
    house.vendors.fault(&rule).await;
    // As whoever calls off every pull of a connection begins.
    let mut other = somebody(&house.app).await;
    let mut calls_off = other.begin().await.unwrap();
    calls_off
        .execute("SELECT FROM pulls WHERE state = 'running' FOR NO KEY UPDATE")
        .await
        .unwrap();
    let never = CancellationToken::new();
    let ((), ()) = tokio::join!(house.app.app().run_pull(running, &never), async {
        someone_waits(&house.app).await;
        let rest = "SELECT FROM pulls WHERE state = 'queued' FOR NO KEY UPDATE NOWAIT";
        calls_off.execute(rest).await.unwrap();
        calls_off.rollback().await.unwrap();
    });
    let left = "SELECT state FROM pulls WHERE state NOT IN ('succeeded', 'cancelled')";
    let left: Vec<String> = house.app.column(left).await;
    assert_eq!(left, ["retrying"]);
}

#[tokio::test]
async fn a_connection_that_is_renamed_while_its_pull_begins_is_not_taken_for_another() {
    let (app, vendors) = TestApp::with_vendors().await;
    let client = app.client();
    let path = create(&client, &vendors, "pluggy").await;
    let mut body = vendors.connection("pluggy", "other");
    body["accountRef"] = json!("another item");
    let added = client.post(crate::api::aggregator_connections::PATH, &body);
    added.await.expect(201);
    let id = path.rsplit('/').next().unwrap().to_owned();

    let mut other = somebody(&app).await;
    let mut rename = other.begin().await.unwrap();
    rename.execute("LOCK TABLE tenant_keys").await.unwrap();
    let reading = async {
        let mut tx = app.store().begin(app.tenant).await.unwrap();
        tx.access_to_connection(id.parse().unwrap()).await.unwrap()
    };
    let (access, ()) = tokio::join!(reading, async {
        someone_waits(&app).await;
        for (from, to) in [("pluggy", "third"), ("other", "pluggy"), ("third", "other")] {
            let one =
                format!("UPDATE connections SET config_name = '{to}' WHERE config_name = '{from}'");
            rename
                .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(one)))
                .await
                .unwrap();
        }
        rename.commit().await.unwrap();
    });
    let read = access.unwrap().connection;
    assert_eq!(read.id.to_string(), id);
    assert_eq!(&*read.config_name, "other");
}

#[tokio::test]
async fn workers_that_are_to_end_do_not_wait_for_what_they_look_after() {
    let app = TestApp::start().await;
    let mut other = somebody(&app).await;
    let mut holds = other.begin().await.unwrap();
    let calendar = "LOCK TABLE sweeps IN ACCESS EXCLUSIVE MODE";
    holds.execute(calendar).await.unwrap();
    let shutdown = Shutdown::new();
    let working = Box::pin(work(app.app().clone(), shutdown.clone(), 1));
    tokio::join!(working, async {
        someone_waits(&app).await;
        shutdown.announce();
    });
    // The database has not even noticed that nobody wants to know any more.
    assert_eq!(waiting(&app).await, 1);
    holds.rollback().await.unwrap();
}
