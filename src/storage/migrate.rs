//! Bringing the schema up to date, and telling whether it is.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::{
    Connection as _, PgConnection,
    migrate::{MigrateError, Migrator},
    postgres::{PgConnectOptions, PgPoolOptions},
};

use super::{APP_ROLE, SYSTEM_ROLE, StorageError, Store};

/// How long a connection may take to open.
const PATIENCE: Duration = Duration::from_secs(10);
/// The advisory lock of whoever migrates, and how often the others ask for it.
const TURN: i64 = 0x6D61_7463_6865_7200;
const ASK_AGAIN: Duration = Duration::from_millis(200);

static MIGRATOR: Migrator = sqlx::migrate!();

/// How far the schema of the database is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct MigrationState {
    /// The newest migration that was applied; 0 for none.
    pub applied: i64,
    /// The newest one that this program knows.
    pub known: i64,
}

impl MigrationState {
    /// Whether this program can work with the database. A newer schema is fine: migrations only
    /// expand, so that the running version keeps working while the next one migrates.
    #[must_use]
    pub fn is_current(self) -> bool {
        self.applied >= self.known
    }
}

/// Opens a connection, or gives up: a machine that does not answer should not be waited for until
/// the system loses patience.
async fn open(connect: &PgConnectOptions) -> Result<PgConnection, sqlx::Error> {
    tokio::time::timeout(PATIENCE, PgConnection::connect_with(connect))
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// What the database says of itself.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DatabaseFacts {
    /// Its version, in words.
    pub version: String,
    /// Its version as a number, as in `170002`.
    pub version_number: i32,
    /// What its clock says.
    pub now: DateTime<Utc>,
}

/// Why the schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum MigrationError {
    /// The login role may not make the roles.
    #[error(
        "the database role \"{login}\" may not create the roles that keep tenants apart. \
         Let somebody who may run this once, then migrate again:\n\n{sql}"
    )]
    RolesMissing {
        /// Who logged in.
        login: String,
        /// What somebody else has to run.
        sql: String,
    },
    /// The database can't be reached or refused.
    #[error("the database can't be migrated")]
    Database(#[from] sqlx::Error),
    /// A migration failed, or the database holds other migrations than this program.
    #[error("a migration could not be applied")]
    Migrate(#[from] MigrateError),
}

impl Store {
    /// Applies the migrations that are missing. Safe to call from several processes at once.
    pub async fn migrate(connect: &PgConnectOptions) -> Result<MigrationState, MigrationError> {
        // A pool would only tell that its time was up, not what stood in the way.
        let mut connection = open(connect).await?;
        check_roles(&mut connection).await?;
        wait_for_turn(&mut connection).await?;
        let migrator = Migrator {
            // A newer version may have migrated already; see `MigrationState::is_current`.
            ignore_missing: true,
            ..Migrator {
                migrations: MIGRATOR.migrations.clone(),
                ..Migrator::DEFAULT
            }
        };
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(PATIENCE)
            .connect_with(
                connect
                    .clone()
                    .options([("client_min_messages", "warning")]),
            )
            .await?;
        migrator.run(&pool).await?;
        pool.close().await;
        let state = state_of(&mut connection).await?;
        connection.close().await?;
        Ok(state)
    }

    /// What the database says of itself.
    pub async fn facts(&self) -> Result<DatabaseFacts, StorageError> {
        let mut connection = open(&self.login).await?;
        let row = sqlx::query!(
            r#"SELECT current_setting('server_version') AS "version!",
                      current_setting('server_version_num')::int AS "version_number!",
                      clock_timestamp() AS "now!""#
        )
        .fetch_one(&mut connection)
        .await?;
        connection.close().await?;
        Ok(DatabaseFacts {
            version: row.version,
            version_number: row.version_number,
            now: row.now,
        })
    }

    /// How far the schema is.
    pub async fn migration_state(&self) -> Result<MigrationState, StorageError> {
        let mut connection = open(&self.login).await?;
        let state = state_of(&mut connection).await?;
        connection.close().await?;
        Ok(state)
    }
}

fn known() -> i64 {
    MIGRATOR
        .iter()
        .map(|migration| migration.version)
        .max()
        .unwrap_or(0)
}

#[expect(
    clippy::disallowed_methods,
    reason = "the table of migrations is not part of the schema that queries are checked against"
)]
pub(super) async fn state_of(connection: &mut PgConnection) -> Result<MigrationState, sqlx::Error> {
    let exists: bool = sqlx::query_scalar("SELECT to_regclass('_sqlx_migrations') IS NOT NULL")
        .fetch_one(&mut *connection)
        .await?;
    let applied = if exists {
        sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM _sqlx_migrations WHERE success")
            .fetch_one(&mut *connection)
            .await?
    } else {
        0
    };
    Ok(MigrationState {
        applied,
        known: known(),
    })
}

/// Waits until nobody else migrates. Who waits in the database for a lock keeps a snapshot meanwhile, and an
/// index that is built while rows are written waits for every snapshot to go: so it is asked for again and
/// again. It is given up with the connection.
async fn wait_for_turn(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let mut is_told = false;
    loop {
        let is_ours = sqlx::query_scalar!(r#"SELECT pg_try_advisory_lock($1) AS "is_ours!""#, TURN)
            .fetch_one(&mut *connection)
            .await?;
        if is_ours {
            return Ok(());
        }
        if !is_told {
            tracing::info!(
                "another process migrates this database; waiting until it is done. Should that take long, \
                 look in pg_stat_activity for the transaction that it waits for"
            );
            is_told = true;
        }
        tokio::time::sleep(ASK_AGAIN).await;
    }
}

/// Finds out before the first migration whether it could make and hand out the roles, because a
/// plain "permission denied" would not say what to do.
async fn check_roles(connection: &mut PgConnection) -> Result<(), MigrationError> {
    let row = sqlx::query!(
        r#"SELECT current_user::text AS "login!", rolsuper AS "superuser!", rolcreaterole AS "may_create!",
                  current_setting('server_version_num')::int AS "version!",
                  ARRAY(SELECT r.rolname::text FROM pg_roles r WHERE r.rolname = ANY ($1)) AS "present!",
                  (SELECT count(*) FROM pg_roles r
                   WHERE r.rolname = ANY ($1) AND pg_has_role(current_user, r.oid, 'MEMBER')) AS "held!"
           FROM pg_roles WHERE rolname = current_user"#,
        &[APP_ROLE.to_owned(), SYSTEM_ROLE.to_owned()]
    )
    .fetch_one(connection)
    .await?;
    // Since version 16 the right to create roles no longer includes handing out those of others.
    let may_make = row.may_create && (row.present.is_empty() || row.version < 160_000);
    if row.superuser || row.held == 2 || may_make {
        return Ok(());
    }
    let login = row.login.replace('"', "\"\"");
    let sql: Vec<String> = [APP_ROLE, SYSTEM_ROLE]
        .into_iter()
        .filter(|role| !row.present.iter().any(|present| present == role))
        .map(|role| format!("CREATE ROLE {role} NOLOGIN;"))
        .chain([format!("GRANT {APP_ROLE}, {SYSTEM_ROLE} TO \"{login}\";")])
        .collect();
    Err(MigrationError::RolesMissing {
        sql: sql.join("\n"),
        login: row.login,
    })
}
