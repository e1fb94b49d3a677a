//! Whether what is done every day costs the same once the tables are full.
//!
//! ```text
//! cargo bench --bench growth [-- CONNECTIONS]
//! ```
//!
//! README.md beside this file tells how to read the table.

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod support;

use std::{io::Write as _, process::ExitCode, time::Duration};

use hyper::{Method, StatusCode, header};
use serde_json::{Value, json};

use support::{
    Failure,
    database::{self, Database},
    figures::{hundredths, millis},
    filling::{Filling, fill, month, settle},
    line::{Line, Step},
    load::{Load, Sample, Until},
    machine::OthersAtWork,
    server::Server,
    vendor::Vendor,
};

const TENANTS: u128 = 10;
/// Of each tenant, unless the command line says how many.
const CONNECTIONS: u32 = 1_000;
/// Of each connection.
const ROWS: u32 = 1_000;
/// Of each connection, in a month.
const WEBHOOKS: u32 = 30;
/// Of the one that is measured: a busy one.
const OWN_WEBHOOKS: u32 = 3_000;
/// What an incremental pull finds.
const FRESH: u32 = 10;
const PULLS: u32 = 300;
/// With these, all that is pulled fills pages, so that the last ones of both lists are full in the empty
/// database as in the full one.
const PULLS_TO_WARM_UP: u32 = 40;
/// Of a list or the feed.
const PAGE: usize = 200;
const READS: usize = 1_000;
/// How often each measurement is made in the hope of a quiet machine.
const ATTEMPTS: u32 = 3;
/// How often it is looked whether a pull is over.
const GLANCE: Duration = Duration::from_millis(2);
/// How many hundredths of the time in an empty database a full one may take.
const TARGET: u128 = 150;
const LIST: &str = "/v1/discovery/transactions?limit=200";
const FEED: &str = "/v1/discovery/transactions/changes?limit=200";

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
            let _ = writeln!(std::io::stderr(), "growth: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let told = std::env::args().skip(1).find(|word| !word.starts_with('-'));
    let connections = told.map_or(Ok(CONNECTIONS), |word| word.parse())?;
    let directory = tempfile::tempdir()?;
    let server = database::start(
        directory.path(),
        &[
            ("DISCOVERY_PLUGGY_RATE_LIMIT", "1000000"),
            ("DISCOVERY_PLUGGY_WEBHOOK_IPS", "127.0.0.1"),
        ],
    )
    .await?;
    let outcome = measure_all(&server, connections).await;
    server.stop().await?;
    outcome
}

async fn measure_all(server: &Server, connections: u32) -> Result<(), Failure> {
    let vendor = Vendor::start(1, ROWS).await?;
    let mut bench = Bench::start(server, &vendor).await?;
    say(&database::headline(server).await?)?;
    let empty = bench.measure().await?;

    let others: Vec<String> = (1..TENANTS)
        .map(|number| uuid::Uuid::from_u128(number).to_string())
        .collect();
    let tenants = std::iter::once(&server.ready.tenant).chain(&others);
    let fillings: Vec<_> = tenants
        .map(|tenant| Filling {
            tenant,
            connections,
            accounts: 1,
            rows: ROWS,
            webhooks: WEBHOOKS,
        })
        .collect();
    bench.fill_own_month().await?;
    fill(&mut bench.database, &fillings).await?;
    let rows: i64 = bench
        .database
        .ask("SELECT count(*) FROM transactions")
        .await?;
    let full = bench.measure().await?;

    say(&format!(
        "{TENANTS} tenants with {connections} connections each, {rows} rows; {WEBHOOKS} webhooks and pulls \
         of each connection, {OWN_WEBHOOKS} of the measured one\n\n\
         {:<28} {:>12} {:>12} {:>12} {:>12} {:>12}",
        "what", "empty p50 ms", "full p50 ms", "empty p99 ms", "full p99 ms", "others"
    ))?;
    let mut verdicts = Vec::new();
    for (empty, full) in empty.iter().zip(&full) {
        let others = |one: &Measured| one.others.map_or_else(|| "?".to_owned(), hundredths);
        say(&format!(
            "{:<28} {:>12} {:>12} {:>12} {:>12} {:>12}",
            empty.what,
            millis(empty.p50),
            millis(full.p50),
            millis(empty.p99),
            millis(full.p99),
            format!("{} {}", others(empty), others(full))
        ))?;
        verdicts.push(format!("{} {}", empty.what, full.against(empty)));
    }
    say(&format!(
        "\nfull / empty at p50, to stay under {}: {}",
        hundredths(TARGET),
        verdicts.join(", ")
    ))
}

/// What one thing took, of many times.
struct Measured {
    what: &'static str,
    p50: Duration,
    p99: Duration,
    /// How much of the machine went elsewhere, in hundredths of a core.
    others: Option<u128>,
}

