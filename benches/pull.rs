//! How fast rows come in, against Postgres taking in the same rows by itself.
//!
//! ```text
//! cargo bench --bench pull
//! ```
//!
//! README.md beside this file tells how to read the table.

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod support;

use std::{
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use futures_util::TryStreamExt as _;
use hyper::{Method, StatusCode, header};
use serde_json::{Value, json};

use support::{
    Failure,
    cpu::CpuTimes,
    database::{self, Database},
    figures::hundredths,
    line::{Line, Step},
    machine::OthersAtWork,
    server::Server,
    vendor::Vendor,
};

const CONNECTIONS: u32 = 8;
const ACCOUNTS: u32 = 25;
const ROWS: u32 = 5_000;
/// All of them together.
const ALL: u64 = CONNECTIONS as u64 * ACCOUNTS as u64 * ROWS as u64;
/// How often it is looked whether the pulls are over.
const GLANCE: Duration = Duration::from_millis(20);
/// How much of a copy goes out at once.
const CHUNK: usize = 64 * 1024;
/// Every column of the table, in the order of the copy.
const COPY: &str = "COPY transactions FROM STDIN (FORMAT binary)";

fn main() -> ExitCode {
    // What runs everything once, as `cargo test --all-targets` does, can't want this.
    if !std::env::args().any(|argument| argument == "--bench") {
        return ExitCode::SUCCESS;
    }
    let outcome = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(Failure::from)
        .and_then(|runtime| runtime.block_on(run()));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "pull: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let server = database::start(
        directory.path(),
        &[("DISCOVERY_PLUGGY_RATE_LIMIT", "1000000")],
    )
    .await?;
    let outcome = measure_all(&server).await;
    server.stop().await?;
    outcome
}

async fn measure_all(server: &Server) -> Result<(), Failure> {
    let vendor = Vendor::start(ACCOUNTS, ROWS).await?;
    let mut bench = Bench {
        database: Database::open(server).await?,
        api: Line::open(server.api).await?,
        server,
        vendor: &vendor,
    };
    say(&format!(
        "{}\n{ALL} rows of {} accounts\n\n\
         {:<28} {:>8} {:>8} {:>10} {:>12} {:>8} {:>10} {:>7}",
        database::headline(server).await?,
        CONNECTIONS * ACCOUNTS,
        "what",
        "seconds",
        "rows/s",
        "server us",
        "postgres us",
        "here us",
        "log bytes",
        "others"
    ))?;

    let mut connections = Vec::new();
    bench.database.make_log_files().await?;
    let before = bench.begin().await?;
    for number in 0..CONNECTIONS {
        connections.push(bench.create(number).await?);
    }
    bench.wait_for_pulls(1, "inserted").await?;
    let new = bench.end(before).await?;
    say(&new.row("pull, new rows"))?;

    // What a fresh table has left to do would look like work of the pull.
    bench.database.run("VACUUM (ANALYZE) transactions").await?;
    let before = bench.begin().await?;
    let from = before.wal.clone();
    // The server hangs up on who is silent for long.
    bench.api = Line::open(server.api).await?;
    for (number, connection) in (0..).zip(&connections) {
        bench.rotate(number, connection).await?;
    }
    bench.wait_for_pulls(2, "unchanged").await?;
    let unchanged = bench.end(before).await?;
    say(&unchanged.row("pull, unchanged rows"))?;
    let to = unchanged.wal_end.clone();
    let logged = bench
        .database
        .wal_of_table("transactions", &from, &to)
        .await?;

    let copied = bench.copy(&connections).await?;
    say(&copied.row("binary COPY, two connections"))?;

    let of_table: u64 = logged.iter().map(|(_, bytes)| bytes).sum();
    let relations: Vec<String> = logged
        .iter()
        .map(|(name, bytes)| format!("{name} {bytes}"))
        .collect();
    say(&format!(
        "\nnew rows / COPY, to reach 0.40: {}\n\
         unchanged / new rows, to reach 3.00: {}\n\
         log of the unchanged rows: {} bytes in all; in the table {of_table} ({}): {}",
        new.against(&copied),
        unchanged.against(&new),
        unchanged.wal,
        if of_table == 0 { "kept" } else { "missed" },
        relations.join(", ")
    ))
}

struct Bench<'a> {
    database: Database,
    api: Line,
    server: &'a Server,
    vendor: &'a Vendor,
}

/// What has to be known from before a measurement.
struct Before {
    begin: Instant,
    cpu: Option<CpuTimes>,
    others: OthersAtWork,
    wal: String,
}

/// What taking in all rows came to.
struct Sample {
    elapsed: Duration,
    cpu: Option<CpuTimes>,
    others: Option<u128>,
    wal: u64,
    wal_end: String,
}

