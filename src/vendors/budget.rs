//! The vendors' rate limits, seen from the side of who has to keep them.

use std::{fmt, time::Duration};

use futures_util::future::BoxFuture;

use crate::domain::vendor::Vendor;

/// A limit of a vendor. The vendors count requests per source address, so every tenant and every
/// process behind one address draws from the same bucket.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Bucket {
    /// Pluggy: `POST /auth`.
    PluggyAuth,
    /// Pluggy: accounts.
    PluggyAccounts,
    /// Pluggy: transactions of either version.
    PluggyTransactions,
    /// Pluggy: everything else, for which no figure is published.
    PluggyOther,
    /// Belvo: every request.
    Belvo,
}

impl Bucket {
    /// Every bucket there is.
    pub const ALL: [Self; 5] = [
        Self::PluggyAuth,
        Self::PluggyAccounts,
        Self::PluggyTransactions,
        Self::PluggyOther,
        Self::Belvo,
    ];

    /// The name in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::PluggyAuth => "pluggy/auth",
            Self::PluggyAccounts => "pluggy/accounts",
            Self::PluggyTransactions => "pluggy/transactions",
            Self::PluggyOther => "pluggy/other",
            Self::Belvo => "belvo",
        }
    }

    /// Whose limit it is.
    #[must_use]
    pub fn vendor(self) -> Vendor {
        match self {
            Self::Belvo => Vendor::Belvo,
            _ => Vendor::Pluggy,
        }
    }

    /// How long the vendor counts before it starts anew.
    #[must_use]
    pub fn window(self) -> Duration {
        match self {
            Self::Belvo => Duration::from_secs(30),
            _ => Duration::from_mins(1),
        }
    }
}

/// How much of a bucket a call may draw upon.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Share {
    /// All of it.
    Whole,
    /// Half of what may be spent at once, so that what one tenant tries by hand never keeps the
    /// data of all from coming.
    Half,
}

/// Why a call may not be made.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BudgetError {
    /// The bucket is empty; there is room again after this long.
    #[error("the vendor's rate limit leaves no room for {} s", .0.as_secs().max(1))]
    Spent(Duration),
    /// It could not be asked.
    #[error("the rate limiter can't be asked")]
    Unavailable,
}

/// What is asked before every call to a vendor.
pub trait Budget: fmt::Debug + Send + Sync {
    /// Takes room for one call, waiting for it no longer than `patience`.
    fn take(
        &self,
        bucket: Bucket,
        share: Share,
        patience: Duration,
    ) -> BoxFuture<'_, Result<(), BudgetError>>;
}
