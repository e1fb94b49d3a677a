//! What goes wrong before a reading, during it, and with those who answer.

use std::{collections::BTreeSet, time::Duration};

use futures_util::StreamExt as _;
use matcher_discovery::{
    connectors::{BATCH_BYTES, Connector, ConnectorError, Limits, Source},
    domain::{
        database::{DatabaseLogin, DatabasePlace, DatabaseType, TlsMode},
        secret::SecretText,
    },
};
use serde_json::{Value, json};
use sqlx::{Executor as _, PgConnection};

use super::{
    LIMITS, PASSWORD, Tenants, connector, count, lines, place, reaching, run, source, whole,
};
use crate::connectors::relay::Relay;

const LARGE: &str = "CREATE TABLE large AS
    SELECT n AS id, repeat('x', 1000) AS filling FROM generate_series(1, 60000) AS n;";

#[tokio::test]
async fn a_large_table_comes_in_batches_of_one_state_and_stays_locked_meanwhile() {
    let tenants = Tenants::open(LARGE).await;
    let mut admin = tenants.admin().await;
    let mut batches = tenants.start(whole("large"), LIMITS);
    let first = batches.next().await.unwrap().unwrap();
    assert!(first.lines.len() < 2 * BATCH_BYTES);
    run(
        &mut admin,
        "INSERT INTO large SELECT 0, 'late' FROM generate_series(1, 1000)",
    )
    .await;
    let alter = sqlx::raw_sql("SET lock_timeout = '1ms'; ALTER TABLE large DROP COLUMN filling");
    assert!(admin.execute(alter).await.is_err(), "it is being read");
    let rest = lines(batches).await.unwrap();
    assert_eq!(first.rows + rest.len() as u64, 60_000);
}

#[tokio::test]
async fn dropping_the_stream_ends_the_reading_on_the_server_too() {
    let tenants = Tenants::open(LARGE).await;
    let mut batches = tenants.start(whole("large"), LIMITS);
    batches.next().await.unwrap().unwrap();
    drop(batches);
    // It is granted as soon as nobody reads any more.
    let lock = "SET lock_timeout = '60s'; BEGIN; LOCK TABLE large IN ACCESS EXCLUSIVE MODE; COMMIT";
    tenants.run(lock).await;
}

/// Waits until somebody waits for a lock in this database.
async fn until_somebody_waits(connection: &mut PgConnection) {
    let waiting = "SELECT count(*) FROM pg_locks JOIN pg_database AS d ON d.oid = database
                    WHERE NOT granted AND datname = current_database()";
    while count(connection, waiting).await == 0 {}
}

#[tokio::test]
async fn a_table_that_changes_at_the_last_moment_is_read_as_it_became() {
    let tenants = Tenants::open("CREATE TABLE t AS SELECT n FROM generate_series(1, 3) AS n").await;
    let mut admin = tenants.admin().await;
    run(
        &mut admin,
        "BEGIN; ALTER TABLE t ALTER COLUMN n TYPE text USING 'no. ' || n, ADD COLUMN m integer",
    )
    .await;
    let rows = commit_while_waited_for(&tenants, &mut admin).await.unwrap();
    assert_eq!(rows[0], json!({ "n": "no. 1", "m": null }));
    assert_eq!(rows.len(), 3);

    run(&mut admin, "BEGIN; DROP TABLE t").await;
    let refused = commit_while_waited_for(&tenants, &mut admin).await;
    let table = "t".to_owned();
    assert_eq!(refused, Err(ConnectorError::NoSuchTable { table }));
}

/// Starts to read `t`, which `admin` has locked, and commits as soon as the reading waits for it.
async fn commit_while_waited_for(
    tenants: &Tenants,
    admin: &mut PgConnection,
) -> Result<Vec<Value>, ConnectorError> {
    let mut reading = std::pin::pin!(tenants.rows(whole("t")));
    tokio::select! {
        early = &mut reading => panic!("it did not wait: {early:?}"),
        () = until_somebody_waits(admin) => {}
    }
    run(admin, "COMMIT").await;
    reading.await
}

#[tokio::test]
async fn a_server_that_goes_away_in_the_middle_is_unreachable() {
    let tenants = Tenants::open(LARGE).await;
    let mut admin = tenants.admin().await;
    let mut batches = tenants.start(whole("large"), LIMITS);
    batches.next().await.unwrap().unwrap();
    let ended = count(
        &mut admin,
        "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
          WHERE datname = current_database() AND application_name = 'matcher-discovery'",
    )
    .await;
    assert_eq!(ended, 1);
    assert_eq!(lines(batches).await, Err(ConnectorError::Unreachable));
}

#[tokio::test]
async fn a_view_that_fails_on_the_way_is_refused() {
    let tenants =
        Tenants::open("CREATE VIEW v AS SELECT 1 / (n - 2) AS q FROM generate_series(1, 3) AS n")
            .await;
    assert_eq!(tenants.rows(whole("v")).await, Err(ConnectorError::Refused));
}

