//! How long a look at five hundred sources takes, some of which never answer.
//!
//! ```text
//! cargo bench --bench refresh
//! ```
//!
//! README.md beside this file tells how to read the table.

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod support;

use std::{
    io::Write as _,
    net::{Ipv4Addr, TcpListener},
    process::ExitCode,
    time::{Duration, Instant},
};

use hyper::{Method, StatusCode, header};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection, postgres::PgConnectOptions};

use support::{
    Failure,
    figures::{hundredths, millis},
    line::{Line, Step},
    machine::{self, OthersAtWork},
    relay,
    server::Server,
};

const CONNECTIONS: usize = 500;
/// How many of them accept a connection and never say a word.
const SILENT: usize = 10;
const TABLES: usize = 20;
const TURNS: usize = 3;
/// How long reaching one source may take; the server's own bound.
const TIMEOUT: Duration = Duration::from_secs(3);
/// What a refresh may take beside that.
const TARGET: Duration = Duration::from_secs(5);

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
            let _ = writeln!(std::io::stderr(), "refresh: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let server = Server::start(&[("DISCOVERY_DATABASE_HOSTS", "127.0.0.0/8")]).await?;
    let outcome = measure_all(&server).await;
    server.stop().await?;
    outcome
}

async fn measure_all(server: &Server) -> Result<(), Failure> {
    let options: PgConnectOptions = server.ready.database_url.parse()?;
    let user = make_tables(&options).await?;
    let port = relay::pass_on(&options)?;
    let silent = listen_in_silence()?;
    let mut line = Line::open(server.api).await?;
    let ports = silent
        .iter()
        .map(|socket| Ok(socket.local_addr()?.port()))
        .collect::<Result<Vec<u16>, Failure>>()?;
    // The silent ones come last, so that each is waited for once only.
    for number in 0..CONNECTIONS - SILENT {
        create(&mut line, server, &user, number, "127.0.0.1", port).await?;
    }
    for (index, port) in ports.into_iter().enumerate() {
        let (number, host) = (
            CONNECTIONS - SILENT + index,
            format!("127.0.1.{}", index + 1),
        );
        create(&mut line, server, &user, number, &host, port).await?;
    }

    say(&format!(
        "{}; a sync of 8 KiB takes {} us\n\n{:>5} {:>8} {:>10} {:>7}",
        machine::processor(),
        machine::time_of_a_sync(&std::env::temp_dir())?.as_micros(),
        "turn",
        "synced",
        "ms",
        "others"
    ))?;
    let mut longest = Duration::ZERO;
    let mut is_quiet = true;
    for turn in 1..=TURNS {
        let (others, begin) = (OthersAtWork::begin(), Instant::now());
        let answer = line.ask(&refresh(server)?).await?;
        let elapsed = begin.elapsed();
        let others = others.end(elapsed);
        let answer: Value = serde_json::from_slice(&answer)?;
        let synced = answer["connectionsSynced"].as_u64().unwrap_or_default();
        if synced != (CONNECTIONS - SILENT) as u64 {
            return Err(format!("{synced} connections were synced").into());
        }
        say(&format!(
            "{turn:>5} {synced:>8} {:>10} {:>7}",
            millis(elapsed),
            others.map_or_else(|| "?".to_owned(), hundredths)
        ))?;
        longest = longest.max(elapsed);
        is_quiet &= others.is_none_or(|others| others <= 10);
    }
    let word = match (is_quiet, longest < TARGET + TIMEOUT) {
        (false, _) => "busy, so that it proves nothing",
        (true, true) => "kept",
        (true, false) => "missed",
    };
    say(&format!(
        "\nthe longest, to stay under {} ms and the time-out of {} ms: {} ms ({word})",
        millis(TARGET),
        millis(TIMEOUT),
        millis(longest)
    ))
}

/// Makes what there is to describe, and somebody who may read it; answers who.
async fn make_tables(options: &PgConnectOptions) -> Result<String, Failure> {
    let mut owner = PgConnection::connect_with(options).await?;
    let tables: Vec<String> = (0..TABLES)
        .map(|number| {
            format!("CREATE TABLE public.sales_{number} (id bigint, day date, total numeric)")
        })
        .collect();
    owner
        .execute(sqlx::raw_sql(sqlx::AssertSqlSafe(tables.join(";"))))
        .await?;
    owner.close().await?;
    Ok(options.get_username().to_owned())
}

/// Ports that accept and never answer, each on an address of its own.
fn listen_in_silence() -> Result<Vec<TcpListener>, Failure> {
    (1..=SILENT)
        .map(|last| {
            let last = u8::try_from(last)?;
            Ok(TcpListener::bind((Ipv4Addr::new(127, 0, 1, last), 0))?)
        })
        .collect()
}

async fn create(
    line: &mut Line,
    server: &Server,
    user: &str,
    number: usize,
    host: &str,
    port: u16,
) -> Result<(), Failure> {
    let body = json!({
        "configName": format!("database-{number:04}"),
        "databaseType": "POSTGRESQL",
        "host": host,
        "port": port,
        "databaseName": "discovery",
        "userName": user,
    });
    let step = Step::send(Method::POST, "/v1/discovery/connections", &body)
        .header(header::AUTHORIZATION, &token(server))?
        .expect(StatusCode::CREATED, "");
    line.ask(&step).await.map(drop)
}

fn refresh(server: &Server) -> Result<Step, Failure> {
    Step::send(Method::POST, "/v1/discovery/refresh", &json!({}))
        .header(header::AUTHORIZATION, &token(server))
        .map(|step| step.expect(StatusCode::OK, "connectionsSynced"))
}

fn token(server: &Server) -> String {
    format!("Bearer {}", server.ready.token)
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
