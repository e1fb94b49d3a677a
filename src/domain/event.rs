//! What a vendor's webhook tells, in one language for all vendors.

use chrono::{DateTime, Utc};

/// What an event says may have changed. Never believed, only followed: what is true is read from
/// the vendor.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Hint {
    /// Nothing that we read.
    Nothing,
    /// The item or link itself, and perhaps its accounts.
    Source,
    /// There are new rows.
    Created {
        /// In which account, by the vendor's name; `None` for any.
        account: Option<String>,
        /// Taken in by the vendor at or after this instant; `None` if it did not tell.
        since: Option<DateTime<Utc>>,
    },
    /// These rows changed.
    Updated {
        /// In which account, by the vendor's name; `None` for any.
        account: Option<String>,
        /// The rows, by the vendor's names; never empty.
        ids: Vec<String>,
    },
    /// These rows are gone.
    Deleted {
        /// In which account, by the vendor's name; `None` for any.
        account: Option<String>,
        /// The rows, by the vendor's names; never empty.
        ids: Vec<String>,
    },
    /// Rows of the recent past changed, and the vendor did not tell which.
    Window,
    /// Everything was loaded anew.
    Full,
}

/// One event, read from the body of a webhook.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct VendorEvent {
    /// The same for every delivery of the same event; unique in its connection.
    pub key: String,
    /// Whether the key is only good for a while: two events apart may share it.
    pub key_expires: bool,
    /// What the vendor calls the kind of event, in a bounded form that is safe to show.
    pub name: String,
    /// The item or link that it speaks of; `None` if it speaks of none.
    pub resource: Option<String>,
    /// What may have changed.
    pub hint: Hint,
}

/// The body is no event that we could read.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum NotAnEvent {
    /// Not JSON at all.
    #[error("the body is not JSON")]
    NotJson,
    /// JSON, but not in the shape of an event.
    #[error("the body is not in the shape of an event")]
    NoEnvelope,
}
