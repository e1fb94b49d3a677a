//! The private Postgres: started, killed, restarted, refused.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::fs::{MetadataExt as _, chown},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicU32, Ordering},
};

use matcher_discovery::local::embedded_pg::{Cluster, Durability, Error, Options, guard::Identity};
use nix::{
    sys::{
        signal::{Signal, kill},
        wait::{Id, WaitPidFlag, waitid},
    },
    unistd::{Pid, geteuid},
};
use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, PgConnection, Row as _,
    postgres::PgConnectOptions,
};
use tempfile::TempDir;

use crate::support::cluster::{Template, TestDatabase, options_at};

/// A place for one cluster, with a short path that any user may enter.
fn place() -> TempDir {
    use std::os::unix::fs::PermissionsExt as _;

    let dir = tempfile::tempdir().unwrap();
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
    dir
}

fn options(dir: &Path) -> Options {
    options_at(dir.join("data"))
}

async fn execute(options: PgConnectOptions, statement: &str) {
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    connection
        .execute(sqlx::raw_sql(AssertSqlSafe(statement.to_owned())))
        .await
        .unwrap();
    connection.close().await.unwrap();
}

async fn fetch<T>(options: PgConnectOptions, query: &str) -> T
where
    T: for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    let mut connection = PgConnection::connect_with(&options).await.unwrap();
    let row = connection
        .fetch_one(sqlx::raw_sql(AssertSqlSafe(query.to_owned())))
        .await
        .unwrap();
    connection.close().await.unwrap();
    row.try_get_unchecked(0).unwrap()
}

/// The only directory of database files below a data directory.
fn database_files(options: &Options) -> PathBuf {
    let found: Vec<_> = fs::read_dir(&options.data_dir)
        .unwrap()
        .map(|entry| entry.unwrap().path().join("data"))
        .filter(|data| data.join("PG_VERSION").is_file())
        .collect();
    let [data] = &found[..] else {
        panic!("expected one directory of database files: {found:?}")
    };
    data.clone()
}

#[tokio::test]
async fn data_survives_a_restart() {
    let dir = place();
    let options = options(dir.path());
    let cluster = Cluster::start(options.clone()).await.unwrap();
    assert!(cluster.version().major >= 15);
    execute(
        cluster.connect_options(),
        "CREATE TABLE kept AS SELECT 7 AS n",
    )
    .await;
    cluster.stop().await;
    assert!(!database_files(&options).join("postmaster.pid").exists());

    let cluster = Cluster::start(options).await.unwrap();
    let kept: String = fetch(cluster.connect_options(), "SELECT n::text FROM kept").await;
    assert_eq!(kept, "7");
}

#[tokio::test]
async fn a_dropped_cluster_is_stopped() {
    let dir = place();
    let options = options(dir.path());
    let cluster = Cluster::start(options.clone()).await.unwrap();
    let pidfile = database_files(&options).join("postmaster.pid");
    assert!(pidfile.exists());
    drop(cluster);
    assert!(!pidfile.exists());
}

#[tokio::test]
async fn the_application_role_is_bound_by_row_security() {
    let database = TestDatabase::create(&TEMPLATE).await;
    let rights: String = fetch(
        database.options(),
        "SELECT concat_ws(' ', rolname, rolsuper, rolbypassrls, rolcanlogin, rolcreaterole, rolcreatedb, rolreplication, \
         (SELECT datdba::regrole FROM pg_database WHERE datname = current_database())) \
         FROM pg_roles WHERE rolname = current_user",
    )
    .await;
    assert_eq!(rights, "discovery f f t t f f discovery");
}

