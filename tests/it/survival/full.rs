//! A disk that is full: a real one, small enough to be filled.
//!
//! A user namespace lets anybody mount a file system of so many bytes that only its own processes
//! see. Postgres runs in there, on top of it, and what is full is told by the kernel.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{File, Permissions},
    io::{ErrorKind, Write as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use matcher_discovery::storage::Store;
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tokio::process::{Child, Command};

use super::House;
use crate::support::{
    empty, is_required,
    process::{PATIENCE, Process, request},
};

/// What of the database lies on the small disk.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Small {
    /// Everything but the log of what is committed: a statement that needs room fails.
    Tables,
    /// That log, too: a commit that needs room ends the whole database server.
    Everything,
}

/// Mounts the disk, makes a cluster on it, and starts it again whenever it ends.
const SCRIPT: &str = r#"set -e
mount -t tmpfs -o size="$SIZE" none "$DISK"
step() { "$GUARD" __postgres "$$" namespace "$@"; }
step "$BIN/initdb" --auth=trust --encoding=UTF8 --locale=C --no-sync --no-instructions \
    --username=postgres --wal-segsize=1 $WAL --pgdata "$DISK/data" >&2
echo made
while :; do
    step "$BIN/postgres" -D "$DISK/data" -c listen_addresses= -c port=5432 \
        -c unix_socket_directories="$SOCKET" -c jit=off -c min_wal_size=2MB -c max_wal_size=4MB \
        -c autovacuum=off -c max_connections=60 >&2 || :
done
"#;

/// A database server on a small disk.
struct SmallDisk {
    /// Ends with this, and everything in it with its namespace.
    shell: Child,
    directory: tempfile::TempDir,
}