impl Bench<'_> {
    async fn begin(&mut self) -> Result<Before, Failure> {
        self.database.run("CHECKPOINT").await?;
        Ok(Before {
            wal: self.database.wal().await?,
            cpu: CpuTimes::now(),
            others: OthersAtWork::begin(),
            begin: Instant::now(),
        })
    }

    async fn end(&mut self, before: Before) -> Result<Sample, Failure> {
        let elapsed = before.begin.elapsed();
        let others = before.others.end(elapsed);
        let cpu = CpuTimes::now().zip(before.cpu);
        let wal_end = self.database.wal().await?;
        let wal = self.database.wal_between(&before.wal, &wal_end).await?;
        Ok(Sample {
            elapsed,
            cpu: cpu.map(|(after, before)| after.since(before)),
            others,
            wal,
            wal_end,
        })
    }

    fn bearer(&self, step: Step) -> Result<Step, Failure> {
        let token = format!("Bearer {}", self.server.ready.token);
        step.header(header::AUTHORIZATION, &token)
    }

    fn body(&self, number: u32, secret: &str) -> Value {
        json!({
            "configName": format!("c-{number}"), "baseUrl": self.vendor.url(),
            "accountRef": Vendor::item(number), "clientId": "client", "secret": secret,
        })
    }

    /// Makes a connection, which is pulled at once; answers its id.
    async fn create(&mut self, number: u32) -> Result<String, Failure> {
        let mut body = self.body(number, "first");
        body["vendor"] = "pluggy".into();
        let step = Step::send(Method::POST, "/v1/discovery/aggregator-connections", &body);
        let step = self.bearer(step)?.expect(StatusCode::CREATED, "");
        self.api.ask(&step).await?;
        let id = format!("SELECT id::text FROM connections WHERE config_name = 'c-{number}'");
        self.database.ask(&id).await
    }

    /// Gives it a new secret, upon which all of it is pulled anew.
    async fn rotate(&mut self, number: u32, connection: &str) -> Result<(), Failure> {
        let path = format!("/v1/discovery/aggregator-connections/{connection}");
        let body = self.body(number, "second");
        let step = self.bearer(Step::send(Method::PUT, path, &body))?;
        self.api.ask(&step).await?;
        Ok(())
    }

    /// Waits until each connection was pulled that often, and looks that the last pulls of all found
    /// every row to be what it should be.
    async fn wait_for_pulls(&mut self, times: u32, found: &str) -> Result<(), Failure> {
        let wanted = i64::from(CONNECTIONS * times);
        loop {
            let failed: Option<String> = self
                .database
                .ask(
                    "SELECT min(coalesce(error_message, state)) FROM pulls
                     WHERE state NOT IN ('queued', 'running', 'succeeded')",
                )
                .await?;
            if let Some(failed) = failed {
                return Err(format!("a pull did not succeed: {failed}").into());
            }
            let done: i64 = self
                .database
                .ask("SELECT count(*) FROM pulls WHERE state = 'succeeded'")
                .await?;
            if done >= wanted {
                break;
            }
            tokio::time::sleep(GLANCE).await;
        }
        let rows: i64 = self
            .database
            .ask(&format!("SELECT sum({found})::bigint FROM pulls"))
            .await?;
        if rows.unsigned_abs() != ALL {
            return Err(format!("{rows} rows were {found}, and not {ALL}").into());
        }
        Ok(())
    }

    /// Takes the rows out, empties the table, and copies them in again over two connections.
    async fn copy(&mut self, connections: &[String]) -> Result<Sample, Failure> {
        let mut halves = Vec::new();
        for half in connections.chunks(connections.len().div_ceil(2)) {
            let names: Vec<String> = half.iter().map(|id| format!("'{id}'")).collect();
            let rows = format!(
                "COPY (SELECT * FROM transactions WHERE connection_id IN ({})) TO STDOUT (FORMAT binary)",
                names.join(", ")
            );
            let copied = self.database.connection().copy_out_raw(&rows).await?;
            let bytes = copied
                .try_fold(Vec::new(), |mut all, chunk| async move {
                    all.extend_from_slice(&chunk);
                    Ok(all)
                })
                .await?;
            halves.push(bytes);
        }
        self.database.run("TRUNCATE transactions").await?;
        let (mut one, mut other) = (
            self.database.another().await?,
            self.database.another().await?,
        );
        let before = self.begin().await?;
        let rows = tokio::try_join!(
            copy_in(&mut one, &halves[0]),
            copy_in(&mut other, &halves[1])
        )?;
        let sample = self.end(before).await?;
        if rows.0 + rows.1 != ALL {
            return Err(format!("{} rows were copied, and not {ALL}", rows.0 + rows.1).into());
        }
        Ok(sample)
    }
}

async fn copy_in(database: &mut Database, rows: &[u8]) -> Result<u64, Failure> {
    let mut copy = database.connection().copy_in_raw(COPY).await?;
    for chunk in rows.chunks(CHUNK) {
        copy.send(chunk).await?;
    }
    Ok(copy.finish().await?)
}

impl Sample {
    fn rate(&self) -> u128 {
        u128::from(ALL) * 1_000_000 / self.elapsed.as_micros().max(1)
    }

    fn is_quiet(&self) -> bool {
        /// A tenth of a core.
        const MOST: u128 = 10;
        self.others.is_none_or(|others| others <= MOST)
    }

    /// How many times as fast as another one; nothing if others were at work.
    fn against(&self, other: &Self) -> String {
        if self.is_quiet() && other.is_quiet() {
            hundredths(self.rate() * 100 / other.rate().max(1))
        } else {
            "busy".to_owned()
        }
    }

    fn row(&self, what: &str) -> String {
        let each = |taken: fn(CpuTimes) -> Duration| match self.cpu {
            Some(cpu) => hundredths(taken(cpu).as_micros() * 100 / u128::from(ALL)),
            None => "?".to_owned(),
        };
        format!(
            "{what:<28} {:>8} {:>8} {:>10} {:>12} {:>8} {:>10} {:>7}",
            hundredths(self.elapsed.as_millis() / 10),
            self.rate(),
            each(|cpu| cpu.server),
            each(|cpu| cpu.postgres),
            each(|cpu| cpu.here),
            hundredths(u128::from(self.wal) * 100 / u128::from(ALL)),
            self.others.map_or_else(|| "?".to_owned(), hundredths),
        )
    }
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
