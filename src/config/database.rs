//! The database, and the one that `dev` starts.

use std::path::PathBuf;

use super::{
    ConfigFault, needed,
    reader::Reader,
    variables::{DATABASE_POOL, DATABASE_URL, PG_BIN, PG_DOWNLOAD},
};
use crate::domain::secret::SecretText;

/// The database's settings.
#[derive(Clone, Debug)]
pub struct Database {
    /// The URL, which holds a password; `None` only where the profile lets it be missing.
    pub url: Option<SecretText>,
    /// How many connections this process may hold.
    pub pool_size: u32,
    /// Where the programs of the embedded Postgres are, if the operator says so.
    pub embedded_programs: Option<PathBuf>,
    /// Whether the embedded Postgres may be fetched when none is installed.
    pub embedded_download: bool,
}

impl Database {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let url = reader.required(&DATABASE_URL, url);
        let pool_size = reader.parsed(&DATABASE_POOL, pool_size);
        let embedded_programs = reader.words(&PG_BIN).map(PathBuf::from);
        let embedded_download = reader.parsed(&PG_DOWNLOAD, switch);
        Some(Self {
            url,
            pool_size: pool_size?,
            embedded_programs,
            embedded_download: embedded_download?,
        })
    }

    /// The URL, where it must be there by now.
    pub fn url(&self) -> Result<&SecretText, ConfigFault> {
        needed(self.url.as_ref(), &DATABASE_URL)
    }
}

/// The scheme tells a wrong paste apart; the finer points are the driver's to judge.
fn url(text: &str) -> Result<SecretText, &'static str> {
    ["postgres://", "postgresql://"]
        .iter()
        .any(|scheme| text.starts_with(scheme))
        .then(|| SecretText::new(text.to_owned()))
        .ok_or("does not begin with `postgres://`")
}

fn pool_size(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .ok()
        .filter(|size| (4..=1000).contains(size))
        .ok_or("is not a number from 4 to 1000")
}

fn switch(text: &str) -> Result<bool, &'static str> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("is neither `on` nor `off`"),
    }
}
