//! What an answer that is no success means.
//!
//! `TABLE` is the whole of it: the first row that matches decides. Pluggy's own word for what
//! happened is looked at before the status, since sources disagree on the status that goes with it.

use std::time::Duration;

use super::wire::{self, Fault};
use crate::{
    domain::vendor::Vendor,
    net::HeaderMap,
    vendors::{ErrorKind, VendorError},
};

/// What was asked for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Endpoint {
    /// A session key.
    Auth,
    /// An item.
    Item,
    /// An account, or those of an item.
    Accounts,
    /// A page of transactions.
    Transactions,
}

/// Which endpoints a row speaks of.
#[derive(Clone, Copy, Debug)]
enum At {
    Any,
    /// Every one that wants a session key.
    Data,
    Only(Endpoint),
}

/// Which statuses a row speaks of.
#[derive(Clone, Copy, Debug)]
enum Status {
    Any,
    Is(u16),
    /// The hundred that begins here.
    Class(u16),
}

/// What the body has to say for a row.
#[derive(Clone, Copy, Debug)]
enum Says {
    Anything,
    /// This `codeDescription`.
    Code(&'static str),
    /// Some `codeDescription`.
    SomeCode,
    /// A `message` with these words in it, in whatever case.
    Words(&'static str),
    /// Something that is no JSON object: not Pluggy's own words, but those of something in front of
    /// it. That nothing is said tells nothing.
    Page,
}

/// The meaning of every answer.
const TABLE: &[(At, Status, Says, ErrorKind)] = {
    use ErrorKind as Kind;
    use Says::{Anything, Code, Page, SomeCode, Words};
    use Status::{Class, Is};
    const AUTH: At = At::Only(Endpoint::Auth);
    const ITEM: At = At::Only(Endpoint::Item);
    const ACCOUNTS: At = At::Only(Endpoint::Accounts);
    const TRANSACTIONS: At = At::Only(Endpoint::Transactions);
    &[
        (
            At::Any,
            Status::Any,
            Code("CLIENT_DISABLED"),
            Kind::Disabled,
        ),
        (
            At::Any,
            Status::Any,
            Code("CLIENT_KEYS_UNAUTHORIZED"),
            Kind::BadCredential,
        ),
        (At::Any, Is(429), Anything, Kind::Throttled),
        // What stands in front of Pluggy knows nothing of pairs, keys and ids.
        (At::Any, Is(400), Page, Kind::VendorFault),
        (AUTH, Is(401), Page, Kind::VendorFault),
        (At::Any, Is(403), Page, Kind::VendorFault),
        (At::Any, Is(404), Page, Kind::VendorFault),
        // All that our request for a key can be wrong in is the pair: a client id that is no UUID.
        (AUTH, Is(400), Anything, Kind::BadCredential),
        (AUTH, Is(401), Anything, Kind::BadCredential),
        (AUTH, Is(403), Anything, Kind::BadCredential),
        // A request for a key names nothing that could be gone.
        (AUTH, Is(404), Anything, Kind::WrongRequest),
        (At::Data, Is(401), Anything, Kind::KeyExpired),
        // Authenticated, and refused on the merits.
        (At::Data, Is(403), SomeCode, Kind::NotAllowed),
        (At::Data, Is(403), Anything, Kind::KeyExpired),
        (
            TRANSACTIONS,
            Is(400),
            Words("invalid cursor"),
            Kind::BadCursor,
        ),
        // What is no id at all names nothing either.
        (ITEM, Is(400), Anything, Kind::Gone),
        (ACCOUNTS, Is(400), Anything, Kind::Gone),
        (At::Any, Is(400), Anything, Kind::WrongRequest),
        (At::Any, Is(404), Anything, Kind::Gone),
        (At::Any, Is(405), Anything, Kind::WrongRequest),
        (At::Any, Is(406), Anything, Kind::WrongRequest),
        (At::Any, Is(409), Anything, Kind::WrongRequest),
        (At::Any, Is(410), Anything, Kind::Retired),
        (At::Any, Class(500), Anything, Kind::VendorFault),
        (At::Any, Class(300), Anything, Kind::Redirected),
        (At::Any, Status::Any, Anything, Kind::Malformed),
    ]
};

/// How long to wait when Pluggy wants fewer requests and does not say for how long.
const THROTTLED_FOR: u64 = 60;

/// The longest that it is believed to want to wait.
const LONGEST_WAIT: u64 = 3600;

/// What an answer means whose status is no success.
#[must_use]
pub fn error_of(status: u16, headers: &HeaderMap, body: &[u8], from: Endpoint) -> VendorError {
    let fault = wire::read::<Fault<'_>>(body).ok();
    let kind = kind_of(status, body, fault.as_ref(), from);
    VendorError {
        retry_after: (kind == ErrorKind::Throttled).then(|| wait(headers)),
        ..error(kind, fault.as_ref())
    }
}

/// What an answer means that claims success, but does not hold what was asked for.
///
/// It may be an error with the wrong status; then it means what the error means, if that has a word
/// that says so. Without one nothing is concluded from it.
#[must_use]
pub(super) fn error_in_success(body: &[u8], from: Endpoint) -> VendorError {
    let fault = wire::read::<Fault<'_>>(body).ok();
    let status = fault
        .as_ref()
        .filter(|fault| fault.code_description.is_given())
        .and_then(|fault| fault.code.whole())
        .and_then(|code| u16::try_from(code).ok())
        .unwrap_or_default();
    let kind = kind_of(status, body, fault.as_ref(), from);
    VendorError {
        retry_after: (kind == ErrorKind::Throttled).then(|| wait(&HeaderMap::new())),
        ..error(kind, fault.as_ref())
    }
}

fn error(kind: ErrorKind, fault: Option<&Fault<'_>>) -> VendorError {
    let error = VendorError::new(Vendor::Pluggy, kind);
    match fault.and_then(|fault| fault.code_description.text()) {
        Some(code) => error.with_code(&code),
        None => error,
    }
}

fn kind_of(status: u16, body: &[u8], fault: Option<&Fault<'_>>, from: Endpoint) -> ErrorKind {
    let code = fault.and_then(|fault| fault.code_description.text());
    let matches = |(at, statuses, says, _): &&(At, Status, Says, ErrorKind)| {
        let at = match at {
            At::Any => true,
            At::Data => from != Endpoint::Auth,
            At::Only(endpoint) => *endpoint == from,
        };
        let status = match statuses {
            Status::Any => true,
            Status::Is(one) => *one == status,
            Status::Class(first) => (*first..first + 100).contains(&status),
        };
        let says = match says {
            Says::Anything => true,
            Says::Code(word) => code.as_deref() == Some(*word),
            Says::SomeCode => code.is_some(),
            Says::Words(words) => fault
                .and_then(|fault| fault.message.text())
                .is_some_and(|message| message.to_ascii_lowercase().contains(words)),
            Says::Page => fault.is_none() && !body.is_empty(),
        };
        at && status && says
    };
    TABLE
        .iter()
        .find(matches)
        .map_or(ErrorKind::Malformed, |(.., kind)| *kind)
}

/// How long Pluggy wants to be left alone. It tells when its count begins anew; `Retry-After` is
/// always a whole minute.
fn wait(headers: &HeaderMap) -> Duration {
    let seconds = ["ratelimit-reset", "retry-after"]
        .into_iter()
        .find_map(|name| headers.get(name)?.to_str().ok()?.trim().parse::<u64>().ok())
        .unwrap_or(THROTTLED_FOR);
    Duration::from_secs(seconds.clamp(1, LONGEST_WAIT))
}

#[cfg(test)]
mod tests;
