//! What it costs the server to write out a million rows in one answer.
//!
//! ```text
//! cargo bench --bench export_memory
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

use hyper::header;

use support::{
    Failure,
    cpu::CpuTimes,
    database::{self, Database},
    figures::hundredths,
    filling::{Filling, fill},
    line::{Line, Step},
    load::{Load, Until},
    machine::OthersAtWork,
    memory,
    server::Server,
};

/// Of one connection, whose rows are merged out of those of each account.
const ACCOUNTS: u32 = 500;
/// Of each account, unless the command line says how many.
const ROWS: u32 = 2_000;
/// Whose rows are read; the command line may choose.
const LISTS: [&str; 2] = ["tenant", "connection"];
/// The memory that an answer may add, in kilobytes.
const TARGET: u64 = 64 * 1024;
const OF_TENANT: &str = "/v1/discovery/transactions";

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
            let _ = writeln!(std::io::stderr(), "export_memory: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let words = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with('-'));
    let (chosen, told): (Vec<String>, Vec<String>) =
        words.partition(|word| LISTS.contains(&word.as_str()));
    let rows = told.first().map_or(Ok(ROWS), |word| word.parse())?;
    let is_chosen = |list: &&str| chosen.is_empty() || chosen.iter().any(|word| word == list);
    let lists: Vec<&str> = LISTS.into_iter().filter(is_chosen).collect();
    let directory = tempfile::tempdir()?;
    let server = database::start(directory.path(), &[]).await?;
    let outcome = measure_all(&server, rows, &lists).await;
    server.stop().await?;
    outcome
}

async fn measure_all(server: &Server, rows: u32, lists: &[&str]) -> Result<(), Failure> {
    let mut database = Database::open(server).await?;
    let filling = Filling {
        tenant: &server.ready.tenant,
        connections: 1,
        accounts: ACCOUNTS,
        rows,
        webhooks: 0,
    };
    fill(&mut database, &[filling]).await?;
    let connection: String = database.ask("SELECT id::text FROM connections").await?;
    let of_connection = format!("/v1/discovery/aggregator-connections/{connection}/transactions");
    // What the server needs for any answer at all it has by then.
    let pages = Load::new(
        server.api,
        vec![vec![list(server, OF_TENANT, "application/json")?]],
    );
    let warm_up = Until {
        operations: 500,
        elapsed: Duration::from_secs(5),
    };
    pages.run(16, warm_up).await?;

    say(&format!(
        "{}\n\n{:<32} {:>10} {:>8} {:>8} {:>10} {:>12} {:>10} {:>8} {:>7}",
        database::headline(server).await?,
        "what",
        "rows",
        "seconds",
        "rows/s",
        "server us",
        "postgres us",
        "before MB",
        "added MB",
        "others"
    ))?;
    let mut most = 0;
    for whose in lists {
        let path = match *whose {
            "tenant" => OF_TENANT,
            _ => &of_connection,
        };
        for (what, media_type) in [
            ("list of lines", "application/x-ndjson"),
            ("table", "text/csv"),
        ] {
            let step = list(server, path, media_type)?;
            let what = format!("{whose}'s, as a {what}");
            let added = measure(server, &what, &step, (ACCOUNTS * rows) as usize).await?;
            most = most.max(added);
        }
    }
    say(&format!(
        "\nthe most that was added, to stay under {} MB: {} MB ({})",
        TARGET / 1024,
        megabytes(most),
        if most < TARGET { "kept" } else { "missed" }
    ))
}

fn list(server: &Server, path: &str, accept: &str) -> Result<Step, Failure> {
    let token = format!("Bearer {}", server.ready.token);
    Step::get(path)
        .header(header::AUTHORIZATION, &token)?
        .header(header::ACCEPT, accept)
}

/// Reads all rows in one answer; answers how much memory that added.
async fn measure(server: &Server, what: &str, step: &Step, rows: usize) -> Result<u64, Failure> {
    let id = server.id().ok_or("the server has ended")?;
    let mut line = Line::open(server.api).await?;
    let held = memory::held(id)?;
    let (cpu, others, begin) = (CpuTimes::now(), OthersAtWork::begin(), Instant::now());
    let mut lines = 0;
    line.ask_for_pieces(step, |piece| {
        lines += piece.split(|byte| *byte == b'\n').count() - 1;
    })
    .await?;
    let elapsed = begin.elapsed();
    let others = others.end(elapsed);
    let cpu = CpuTimes::now()
        .zip(cpu)
        .map(|(after, before)| after.since(before));
    let added = memory::peak(id)?.saturating_sub(held);
    if lines < rows {
        return Err(format!("{lines} lines came, and not {rows}").into());
    }
    let each = |taken: Option<Duration>| {
        taken.map_or_else(
            || "?".to_owned(),
            |taken| hundredths(taken.as_micros() * 100 / rows as u128),
        )
    };
    say(&format!(
        "{what:<32} {rows:>10} {:>8} {:>8} {:>10} {:>12} {:>10} {:>8} {:>7}",
        hundredths(elapsed.as_millis() / 10),
        rows as u128 * 1_000_000 / elapsed.as_micros().max(1),
        each(cpu.map(|cpu| cpu.server)),
        each(cpu.map(|cpu| cpu.postgres)),
        megabytes(held),
        megabytes(added),
        others.map_or_else(|| "?".to_owned(), hundredths),
    ))?;
    Ok(added)
}

fn megabytes(kilobytes: u64) -> String {
    hundredths(u128::from(kilobytes) * 100 / 1024)
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
