//! What it takes to reach a tenant's database.

use std::{fmt, str::FromStr};

use super::secret::SecretText;

/// The engine of a database.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum DatabaseType {
    /// `PostgreSQL`.
    Postgresql,
    /// `MySQL` and `MariaDB`.
    Mysql,
}

/// The text names no engine.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is no known type of database")]
pub struct UnknownDatabaseType;

impl DatabaseType {
    /// Every one there is.
    pub const ALL: [Self; 2] = [Self::Postgresql, Self::Mysql];

    /// The canonical token, as callers see it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Postgresql => "POSTGRESQL",
            Self::Mysql => "MYSQL",
        }
    }

    /// The type of the connector that reaches it.
    #[must_use]
    pub fn connector(self) -> &'static str {
        match self {
            Self::Postgresql => "postgres",
            Self::Mysql => "mysql",
        }
    }

    /// The engine that a connector of that type reaches.
    #[must_use]
    pub fn of_connector(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.connector() == name)
    }
}

/// Reads the canonical token or a common alias, in whatever case.
impl FromStr for DatabaseType {
    type Err = UnknownDatabaseType;

    fn from_str(text: &str) -> Result<Self, UnknownDatabaseType> {
        match text.to_ascii_lowercase().as_str() {
            "postgresql" | "postgres" | "pg" => Ok(Self::Postgresql),
            "mysql" | "mariadb" => Ok(Self::Mysql),
            _ => Err(UnknownDatabaseType),
        }
    }
}

impl fmt::Display for DatabaseType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How much a connection to a database is protected on its way.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum TlsMode {
    /// Never encrypted.
    Disable,
    /// Encrypted if the server can.
    #[default]
    Prefer,
    /// Encrypted or not at all; whoever answers is believed.
    Require,
    /// Encrypted, and the server proves by its certificate that it bears the name.
    VerifyFull,
}

/// The text names no mode.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be disable, prefer, require or verify-full")]
pub struct UnknownTlsMode;

impl TlsMode {
    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Disable => "disable",
            Self::Prefer => "prefer",
            Self::Require => "require",
            Self::VerifyFull => "verify-full",
        }
    }
}

impl FromStr for TlsMode {
    type Err = UnknownTlsMode;

    fn from_str(text: &str) -> Result<Self, UnknownTlsMode> {
        [Self::Disable, Self::Prefer, Self::Require, Self::VerifyFull]
            .into_iter()
            .find(|mode| mode.as_str() == text)
            .ok_or(UnknownTlsMode)
    }
}

/// Where a database is, and what of it is offered. Free of secrets, yet nothing of it leaves the
/// server.
#[derive(Clone, Eq, PartialEq)]
pub struct DatabasePlace {
    /// The engine.
    pub database_type: DatabaseType,
    /// A name or an address.
    pub host: String,
    /// The TCP port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// The namespace whose tables are offered; `None` for the engine's usual one (`public`, and the
    /// database itself at `MySQL`).
    pub schema: Option<String>,
    /// How the way there is protected.
    pub tls: TlsMode,
    /// The certificates to believe, as PEM; `None` for the public ones.
    pub certificates: Option<String>,
}

impl fmt::Debug for DatabasePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DatabasePlace")
            .field("database_type", &self.database_type)
            .field("tls", &self.tls)
            .finish_non_exhaustive()
    }
}

/// Who logs in to a database. Shows nothing, and is wiped when dropped.
#[derive(Clone, Debug)]
pub struct DatabaseLogin {
    /// The user.
    pub user: SecretText,
    /// The password; `None` where the server asks for none.
    pub password: Option<SecretText>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_engine_is_known_by_its_token_and_its_aliases() {
        for (text, engine) in [
            ("POSTGRESQL", DatabaseType::Postgresql),
            ("Postgres", DatabaseType::Postgresql),
            ("mysql", DatabaseType::Mysql),
            ("MariaDB", DatabaseType::Mysql),
        ] {
            assert_eq!(text.parse(), Ok(engine), "{text}");
        }
        assert_eq!("".parse::<DatabaseType>(), Err(UnknownDatabaseType));
        assert_eq!("oracle".parse::<DatabaseType>(), Err(UnknownDatabaseType));
        for engine in DatabaseType::ALL {
            assert_eq!(engine.as_str().parse(), Ok(engine));
            assert_eq!(DatabaseType::of_connector(engine.connector()), Some(engine));
        }
    }

    #[test]
    fn debug_shows_no_place() {
        let place = DatabasePlace {
            database_type: DatabaseType::Mysql,
            host: "canary-host".to_owned(),
            port: 3306,
            database: "canary-database".to_owned(),
            schema: None,
            tls: TlsMode::VerifyFull,
            certificates: None,
        };
        assert!(!format!("{place:?}").contains("canary"));
    }
}
