//! Throw-away databases.
//!
//! Each test process has one private Postgres of its own, started when the first test asks for it and gone when the
//! process is gone, however it ends. Each test has its own database in it, a copy of a template that is migrated once.
//!
//! Tests run in threads with a runtime each, so nothing here that lives longer than a call belongs to a runtime:
//! there are no pools, and the cluster and the dropping of databases have threads of their own.

use std::{
    error::Error as StdError,
    fs,
    path::{Path, PathBuf},
    process,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
};

use futures_util::future::BoxFuture;
use matcher_discovery::local::embedded_pg::{Cluster, Durability, Options, Search};
use nix::{errno::Errno, sys::signal::kill, unistd::Pid};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions,
};
use tokio::sync::{OnceCell, Semaphore};

/// Brings an empty database to the present schema; runs as the application's login role.
pub(crate) type Migrate =
    fn(PgConnectOptions) -> BoxFuture<'static, Result<(), Box<dyn StdError + Send + Sync>>>;

/// A database that is migrated once in a process and then only copied.
#[derive(Debug)]
pub(crate) struct Template {
    name: &'static str,
    migrate: Migrate,
    made: OnceCell<()>,
}

impl Template {
    /// Names a template and how it comes to its schema. Nothing happens before a test wants a copy.
    pub(crate) const fn new(name: &'static str, migrate: Migrate) -> Self {
        Self {
            name,
            migrate,
            made: OnceCell::const_new(),
        }
    }

    async fn make(&self) {
        let shared = shared();
        let name = self.name;
        // A test that was cancelled in the middle of this leaves a half-made one.
        shared
            .admin(&format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))
            .await;
        shared
            .admin(&format!("CREATE DATABASE {name} OWNER discovery"))
            .await;
        if let Err(error) = (self.migrate)(shared.cluster.connect_options().database(name)).await {
            panic!("migrating the template database {name} failed: {error}");
        }
    }
}

/// Copying is work for the disk: more at once only makes each of them slower.
static COPIES: Semaphore = Semaphore::const_new(3);
static NEXT: AtomicU32 = AtomicU32::new(0);

/// A database of one test; dropping it drops the database.
#[derive(Debug)]
pub(crate) struct TestDatabase {
    name: String,
}

impl TestDatabase {
    /// Copies the template, making it first if no test has yet.
    pub(crate) async fn create(template: &Template) -> Self {
        template.made.get_or_init(|| template.make()).await;
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        let turn = COPIES.acquire().await.expect("nobody closes it");
        let copy = format!(
            "CREATE DATABASE {name} OWNER discovery TEMPLATE {} STRATEGY FILE_COPY",
            template.name
        );
        shared().admin(&copy).await;
        drop(turn);
        Self { name }
    }

    /// How the application connects: as the login role, which row security binds.
    pub(crate) fn options(&self) -> PgConnectOptions {
        shared().cluster.connect_options().database(&self.name)
    }

    /// How the superuser connects to this database.
    pub(crate) fn admin_options(&self) -> PgConnectOptions {
        shared().cluster.admin_options().database(&self.name)
    }

    /// The application's URL of this database.
    pub(crate) fn url(&self) -> String {
        let url = shared().cluster.url();
        url.replacen("/discovery?", &format!("/{}?", self.name), 1)
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // Should the thread be gone, the database goes with the whole cluster.
        let _ = shared().dropped.send(std::mem::take(&mut self.name));
    }
}

struct Shared {
    cluster: Cluster,
    /// The names of databases nobody needs any more.
    dropped: mpsc::Sender<String>,
}

impl Shared {
    async fn admin(&self, statement: &str) {
        execute(self.cluster.admin_options(), statement)
            .await
            .unwrap_or_else(|error| panic!("{statement}: {error}"));
    }
}

async fn execute(options: PgConnectOptions, statement: &str) -> sqlx::Result<()> {
    let mut connection = PgConnection::connect_with(&options).await?;
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned())))
        .await?;
    connection.close().await
}

fn shared() -> &'static Shared {
    static SHARED: OnceLock<Shared> = OnceLock::new();
    SHARED.get_or_init(|| {
        // A thread of its own, because a test's runtime can't wait for another future.
        let started = thread::spawn(|| block_on(Cluster::start(options())));
        let cluster = started
            .join()
            .expect("the thread returns")
            .unwrap_or_else(|error| panic!("{error}"));
        let admin = cluster.admin_options();
        let (dropped, names) = mpsc::channel::<String>();
        thread::spawn(move || {
            for name in names {
                // Best effort: it goes with the whole cluster at the latest.
                let statement = format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)");
                let _ = block_on(execute(admin.clone(), &statement));
            }
        });
        Shared { cluster, dropped }
    })
}

fn block_on<F: Future>(future: F) -> F::Output {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime can be built")
        .block_on(future)
}

fn options() -> Options {
    let below = Path::new(env!("CARGO_TARGET_TMPDIR")).join("clusters");
    remove_orphans(&below);
    options_at(below.join(process::id().to_string()))
}

/// How a test starts a cluster of its own: like `dev`, with what this machine has, but not made to last.
pub(crate) fn options_at(data_dir: PathBuf) -> Options {
    Options {
        data_dir,
        temp_dir: std::env::temp_dir(),
        guard: env!("CARGO_BIN_EXE_matcher-discovery").into(),
        search: search(),
        durability: Durability::Off,
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the tests' counterpart of the command line, which reads the environment for the program"
)]
fn search() -> Search {
    Search {
        explicit: std::env::var_os("DISCOVERY_PG_BIN").map(PathBuf::from),
        path: std::env::var_os("PATH").unwrap_or_default(),
        root: "/".into(),
        cache: Path::new(env!("CARGO_TARGET_TMPDIR")).join("cache"),
        download: true,
    }
}

/// Removes what test processes left that are gone, one with this one's number among them. It is for the
/// first thing of its kind that a process does.
pub(crate) fn remove_orphans(below: &Path) {
    for entry in fs::read_dir(below).into_iter().flatten().flatten() {
        let owner = entry.file_name().to_str().and_then(|n| n.parse().ok());
        let is_gone = |pid: Pid| pid == Pid::this() || kill(pid, None) == Err(Errno::ESRCH);
        if owner.map(Pid::from_raw).is_some_and(is_gone) {
            // Another test process may be doing the same.
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}
