//! What it takes to reach a tenant's database.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    connection::{TextError, check_text},
    discovery::StoredPlace,
    secret::SecretText,
};

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

/// How much a connection to a database is protected on its way, the least first.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
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

/// What is stored of a place besides its engine and its host.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct Attributes {
    port: u16,
    database: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    schema: Option<String>,
    tls: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    certificates: Option<String>,
}

impl DatabasePlace {
    /// The parts that are stored.
    #[must_use]
    pub fn to_stored(&self) -> StoredPlace {
        let attributes = Attributes {
            port: self.port,
            database: self.database.clone(),
            schema: self.schema.clone(),
            tls: self.tls.as_str().to_owned(),
            certificates: self.certificates.clone(),
        };
        StoredPlace {
            connector: self.database_type.connector().to_owned(),
            host: self.host.clone(),
            // Texts and a number: there is nothing in it that JSON could not hold.
            attributes: serde_json::to_value(attributes).unwrap_or(Value::Null),
        }
    }

    /// Takes back what was stored; `None` if it does not read back.
    #[must_use]
    pub fn from_stored(stored: &StoredPlace) -> Option<Self> {
        let attributes = Attributes::deserialize(&stored.attributes).ok()?;
        Some(Self {
            database_type: DatabaseType::of_connector(&stored.connector)?,
            host: stored.host.clone(),
            port: attributes.port,
            database: attributes.database,
            schema: attributes.schema,
            tls: attributes.tls.parse().ok()?,
            certificates: attributes.certificates,
        })
    }
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

/// The most characters the name of a database, a schema or a user may have: more than any engine
/// allows, user names of managed databases included.
pub const MAX_NAME_CHARS: usize = 255;
/// The longest name that a resolver takes.
pub const MAX_HOST_CHARS: usize = 253;
/// The most certificates that fit, in characters.
pub const MAX_CERTIFICATES_CHARS: usize = 32 * 1024;

/// Checks the name of a database, a schema or a user as given by a caller.
pub fn parse_name(text: &str) -> Result<String, TextError> {
    check_text(text, MAX_NAME_CHARS)?;
    Ok(text.to_owned())
}

/// Checks a host as given by a caller, by its form alone; whether it may be named is for the
/// deployment to say.
pub fn parse_host(text: &str) -> Result<String, TextError> {
    check_text(text, MAX_HOST_CHARS)?;
    Ok(text.to_owned())
}

/// Why a text can't be used as certificates.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum CertificatesError {
    /// More than there is room for.
    #[error("must have at most {MAX_CERTIFICATES_CHARS} characters")]
    TooLong,
    /// Not what certificates are written in.
    #[error(
        "must be one or more certificates as PEM: each between -----BEGIN CERTIFICATE----- and \
         -----END CERTIFICATE-----, and nothing else"
    )]
    NotPem,
}

/// Checks certificates as given by a caller, by their form. A private key that was sent along by
/// mistake is refused, and so never stored.
pub fn parse_certificates(text: &str) -> Result<String, CertificatesError> {
    const BEGIN: &str = "-----BEGIN CERTIFICATE-----";
    const END: &str = "-----END CERTIFICATE-----";
    if text.len() > MAX_CERTIFICATES_CHARS {
        return Err(CertificatesError::TooLong);
    }
    let mut rest = text.trim();
    loop {
        let (inside, behind) = rest
            .strip_prefix(BEGIN)
            .and_then(|behind| behind.split_once(END))
            .ok_or(CertificatesError::NotPem)?;
        let is_base64 = |byte: u8| byte.is_ascii_alphanumeric() || b"+/=\r\n".contains(&byte);
        if inside.trim().is_empty() || !inside.bytes().all(is_base64) {
            return Err(CertificatesError::NotPem);
        }
        rest = behind.trim_start();
        if rest.is_empty() {
            return Ok(text.to_owned());
        }
    }
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

    fn place() -> DatabasePlace {
        DatabasePlace {
            database_type: DatabaseType::Mysql,
            host: "canary-host".to_owned(),
            port: 3306,
            database: "canary-database".to_owned(),
            schema: None,
            tls: TlsMode::VerifyFull,
            certificates: None,
        }
    }

    #[test]
    fn debug_shows_no_place() {
        assert!(!format!("{:?}", place()).contains("canary"));
    }

    #[test]
    fn a_place_is_read_back_from_what_is_stored() {
        let full = DatabasePlace {
            schema: Some("ledger".to_owned()),
            certificates: Some("pem".to_owned()),
            ..place()
        };
        for place in [place(), full] {
            let stored = place.to_stored();
            assert_eq!(DatabasePlace::from_stored(&stored), Some(place));
        }
        let mut other = place().to_stored();
        other.connector = "rest-generic".to_owned();
        assert_eq!(DatabasePlace::from_stored(&other), None);
        let mut spoilt = place().to_stored();
        spoilt.attributes["tls"] = "sometimes".into();
        assert_eq!(DatabasePlace::from_stored(&spoilt), None);
    }

    #[test]
    fn certificates_are_certificates_and_nothing_else() {
        let one = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        for good in [one, &one.repeat(3), &one.replace('\n', "\r\n")] {
            assert_eq!(parse_certificates(good), Ok(good.to_owned()));
        }
        let key = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        for bad in [
            "",
            "AAAA",
            key,
            &format!("{one}{key}"),
            &format!("{key}{one}"),
            "-----BEGIN CERTIFICATE-----\nAAAA\n",
            "-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----",
            "-----BEGIN CERTIFICATE-----\nA A\n-----END CERTIFICATE-----",
        ] {
            assert_eq!(parse_certificates(bad), Err(CertificatesError::NotPem));
        }
        let long = one.repeat(1000);
        assert_eq!(parse_certificates(&long), Err(CertificatesError::TooLong));
    }
}