#[tokio::test]
async fn only_the_socket_of_its_owner_leads_in() {
    let database = TestDatabase::create(&TEMPLATE).await;
    let addresses: String = fetch(database.admin_options(), "SHOW listen_addresses").await;
    assert_eq!(addresses, "");
    let socket: String = fetch(database.admin_options(), "SHOW unix_socket_directories").await;
    assert_eq!(fs::metadata(socket).unwrap().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn commits_are_durable_unless_asked_otherwise() {
    let dir = place();
    let options = options(dir.path());
    for (durability, expected) in [
        (Durability::Off, "off off off"),
        (Durability::Full, "on on on"),
    ] {
        let cluster = Cluster::start(Options {
            durability,
            ..options.clone()
        })
        .await
        .unwrap();
        let settings: String = fetch(
            cluster.connect_options(),
            "SELECT concat_ws(' ', current_setting('fsync'), current_setting('synchronous_commit'), \
             current_setting('full_page_writes'))",
        )
        .await;
        assert_eq!(settings, expected);
        cluster.stop().await;
    }
}

#[tokio::test]
async fn the_url_suits_sqlx_and_psql() {
    let database = TestDatabase::create(&TEMPLATE).await;
    let who = "SELECT current_user || '@' || current_database()";
    let by_options: String = fetch(database.options(), who).await;
    assert!(by_options.starts_with("discovery@t"), "{by_options}");
    let by_url: String = fetch(database.url().parse().unwrap(), who).await;
    assert_eq!(by_url, by_options);

    // The client is not part of a bundle; where there is none, there is nothing to ask.
    let psql = Command::new("psql").arg("--version").output();
    if psql.is_ok_and(|found| found.status.success()) {
        let answer = Command::new("psql")
            .args(["--no-psqlrc", "--tuples-only", "--no-align", "--dbname"])
            .arg(database.url())
            .args(["--command", who])
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&answer.stderr);
        let by_psql = String::from_utf8_lossy(&answer.stdout);
        assert_eq!(by_psql.trim(), by_options, "{said}");
    }
}

#[tokio::test]
async fn a_second_start_on_the_directory_is_refused() {
    let dir = place();
    let options = options(dir.path());
    let first = Cluster::start(options.clone()).await.unwrap();
    let error = Cluster::start(options.clone()).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error, Error::Locked { .. }), "{text}");
    let holder = format!("in use by process {};", std::process::id());
    assert!(text.contains(&holder), "{text}");
    let place = options.data_dir.canonicalize().unwrap();
    assert!(text.contains(&*place.to_string_lossy()), "{text}");
    assert!(text.contains("another data directory"), "{text}");
    let alive: String = fetch(first.connect_options(), "SELECT 'alive'").await;
    assert_eq!(alive, "alive");
}

#[tokio::test]
async fn a_long_path_still_gets_a_socket() {
    let dir = place();
    let options = options(
        &dir.path()
            .join("a".repeat(60))
            .join("b, \"c\" %41".repeat(6)),
    );
    let cluster = Cluster::start(options.clone()).await.unwrap();
    let socket: String = fetch(cluster.admin_options(), "SHOW unix_socket_directories").await;
    let by_url: String = fetch(cluster.url().parse().unwrap(), "SELECT 'alive'").await;
    assert_eq!(by_url, "alive");
    assert!(
        !Path::new(&socket).starts_with(&options.data_dir),
        "{socket}"
    );
    assert_eq!(fs::metadata(&socket).unwrap().mode() & 0o777, 0o700);
    cluster.stop().await;
    assert!(
        !Path::new(&socket).exists(),
        "a directory outside goes with its server"
    );
}

#[tokio::test]
async fn data_of_an_absent_version_is_refused_and_left_alone() {
    let dir = place();
    let options = options(dir.path());
    let data = options.data_dir.join("postgres-99/data");
    fs::create_dir_all(&data).unwrap();
    fs::write(data.join("PG_VERSION"), "99\n").unwrap();
    let text = Cluster::start(options.clone())
        .await
        .unwrap_err()
        .to_string();
    assert!(text.contains("written by Postgres 99"), "{text}");
    assert!(text.contains("DISCOVERY_PG_BIN"), "{text}");
    assert_eq!(fs::read_dir(&data).unwrap().count(), 1);
}

#[tokio::test]
async fn a_machine_without_postgres_is_told_the_ways_out() {
    let dir = place();
    let mut options = options(dir.path());
    options.search.explicit = None;
    options.search.path = "/nowhere".into();
    options.search.root = dir.path().into();
    options.search.cache = dir.path().into();
    options.search.download = false;
    let text = Cluster::start(options).await.unwrap_err().to_string();
    for part in [
        "DISCOVERY_DATABASE_URL",
        "apt install",
        "DISCOVERY_PG_BIN",
        "switched off",
    ] {
        assert!(text.contains(part), "{part:?} is missing in: {text}");
    }
}

/// Starts a cluster once, stops it, and leaves a file as a crashed server would that had this process number.
async fn crashed(options: &Options, pid: u32) {
    Cluster::start(options.clone()).await.unwrap().stop().await;
    let data = database_files(options);
    let text = format!(
        "{pid}\n{}\n1700000000\n5432\n/nowhere\n\n 12345 0\nready   \n",
        data.display()
    );
    fs::write(data.join("postmaster.pid"), text).unwrap();
}

