//! How long a webhook takes to become a row: from the first byte that the vendor sends to a row
//! that a query sees.
//!
//! ```text
//! cargo bench --bench webhook_to_row
//! ```
//!
//! README.md beside this file tells how to read what it prints.

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod support;

use std::{
    cell::RefCell,
    collections::HashMap,
    io::Write as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use hyper::{Method, StatusCode, header};
use matcher_discovery::{
    domain::{clock::SystemClock, ids, random::OsRandom},
    local::simulator::{PLUGGY_CLIENT_ID, PLUGGY_SECRET},
};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection, postgres::PgConnectOptions};
use tokio::time::MissedTickBehavior;
use uuid::Uuid;

use support::{
    Failure,
    figures::{hundredths, millis},
    line::{Line, Step},
    machine::{self, OthersAtWork},
    server::Server,
};

const CONNECTIONS: usize = 200;
/// Rows of each connection before anything is measured.
const ROWS: u32 = 20;
/// Fifty webhooks a second.
const PACE: Duration = Duration::from_millis(20);
const WARM_UP: usize = 200;
const MEASURED: usize = 1_000;
/// How often a measurement is made in the hope of a quiet machine.
const ATTEMPTS: usize = 3;
/// How often it is looked whether a row is there.
const GLANCE: Duration = Duration::from_millis(2);
/// How long a row may take before the benchmark is given up.
const PATIENCE: Duration = Duration::from_secs(30);
/// What the middle row may take, and the longest but one in a hundred.
const TARGETS: [(usize, Duration); 2] = [
    (500, Duration::from_millis(25)),
    (990, Duration::from_millis(100)),
];
/// Whose data it is, as `dev` has it.
const TENANT: Uuid = Uuid::from_u128(0x1111_1111_1111_1111_1111_1111_1111_1111);

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
            let _ = writeln!(std::io::stderr(), "webhook_to_row: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    let server = Server::start(&[
        // The limits are the vendors', not this program's, so they are out of the way.
        ("DISCOVERY_PLUGGY_RATE_LIMIT", "1000000"),
        ("DISCOVERY_PLUGGY_WEBHOOK_IPS", "127.0.0.1"),
    ])
    .await?;
    let outcome = measure_all(&server).await;
    server.stop().await?;
    outcome
}

async fn measure_all(server: &Server) -> Result<(), Failure> {
    let mut bench = Bench::prepare(server).await?;
    bench.measure(WARM_UP).await?;
    let mut quietest = bench.measure(MEASURED).await?;
    for _ in 1..ATTEMPTS {
        if quietest.is_quiet() {
            break;
        }
        let sample = bench.measure(MEASURED).await?;
        if sample.others < quietest.others {
            quietest = sample;
        }
    }
    let sync = machine::time_of_a_sync(&std::env::temp_dir())?;
    let others = quietest.others.map_or_else(|| "?".to_owned(), hundredths);
    say(&format!(
        "{}; a sync of 8 KiB takes {} ms\n\n\
         {MEASURED} webhooks of {CONNECTIONS} connections, one every {} ms; others took {others} cores{}",
        machine::processor(),
        millis(sync),
        PACE.as_millis(),
        if quietest.is_quiet() { "" } else { ": busy" },
    ))?;
    for (thousandths, limit) in TARGETS {
        let found = quietest.within(thousandths);
        let kept = match (quietest.is_quiet(), found < limit) {
            (false, _) => "busy, so that it proves nothing",
            (true, true) => "kept",
            (true, false) => "missed",
        };
        let (percent, found, limit) = (thousandths / 10, millis(found), millis(limit));
        say(&format!(
            "from webhook to row, p{percent}: {found} ms, to stay under {limit} ms ({kept})"
        ))?;
    }
    Ok(())
}

/// A connection, as the vendor and as the server know it.
struct Known {
    /// The vendor's account.
    account: String,
    /// Where its webhooks go.
    path: String,
    id: Uuid,
}

/// Rows that were announced and are not there yet: connection, name, and since when.
type Awaited = RefCell<HashMap<String, (Uuid, Instant)>>;

