//! The Open-Finance aggregators we speak to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// An aggregator.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    /// Pluggy (Brazil).
    Pluggy,
    /// Belvo (Brazil, Mexico, Colombia).
    Belvo,
}

impl Vendor {
    /// Every vendor there is.
    pub const ALL: [Self; 2] = [Self::Pluggy, Self::Belvo];

    /// The name on the wire and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pluggy => "pluggy",
            Self::Belvo => "belvo",
        }
    }
}

impl fmt::Display for Vendor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no vendor we know.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be one of: pluggy, belvo")]
pub struct UnknownVendor;

impl FromStr for Vendor {
    type Err = UnknownVendor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|vendor| vendor.as_str() == text)
            .ok_or(UnknownVendor)
    }
}
