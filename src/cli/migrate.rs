//! `migrate`: brings the database up to date.

use std::process::ExitCode;

use super::{Failure, configure, say, wiring};
use crate::{
    config::{Profile, Source, variables},
    storage::Store,
};

pub(super) async fn run(source: &Source) -> Result<ExitCode, Failure> {
    let config = configure(source, Profile::Tool(&[variables::DATABASE_URL]))?;
    let state = Store::migrate(&wiring::login(&config)?).await?;
    say(&format!("the schema is at {:04}", state.applied))?;
    Ok(ExitCode::SUCCESS)
}