struct Bench {
    known: Vec<Known>,
    simulator: Line,
    api: Line,
    database: PgConnection,
    next: usize,
}

impl Bench {
    async fn prepare(server: &Server) -> Result<Self, Failure> {
        let mut simulator = Line::open(server.simulator).await?;
        let mut api = Line::open(server.api).await?;
        let unlimited = json!({ "enabled": false });
        simulator
            .ask(&Step::send(Method::PUT, "/_control/limits", &unlimited))
            .await?;
        let connect: PgConnectOptions = server.ready.database_url.parse()?;
        let tenant = TENANT.to_string();
        let connect = connect.options([("role", "discovery_app"), ("app.tenant_id", &*tenant)]);
        let mut database = PgConnection::connect_with(&connect).await?;
        let mut known = Vec::new();
        for number in 0..CONNECTIONS {
            let item = ids::new_uuid(&SystemClock, &OsRandom).to_string();
            let account = add_item(&mut simulator, &item).await?;
            let name = format!("row-{number:03}");
            let path = connect_item(server, &mut api, &name, &item).await?;
            let id = id_of(&mut database, &name).await?;
            known.push(Known { account, path, id });
        }
        while unfinished(&mut database).await? > 0 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(Self {
            known,
            simulator,
            api,
            database,
            next: 0,
        })
    }

    async fn measure(&mut self, webhooks: usize) -> Result<Sample, Failure> {
        let awaited = Awaited::default();
        let others = OthersAtWork::begin();
        let start = Instant::now();
        let Self {
            known,
            simulator,
            api,
            database,
            next,
        } = self;
        let announcing = async {
            let mut ticks = tokio::time::interval(PACE);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
            for _ in 0..webhooks {
                ticks.tick().await;
                let connection = &known[*next % known.len()];
                *next += 1;
                announce(connection, simulator, api, &awaited).await?;
            }
            Ok::<_, Failure>(())
        };
        let ((), latencies) = tokio::try_join!(announcing, watch(database, &awaited, webhooks))?;
        Ok(Sample {
            others: others.end(start.elapsed()),
            latencies,
        })
    }
}

/// Adds an item with some rows at the vendor; answers its first account.
async fn add_item(simulator: &mut Line, item: &str) -> Result<String, Failure> {
    let params = json!({ "itemId": item, "rows": ROWS });
    let add = Step::send(Method::POST, "/_control/pluggy/scenarios/add-item", &params);
    let told: Value = serde_json::from_slice(&simulator.ask(&add).await?)?;
    let notices = told["notices"].as_array().ok_or("no notices were told")?;
    let account = notices
        .iter()
        .find_map(|notice| notice["body"]["accountId"].as_str());
    Ok(account.ok_or("the item has no account")?.to_owned())
}

/// Makes a connection that reads the item; answers where its webhooks go.
async fn connect_item(
    server: &Server,
    api: &mut Line,
    name: &str,
    item: &str,
) -> Result<String, Failure> {
    let bearer = format!("Bearer {}", server.ready.token);
    let connection = json!({
        "vendor": "pluggy", "configName": name, "baseUrl": server.ready.simulator_url,
        "accountRef": item, "clientId": PLUGGY_CLIENT_ID, "secret": PLUGGY_SECRET,
    });
    let token = json!({ "vendor": "pluggy", "connection_config_name": name });
    let path = "/v1/discovery/aggregator-connections";
    let create = Step::send(Method::POST, path, &connection);
    let create = create.header(header::AUTHORIZATION, &bearer)?;
    api.ask(&create.expect(StatusCode::CREATED, "")).await?;
    let mint = Step::send(Method::POST, "/v1/discovery/webhooks/tokens", &token);
    let mint = mint.header(header::AUTHORIZATION, &bearer)?;
    let minted = api.ask(&mint.expect(StatusCode::CREATED, "")).await?;
    let minted: Value = serde_json::from_slice(&minted)?;
    let token = minted["token"].as_str().ok_or("the token is no text")?;
    Ok(format!("/v1/discovery/webhooks/pluggy/{token}"))
}

