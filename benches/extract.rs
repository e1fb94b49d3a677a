//! How quickly a table comes out of Postgres as lines of JSON, beside what `psql` takes for it.
//!
//! ```text
//! cargo bench --bench extract
//! ```
//!
//! README.md beside this file tells how to read the table.

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod support;

use std::{
    fs,
    io::Write as _,
    process::{ExitCode, Stdio},
    time::{Duration, Instant},
};

use futures_util::TryStreamExt as _;
use matcher_discovery::{
    connectors::{self, Limits, Reach, Registry, Source},
    domain::{
        database::{DatabaseLogin, DatabasePlace, DatabaseType, TlsMode},
        host_rule::HostOrNet,
        secret::SecretText,
        table::TableRead,
    },
};
use sqlx::{Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};
use tokio::process::Command;

use support::{
    Failure,
    machine::{self, OthersAtWork},
    relay,
    server::Server,
};

const ROWS: u64 = 1_000_000;
/// The first turn warms up.
const TURNS: usize = 6;
/// How many hundredths of what `psql` reaches the connector is to reach.
const TARGET: u128 = 50;
/// How much of others' work makes a turn a busy one, in hundredths of a core.
const MOST: u128 = 10;

const MAKE: &str = "
    CREATE TABLE public.bench_extract AS
    SELECT n AS id,
           (n * 7919) % 100000 AS account,
           'Pagamento \"' || n || '\"' AS description,
           CASE WHEN n % 5 > 0 THEN 'Loja ' || n % 1000 END AS merchant,
           (n * 37 % 1000000)::numeric / 100 AS amount,
           ((n % 97)::numeric / 7)::numeric(12, 6) AS rate,
           date '2024-01-01' + (n % 366)::integer AS day,
           timestamptz '2024-01-01 00:00:00+00' + n * interval '31.007 seconds' AS made_at,
           timestamp '2024-01-01 00:00:00' + n * interval '17 seconds' AS seen_at,
           n % 3 = 0 AS settled
      FROM generate_series(1::bigint, 1000000) AS n;
    VACUUM ANALYZE public.bench_extract;";
const COPY: &str = "COPY (SELECT * FROM public.bench_extract) TO STDOUT";

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
            let _ = writeln!(std::io::stderr(), "extract: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let server = Server::start(&[]).await?;
    let outcome = measure_all(&server).await;
    server.stop().await?;
    outcome
}

/// One reading of the whole table.
struct Turn {
    elapsed: Duration,
    others: Option<u128>,
    growth: Option<u64>,
}

async fn measure_all(server: &Server) -> Result<(), Failure> {
    let options: PgConnectOptions = server.ready.database_url.parse()?;
    let mut owner = PgConnection::connect_with(&options).await?;
    // One by one, since a table is not vacuumed within a transaction.
    for statement in MAKE.split_inclusive(';') {
        owner.execute(sqlx::raw_sql(statement)).await?;
    }
    owner.close().await?;

    let port = relay::pass_on(&options)?;
    let sync = machine::time_of_a_sync(&std::env::temp_dir())?;
    say(&format!(
        "{}; a sync of 8 KiB takes {} us\n\nwhat        rows/s   others   growth KiB",
        machine::processor(),
        sync.as_micros()
    ))?;
    let mut best = [0; 2];
    for turn in 0..TURNS {
        let psql = by_psql(port, &options).await?;
        let connector = by_connector(port, &options).await?;
        for (at, (what, measured)) in [("psql", psql), ("connector", connector)]
            .into_iter()
            .enumerate()
        {
            let rate = u128::from(ROWS) * 1_000_000 / measured.elapsed.as_micros().max(1);
            if turn > 0 {
                best[at] = rate.max(best[at]);
            }
            say(&line(what, rate, &measured, turn == 0))?;
        }
    }
    let ratio = best[1] * 100 / best[0].max(1);
    let verdict = if ratio >= TARGET { "reached" } else { "missed" };
    say(&format!(
        "\nbest of the connector over best of psql, to reach 0.{TARGET}: {}.{:02} ({verdict})",
        ratio / 100,
        ratio % 100
    ))
}

fn line(what: &str, rate: u128, turn: &Turn, warms_up: bool) -> String {
    let others = turn.others.map_or_else(
        || "?".to_owned(),
        |others| format!("{}.{:02}", others / 100, others % 100),
    );
    let growth = turn.growth.map_or_else(String::new, |kib| kib.to_string());
    let remark = if warms_up {
        "  warms up"
    } else if turn.others.is_some_and(|others| others > MOST) {
        "  busy"
    } else {
        ""
    };
    format!("{what:<9} {rate:>8} {others:>8} {growth:>12}{remark}")
}

async fn by_psql(port: u16, options: &PgConnectOptions) -> Result<Turn, Failure> {
    let others = OthersAtWork::begin();
    let begin = Instant::now();
    let status = Command::new("psql")
        .args(["-X", "-q", "-h", "127.0.0.1", "-p", &port.to_string()])
        .args(["-U", options.get_username(), "-c", COPY])
        .arg(options.get_database().unwrap_or_default())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .status()
        .await
        .map_err(|error| format!("psql can't be run: {error}"))?;
    let elapsed = begin.elapsed();
    if !status.success() {
        return Err(format!("psql ended with {status}").into());
    }
    Ok(Turn {
        elapsed,
        others: others.end(elapsed),
        growth: None,
    })
}

async fn by_connector(port: u16, options: &PgConnectOptions) -> Result<Turn, Failure> {
    let net: HostOrNet = "127.0.0.0/8".parse()?;
    let reach = Reach {
        database_hosts: vec![net],
        ..Reach::default()
    };
    let registry = Registry::boot(connectors::compiled_in(&reach)?, None)
        .map_err(|faults| format!("{faults:?}"))?;
    let connector = registry.get("postgres").ok_or("it is not compiled in")?;
    let place = DatabasePlace {
        database_type: DatabaseType::Postgresql,
        host: "127.0.0.1".to_owned(),
        port,
        database: options.get_database().unwrap_or_default().to_owned(),
        schema: None,
        tls: TlsMode::Disable,
        certificates: None,
    };
    let login = DatabaseLogin {
        user: SecretText::new(options.get_username().to_owned()),
        password: None,
    };
    let read = TableRead {
        table: "bench_extract".to_owned(),
        columns: None,
        equals: Vec::new(),
        days: None,
    };
    let limits = Limits {
        connect: Duration::from_secs(10),
        total: Duration::from_mins(10),
        rows: ROWS,
        bytes: u64::MAX,
    };

    // Clears the peak, where the system has one.
    let _ = fs::write("/proc/self/clear_refs", "5");
    let before = memory("VmRSS:");
    let others = OthersAtWork::begin();
    let begin = Instant::now();
    let mut batches = connector.read(Source::Database { place, login }, read, limits);
    let (mut rows, mut bytes) = (0, 0);
    while let Some(batch) = batches.try_next().await? {
        rows += batch.rows;
        bytes += batch.lines.len();
    }
    let elapsed = begin.elapsed();
    if rows != ROWS {
        return Err(format!("{rows} rows came, in {bytes} bytes").into());
    }
    let growth = memory("VmHWM:").zip(before);
    Ok(Turn {
        elapsed,
        others: others.end(elapsed),
        growth: growth.map(|(peak, before)| peak.saturating_sub(before)),
    })
}

/// What the system says of this process's memory, in KiB.
fn memory(what: &str) -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(what))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
