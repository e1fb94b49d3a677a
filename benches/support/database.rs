//! The database of the server under test, asked past the server.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use matcher_discovery::storage::{Store, StoreOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Decode, Executor as _, PgConnection, Postgres, Type,
    postgres::PgConnectOptions,
};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::Command,
};

use super::{Failure, figures::millis, machine, server::Server};

/// What a Postgres for work has, on a machine like the ones that these benchmarks run on.
const SETTINGS: &[(&str, &str)] = &[
    ("shared_buffers", "1GB"),
    ("max_wal_size", "8GB"),
    ("min_wal_size", "4GB"),
    ("checkpoint_timeout", "30min"),
];

/// Starts a server over a private Postgres that has memory to work with.
pub(crate) async fn start(directory: &Path, variables: &[(&str, &str)]) -> Result<Server, Failure> {
    // What these settings need is a restart, and the directory keeps them.
    let server = Server::start_in(directory, variables).await?;
    let mut database = Database::open(&server).await?;
    for (name, value) in SETTINGS {
        database
            .run(&format!("ALTER SYSTEM SET {name} = '{value}'"))
            .await?;
    }
    drop(database);
    server.stop().await?;
    Server::start_in(directory, variables).await
}

/// What the figures were measured on.
pub(crate) async fn headline(server: &Server) -> Result<String, Failure> {
    let store = Store::new(StoreOptions {
        connect: server.ready.database_url.parse()?,
        max_connections: 1,
        acquire_timeout: Duration::from_secs(5),
    });
    let postgres = store.facts().await?.version;
    store.close().await;
    let sync = machine::time_of_a_sync(&std::env::temp_dir())?;
    Ok(format!(
        "{}; Postgres {postgres}; a sync of 8 KiB takes {} ms",
        machine::processor(),
        millis(sync)
    ))
}

/// A connection as the superuser, whom no policy binds.
pub(crate) struct Database {
    options: PgConnectOptions,
    connection: PgConnection,
}

impl Database {
    /// Whoever may open the socket of the private Postgres may be its superuser.
    pub(crate) async fn open(server: &Server) -> Result<Self, Failure> {
        let options: PgConnectOptions = server.ready.database_url.parse()?;
        let options = options.username("postgres");
        let connection = options.connect().await.map_err(|error| {
            format!("this benchmark works on the private Postgres of `dev` only: {error}")
        })?;
        Ok(Self {
            options,
            connection,
        })
    }

    /// Another connection like this one.
    pub(crate) async fn another(&self) -> Result<Self, Failure> {
        Ok(Self {
            options: self.options.clone(),
            connection: self.options.connect().await?,
        })
    }

    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    pub(crate) async fn run(&mut self, statements: &str) -> Result<(), Failure> {
        let statements = sqlx::raw_sql(AssertSqlSafe(statements.to_owned()));
        self.connection.execute(statements).await?;
        Ok(())
    }

