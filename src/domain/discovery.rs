//! Discovery connections: databases and REST endpoints whose tables are read.

use std::{fmt, str::FromStr};

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    connection::{ConfigName, ConnectionKind, Version},
    ids::ConnectionId,
};

/// How a source was found when it was last looked at.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Health {
    /// It let us in.
    Available,
    /// It could not be reached, or did not let us in.
    Unreachable,
    /// It was not looked at since what leads to it was last changed, or could not be for a reason
    /// of ours.
    Unknown,
}

impl Health {
    /// Every one there is.
    pub const ALL: [Self; 3] = [Self::Available, Self::Unreachable, Self::Unknown];

    /// The word on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "AVAILABLE",
            Self::Unreachable => "UNREACHABLE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

/// The text is no such word.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is no known health")]
pub struct UnknownHealth;

impl FromStr for Health {
    type Err = UnknownHealth;

    fn from_str(text: &str) -> Result<Self, UnknownHealth> {
        Self::ALL
            .into_iter()
            .find(|health| health.as_str() == text)
            .ok_or(UnknownHealth)
    }
}

/// A living connection to a database or a REST endpoint. Free of secrets, and of where it leads.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DiscoveryConnection {
    /// Its identifier.
    pub id: ConnectionId,
    /// Whether it leads to a database or a REST endpoint.
    pub kind: ConnectionKind,
    /// The type of the connector that reaches it.
    pub connector: String,
    /// The tenant's name for it.
    pub config_name: ConfigName,
    /// How it was found when it was last looked at.
    pub health: Health,
    /// When it last let us in; `None` if it never did.
    pub last_seen_at: Option<DateTime<Utc>>,
    /// When its tables were last listed; `None` if they never were.
    pub schema_discovered_at: Option<DateTime<Utc>>,
    /// Changes by operators so far; what is found by looking does not count.
    pub version: Version,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When an operator last changed it.
    pub updated_at: DateTime<Utc>,
}

/// Where a source is, in the parts it is stored in. Free of secrets, yet nothing of it leaves the
/// server.
#[derive(Clone, Eq, PartialEq)]
pub struct StoredPlace {
    /// The type of the connector that reaches it.
    pub connector: String,
    /// The host of a database; the base URL of a REST endpoint.
    pub host: String,
    /// Whatever else there is.
    pub attributes: Value,
}

impl fmt::Debug for StoredPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredPlace")
            .field("connector", &self.connector)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_health_is_read_back_from_its_word() {
        for health in Health::ALL {
            assert_eq!(health.as_str().parse(), Ok(health));
        }
        assert_eq!("available".parse::<Health>(), Err(UnknownHealth));
    }

    #[test]
    fn debug_shows_no_place() {
        let place = StoredPlace {
            connector: "postgres".to_owned(),
            host: "canary-host".to_owned(),
            attributes: serde_json::json!({"database": "canary-database"}),
        };
        assert!(!format!("{place:?}").contains("canary"));
    }
}