/// Lets the vendor have a new row, and tell of it.
async fn announce(
    connection: &Known,
    simulator: &mut Line,
    api: &mut Line,
    awaited: &Awaited,
) -> Result<(), Failure> {
    let row = ids::new_uuid(&SystemClock, &OsRandom).to_string();
    let params = json!({ "accountId": connection.account, "rows": [{ "id": row }] });
    let add = Step::send(Method::POST, "/_control/pluggy/rows", &params);
    let told: Value = serde_json::from_slice(&simulator.ask(&add).await?)?;
    let webhook = Step::send(Method::POST, &*connection.path, &told["notices"][0]["body"]);
    let since = (connection.id, Instant::now());
    awaited.borrow_mut().insert(row, since);
    api.ask(&webhook.expect(StatusCode::ACCEPTED, "")).await?;
    Ok(())
}

/// Looks for the rows until that many have come; answers how long each took.
#[expect(
    clippy::disallowed_methods,
    reason = "no statement of the program looks for rows in this way"
)]
async fn watch(
    database: &mut PgConnection,
    awaited: &Awaited,
    count: usize,
) -> Result<Vec<Duration>, Failure> {
    let mut latencies = Vec::new();
    while latencies.len() < count {
        let (connections, rows): (Vec<Uuid>, Vec<String>) = {
            let awaited = awaited.borrow();
            let rows = awaited.iter();
            rows.map(|(row, (connection, _))| (*connection, row.clone()))
                .unzip()
        };
        if !rows.is_empty() {
            let seen: Vec<String> = sqlx::query_scalar(
                "SELECT vendor_id FROM transactions
                 WHERE tenant_id = $1 AND connection_id = ANY ($2) AND vendor_id = ANY ($3)",
            )
            .bind(TENANT)
            .bind(connections)
            .bind(rows)
            .fetch_all(&mut *database)
            .await?;
            let now = Instant::now();
            let mut awaited = awaited.borrow_mut();
            for row in seen {
                if let Some((_, since)) = awaited.remove(&row) {
                    latencies.push(now - since);
                }
            }
            if awaited.values().any(|(_, since)| now - *since > PATIENCE) {
                let missing = awaited.len();
                return Err(format!("{missing} rows that were announced did not come").into());
            }
        }
        tokio::time::sleep(GLANCE).await;
    }
    latencies.sort_unstable();
    Ok(latencies)
}

#[expect(
    clippy::disallowed_methods,
    reason = "no statement of the program asks for this"
)]
async fn id_of(database: &mut PgConnection, name: &str) -> Result<Uuid, Failure> {
    let id =
        sqlx::query_scalar("SELECT id FROM connections WHERE tenant_id = $1 AND config_name = $2");
    Ok(id.bind(TENANT).bind(name).fetch_one(database).await?)
}

/// How many pulls there are yet to be done.
#[expect(
    clippy::disallowed_methods,
    reason = "no statement of the program asks for this"
)]
async fn unfinished(database: &mut PgConnection) -> Result<i64, Failure> {
    let count = sqlx::query_scalar(
        "SELECT count(*) FROM pulls
         WHERE tenant_id = $1 AND state IN ('queued', 'running', 'retrying')",
    );
    Ok(count.bind(TENANT).fetch_one(database).await?)
}

/// What a run came to.
struct Sample {
    /// From the shortest to the longest.
    latencies: Vec<Duration>,
    /// What others took, in hundredths of a core; `None` where it can't be told.
    others: Option<u128>,
}

impl Sample {
    /// The latency that this many thousandths of the rows stay within.
    fn within(&self, thousandths: usize) -> Duration {
        let rank = (self.latencies.len() * thousandths).div_ceil(1000);
        let found = self.latencies.get(rank.saturating_sub(1));
        found.copied().unwrap_or_default()
    }

    fn is_quiet(&self) -> bool {
        /// A tenth of a core.
        const MOST: u128 = 10;
        self.others.is_none_or(|others| others <= MOST)
    }
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