    /// The first column of the first row.
    #[expect(
        clippy::disallowed_methods,
        reason = "asks Postgres about itself, not the schema"
    )]
    pub(crate) async fn ask<T>(&mut self, question: &str) -> Result<T, Failure>
    where
        T: for<'r> Decode<'r, Postgres> + Type<Postgres> + Send + Unpin,
    {
        let question = sqlx::query_scalar(AssertSqlSafe(question.to_owned()));
        Ok(question.fetch_one(&mut self.connection).await?)
    }

    /// Writes as much of a log as a benchmark will, so that its files are there to be written again, as
    /// they are wherever a database has been at work; whoever is measured first would have to make them.
    pub(crate) async fn make_log_files(&mut self) -> Result<(), Failure> {
        self.run(
            "SELECT pg_logical_emit_message(false, '', repeat('-', 1024 * 1024))
             FROM generate_series(1, 3 * 1024);
             CHECKPOINT",
        )
        .await
    }

    /// Where the write-ahead log ends now.
    pub(crate) async fn wal(&mut self) -> Result<String, Failure> {
        self.ask("SELECT pg_current_wal_insert_lsn()::text").await
    }

    /// How many bytes lie between two places of the log.
    pub(crate) async fn wal_between(&mut self, from: &str, to: &str) -> Result<u64, Failure> {
        let bytes: i64 = self
            .ask(&format!("SELECT pg_wal_lsn_diff('{to}', '{from}')::bigint"))
            .await?;
        Ok(bytes.unsigned_abs())
    }

    /// The bytes that each relation of a table got in a stretch of the log: the table, what it keeps
    /// out of line, and every index of both.
    pub(crate) async fn wal_of_table(
        &mut self,
        table: &str,
        from: &str,
        to: &str,
    ) -> Result<Vec<(String, u64)>, Failure> {
        let relations: String = self
            .ask(&format!(
                "SELECT string_agg(pg_relation_filenode(c.oid) || ' ' || c.relname, ',' ORDER BY c.oid)
                 FROM pg_class c, (SELECT oid AS this, reltoastrelid AS toast
                                   FROM pg_class WHERE oid = '{table}'::regclass) AS t
                 WHERE c.oid IN (this, toast)
                    OR c.oid IN (SELECT indexrelid FROM pg_index WHERE indrelid IN (this, toast))"
            ))
            .await?;
        let logged = self.read_log(from, to).await?;
        let named = relations.split(',').filter_map(|one| one.split_once(' '));
        Ok(named
            .map(|(node, name)| (name.to_owned(), logged.get(node).copied().unwrap_or(0)))
            .collect())
    }

    /// The bytes of all records that touch each relation, by the number of its file.
    async fn read_log(&mut self, from: &str, to: &str) -> Result<HashMap<String, u64>, Failure> {
        let data: String = self.ask("SELECT current_setting('data_directory')").await?;
        let mut dump = Command::new(programs(&data)?.join("pg_waldump"))
            .arg("--path")
            .arg(Path::new(&data).join("pg_wal"))
            .args(["--start", from, "--end", to])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .map_err(|error| format!("pg_waldump can't be run: {error}"))?;
        let output = dump.stdout.take().ok_or("pg_waldump has no output")?;
        let mut lines = BufReader::new(output).lines();
        let mut bytes: HashMap<String, u64> = HashMap::new();
        let mut records = 0_u64;
        while let Some(line) = lines.next_line().await? {
            records += 1;
            if let Some(node) = relation(&line) {
                let length =
                    length(&line).ok_or_else(|| format!("a record without a length: {line}"))?;
                *bytes.entry(node.to_owned()).or_default() += length;
            }
        }
        dump.wait().await?;
        if records == 0 {
            return Err("pg_waldump read no record at all".into());
        }
        Ok(bytes)
    }
}

/// Where the programs of the running Postgres are.
fn programs(data: &str) -> Result<PathBuf, Failure> {
    let file = std::fs::read_to_string(Path::new(data).join("postmaster.pid"))?;
    let id = file.lines().next().unwrap_or_default();
    let program = std::fs::read_link(format!("/proc/{id}/exe"))?;
    let directory = program.parent().ok_or("Postgres runs from nowhere")?;
    Ok(directory.to_owned())
}

/// The relation that a record touches first: `… blkref #0: rel 1663/16384/16432 blk 7 …`.
fn relation(line: &str) -> Option<&str> {
    let (_, reference) = line.split_once(": rel ")?;
    let path = reference.split_ascii_whitespace().next()?;
    path.rsplit('/').next()
}

/// The whole length of a record: `… len (rec/tot):     59/  8051, …`.
fn length(line: &str) -> Option<u64> {
    let (_, lengths) = line.split_once("len (rec/tot):")?;
    let (_, total) = lengths.split_once(',')?.0.split_once('/')?;
    total.trim().parse().ok()
}