#[tokio::test]
async fn nothing_can_be_written_on_the_way() {
    let tenants = Tenants::open(
        "CREATE TABLE log (n integer);
         CREATE FUNCTION spy() RETURNS integer LANGUAGE sql AS 'INSERT INTO public.log VALUES (1) RETURNING n';
         CREATE VIEW v AS SELECT spy() AS n; GRANT ALL ON log TO PUBLIC;",
    )
    .await;
    assert_eq!(tenants.rows(whole("v")).await, Err(ConnectorError::Refused));
    assert_eq!(tenants.rows(whole("log")).await, Ok(vec![]));
}

/// What all three ways of asking come to.
async fn outcomes(connector: &dyn Connector, source: &Source, limits: Limits) -> BTreeSet<String> {
    let tested = connector.test(source, limits).await;
    let described = connector.describe(source, limits).await.map(drop);
    let read = lines(connector.read(source.clone(), whole("t"), limits)).await;
    [tested, described, read.map(drop)]
        .into_iter()
        .map(|outcome| outcome.map_or_else(|error| error.class().to_owned(), |()| String::new()))
        .collect()
}

#[tokio::test]
async fn what_keeps_a_connection_from_being_made_is_told_apart() {
    let tenants = Tenants::open("CREATE TABLE t (a integer)").await;
    let reader = tenants.reader();
    let expect = async |source: Source, class: &str| {
        let found = outcomes(&*connector(), &source, LIMITS).await;
        assert_eq!(found, [class.to_owned()].into(), "{class}");
    };
    expect(tenants.source(), "").await;
    expect(
        source(tenants.place(), "nobody_of_that_name"),
        "login_refused",
    )
    .await;
    expect(
        source(place(tenants.relay.port(), "no such"), &reader),
        "no_such_place",
    )
    .await;
    for tls in [TlsMode::Require, TlsMode::VerifyFull] {
        expect(
            source(
                DatabasePlace {
                    tls,
                    ..tenants.place()
                },
                &reader,
            ),
            "tls",
        )
        .await;
    }
    let hung_up = Relay::to_the_door().await;
    expect(source(place(hung_up.port(), "t"), &reader), "unreachable").await;
    let port = hung_up.port();
    drop(hung_up);
    expect(source(place(port, "t"), &reader), "unreachable").await;

    let elsewhere = reaching(&["10.0.0.0/8"]);
    let found = outcomes(&*elsewhere, &tenants.source(), LIMITS).await;
    assert_eq!(found, ["host_not_allowed".to_owned()].into());
    assert_eq!(
        elsewhere.admits(&tenants.source()),
        Err(ConnectorError::HostNotAllowed)
    );
    assert_eq!(connector().admits(&tenants.source()), Ok(()));
    let mysql = DatabasePlace {
        database_type: DatabaseType::Mysql,
        ..tenants.place()
    };
    expect(source(mysql, &reader), "refused").await;
}

#[tokio::test]
async fn a_login_is_refused_with_the_wrong_password_and_accepted_with_the_right_one() {
    let tenants = Tenants::open("CREATE TABLE t (a integer)").await;
    let (reader, name) = (tenants.reader(), &tenants.name);
    let mut admin = tenants.admin().await;
    run(
        &mut admin,
        &format!("ALTER ROLE {reader} PASSWORD '{PASSWORD}'"),
    )
    .await;
    // The tests' server trusts everybody; from now on not those of this database.
    run(
        &mut admin,
        &format!(
            "DO $$ BEGIN EXECUTE format(
                 'COPY (VALUES (''local {name} {reader} scram-sha-256''), (''local all all trust'')) TO %L',
                 current_setting('hba_file')); END $$; SELECT pg_reload_conf();"
        ),
    )
    .await;
    let rules = "SELECT count(*) FROM pg_hba_file_rules WHERE auth_method = 'scram-sha-256'";
    assert_eq!(count(&mut admin, rules).await, 1);
    let wrong = DatabaseLogin {
        user: SecretText::new(reader.clone()),
        password: Some(SecretText::new("wrong".to_owned())),
    };
    let wrong = Source::Database {
        place: tenants.place(),
        login: wrong,
    };
    // The server reads its rules a moment after it was told to.
    while connector().test(&wrong, LIMITS).await.is_ok() {}
    let found = outcomes(&*connector(), &wrong, LIMITS).await;
    assert_eq!(found, ["login_refused".to_owned()].into());
    let found = outcomes(&*connector(), &tenants.source(), LIMITS).await;
    assert_eq!(found, [String::new()].into());
}

#[tokio::test]
async fn whoever_accepts_and_never_answers_is_given_up() {
    let silent = Relay::to_nobody().await;
    for tls in [TlsMode::Disable, TlsMode::Prefer, TlsMode::VerifyFull] {
        let place = DatabasePlace {
            tls,
            ..place(silent.port(), "t")
        };
        let hasty = Limits {
            connect: Duration::from_millis(50),
            ..LIMITS
        };
        let found = outcomes(&*connector(), &source(place, "reader"), hasty).await;
        assert_eq!(found, ["timed_out".to_owned()].into());
    }
}

#[tokio::test]
async fn nothing_of_a_source_shows() {
    let place = DatabasePlace {
        host: "canary.example".to_owned(),
        schema: Some("canary".to_owned()),
        ..place(1, "canary")
    };
    let source = source(place, "canary");
    assert!(!format!("{source:?}").contains("canary"));
    let error = connector().test(&source, LIMITS).await.unwrap_err();
    assert!(!format!("{error:?} {error}").contains("canary"));
}
