//! Migrations: repeatable, and clear about what they may not do.

use std::{collections::BTreeMap, fs, path::Path};

use matcher_discovery::storage::{MigrationError, Store};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};

use crate::support::{TestDatabase, empty, process::Process};

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
async fn who_waits_for_another_to_migrate_says_so() {
    let database = empty().await;
    let mut other = PgConnection::connect(&database.url()).await.unwrap();
    sqlx::raw_sql("SELECT pg_advisory_lock(x'6D61746368657200'::bigint)")
        .execute(&mut other)
        .await
        .unwrap();
    let environment = BTreeMap::from([("DISCOVERY_DATABASE_URL", database.url())]);
    let mut migrating = Process::spawn(&["migrate"], &environment);
    let told = |line: &str| {
        line.contains("another process migrates this database")
            .then_some(())
    };
    migrating.wait_for(told).await;
    other.close().await.unwrap();
    assert_eq!(migrating.wait().await, Some(0), "{}", migrating.output());
    assert_eq!(migrating.output().lines().filter_map(told).count(), 1);
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

#[tokio::test]
async fn indexes_that_were_left_half_built_are_built_again() {
    let database = empty().await;
    Store::migrate(&database.options()).await.unwrap();
    let half_built = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid";
    for (index, version) in [
        ("transactions_pending_of_tenant_idx", 47),
        ("pulls_next_idx", 59),
    ] {
        database
            .execute(&format!(
                "UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{index}'::regclass;
                 DELETE FROM _sqlx_migrations WHERE version = {version}"
            ))
            .await;
        let left: Vec<String> = database.column(half_built).await;
        assert_eq!(left, [index]);
        Store::migrate(&database.options()).await.unwrap();
        let left: Vec<String> = database.column(half_built).await;
        assert!(left.is_empty(), "{left:?}");
    }
}

/// The first migration that has to keep the rule: those before it were delivered already.
const RULED_FROM: &str = "0050";

/// What is wrong with how a migration builds and drops indexes: of tables that are in use it has to be done while
/// rows are written, and that can't be part of a transaction, nor can several statements that are sent at once.
fn fault_of(migration: &str) -> Option<&'static str> {
    let code: String = migration
        .lines()
        .map(|line| line.split("--").next().unwrap_or_default())
        .collect::<Vec<_>>()
        .join(" ")
        .to_lowercase()
        .replace(['(', ')', ','], " ");
    let statements: Vec<Vec<&str>> = code
        .split(';')
        .map(|statement| statement.split_whitespace().collect())
        .filter(|words: &Vec<&str>| !words.is_empty())
        .collect();
    let after = |words: &[&'_ str], lead: &[&str]| {
        let place = words.windows(lead.len()).position(|part| part == lead)?;
        Some(place + lead.len())
    };
    let is_made_here = |table: &str| {
        statements.iter().any(|words| {
            let name = after(words, &["create", "table"]);
            let name = after(words, &["create", "table", "if", "not", "exists"]).or(name);
            name.is_some_and(|name| words.get(name) == Some(&table))
        })
    };
    for words in &statements {
        if let Some(rest) = after(words, &["alter", "table"]).map(|begin| &words[begin..]) {
            let mut names = rest
                .iter()
                .filter(|word| !["if", "exists", "only"].contains(word));
            let table = names.next().expect("a table");
            // What a constraint is kept by, unless it is there already.
            let builds = |end: &[&str]| match end {
                ["unique" | "exclude", end @ ..] | ["primary", "key", end @ ..] => {
                    !end.starts_with(&["using", "index"])
                }
                _ => false,
            };
            if !is_made_here(table) && (0..rest.len()).any(|place| builds(&rest[place..])) {
                return Some(
                    "adds a constraint whose index nobody can write beside: build that first",
                );
            }
        }
        let begin = after(words, &["create", "index"]);
        let begin = after(words, &["create", "unique", "index"]).or(begin);
        let dropped = after(words, &["drop", "index"]);
        let Some(rest) = begin.or(dropped).map(|begin| &words[begin..]) else {
            continue;
        };
        if begin.is_some() {
            let table = after(rest, &["on", "only"]).or_else(|| after(rest, &["on"]));
            let table = table.and_then(|table| rest.get(table)).expect("a table");
            if is_made_here(table) {
                continue;
            }
        }
        if rest[0] != "concurrently" {
            return Some("builds or drops an index while nobody can write: say CONCURRENTLY");
        }
        if !migration.starts_with("-- no-transaction\n") {
            return Some("has to begin with the line `-- no-transaction`");
        }
        if statements.len() > 1 {
            return Some(
                "holds more than the index that is built or dropped while rows are written",
            );
        }
    }
    None
}

