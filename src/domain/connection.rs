//! Connections: what a tenant reaches data through.

use std::{fmt, ops::Deref, str::FromStr};

use chrono::{DateTime, Utc};

use super::{base_url::BaseUrl, ids::ConnectionId, vendor::Vendor};

/// What kind of thing a connection reaches.
///
/// Every kind shares one name space and one id space, but each surface shows only its own.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectionKind {
    /// An Open-Finance aggregator.
    Aggregator,
    /// A database.
    Database,
    /// A REST endpoint.
    Rest,
}

impl ConnectionKind {
    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Aggregator => "aggregator",
            Self::Database => "database",
            Self::Rest => "rest",
        }
    }
}

/// The text names no kind.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("is no known kind of connection")]
pub struct UnknownConnectionKind;

impl FromStr for ConnectionKind {
    type Err = UnknownConnectionKind;

    fn from_str(text: &str) -> Result<Self, UnknownConnectionKind> {
        [Self::Aggregator, Self::Database, Self::Rest]
            .into_iter()
            .find(|kind| kind.as_str() == text)
            .ok_or(UnknownConnectionKind)
    }
}

/// Why a text can't be used.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum TextError {
    /// No characters at all.
    #[error("must not be empty")]
    Empty,
    /// More characters than there is room for.
    #[error("must have at most {0} characters")]
    TooLong(usize),
    /// A line break, a NUL or the like.
    #[error("must not contain control characters")]
    Control,
    /// Looks like another name with the same letters.
    #[error("must not begin or end with a space")]
    OuterSpace,
}

fn check_length(text: &str, most: usize) -> Result<(), TextError> {
    if text.is_empty() {
        Err(TextError::Empty)
    } else if text.chars().count() > most {
        Err(TextError::TooLong(most))
    } else {
        Ok(())
    }
}

pub(super) fn check_text(text: &str, most: usize) -> Result<(), TextError> {
    check_length(text, most)?;
    if text.chars().any(char::is_control) {
        return Err(TextError::Control);
    }
    Ok(())
}

/// The name an operator knows a connection by: unique in the tenant among living connections of
/// every kind.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ConfigName(String);

impl ConfigName {
    /// The most characters a name may have.
    pub const MAX_CHARS: usize = 100;

    /// Checks a name as given by a caller.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        check_text(text, Self::MAX_CHARS)?;
        if text.trim() != text {
            return Err(TextError::OuterSpace);
        }
        Ok(Self(text.to_owned()))
    }

    /// Takes back a name that was checked before it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }
}

/// What the vendor calls the data we may read: a Pluggy item (or account), a Belvo link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AccountRef(String);

impl AccountRef {
    /// The most characters a reference may have.
    pub const MAX_CHARS: usize = 200;

    /// Checks a reference as given by a caller.
    pub fn parse(text: &str) -> Result<Self, TextError> {
        check_text(text, Self::MAX_CHARS)?;
        Ok(Self(text.to_owned()))
    }

    /// Takes back a reference that was checked before it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }
}

macro_rules! text_type {
    ($name:ident) => {
        impl Deref for $name {
            type Target = str;

            fn deref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_type!(ConfigName);
text_type!(AccountRef);

/// The most characters a client id or a secret may have.
pub const MAX_CREDENTIAL_CHARS: usize = 4096;

/// Checks one half of a credential as given by a caller.
pub fn parse_credential_part(text: &str) -> Result<String, TextError> {
    check_length(text, MAX_CREDENTIAL_CHARS)?;
    Ok(text.to_owned())
}

/// Counts the changes of a connection; what an `ETag` shows and `If-Match` is compared with.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Version(pub i64);

impl Version {
    /// The version of a connection that was just made.
    pub const FIRST: Self = Self(1);
}

/// A living aggregator connection. Free of secrets by construction.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AggregatorConnection {
    /// Its identifier.
    pub id: ConnectionId,
    /// The aggregator; never changes.
    pub vendor: Vendor,
    /// The tenant's name for it.
    pub config_name: ConfigName,
    /// Where the vendor's API is.
    pub base_url: BaseUrl,
    /// What to read there.
    pub account_ref: AccountRef,
    /// Changes so far.
    pub version: Version,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_every_character_it_was_given() {
        for name in ["a", "pluggy-main", "Conta Itaú 🏦", "a b", &"é".repeat(100)] {
            assert_eq!(&*ConfigName::parse(name).unwrap(), name);
        }
    }

    #[test]
    fn a_name_is_refused_for_each_rule_it_breaks() {
        for (name, error) in [
            ("", TextError::Empty),
            (&*"x".repeat(101), TextError::TooLong(100)),
            (&*"é".repeat(101), TextError::TooLong(100)),
            ("a\nb", TextError::Control),
            ("a\0b", TextError::Control),
            ("a\u{7f}b", TextError::Control),
            ("a\u{85}b", TextError::Control),
            (" a", TextError::OuterSpace),
            ("a ", TextError::OuterSpace),
            ("\u{a0}a", TextError::OuterSpace),
            (" ", TextError::OuterSpace),
        ] {
            assert_eq!(ConfigName::parse(name), Err(error), "{name:?}");
        }
    }

    #[test]
    fn an_account_ref_is_opaque_but_bounded() {
        assert!(AccountRef::parse(" spaces are the vendor's business ").is_ok());
        assert_eq!(AccountRef::parse(""), Err(TextError::Empty));
        assert_eq!(AccountRef::parse("\0"), Err(TextError::Control));
        assert_eq!(
            AccountRef::parse(&"x".repeat(201)),
            Err(TextError::TooLong(200))
        );
    }

    #[test]
    fn a_credential_part_may_hold_anything_within_its_length() {
        assert!(parse_credential_part("\0\n\u{1f4a9}").is_ok());
        assert!(parse_credential_part(&"x".repeat(4096)).is_ok());
        assert_eq!(
            parse_credential_part(&"x".repeat(4097)),
            Err(TextError::TooLong(4096))
        );
        assert_eq!(parse_credential_part(""), Err(TextError::Empty));
    }
}
