//! The aggregators: one trait, and a client for each.
//!
//! A vendor is not trusted. Whatever it sends becomes rows, a quarantined row, or one classified
//! error, in bounded time and memory. Each vendor has `client` (HTTP), `wire` (lenient shapes),
//! `answers` (what its statuses and codes mean), `convert` and `webhook` (pure).

pub mod belvo;
pub mod budget;
pub mod error;
pub mod pluggy;

use std::{fmt, time::Duration};

use chrono::{DateTime, NaiveDate, Utc};
use futures_util::future::BoxFuture;
use tokio::time::Instant;
use url::Url;

use self::budget::Share;
pub use self::error::{Disposition, ErrorKind, VendorError};
use crate::domain::{
    account::{Account, AccountType},
    base_url::BaseUrl,
    connection::AccountRef,
    credential::Credential,
    event::{NotAnEvent, VendorEvent},
    source::SourceReport,
    transaction::{Converted, Quarantined},
    vendor::Vendor,
};

/// What it takes to read a connection: where, as whom, and what.
#[derive(Clone, Debug)]
pub struct Access {
    /// Where the vendor's API is.
    pub base_url: BaseUrl,
    /// What the vendor accepts as proof, in the clear.
    pub credential: Credential,
    /// What to read there.
    pub account_ref: AccountRef,
    /// How long a call may wait for room in the vendor's rate limit.
    pub patience: Duration,
    /// How long a call may take once it is made.
    pub call_timeout: Duration,
    /// When everything together has to be over.
    pub deadline: Option<Instant>,
    /// How much of the vendor's rate limit may be drawn upon.
    pub share: Share,
}

impl Access {
    /// How long the next call may wait for room.
    fn patience(&self) -> Duration {
        self.within_deadline(self.patience)
    }

    /// How long the next call may take. Without time left, it ends in a time-out like any other.
    fn call_timeout(&self) -> Duration {
        self.within_deadline(self.call_timeout)
            .max(Duration::from_millis(1))
    }

    fn within_deadline(&self, wanted: Duration) -> Duration {
        self.deadline.map_or(wanted, |deadline| {
            wanted.min(deadline.saturating_duration_since(Instant::now()))
        })
    }
}

/// What a live test found.
#[derive(Clone, Debug)]
pub struct Verification {
    /// Whether the credential was accepted, just now.
    pub credential: Result<(), VendorError>,
    /// What the vendor says of the item or link; `None` if it was not asked, for want of a
    /// credential that works.
    pub source: Option<Result<SourceReport, VendorError>>,
}

/// The accounts of a connection.
#[derive(Clone, Debug, Default)]
pub struct Accounts {
    /// Those that could be read.
    pub accounts: Vec<Account>,
    /// Those that could not.
    pub quarantined: Vec<Quarantined>,
}

/// Which transactions of an account to read.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Read {
    /// Those that the vendor took in at or after this instant.
    CreatedSince(DateTime<Utc>),
    /// Those with these names. A vendor that finds a row without its account answers it whatever account
    /// was asked for; the row says whose it is.
    Ids(Vec<String>),
    /// Those of these days, both included.
    Window {
        /// The first day.
        from: NaiveDate,
        /// The last day.
        to: NaiveDate,
    },
    /// Everything that the vendor keeps.
    Full,
}

/// An account to read transactions of.
#[derive(Clone, Copy, Debug)]
pub struct AccountToRead<'a> {
    /// What the vendor calls it.
    pub vendor_id: &'a str,
    /// What kind it is; decides how signs are read.
    pub account_type: AccountType,
}

/// More pages than any honest listing has.
const MAX_PAGES: u32 = 5_000;
/// More pages of accounts than any honest link has.
const MAX_ACCOUNT_PAGES: u32 = 20;

/// The most bytes of an answer that tells of one thing.
const SMALL_BODY: usize = 1024 * 1024;

/// The place in a listing where the next page begins; good in any process.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PageMark(pub String);

/// One page of transactions.
#[derive(Clone, Debug, Default)]
pub struct TransactionPage {
    /// What was on it.
    pub converted: Converted,
    /// Where the next one begins; `None` after the last.
    pub next: Option<PageMark>,
    /// How many rows the vendor says there are in all, if it does.
    pub total: Option<u64>,
}

/// An aggregator.
pub trait Aggregator: fmt::Debug + Send + Sync {
    /// Which one.
    fn vendor(&self) -> Vendor;

    /// Proves the credential afresh, never by something remembered, then looks at the item or
    /// link.
    fn verify<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Verification>;

    /// What the vendor says of the item or link.
    fn source<'a>(&'a self, access: &'a Access)
    -> BoxFuture<'a, Result<SourceReport, VendorError>>;

    /// Every account of the item or link.
    fn accounts<'a>(&'a self, access: &'a Access) -> BoxFuture<'a, Result<Accounts, VendorError>>;

    /// One page of an account's transactions; the first one without a mark.
    fn transactions<'a>(
        &'a self,
        access: &'a Access,
        account: AccountToRead<'a>,
        read: &'a Read,
        mark: Option<&'a PageMark>,
    ) -> BoxFuture<'a, Result<TransactionPage, VendorError>>;

    /// Reads the body of a webhook. Pure: asks nobody.
    fn parse_event(&self, body: &[u8]) -> Result<VendorEvent, NotAnEvent>;
}

/// The URL of a resource under `base`, each segment encoded. `None` for a segment that would mean
/// another place.
fn url_of(base: &BaseUrl, segments: &[&str]) -> Option<Url> {
    let mut url = Url::parse(base.as_str()).ok()?;
    if segments.iter().any(|one| matches!(*one, "." | "..")) {
        return None;
    }
    url.path_segments_mut()
        .ok()?
        .pop_if_empty()
        .extend(segments);
    Some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_stays_a_segment() {
        let base = BaseUrl::from_stored("https://api.example/base/".to_owned());
        let url = |segments: &[&str]| url_of(&base, segments).map(String::from);
        assert_eq!(
            url(&["items", "a/b?c#d%2e é"]).unwrap(),
            "https://api.example/base/items/a%2Fb%3Fc%23d%252e%20%C3%A9"
        );
        assert_eq!(
            url(&["api", "links", "x", ""]).unwrap(),
            "https://api.example/base/api/links/x/"
        );
        for odd in [".", ".."] {
            assert_eq!(url(&["items", odd]), None);
        }
    }
}
