//! The configuration: one section a file, read from a [`Source`], all faults told at once.

use crate::domain::secret::SecretText;

mod auth;
mod connectors;
mod database;
mod faults;
mod http;
mod keys;
mod log;
mod reader;
mod source;
pub mod variables;
mod vendors;

#[cfg(test)]
mod tests;

pub use self::{
    auth::{Auth, Jwks, ScopeRule},
    connectors::{Connectors, Types},
    database::Database,
    faults::{ConfigFault, ConfigFaults},
    http::{Http, PublicUrl},
    keys::Keys,
    log::{Log, LogFormat},
    source::Source,
    variables::{VARIABLES, Variable},
    vendors::{VendorConfig, Vendors, WebhookHeader},
};

use self::reader::Reader;

/// A rule for a variable's value that lives in another room, such as the key ring's format. It is
/// asked only about a value that is set. Its answer goes on after "is not valid:" and must not
/// repeat a secret.
pub type Check = (Variable, fn(&str) -> Result<(), String>);

/// For whom the configuration is read: decides the defaults and what may be missing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Profile<'a> {
    /// Production: everything is required.
    Serve,
    /// A laptop: nothing is required, since `dev` makes what is missing.
    Dev,
    /// A small command, with production's defaults: only these variables are required.
    Tool(&'a [Variable]),
}

impl Profile<'_> {
    fn requires(self, variable: &Variable) -> bool {
        match self {
            Self::Serve => true,
            Self::Dev => false,
            Self::Tool(needs) => needs.contains(variable),
        }
    }

    fn pick<T>(self, serve: T, dev: T) -> T {
        match self {
            Self::Serve | Self::Tool(_) => serve,
            Self::Dev => dev,
        }
    }
}

/// The whole configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The database.
    pub database: Database,
    /// The API's door.
    pub http: Http,
    /// The key ring.
    pub keys: Keys,
    /// How tokens are verified.
    pub auth: Auth,
    /// The aggregators.
    pub vendors: Vendors,
    /// The connectors and where they may go.
    pub connectors: Connectors,
    /// What is logged, and how.
    pub log: Log,
    /// What is odd but no fault, one sentence each: variables that nobody reads. A cluster may set
    /// some with our prefix on its own account, so they stop nothing.
    pub warnings: Vec<String>,
}

impl Config {
    /// Reads every section; `Err` names everything that is wrong.
    pub fn read(
        source: &Source,
        profile: Profile<'_>,
        checks: &[Check],
    ) -> Result<Self, ConfigFaults> {
        let mut reader = Reader::new(source, profile, checks);
        let config = Self::from_reader(&mut reader);
        let faults = reader.into_faults();
        let warnings = variables::unknown(source.names());
        match config {
            Some(config) if faults.is_empty() => Ok(Self { warnings, ..config }),
            _ => Err(ConfigFaults { faults, warnings }),
        }
    }

    /// `None` when a section has a fault that leaves it without a value.
    fn from_reader(reader: &mut Reader<'_>) -> Option<Self> {
        // Every section is read before the first `?`, so that none hides another's faults.
        let database = Database::read(reader);
        let http = Http::read(reader);
        let keys = Keys::read(reader);
        let auth = Auth::read(reader);
        let vendors = Vendors::read(reader);
        let connectors = Connectors::read(reader);
        let log = Log::read(reader);
        Some(Self {
            database: database?,
            http: http?,
            keys,
            auth: auth?,
            vendors: vendors?,
            connectors: connectors?,
            log: log?,
            warnings: Vec::new(),
        })
    }
}

/// The value of a variable that only `dev` can do without, or the fault that says so.
fn needed<'a>(
    value: Option<&'a SecretText>,
    variable: &Variable,
) -> Result<&'a SecretText, ConfigFault> {
    value.ok_or_else(|| reader::fault(variable, reader::UNSET))
}
