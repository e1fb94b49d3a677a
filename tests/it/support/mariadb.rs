//! A throw-away `MariaDB` for the tests of its connector: started when the first of them asks for it, gone with the
//! process however it ends.

use std::{
    fs,
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
    process::{self, Command, Stdio},
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use sqlx::{
    AssertSqlSafe, Connection as _, Executor as _, MySqlConnection, mysql::MySqlConnectOptions,
};

use super::{cluster::remove_orphans, is_required};

/// Far more than it takes, even beside other work.
const PATIENCE: Duration = Duration::from_mins(2);

/// The running server.
#[derive(Debug)]
pub(crate) struct MariaDb {
    pub(crate) port: u16,
    socket: PathBuf,
}

/// The server of this test process; `None`, and said so loudly, where there is none to start.
pub(crate) fn mariadb() -> Option<&'static MariaDb> {
    static SHARED: OnceLock<Option<MariaDb>> = OnceLock::new();
    SHARED.get_or_init(start).as_ref()
}

fn start() -> Option<MariaDb> {
    let (Some(server), Some(install)) = (find("mariadbd"), find("mariadb-install-db")) else {
        let told = "\n\
            ==============================================================================\n\
            LEFT OUT: the tests of the mysql connector, for want of a MariaDB to run against.\n\
            To run them too: apt-get install --no-install-recommends mariadb-server-core mariadb-client-core\n\
            ==============================================================================\n";
        assert!(!is_required("REQUIRE_MARIADB"), "{told}");
        // Past the harness, which would swallow what a passing test prints.
        let _ = std::io::stderr().write_all(told.as_bytes());
        return None;
    };
    let below = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mariadb");
    remove_orphans(&below);
    let home = below.join(process::id().to_string());
    fs::create_dir_all(&home).unwrap();
    // The path of a socket may not be long, and a checkout's may be.
    let socket = std::env::temp_dir().join(format!("mariadb-{}.sock", process::id()));
    let data = home.join("data");
    let as_root = nix::unistd::Uid::effective().is_root();
    let user = as_root.then_some("--user=root");
    let made = Command::new(install)
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .args(["--auth-root-authentication-method=normal", "--skip-test-db"])
        .args(user)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(
        made.status.success(),
        "{}{}",
        String::from_utf8_lossy(&made.stdout),
        String::from_utf8_lossy(&made.stderr)
    );
    let port = free_port();
    let log = fs::File::create(home.join("log")).unwrap();
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "--"])
        .arg(server)
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .arg(format!("--socket={}", socket.display()))
        .arg(format!("--port={port}"))
        .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
        .args(["--skip-log-bin", "--innodb-flush-log-at-trx-commit=0"])
        .args(["--innodb-buffer-pool-size=64M", "--performance-schema=OFF"])
        .args(user)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    let (started, starting) = mpsc::channel();
    // It dies with the thread that started it, so that thread stays.
    thread::spawn(move || {
        let mut child = command.spawn().unwrap();
        let _ = started.send(());
        let _ = child.wait();
    });
    starting.recv().unwrap();
    let server = MariaDb { port, socket };
    let began = Instant::now();
    while block_on(server.execute("DO 1")).is_err() {
        assert!(
            began.elapsed() < PATIENCE,
            "MariaDB did not start: {}",
            fs::read_to_string(home.join("log")).unwrap_or_default()
        );
        thread::sleep(Duration::from_millis(50));
    }
    Some(server)
}

#[expect(
    clippy::disallowed_methods,
    reason = "a program is found by the PATH of its parent"
)]
fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    // Where servers are, which is not on everybody's path.
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/usr/local/sbin".into()])
        .map(|directory| directory.join(program))
        .find(|file| file.is_file())
}

fn free_port() -> u16 {
    // None of those that are handed out to whoever asks for any, and not where another test process begins.
    let first = 10_000 + u16::try_from(process::id() % 15_000).unwrap();
    (first..first + 5_000)
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .unwrap()
}

/// On a thread of its own, since the test's runtime can't wait for another future meanwhile.
fn block_on<T: Send>(future: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .unwrap()
                .block_on(future)
        });
        waiting.join().unwrap()
    })
}

impl MariaDb {
    /// Does something as the superuser.
    pub(crate) async fn execute(&self, statements: &str) -> Result<(), sqlx::Error> {
        let options = MySqlConnectOptions::new()
            .socket(&self.socket)
            .username("root")
            .no_engine_substitution(false)
            .pipes_as_concat(false);
        let mut line = MySqlConnection::connect_with(&options).await?;
        line.execute(sqlx::raw_sql(AssertSqlSafe(statements.to_owned())))
            .await?;
        line.close().await
    }

    /// A database of one test, and who may read all of it.
    pub(crate) async fn database(&self) -> String {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("t{}", NEXT.fetch_add(1, Ordering::Relaxed));
        self.execute(&format!(
            "CREATE DATABASE {name} CHARACTER SET utf8mb4;
             CREATE USER {name}@'%' IDENTIFIED BY 'the password of {name}';
             GRANT SELECT, SHOW VIEW ON {name}.* TO {name}@'%'"
        ))
        .await
        .unwrap();
        name
    }
}