impl Measured {
    fn of_reads(what: &'static str, sample: &Sample) -> Self {
        Self {
            what,
            p50: sample.within(500),
            p99: sample.within(990),
            others: sample.others,
        }
    }

    fn is_quiet(&self) -> bool {
        /// A tenth of a core.
        const MOST: u128 = 10;
        self.others.is_none_or(|others| others <= MOST)
    }

    /// How many times as long it took as another one; nothing if others were at work.
    fn against(&self, other: &Self) -> String {
        if !(self.is_quiet() && other.is_quiet()) {
            return "busy".to_owned();
        }
        let ratio = self.p50.as_micros() * 100 / other.p50.as_micros().max(1);
        let kept = if ratio < TARGET { "kept" } else { "missed" };
        format!("{} ({kept})", hundredths(ratio))
    }
}

struct Bench<'a> {
    database: Database,
    api: Line,
    server: &'a Server,
    vendor: &'a Vendor,
    webhooks: String,
    connection: String,
    /// Asks whether no pull of the connection waits or runs.
    done: String,
    /// How many rows the vendor got so far.
    brought: u32,
}

impl<'a> Bench<'a> {
    /// Makes the one connection that is measured, and waits for its first pull.
    async fn start(server: &'a Server, vendor: &'a Vendor) -> Result<Self, Failure> {
        let mut bench = Self {
            database: Database::open(server).await?,
            api: Line::open(server.api).await?,
            server,
            vendor,
            webhooks: String::new(),
            connection: String::new(),
            done: String::new(),
            brought: 0,
        };
        let body = json!({
            "vendor": "pluggy", "configName": "measured", "baseUrl": vendor.url(),
            "accountRef": Vendor::item(0), "clientId": "client", "secret": "secret",
        });
        let create = Step::send(Method::POST, "/v1/discovery/aggregator-connections", &body);
        bench.ask(create, StatusCode::CREATED).await?;
        let id = "SELECT id::text FROM connections WHERE config_name = 'measured'";
        let id: String = bench.database.ask(id).await?;
        // Whoever asks this all the time must not take more of the machine because there is more history.
        bench.done = format!(
            "SELECT NOT EXISTS (SELECT FROM pulls {of} AND state IN ('queued', 'retrying'))
                AND NOT EXISTS (SELECT FROM pulls {of} AND state = 'running')",
            of = format_args!(
                "WHERE tenant_id = '{}' AND connection_id = '{id}'",
                server.ready.tenant
            )
        );
        bench.connection = id;
        let body = json!({ "vendor": "pluggy", "connection_config_name": "measured" });
        let mint = Step::send(Method::POST, "/v1/discovery/webhooks/tokens", &body);
        let minted = bench.ask(mint, StatusCode::CREATED).await?;
        let token = minted["token"]
            .as_str()
            .ok_or("a minting without a token")?;
        bench.webhooks = format!("/v1/discovery/webhooks/pluggy/{token}");
        bench.wait_for_pull().await?;
        Ok(bench)
    }

    /// What a month leaves behind of the measured connection.
    async fn fill_own_month(&mut self) -> Result<(), Failure> {
        let connection = format!("'{}'::uuid", self.connection);
        let month = month(&self.server.ready.tenant, &connection, OWN_WEBHOOKS);
        self.database.run(&month).await
    }

    async fn ask(&mut self, step: Step, status: StatusCode) -> Result<Value, Failure> {
        let step = self.bearer(step)?.expect(status, "");
        Ok(serde_json::from_slice(&self.api.ask(&step).await?)?)
    }

    fn bearer(&self, step: Step) -> Result<Step, Failure> {
        let token = format!("Bearer {}", self.server.ready.token);
        step.header(header::AUTHORIZATION, &token)
    }

    async fn measure(&mut self) -> Result<Vec<Measured>, Failure> {
        let pulls = self.measure_pulls().await?;
        let last_page = self.last_page(LIST, "nextCursor").await?;
        let last_page = self
            .measure_reads("the list's last page", last_page)
            .await?;
        let tail = self.last_page(FEED, "nextCursor").await?;
        let tail = self.measure_reads("the feed's tail", tail).await?;
        Ok(vec![pulls, last_page, tail])
    }