#[test]
fn no_migration_stops_the_intake_for_an_index() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if name >= RULED_FROM {
            let fault = fault_of(&fs::read_to_string(&path).unwrap());
            assert_eq!(fault, None, "migrations/{name}");
        }
    }
}

#[test]
fn an_index_is_built_alone_or_with_its_table() {
    let alone = "-- no-transaction\n-- Why; and what for.\n";
    for good in [
        "ALTER TABLE pulls ADD COLUMN x int;",
        "CREATE TABLE IF NOT EXISTS a (b int); CREATE INDEX a_idx ON a (b);",
        "CREATE TABLE a(b int); CREATE UNIQUE INDEX ON a(b);",
        "CREATE TABLE a (b int); ALTER TABLE a ADD PRIMARY KEY (b);",
        "ALTER TABLE pulls ADD CONSTRAINT x UNIQUE USING INDEX pulls_idx, ADD CHECK (b > 0);",
        "ALTER TABLE pulls ADD CONSTRAINT x PRIMARY KEY USING INDEX pulls_idx;",
        "ALTER TABLE pulls ADD FOREIGN KEY (b) REFERENCES a NOT VALID;",
        &format!("{alone}CREATE INDEX CONCURRENTLY IF NOT EXISTS a_idx\n ON a (b);"),
        &format!("{alone}CREATE UNIQUE INDEX CONCURRENTLY a_idx ON ONLY a (b)"),
        &format!("{alone}DROP INDEX CONCURRENTLY IF EXISTS a_idx;"),
    ] {
        assert_eq!(fault_of(good), None, "{good}");
    }
    for bad in [
        "CREATE INDEX pulls_idx ON pulls (b);",
        "create unique index if not exists pulls_idx\non pulls(b);",
        "CREATE TABLE a (b int); CREATE INDEX pulls_idx ON pulls (b);",
        "CREATE INDEX CONCURRENTLY pulls_idx ON pulls (b);",
        &format!("{alone}CREATE INDEX pulls_idx ON pulls (b);"),
        &format!("{alone}CREATE INDEX CONCURRENTLY a_idx ON a (b); COMMENT ON INDEX a_idx IS 'x';"),
        "DO $$ BEGIN CREATE INDEX pulls_idx ON pulls (b); END $$;",
        "DROP INDEX pulls_idx;",
        "DROP INDEX CONCURRENTLY pulls_idx;",
        &format!("{alone}DROP INDEX IF EXISTS pulls_idx;"),
        &format!("{alone}DROP INDEX CONCURRENTLY a_idx; DROP INDEX CONCURRENTLY b_idx;"),
        "ALTER TABLE pulls ADD UNIQUE (b);",
        "ALTER TABLE IF EXISTS ONLY pulls ADD CONSTRAINT x UNIQUE(b);",
        "alter table pulls add column b int, add constraint x\nprimary key(b);",
        "ALTER TABLE pulls ADD CONSTRAINT x EXCLUDE USING gist (b WITH &&);",
        "ALTER TABLE pulls ADD COLUMN b int UNIQUE, ADD COLUMN c int;",
        "ALTER TABLE pulls ADD CONSTRAINT x UNIQUE USING INDEX i, ADD CONSTRAINT y UNIQUE (b);",
        "CREATE TABLE a (b int); ALTER TABLE pulls ADD UNIQUE (b);",
    ] {
        assert!(fault_of(bad).is_some(), "{bad}");
    }
}
