//! `keys`: the life of the key ring.

use std::{process::ExitCode, sync::Arc};

use clap::{Args, Subcommand};

use super::{Failure, configure, say, wiring};
use crate::{
    app::{list_keys, rewrap_keys},
    config::{Profile, Source, variables},
    domain::{
        clock::SystemClock,
        random::{OsRandom, Random},
    },
    vault::KeyRing,
};

#[derive(Debug, Subcommand)]
pub(super) enum KeysCommand {
    /// Prints a new entry for the key ring
    Generate(GenerateArgs),
    /// Says which entries are still in use, and how much
    List,
    /// Wraps every tenant's data key by the first entry; may be killed and run again
    Rewrap,
}

#[derive(Args, Debug)]
pub(super) struct GenerateArgs {
    /// The entry's id: letters, digits, `_`, `.` and `-`
    #[arg(long, value_name = "ID", default_value = "k1")]
    id: String,
}

pub(super) async fn run(command: KeysCommand, source: &Source) -> Result<ExitCode, Failure> {
    match command {
        KeysCommand::Generate(args) => {
            say(&KeyRing::generate_entry(&args.id, &OsRandom)?)?;
            Ok(ExitCode::SUCCESS)
        }
        KeysCommand::List => list(source).await,
        KeysCommand::Rewrap => rewrap(source).await,
    }
}

const NEEDS: &[crate::config::Variable] = &[variables::KEYRING, variables::DATABASE_URL];

async fn list(source: &Source) -> Result<ExitCode, Failure> {
    let config = configure(source, Profile::Tool(NEEDS))?;
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    let (store, vault) = (wiring::store(&config)?, wiring::vault(&config, &random)?);
    let mut complete = true;
    for key in list_keys(&store, &vault).await? {
        let state = match (key.primary, key.listed, key.data_keys) {
            (true, ..) => "seals",
            (false, true, 0) => "not needed any more: remove it",
            (false, true, _) => "opens; run `keys rewrap` to be rid of it",
            (false, false, _) => {
                "MISSING from the key ring: these tenants' secrets can't be opened"
            }
        };
        complete &= key.listed;
        say(&format!(
            "{}\t{} data keys\t{state}",
            key.ring_key_id, key.data_keys
        ))?;
    }
    store.close().await;
    Ok(if complete {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn rewrap(source: &Source) -> Result<ExitCode, Failure> {
    let config = configure(source, Profile::Tool(NEEDS))?;
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    let (store, vault) = (wiring::store(&config)?, wiring::vault(&config, &random)?);
    let progress = rewrap_keys(&store, &vault, &SystemClock).await?;
    store.close().await;
    for (tenant, reason) in &progress.unopened {
        say(&format!(
            "the data key of tenant {tenant} was left: {reason}"
        ))?;
    }
    say(&format!(
        "{} data keys re-wrapped, {} left",
        progress.rewrapped, progress.left
    ))?;
    Ok(if progress.left == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
