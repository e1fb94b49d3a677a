//! How long a live test of a connection takes, from the caller's side of the socket.
//!
//! ```text
//! cargo bench --bench connection_test
//! ```
//!
//! README.md beside this file tells how to read the table.

#[expect(dead_code, reason = "each benchmark uses a part of it")]
mod support;

use std::{io::Write as _, process::ExitCode, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use hyper::{Method, StatusCode, header, header::HeaderName};
use matcher_discovery::{
    domain::vendor::Vendor,
    local::simulator::{
        BELVO_LINK, BELVO_PASSWORD, BELVO_SECRET_ID, PLUGGY_CLIENT_ID, PLUGGY_ITEM, PLUGGY_SECRET,
    },
    storage::{Store, StoreOptions},
};
use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;

use support::{
    Failure,
    figures::{hundredths, millis},
    line::{Line, Step},
    load::{Load, Sample, Until},
    machine,
    server::Server,
};

/// A connection may be tested ten times a minute, so there are enough of them to take turns.
const CONNECTIONS: usize = 3_000;
const CLIENTS: [usize; 2] = [1, 16];
const WARM_UP: Until = Until {
    operations: 500,
    elapsed: Duration::from_secs(2),
};
const MEASURED: Until = Until {
    operations: 5_000,
    elapsed: Duration::from_secs(5),
};
/// The simulator alone is quick; it is asked for long enough to see who else works.
const BARE: Until = Until {
    operations: usize::MAX,
    elapsed: Duration::from_secs(5),
};
/// How often a measurement is made in the hope of a quiet machine.
const ATTEMPTS: usize = 3;
/// What the longest but one in a hundred tests may take, at the most clients.
const TARGET: Duration = Duration::from_millis(20);

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
            let _ = writeln!(std::io::stderr(), "connection_test: {error}");
            ExitCode::FAILURE
        }
    }
}

async fn run() -> Result<(), Failure> {
    // The limits are the vendors', not this program's, so they are out of the way.
    let server = Server::start(&[
        ("DISCOVERY_PLUGGY_RATE_LIMIT", "1000000"),
        ("DISCOVERY_BELVO_RATE_LIMIT", "1000000"),
    ])
    .await?;
    let outcome = measure_all(&server).await;
    server.stop().await?;
    outcome
}

async fn measure_all(server: &Server) -> Result<(), Failure> {
    let unlimited = Step::send(
        Method::PUT,
        "/_control/limits",
        &json!({ "enabled": false }),
    );
    let mut simulator = Line::open(server.simulator).await?;
    simulator.ask(&unlimited).await?;
    say(&headline(server).await?)?;

    let mut verdicts = Vec::new();
    for vendor in Vendor::ALL {
        let bare = Load::new(
            server.simulator,
            vec![bare_requests(vendor, &mut simulator).await?],
        );
        create_connections(server, vendor).await?;
        let tests = (0..CONNECTIONS).map(|number| Ok(vec![test(server, vendor, number)?]));
        let tests = Load::new(server.api, tests.collect::<Result<_, Failure>>()?);
        for clients in CLIENTS {
            let alone = measure(&bare, clients, BARE).await?;
            let tested = measure(&tests, clients, MEASURED).await?;
            let ratio = ratio(&alone, &tested);
            say(&format!(
                "{vendor:<6} {clients:>7}  simulator  {}\n{vendor:<6} {clients:>7}  live test  {} {ratio:>7}",
                alone.columns(),
                tested.columns()
            ))?;
            if clients == CLIENTS[CLIENTS.len() - 1] {
                verdicts.push(verdict(vendor, &tested));
            }
        }
    }
    say(&format!(
        "\np99 at {} clients, to stay under {} ms: {}",
        CLIENTS[CLIENTS.len() - 1],
        millis(TARGET),
        verdicts.join(", ")
    ))
}

/// What the figures were measured on, and the head of the table.
async fn headline(server: &Server) -> Result<String, Failure> {
    let connect: PgConnectOptions = server.ready.database_url.parse()?;
    let store = Store::new(StoreOptions {
        connect,
        max_connections: 1,
        acquire_timeout: Duration::from_secs(5),
    });
    let postgres = store.facts().await?.version;
    let sync = machine::time_of_a_sync(&std::env::temp_dir())?;
    Ok(format!(
        "{}; Postgres {postgres}; a sync of 8 KiB takes {} ms\n\n\
         vendor clients  what           op/s   p50 ms   p99 ms   max ms   others   ratio",
        machine::processor(),
        millis(sync)
    ))
}