impl SmallDisk {
    /// Starts it; nothing, where the system does not let us.
    async fn start(small: Small) -> Option<Self> {
        let namespace = ["--user", "--map-root-user", "--mount"];
        let tried = Command::new("unshare")
            .args(namespace)
            .args(["mount", "-t", "tmpfs", "none", "/mnt"])
            .stderr(Stdio::null())
            .status()
            .await;
        if !tried.is_ok_and(|status| status.success()) {
            let told =
                "NOT TESTED: a full disk; this system allows no file system in a user namespace";
            assert!(!is_required("REQUIRE_FULL_DISK"), "{told}");
            // Past the test harness, which keeps what a test that passes says to itself.
            let _ = writeln!(std::io::stderr(), "{told}");
            return None;
        }
        let bin: Vec<String> = empty()
            .await
            .column("SELECT setting FROM pg_config WHERE name = 'BINDIR'")
            .await;
        let directory = tempfile::tempdir().unwrap();
        for name in ["disk", "socket", "beside"] {
            let path = directory.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o700)).unwrap();
        }
        let path = |name: &str| directory.path().join(name).display().to_string();
        let beside = match small {
            Small::Tables => format!("--waldir={}", path("beside/wal")),
            Small::Everything => String::new(),
        };
        let environment = BTreeMap::from([
            ("SIZE", "96m".to_owned()),
            ("DISK", path("disk")),
            ("SOCKET", path("socket")),
            ("WAL", beside),
            ("BIN", bin[0].clone()),
            ("GUARD", env!("CARGO_BIN_EXE_matcher-discovery").to_owned()),
        ]);
        let log = File::create(directory.path().join("log")).unwrap();
        let shell = Command::new("unshare")
            .args(namespace)
            // Should the test be killed, nothing stays.
            .args(["setpriv", "--pdeathsig", "KILL", "sh", "-c", SCRIPT])
            .envs(&environment)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let disk = Self { shell, directory };
        let ready = async {
            let mut looks = tokio::time::interval(super::GLANCE);
            while PgConnection::connect_with(&disk.options("postgres", "postgres"))
                .await
                .is_err()
            {
                looks.tick().await;
            }
        };
        let ready = tokio::time::timeout(PATIENCE, ready).await.is_ok();
        assert!(
            ready,
            "Postgres is not ready on the small disk:\n{}",
            disk.log()
        );
        Some(disk)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.directory.path().join("log")).unwrap()
    }

    fn options(&self, role: &str, database: &str) -> PgConnectOptions {
        PgConnectOptions::new_without_pgpass()
            .socket(self.directory.path().join("socket"))
            .port(5432)
            .username(role)
            .database(database)
            .ssl_mode(sqlx::postgres::PgSslMode::Disable)
    }

    fn url(&self) -> String {
        let socket = self.directory.path().join("socket");
        let socket = socket.display().to_string().replace('/', "%2F");
        format!("postgres://discovery@localhost:5432/discovery?host={socket}&sslmode=disable")
    }

    /// Makes what the server needs, and a house over it.
    async fn house(&self) -> House {
        let mut admin = PgConnection::connect_with(&self.options("postgres", "postgres"))
            .await
            .unwrap();
        for statement in [
            "CREATE ROLE discovery LOGIN CREATEROLE NOSUPERUSER NOBYPASSRLS",
            "CREATE DATABASE discovery OWNER discovery",
        ] {
            admin.execute(statement).await.unwrap();
        }
        admin.close().await.unwrap();
        Store::migrate(&self.options("discovery", "discovery"))
            .await
            .unwrap();
        House::build(self.url(), self.options("postgres", "discovery")).await
    }

    /// What fills the disk. The namespace of its processes is entered by way of one of them.
    fn ballast(&self) -> PathBuf {
        let shell = self.shell.id().expect("it runs");
        let inside = self.directory.path().join("disk/ballast");
        let inside = inside.strip_prefix("/").unwrap();
        Path::new("/proc")
            .join(shell.to_string())
            .join("root")
            .join(inside)
    }

    /// Leaves not one byte free.
    fn fill(&self) {
        let mut ballast = File::create(self.ballast()).unwrap();
        let block = vec![0; 64 * 1024];
        let mut size = block.len();
        while size > 0 {
            match ballast.write(&block[..size]) {
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::StorageFull => size /= 2,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn empty(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }
}

/// Sends an event of a kilobyte, and answers the status.
async fn tell(house: &House, number: usize) -> u16 {
    let body = event(number).to_string();
    let headers = [("content-type", "application/json")];
    let (path, address) = (house.receiver("pluggy"), house.relay.address());
    let (status, ..) = request(address, "POST", path, &headers, body.as_bytes()).await;
    status
}

fn event(number: usize) -> Value {
    json!({
        "event": "item/updated", "eventId": format!("event-{number}"),
        "itemId": "a1b2c3d4-5678-40ab-8def-1234567890ab", "padding": "x".repeat(1000),
    })
}

async fn survives(small: Small) {
    let Some(disk) = SmallDisk::start(small).await else {
        return;
    };
    let house = disk.house().await;
    let mut server = Process::spawn(&["serve", "--role", "api"], &house.environment);
    house.relay.lead_to(server.listening().await);
    let mut taken = BTreeSet::new();
    let mut numbers = 0..;
    for number in numbers.by_ref().take(20) {
        house
            .until("a webhook is taken", async || {
                tell(&house, number).await == 202
            })
            .await;
        taken.insert(number);
    }

    disk.fill();
    // What is free within the files there are is used up first.
    let mut refused = BTreeSet::new();
    while refused.len() < 20 {
        let number = numbers.next().unwrap();
        assert!(number < 50_000, "the disk is full, and nobody minds");
        match tell(&house, number).await {
            202 => taken.insert(number),
            503 => refused.insert(number),
            other => panic!("{other}:\n{}", server.output()),
        };
    }
    let log = disk.log();
    assert!(log.contains("No space left on device"), "{log}");

    disk.empty();
    let further = numbers.next().unwrap();
    house
        .until("a webhook is taken again", async || {
            tell(&house, further).await == 202
        })
        .await;
    taken.insert(further);
    let kept: Vec<String> = house
        .column("SELECT event_key FROM deliveries ORDER BY event_key")
        .await;
    let kept: BTreeSet<String> = kept.into_iter().collect();
    let key = |number: &usize| event(*number)["eventId"].as_str().unwrap().to_owned();
    let lost: Vec<String> = taken
        .iter()
        .map(key)
        .filter(|key| !kept.contains(key))
        .collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // Of a refusal nobody can say whether it came too late, but those that found no room left nothing.
    assert!(refused.iter().map(key).any(|key| !kept.contains(&key)));
    // And what it was refused for is done, too.
    drop(server);
    let _server = house.serve().await;
    house.runs_dry().await;
    house.expect_truth().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_full_disk_nothing_is_acknowledged_and_afterwards_all_is_well() {
    survives(Small::Tables).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_ends_at_a_commit_for_want_of_room_loses_nothing_that_was_acknowledged() {
    survives(Small::Everything).await;
}