#[tokio::test]
async fn a_stale_file_that_names_a_stranger_is_survived_and_so_is_the_stranger() {
    let dir = place();
    let options = options(dir.path());
    let mut stranger = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    crashed(&options, stranger.id()).await;
    let cluster = Cluster::start(options).await.unwrap();
    let alive: String = fetch(cluster.connect_options(), "SELECT 'alive'").await;
    assert_eq!(alive, "alive");
    assert_eq!(stranger.try_wait().unwrap(), None, "the stranger was ended");
    drop(stranger.stdin.take());
    assert!(stranger.wait().unwrap().success());
}

#[tokio::test]
async fn a_stale_file_that_names_a_zombie_is_survived() {
    let dir = place();
    let options = options(dir.path());
    let mut zombie = Command::new("true").spawn().unwrap();
    let pid = Pid::from_raw(zombie.id().try_into().unwrap());
    waitid(Id::Pid(pid), WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT).unwrap();
    crashed(&options, zombie.id()).await;
    let cluster = Cluster::start(options).await.unwrap();
    let alive: String = fetch(cluster.connect_options(), "SELECT 'alive'").await;
    assert_eq!(alive, "alive");
    zombie.wait().unwrap();
}

#[tokio::test]
async fn what_an_interrupted_first_start_left_is_replaced() {
    let dir = place();
    let options = options(dir.path());
    Cluster::start(options.clone()).await.unwrap().stop().await;
    let data = database_files(&options);
    fs::remove_dir_all(&data).unwrap();
    let draft = data.with_file_name("data.new");
    fs::create_dir(&draft).unwrap();
    fs::write(draft.join("PG_VERSION"), "half").unwrap();
    let cluster = Cluster::start(options).await.unwrap();
    let alive: String = fetch(cluster.connect_options(), "SELECT 'alive'").await;
    assert_eq!(alive, "alive");
    assert!(!draft.exists());
}

#[tokio::test]
async fn root_never_runs_postgres_as_root() {
    let dir = place();
    let cluster = Cluster::start(options(dir.path())).await.unwrap();
    if geteuid().is_root() {
        assert_ne!(cluster.identity(), Identity::Own);
    } else {
        assert_eq!(cluster.identity(), Identity::Own);
    }
}

#[tokio::test]
async fn root_works_for_the_owner_of_the_directory() {
    if !geteuid().is_root() {
        // Only root can give a directory away, and only root has this case.
        return;
    }
    let nobody = nix::unistd::User::from_name("nobody").unwrap().unwrap();
    let (uid, gid) = (nobody.uid.as_raw(), nobody.gid.as_raw());
    let dir = place();
    let options = options(dir.path());
    fs::create_dir(&options.data_dir).unwrap();
    chown(&options.data_dir, Some(uid), Some(gid)).unwrap();
    for _ in ["first", "second"] {
        let cluster = Cluster::start(options.clone()).await.unwrap();
        assert_eq!(cluster.identity(), Identity::User { uid, gid });
        assert_eq!(fs::metadata(database_files(&options)).unwrap().uid(), uid);
        cluster.stop().await;
    }
}

/// As `dev` has it. With less, a crash may take what was just committed with it.
fn durable(options: Options) -> Options {
    Options {
        durability: Durability::Full,
        ..options
    }
}

/// A process that owns a cluster and can be killed.
struct Owner {
    process: Child,
    url: String,
    postgres: Pid,
}

