//! Migrations: repeatable, and clear about what they may not do.

use matcher_discovery::storage::{MigrationError, Store};
use sqlx::postgres::PgConnectOptions;

use crate::support::{TestDatabase, empty};

/// A login role that may do nothing special, owning the database.
async fn plain_owner(database: &TestDatabase, name: &str) -> PgConnectOptions {
    database
        .execute(&format!(
            "DROP ROLE IF EXISTS {name};
             CREATE ROLE {name} LOGIN NOSUPERUSER NOCREATEROLE;
             GRANT ALL ON SCHEMA public TO {name};"
        ))
        .await;
    database.options().username(name)
}

#[tokio::test]
async fn migrating_again_changes_nothing() {
    let database = empty().await;
    let first = Store::migrate(&database.options()).await.unwrap();
    assert!(first.is_current() && first.applied > 0);
    let second = Store::migrate(&database.options()).await.unwrap();
    assert_eq!(first, second);
}

#[tokio::test]
async fn several_servers_may_migrate_at_once() {
    let database = empty().await;
    let options = database.options();
    let all = (0..4).map(|_| Store::migrate(&options));
    for state in futures_util::future::join_all(all).await {
        assert!(state.unwrap().is_current());
    }
}

#[tokio::test]
async fn a_schema_that_is_ahead_of_this_program_is_fine() {
    let database = empty().await;
    Store::migrate(&database.options()).await.unwrap();
    database
        .execute(
            "INSERT INTO _sqlx_migrations
                 (version, description, success, checksum, execution_time)
             VALUES (9999, 'from the next release', true, '', 0)",
        )
        .await;
    let state = Store::migrate(&database.options()).await.unwrap();
    assert_eq!(state.applied, 9999);
    assert!(state.is_current());
}

#[tokio::test]
async fn a_role_that_may_not_make_roles_is_told_what_somebody_else_has_to_run() {
    let database = empty().await;
    let options = plain_owner(&database, "may_do_little").await;
    let error = Store::migrate(&options).await.unwrap_err();
    let MigrationError::RolesMissing { login, sql } = &error else {
        panic!("{error}");
    };
    assert_eq!(login, "may_do_little");
    assert!(error.to_string().contains(sql));
    assert!(
        sql.ends_with("GRANT discovery_app, discovery_system TO \"may_do_little\";"),
        "{sql}"
    );
    // Whoever may runs it as printed, and then it works.
    database.execute(sql).await;
    let state = Store::migrate(&options).await.unwrap();
    assert!(state.is_current());
}

#[tokio::test]
async fn a_broken_off_migration_is_not_taken_for_done() {
    let database = empty().await;
    Store::migrate(&database.options()).await.unwrap();
    database
        .execute("UPDATE _sqlx_migrations SET checksum = 'other' WHERE version = 2")
        .await;
    let error = Store::migrate(&database.options()).await.unwrap_err();
    assert!(matches!(error, MigrationError::Migrate(_)), "{error}");
}

#[tokio::test]
async fn what_was_deleted_before_there_were_removals_is_removed_too() {
    let database = empty().await;
    Store::migrate(&database.options()).await.unwrap();
    database
        .execute(
            "DROP FUNCTION ask_for_removal() CASCADE;
             DELETE FROM _sqlx_migrations WHERE version = 46;
             INSERT INTO connections (tenant_id, id, kind, type, config_name, host, account_ref,
                 version, created_at, updated_at, deleted_at)
             VALUES (gen_random_uuid(), gen_random_uuid(), 'aggregator', 'belvo', 'x', 'x', 'x',
                 1, now(), now(), now())",
        )
        .await;
    // By the owner of the tables, whom row level security binds.
    Store::migrate(&database.options()).await.unwrap();
    let asked: Vec<i64> = database.column("SELECT count(*) FROM removals").await;
    assert_eq!(asked, [1]);
}
