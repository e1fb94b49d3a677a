//! A private, real Postgres that this program starts, owns and stops.
//!
//! It lives in a data directory, listens on a Unix socket only its owner can open, and is gone when its owner is gone,
//! however that happens. The programs are those of an installed Postgres, or a pinned bundle fetched once.

mod binaries;
mod bundle;
mod error;
pub mod guard;
mod keeper;
mod layout;
mod pidfile;

use std::{
    path::PathBuf,
    sync::mpsc,
    thread::{self, JoinHandle},
};

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection,
    postgres::{PgConnectOptions, PgSslMode},
};
use tokio::sync::oneshot;

pub use binaries::{Search, Version};
use error::At as _;
pub use error::Error;
use guard::Identity;
use keeper::{ADMIN, Running};
use layout::PORT;

/// The login role of the application, and the name of the database it owns.
const APPLICATION: &str = "discovery";

/// Whether a committed transaction survives a power failure.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Durability {
    /// It does.
    #[default]
    Full,
    /// It may not: for databases nobody will miss.
    Off,
}

/// How to start a [`Cluster`].
#[derive(Clone, Debug)]
pub struct Options {
    /// Where the data, the log and the lock live; made if it is not there.
    pub data_dir: PathBuf,
    /// Where a socket may live if the path of the data directory is too long for one.
    pub temp_dir: PathBuf,
    /// This program's own executable, for the [`guard`] step.
    pub guard: PathBuf,
    /// Where the programs of Postgres come from.
    pub search: Search,
    /// Whether commits are durable.
    pub durability: Durability,
}

/// A running private Postgres. Dropping it stops it; [`Cluster::stop`] does so without blocking the runtime.
#[derive(Debug)]
pub struct Cluster {
    running: Running,
    /// Dropping it tells the keeper to stop.
    stop: Option<mpsc::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Cluster {
    /// Starts the server, creating it first where there is none, and waits until it is ready.
    ///
    /// Giving up on the returned future stops what was started.
    pub async fn start(options: Options) -> Result<Self, Error> {
        let (stop, stopped) = mpsc::channel();
        let (started, ready) = oneshot::channel();
        let data_dir = options.data_dir.clone();
        let keeper = thread::Builder::new()
            .name("postgres-keeper".to_owned())
            .spawn(move || keeper::keep(&options, started, &stopped))
            .at("can't start the thread that owns", &data_dir)?;
        let running = ready.await.map_err(|_| Error::KeeperGone)??;
        let cluster = Self {
            running,
            stop: Some(stop),
            keeper: Some(keeper),
        };
        cluster.prepare().await?;
        Ok(cluster)
    }

    /// How the application connects: as a role that can neither bypass row security nor anything else.
    #[must_use]
    pub fn connect_options(&self) -> PgConnectOptions {
        self.options(APPLICATION, APPLICATION)
    }

    /// How the superuser connects, to the maintenance database.
    #[must_use]
    pub fn admin_options(&self) -> PgConnectOptions {
        self.options(ADMIN, ADMIN)
    }

    /// The application's URL, in the form that sqlx and libpq (so `psql` too) both take.
    #[must_use]
    pub fn url(&self) -> String {
        // The host is a placeholder sqlx insists on; the socket directory that follows replaces it for both.
        let socket: String = url::form_urlencoded::byte_serialize(
            self.running.socket_dir.as_os_str().as_encoded_bytes(),
        )
        .collect();
        format!(
            "postgres://{APPLICATION}@localhost:{PORT}/{APPLICATION}?host={socket}&sslmode=disable"
        )
    }

    /// The version that runs.
    #[must_use]
    pub fn version(&self) -> Version {
        self.running.version
    }

    /// As whom the server runs.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.running.identity
    }

    /// The number of the server's process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.running.pid
    }

    /// Stops the server: clients are disconnected, and everything is on disk when this returns.
    pub async fn stop(mut self) {
        self.stop.take();
        if let Some(keeper) = self.keeper.take() {
            // The keeper handles its own failures; a panic of it has been reported by its thread.
            let _ = tokio::task::spawn_blocking(move || keeper.join()).await;
        }
    }

    fn options(&self, role: &str, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(&self.running.socket_dir)
            .port(PORT)
            .username(role)
            .database(database)
            // There is nobody between the two ends of a socket.
            .ssl_mode(PgSslMode::Disable)
    }

    /// Makes the application's role and database where they are missing.
    async fn prepare(&self) -> Result<(), Error> {
        let mut admin = PgConnection::connect_with(&self.admin_options()).await?;
        let role = format!(
            "DO $$ BEGIN IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{APPLICATION}') THEN \
             CREATE ROLE {APPLICATION} LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS; END IF; END $$"
        );
        admin.execute(sqlx::raw_sql(AssertSqlSafe(role))).await?;
        let known = format!("SELECT FROM pg_database WHERE datname = '{APPLICATION}'");
        let known = admin
            .fetch_optional(sqlx::raw_sql(AssertSqlSafe(known)))
            .await?;
        if known.is_none() {
            let database = format!("CREATE DATABASE {APPLICATION} OWNER {APPLICATION}");
            admin
                .execute(sqlx::raw_sql(AssertSqlSafe(database)))
                .await?;
        }
        admin.close().await?;
        Ok(())
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(keeper) = self.keeper.take() {
            // As in `stop`.
            let _ = keeper.join();
        }
    }
}