/// What a live test asks of the vendor, asked directly.
async fn bare_requests(vendor: Vendor, simulator: &mut Line) -> Result<Vec<Step>, Failure> {
    Ok(match vendor {
        Vendor::Pluggy => {
            let body = json!({ "clientId": PLUGGY_CLIENT_ID, "clientSecret": PLUGGY_SECRET });
            let auth =
                Step::send(Method::POST, "/auth", &body).expect(StatusCode::OK, r#""apiKey""#);
            let answer: Value = serde_json::from_slice(&simulator.ask(&auth).await?)?;
            let key = answer["apiKey"].as_str().ok_or("the key is no text")?;
            let item = Step::get(format!("/items/{PLUGGY_ITEM}"))
                .header(HeaderName::from_static("x-api-key"), key)?
                .expect(StatusCode::OK, PLUGGY_ITEM);
            vec![auth, item]
        }
        Vendor::Belvo => {
            let pair = STANDARD.encode(format!("{BELVO_SECRET_ID}:{BELVO_PASSWORD}"));
            let basic = format!("Basic {pair}");
            let institutions = Step::get("/api/institutions/?page_size=1")
                .header(header::AUTHORIZATION, &basic)?
                .expect(StatusCode::OK, r#""results""#);
            let link = Step::get(format!("/api/links/{BELVO_LINK}/"))
                .header(header::AUTHORIZATION, &basic)?
                .expect(StatusCode::OK, BELVO_LINK);
            vec![institutions, link]
        }
    })
}

fn config_name(vendor: Vendor, number: usize) -> String {
    format!("{vendor}-{number:04}")
}

fn bearer(server: &Server, step: Step) -> Result<Step, Failure> {
    let token = format!("Bearer {}", server.ready.token);
    step.header(header::AUTHORIZATION, &token)
}

async fn create_connections(server: &Server, vendor: Vendor) -> Result<(), Failure> {
    let (account_ref, client_id, secret) = match vendor {
        Vendor::Pluggy => (PLUGGY_ITEM, PLUGGY_CLIENT_ID, PLUGGY_SECRET),
        Vendor::Belvo => (BELVO_LINK, BELVO_SECRET_ID, BELVO_PASSWORD),
    };
    let base_url = &server.ready.simulator_url;
    let create = |number| {
        let body = json!({
            "vendor": vendor, "configName": config_name(vendor, number), "baseUrl": base_url,
            "accountRef": account_ref, "clientId": client_id, "secret": secret,
        });
        let step = Step::send(Method::POST, "/v1/discovery/aggregator-connections", &body);
        Ok(vec![bearer(server, step)?.expect(StatusCode::CREATED, "")])
    };
    let creations = (0..CONNECTIONS)
        .map(create)
        .collect::<Result<_, Failure>>()?;
    let all = Until {
        operations: CONNECTIONS,
        elapsed: Duration::MAX,
    };
    Load::new(server.api, creations).run(16, all).await?;
    Ok(())
}

fn test(server: &Server, vendor: Vendor, number: usize) -> Result<Step, Failure> {
    let body = json!({ "vendor": vendor, "configName": config_name(vendor, number) });
    let path = "/v1/discovery/aggregator-connections/test";
    let step = bearer(server, Step::send(Method::POST, path, &body))?;
    Ok(step.expect(StatusCode::OK, r#""healthy":true"#))
}

/// Measures, and again while the machine is busy with something else; the quietest counts.
async fn measure(load: &Arc<Load>, clients: usize, until: Until) -> Result<Sample, Failure> {
    load.run(clients, WARM_UP).await?;
    let mut quietest: Option<Sample> = None;
    for _ in 0..ATTEMPTS {
        let sample = load.run(clients, until).await?;
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
    quietest.ok_or_else(|| "nothing was measured".into())
}

/// How many times as long as the bare requests a test takes; nothing if others were at work.
fn ratio(alone: &Sample, tested: &Sample) -> String {
    if alone.is_quiet() && tested.is_quiet() {
        hundredths(alone.rate() * 100 / tested.rate().max(1))
    } else {
        "busy".to_owned()
    }
}

fn verdict(vendor: Vendor, tested: &Sample) -> String {
    let p99 = tested.within(990);
    let kept = if p99 < TARGET { "kept" } else { "missed" };
    format!("{vendor} {} ms ({kept})", millis(p99))
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
