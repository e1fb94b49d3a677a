//! What Belvo's statuses and codes mean.

use std::time::Duration;

use super::wire;
use crate::{
    domain::vendor::Vendor,
    net::{HeaderMap, header::RETRY_AFTER},
    vendors::error::{ErrorKind, VendorError},
};

/// What was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// The catalogue of institutions: the cheapest proof that a credential is good.
    Institutions,
    /// The link.
    Link,
    /// A page of the link's accounts, counted from one.
    Accounts {
        /// Which page.
        page: u32,
    },
    /// A page of an account's transactions, counted from one.
    Transactions {
        /// Which page.
        page: u32,
    },
    /// One transaction by its name.
    Transaction,
}

/// The endpoints that a row of the table speaks of.
#[derive(Clone, Copy, Debug)]
enum At {
    Anywhere,
    Institutions,
    LaterPage,
}

impl At {
    fn covers(self, endpoint: Endpoint) -> bool {
        match self {
            Self::Anywhere => true,
            Self::Institutions => endpoint == Endpoint::Institutions,
            Self::LaterPage => matches!(
                endpoint,
                Endpoint::Accounts { page: 2.. } | Endpoint::Transactions { page: 2.. }
            ),
        }
    }
}

/// The statuses that a row of the table speaks of.
#[derive(Clone, Copy, Debug)]
enum Status {
    Is(u16),
    Hundred(u16),
}

impl Status {
    fn covers(self, status: u16) -> bool {
        match self {
            Self::Is(one) => status == one,
            Self::Hundred(hundred) => status / 100 == hundred,
        }
    }
}