impl Owner {
    /// Starts this test binary once more, as the owner and nothing else.
    fn start(options: &Options) -> Self {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "local::embedded_pg::owner_of_a_cluster"])
            .args(["--ignored", "--nocapture"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut orders = process.stdin.take().unwrap();
        writeln!(orders, "{}", options.data_dir.display()).unwrap();
        let mut url = None;
        for line in BufReader::new(process.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            // The test harness writes its own words around, and even before, ours.
            if let Some((_, found)) = line.split_once("owner: ") {
                url = Some(found.to_owned());
                break;
            }
        }
        // Kept open: the owner lives until it is killed or its orders end.
        process.stdin = Some(orders);
        let pidfile = fs::read_to_string(database_files(options).join("postmaster.pid")).unwrap();
        let postgres = pidfile.lines().next().unwrap().parse().unwrap();
        Self {
            process,
            url: url.expect("the owner starts a cluster"),
            postgres: Pid::from_raw(postgres),
        }
    }

    async fn insert(&self) {
        let options: PgConnectOptions = self.url.parse().unwrap();
        execute(options.clone(), "CREATE TABLE IF NOT EXISTS kept (n int)").await;
        execute(options, "INSERT INTO kept VALUES (1)").await;
    }

    fn kill(mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[test]
#[ignore = "not a test: the process that the crash tests start and kill"]
fn owner_of_a_cluster() {
    let mut data_dir = String::new();
    std::io::stdin().read_line(&mut data_dir).unwrap();
    let data_dir = data_dir.trim_end();
    assert!(
        !data_dir.is_empty(),
        "the crash tests say where, on standard input"
    );
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let cluster = runtime
        .block_on(Cluster::start(durable(options_at(data_dir.into()))))
        .unwrap();
    println!("owner: {}", cluster.url());
    // Until it is killed, or whoever started it is gone.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// What never happens would otherwise be waited for without end.
#[cfg(target_os = "linux")]
const HANGS: std::time::Duration = std::time::Duration::from_mins(1);

/// The living processes that work in a directory.
#[cfg(target_os = "linux")]
fn at_work_in(dir: &Path) -> usize {
    fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| fs::read_link(entry.ok()?.path().join("cwd")).ok())
        .filter(|cwd| cwd.starts_with(dir))
        .count()
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_killed_owner_leaves_no_postgres_and_no_loss() {
    let dir = place();
    let options = durable(options(dir.path()));
    for round in 1..=2 {
        let owner = Owner::start(&options);
        owner.insert().await;
        let data = database_files(&options);
        assert!(at_work_in(&data) > 1);
        owner.kill();
        // Nobody but the kernel ends it here.
        tokio::time::timeout(HANGS, async {
            while at_work_in(&data) > 0 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("Postgres goes with its owner");
        let cluster = Cluster::start(options.clone()).await.unwrap();
        let kept: String =
            fetch(cluster.connect_options(), "SELECT count(*)::text FROM kept").await;
        assert_eq!(kept, round.to_string());
        cluster.stop().await;
    }
}

#[tokio::test]
async fn owner_and_postgres_killed_at_once_lose_nothing() {
    let dir = place();
    let options = durable(options(dir.path()));
    for round in 1..=2 {
        let owner = Owner::start(&options);
        owner.insert().await;
        kill(owner.postgres, Signal::SIGKILL).unwrap();
        owner.kill();
        // At once: its children may still hold its memory, and its number may still be taken.
        let cluster = Cluster::start(options.clone()).await.unwrap();
        let kept: String =
            fetch(cluster.connect_options(), "SELECT count(*)::text FROM kept").await;
        assert_eq!(kept, round.to_string());
        cluster.stop().await;
    }
}

static RUNS: AtomicU32 = AtomicU32::new(0);

/// A template with one table, which counts how often it is made.
static TEMPLATE: Template = Template::new("template_of_the_launcher_tests", |options| {
    Box::pin(async move {
        RUNS.fetch_add(1, Ordering::Relaxed);
        let mut connection = PgConnection::connect_with(&options).await?;
        connection
            .execute(sqlx::raw_sql("CREATE TABLE things (n int)"))
            .await?;
        connection.close().await?;
        Ok(())
    })
});

/// Two threads with a runtime each, as the test harness has them.
#[test]
fn test_databases_are_separate_copies_of_one_template() {
    let threads: Vec<_> = (0..4)
        .map(|n| {
            std::thread::spawn(move || {
                let runtime = tokio::runtime::Runtime::new().unwrap();
                runtime.block_on(async {
                    let database = TestDatabase::create(&TEMPLATE).await;
                    let insert = format!("INSERT INTO things VALUES ({n})");
                    execute(database.options(), &insert).await;
                    let all: String = fetch(
                        database.url().parse().unwrap(),
                        "SELECT string_agg(n::text, ',') FROM things",
                    )
                    .await;
                    assert_eq!(all, n.to_string());
                    let admin: String = fetch(
                        database.admin_options(),
                        "SELECT current_database() || ' ' || rolsuper FROM pg_roles WHERE rolname = current_user",
                    )
                    .await;
                    assert!(admin.ends_with(" true"), "{admin}");
                });
            })
        })
        .collect();
    for thread in threads {
        thread.join().unwrap();
    }
    assert_eq!(RUNS.load(Ordering::Relaxed), 1);
}
