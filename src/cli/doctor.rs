//! `doctor`: checks everything a server needs, one line each.

use std::{fmt::Display, process::ExitCode, sync::Arc, time::Duration};

use chrono::TimeDelta;
use url::Url;

use super::{Failure, say, wiring};
use crate::{
    app::list_keys,
    config::{Config, Profile, Source},
    connectors,
    domain::{
        clock::{Clock, SystemClock},
        ids::TenantId,
        random::{OsRandom, Random},
        vendor::Vendor,
    },
    net::{Call, Request},
    storage::Store,
    telemetry::with_causes,
    vault::Vault,
};

/// The oldest Postgres whose features the schema uses.
const OLDEST_POSTGRES: i32 = 150_000;
/// How far the database's clock may be from ours.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(5);

/// The lines, and whether each check passed.
#[derive(Default)]
struct Report {
    failed: bool,
}

impl Report {
    fn line(
        &mut self,
        what: &str,
        outcome: Result<impl Display, impl Display>,
    ) -> Result<(), Failure> {
        match outcome {
            Ok(found) => say(&format!("ok      {what}: {found}"))?,
            Err(wrong) => {
                self.failed = true;
                say(&format!("FAILED  {what}: {wrong}"))?;
            }
        }
        Ok(())
    }
}

pub(super) async fn run(source: &Source) -> Result<ExitCode, Failure> {
    let mut report = Report::default();
    let config = Config::read(source, Profile::Serve, wiring::CHECKS);
    report.line(
        "configuration",
        config.as_ref().map(|config| {
            if config.warnings.is_empty() {
                "complete".to_owned()
            } else {
                format!("complete, but {}", config.warnings.join("; "))
            }
        }),
    )?;
    if let Ok(config) = &config {
        check_parts(&mut report, config).await?;
        check_vendors(&mut report, config).await?;
    } else {
        say("        the rest can only be checked with a complete configuration")?;
    }
    Ok(if report.failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

async fn check_parts(report: &mut Report, config: &Config) -> Result<(), Failure> {
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    report.line(
        "connectors",
        wiring::registry(config, connectors::compiled_in(&wiring::reach(config))?).map(
            |registry| {
                let names: Vec<&str> = registry.types().map(|one| one.name).collect();
                if names.is_empty() {
                    "none registered".to_owned()
                } else {
                    names.join(", ")
                }
            },
        ),
    )?;
    let vault = wiring::vault(config, &random)?;
    report.line(
        "key ring",
        Ok::<_, String>(format!("seals with \"{}\"", vault.primary_ring_key_id())),
    )?;
    if config.auth.jwks.is_some() {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let keys = wiring::authenticator(config, &clock)?.load_keys().await;
        report.line(
            "token keys",
            keys.map(|count| format!("{count} in the key set"))
                .map_err(|error| with_causes(&error)),
        )?;
    }
    let store = wiring::store(config)?;
    check_database(report, &store, &vault, &*random).await?;
    store.close().await;
    Ok(())
}

async fn check_database(
    report: &mut Report,
    store: &Store,
    vault: &Vault,
    random: &dyn Random,
) -> Result<(), Failure> {
    let facts = match store.facts().await {
        Ok(facts) => facts,
        Err(error) => {
            return report.line("database", Err::<String, _>(with_causes(&error)));
        }
    };
    report.line(
        "database",
        if facts.version_number >= OLDEST_POSTGRES {
            Ok(format!("Postgres {}", facts.version))
        } else {
            Err(format!(
                "Postgres {} is too old; 15 is needed",
                facts.version
            ))
        },
    )?;
    let apart = (SystemClock.now() - facts.now).abs();
    report.line(
        "clock",
        if apart <= CLOCK_TOLERANCE {
            Ok(format!(
                "{} ms from the database's",
                apart.num_milliseconds()
            ))
        } else {
            Err(format!(
                "{} s from the database's; synchronise both machines",
                apart.num_seconds()
            ))
        },
    )?;
    let state = store.migration_state().await?;
    report.line(
        "migrations",
        if state.is_current() {
            Ok(format!("at {:04}", state.applied))
        } else {
            Err(format!(
                "at {:04}, but {:04} is needed; run `matcher-discovery migrate`",
                state.applied, state.known
            ))
        },
    )?;
    if !state.is_current() {
        return Ok(());
    }
    let strangers = [(); 2].map(|()| TenantId::new(&SystemClock, random));
    report.line(
        "isolation",
        store
            .prove_isolation(strangers[0], strangers[1])
            .await
            .map(|()| "tenants are kept apart")
            .map_err(|error| with_causes(&error)),
    )?;
    let lost: Vec<String> = list_keys(store, vault)
        .await?
        .into_iter()
        .filter(|key| !key.listed)
        .map(|key| format!("\"{}\" ({} data keys)", key.ring_key_id, key.data_keys))
        .collect();
    report.line(
        "data keys",
        if lost.is_empty() {
            Ok("the key ring opens all of them")
        } else {
            Err(format!(
                "the key ring lacks {}; add it back",
                lost.join(", ")
            ))
        },
    )?;
    let mut tx = store.begin_system().await?;
    let (checked, broken) = tx.verify_audit_log().await?;
    report.line(
        "audit log",
        match broken.first() {
            None => Ok(format!("{checked} entries hold")),
            Some(first) => Err(format!(
                "{} chains are broken; the first is that of tenant {} at entry {}",
                broken.len(),
                first.tenant,
                first.sequence
            )),
        },
    )
}

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Any answer will do: what is asked is whether the way is open.
async fn check_vendors(report: &mut Report, config: &Config) -> Result<(), Failure> {
    for vendor in Vendor::ALL {
        // The very client that the server would use.
        let client = wiring::vendor_client(config, vendor)?;
        for host in &config.vendors.of(vendor).hosts {
            let url = Url::parse(&format!("https://{host}/"))?;
            let call = Call {
                peer: vendor.as_str(),
                name: "reach",
            };
            let answer = client.send(Request::get(call, url).timeout(PATIENCE)).await;
            report.line(
                &format!("{vendor} at {host}"),
                answer
                    .map(|_| "reachable")
                    .map_err(|error| with_causes(&error)),
            )?;
        }
    }
    Ok(())
}