/// The codes that a row of the table speaks of.
#[derive(Clone, Copy, Debug)]
enum Says {
    /// This code is among those in the body.
    Word(&'static str),
    /// The body holds no code: it was written by what stands in front of Belvo.
    NoWord,
    /// Whatever the body holds.
    Anything,
}

use At::{Anywhere, Institutions, LaterPage};
use Says::{Anything, NoWord, Word};
use Status::{Hundred, Is};

/// Every answer that is not a success, and what it means. The first row that matches decides, so of
/// several errors in one answer the one that stands highest here is the most telling.
#[rustfmt::skip]
const TABLE: &[(At, Status, Says, ErrorKind)] = &[
    (Anywhere,     Is(401),    Word("authentication_failed"),       ErrorKind::BadCredential),
    // The user closed the accounts that were consented to; the credential is as good as ever.
    (Anywhere,     Is(401),    Word("consent_without_accounts"),    ErrorKind::ConsentOver),
    // A 401 without one of these words falls to the last row: no credential is judged by it.

    (Anywhere,     Is(403),    Word("access_to_production_denied"), ErrorKind::NotAllowed),
    (Anywhere,     Is(403),    Word("access_to_resource_denied"),   ErrorKind::NotAllowed),
    (Anywhere,     Is(403),    Word("quota_limit_reached"),         ErrorKind::NotAllowed),
    // It is Belvo that the bank refuses, not we that Belvo refuses.
    (Anywhere,     Is(403),    Word("permission_denied"),           ErrorKind::BankUnavailable),
    // The edge counts requests per address, and says so in HTML.
    (Anywhere,     Is(403),    NoWord,                              ErrorKind::Throttled),
    (Anywhere,     Is(403),    Anything,                            ErrorKind::NotAllowed),
    (Anywhere,     Is(429),    Anything,                            ErrorKind::Throttled),

    (Anywhere,     Is(404),    Word("expired_credentials"),         ErrorKind::LoginRefused),
    // The listing became shorter while it was read.
    (LaterPage,    Is(404),    Anything,                            ErrorKind::BadCursor),
    // The catalogue is always there; what is missing is Belvo, under this base URL.
    (Institutions, Is(404),    Anything,                            ErrorKind::WrongRequest),
    (Anywhere,     Is(404),    Word("not_found"),                   ErrorKind::Gone),
    (Anywhere,     Is(405),    Anything,                            ErrorKind::WrongRequest),

    (Anywhere,     Is(408),    Word("request_timeout"),             ErrorKind::BankUnavailable),
    (Anywhere,     Is(408),    Anything,                            ErrorKind::BankUnavailable),
    (Anywhere,     Is(409),    Word("link_refreshed"),              ErrorKind::BankUnavailable),
    (Anywhere,     Is(409),    Anything,                            ErrorKind::BankUnavailable),
    (Anywhere,     Is(428),    Word("token_required"),              ErrorKind::UserActionNeeded),
    (Anywhere,     Is(428),    Word("activation_required"),         ErrorKind::UserActionNeeded),
    (Anywhere,     Is(428),    Anything,                            ErrorKind::UserActionNeeded),

    (Anywhere,     Is(400),    Word("login_error"),                 ErrorKind::LoginRefused),
    (Anywhere,     Is(400),    Word("invalid_link"),                ErrorKind::LoginRefused),
    (Anywhere,     Is(400),    Word("unconfirmed_link"),            ErrorKind::LoginRefused),
    (Anywhere,     Is(400),    Word("session_expired"),             ErrorKind::UserActionNeeded),
    (Anywhere,     Is(400),    Word("session_expired_ob"),          ErrorKind::UserActionNeeded),
    (Anywhere,     Is(400),    Word("institution_down"),            ErrorKind::BankUnavailable),
    (Anywhere,     Is(400),    Word("institution_inactive"),        ErrorKind::BankUnavailable),
    (Anywhere,     Is(400),    Word("institution_unavailable"),     ErrorKind::BankUnavailable),
    (Anywhere,     Is(400),    Word("unavailable_data"),            ErrorKind::BankUnavailable),
    (Anywhere,     Is(400),    Word("too_many_sessions"),           ErrorKind::BankUnavailable),
    // blank, does_not_exist, duplicated, invalid, invalid_choice, invalid_period, not_a_list, null,
    // parse_error, required, unsupported_operation, validation_error and whatever else there is.
    (Anywhere,     Is(400),    Anything,                            ErrorKind::WrongRequest),

    (Anywhere,     Is(500),    Word("unexpected_error"),            ErrorKind::VendorFault),
    (Anywhere,     Is(500),    Word("service_unavailable"),         ErrorKind::VendorFault),
    (Anywhere,     Hundred(5), Anything,                            ErrorKind::VendorFault),
    (Anywhere,     Hundred(3), Anything,                            ErrorKind::Redirected),
];

/// How long the edge wants to be left alone when it does not say: the window in which it counts.
const PAUSE: Duration = Duration::from_secs(30);

/// The shortest pause that is a pause.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause that is believed.
const LONGEST_PAUSE: Duration = Duration::from_hours(1);

/// What an answer means that is not the success it should be. Reads whatever comes; never fails.
///
/// A success that carries errors in place of data is judged by their codes alone.
#[must_use]
pub fn error_of(status: u16, headers: &HeaderMap, body: &[u8], from: Endpoint) -> VendorError {
    let codes = wire::error_codes(body);
    let said = |word: &str| codes.iter().find(|code| code.as_str() == word);
    let (kind, code) = TABLE
        .iter()
        .filter(|(at, _, _, _)| at.covers(from))
        .find_map(|(_, statuses, says, kind)| match says {
            Word(word) => {
                let code = said(word)?;
                (statuses.covers(status) || is_success(status)).then_some((*kind, Some(code)))
            }
            NoWord => (statuses.covers(status) && codes.is_empty()).then_some((*kind, None)),
            Anything => statuses.covers(status).then_some((*kind, codes.first())),
        })
        .unwrap_or((ErrorKind::Malformed, codes.first()));
    VendorError {
        code: code.cloned(),
        retry_after: pause(status, kind, headers),
        ..VendorError::new(Vendor::Belvo, kind)
    }
}

fn is_success(status: u16) -> bool {
    status / 100 == 2
}

/// How long to leave Belvo alone.
fn pause(status: u16, kind: ErrorKind, headers: &HeaderMap) -> Option<Duration> {
    // Only the form in seconds is read: no header is documented at all, and the form with a date
    // would have to be held against two clocks.
    let told = headers
        .get(RETRY_AFTER)
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map(|seconds| Duration::from_secs(seconds).clamp(SHORTEST_PAUSE, LONGEST_PAUSE));
    match (kind, status) {
        (ErrorKind::Throttled, 429) => Some(told.unwrap_or(PAUSE)),
        // Within its window the edge refuses whatever comes.
        (ErrorKind::Throttled, _) => Some(told.unwrap_or(PAUSE).max(PAUSE)),
        _ => told,
    }
}

#[cfg(test)]
mod tests;
