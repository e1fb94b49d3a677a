//! The state of what a connection reads: the item or link at the vendor.

use chrono::{DateTime, Utc};

/// How the item or link does.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SourceState {
    /// Its last synchronisation went well.
    Ok,
    /// The vendor is reading from the bank just now.
    Updating,
    /// The bank wants something of its user: a code, an approval.
    WaitingUser,
    /// The bank refused the login that the vendor has.
    LoginError,
    /// The last synchronisation failed; the data is old, but the vendor will try again.
    Outdated,
    /// The user's consent is over or was taken back.
    ConsentExpired,
    /// The vendor does not know it (any more).
    Gone,
    /// Not known.
    Unknown,
}

/// What the vendor says of the item or link.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SourceReport {
    /// How it does.
    pub state: SourceState,
    /// Why, as a stable word: the vendor's own code, in lower case.
    pub reason: String,
    /// Whether what the vendor has of transactions is as new as its last synchronisation. When it
    /// is not, absence proves nothing.
    pub transactions_current: bool,
    /// When the vendor last read from the bank.
    pub last_synced_at: Option<DateTime<Utc>>,
}