    /// Pulls a few new rows time and again; what counts is from a pull's beginning to its end.
    async fn measure_pulls(&mut self) -> Result<Measured, Failure> {
        let mut quietest: Option<Measured> = None;
        for _ in 0..ATTEMPTS {
            self.rest().await?;
            self.pull_often(PULLS_TO_WARM_UP).await?;
            let others = OthersAtWork::begin();
            let begin = std::time::Instant::now();
            self.pull_often(PULLS).await?;
            let others = others.end(begin.elapsed());
            let at = |share: &str| {
                format!(
                    "SELECT (extract(epoch FROM percentile_disc({share}) WITHIN GROUP
                                (ORDER BY finished_at - started_at)) * 1000000)::bigint
                     FROM (SELECT * FROM pulls WHERE reason = 'webhook' AND inserted = {FRESH}
                           ORDER BY finished_at DESC LIMIT {PULLS}) AS last"
                )
            };
            let p50: i64 = self.database.ask(&at("0.5")).await?;
            let p99: i64 = self.database.ask(&at("0.99")).await?;
            let measured = Measured {
                what: "an incremental pull",
                p50: Duration::from_micros(p50.unsigned_abs()),
                p99: Duration::from_micros(p99.unsigned_abs()),
                others,
            };
            if quietest
                .as_ref()
                .is_none_or(|quietest| measured.others < quietest.others)
            {
                quietest = Some(measured);
            }
            if quietest.as_ref().is_some_and(Measured::is_quiet) {
                break;
            }
        }
        quietest.ok_or_else(|| "nothing was pulled".into())
    }

    /// Leaves the tables as a day of rest does. What was measured before is no part of what is measured
    /// next: neither of the ten minutes of webhooks that a pull looks at, nor by what it left behind.
    async fn rest(&mut self) -> Result<(), Failure> {
        let age = format!(
            "UPDATE deliveries SET received_at = received_at - interval '1 day'
             WHERE tenant_id = '{}' AND connection_id = '{}'
               AND received_at > now() - interval '1 day'",
            self.server.ready.tenant, self.connection
        );
        self.database.run(&age).await?;
        settle(&mut self.database).await
    }

    async fn pull_often(&mut self, times: u32) -> Result<(), Failure> {
        // The server hangs up on who was silent for long.
        self.api = Line::open(self.server.api).await?;
        for _ in 0..times {
            let rows = self.brought..self.brought + FRESH;
            let since = self.vendor.bring(0, rows);
            let body = json!({
                "event": "transactions/created", "eventId": format!("event-{}", self.brought),
                "itemId": Vendor::item(0), "accountId": Vendor::account_of(0),
                "transactionsCreatedAtFrom": since,
            });
            self.brought += FRESH;
            let webhook = Step::send(Method::POST, &*self.webhooks, &body);
            self.api
                .ask(&webhook.expect(StatusCode::ACCEPTED, ""))
                .await?;
            self.wait_for_pull().await?;
        }
        let found: i64 = self
            .database
            .ask("SELECT sum(inserted)::bigint FROM pulls")
            .await?;
        let brought = i64::from(ROWS + self.brought);
        if found != brought {
            return Err(format!("{found} rows were found, and not {brought}").into());
        }
        Ok(())
    }

    /// Waits until the pull that was asked for is over.
    async fn wait_for_pull(&mut self) -> Result<(), Failure> {
        while !self.database.ask::<bool>(&self.done).await? {
            tokio::time::sleep(GLANCE).await;
        }
        Ok(())
    }

    /// Follows a list to its end, and answers the path of the last page, which has to be a full one.
    async fn last_page(&mut self, list: &str, cursor: &str) -> Result<String, Failure> {
        self.api = Line::open(self.server.api).await?;
        let mut path = list.to_owned();
        let mut patience = 100;
        loop {
            let page = self.ask(Step::get(&path), StatusCode::OK).await?;
            let is_last = page["hasMore"] == false;
            let rows = page["items"].as_array().map_or(0, Vec::len);
            match page[cursor].as_str() {
                Some(next) if !is_last => path = format!("{list}&cursor={next}"),
                _ if rows == PAGE => return Ok(path),
                // Whatever runs in the database for a moment holds the feed back.
                _ if patience > 0 => patience -= 1,
                _ => return Err(format!("the last page of {list} holds {rows} rows").into()),
            }
            if is_last {
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }

    async fn measure_reads(&self, what: &'static str, path: String) -> Result<Measured, Failure> {
        let step = self
            .bearer(Step::get(path))?
            .expect(StatusCode::OK, r#""id""#);
        let reads = Load::new(self.server.api, vec![vec![step]]);
        let warm_up = Until {
            operations: READS / 10,
            elapsed: Duration::from_secs(5),
        };
        let until = Until {
            operations: READS,
            elapsed: Duration::from_secs(20),
        };
        reads.run(1, warm_up).await?;
        let mut quietest: Option<Sample> = None;
        for _ in 0..ATTEMPTS {
            let sample = reads.run(1, until).await?;
            if quietest
                .as_ref()
                .is_none_or(|quietest| sample.others < quietest.others)
            {
                quietest = Some(sample);
            }
            if quietest.as_ref().is_some_and(Sample::is_quiet) {
                break;
            }
        }
        let quietest = quietest.ok_or("nothing was read")?;
        Ok(Measured::of_reads(what, &quietest))
    }
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
