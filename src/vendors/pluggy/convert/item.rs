//! Items: how the login at the bank does.

use std::borrow::Cow;

use chrono::{DateTime, Utc};

use crate::{
    domain::source::{SourceReport, SourceState},
    vendors::{
        VendorError,
        error::Code,
        pluggy::{
            answers::{self, Endpoint},
            wire,
        },
    },
};

/// What an item's `status` means.
const STATUSES: &[(&str, SourceState)] = &[
    ("UPDATED", SourceState::Ok),
    ("UPDATING", SourceState::Updating),
    ("MERGING", SourceState::Updating),
    ("CREATING", SourceState::Updating),
    ("CREATED", SourceState::Updating),
    ("WAITING_USER_INPUT", SourceState::WaitingUser),
    ("WAITING_USER_ACTION", SourceState::WaitingUser),
    ("LOGIN_ERROR", SourceState::LoginError),
    ("OUTDATED", SourceState::Outdated),
];

/// What an item's error means where its status only says that the last run failed.
const CAUSES: &[(&str, SourceState)] = &[
    ("INVALID_CREDENTIALS", SourceState::LoginError),
    ("INVALID_CREDENTIALS_MFA", SourceState::LoginError),
    ("ACCOUNT_LOCKED", SourceState::LoginError),
    ("ACCOUNT_CREDENTIALS_RESET", SourceState::LoginError),
    ("USER_NOT_SUPPORTED", SourceState::LoginError),
    ("ACCOUNT_NEEDS_ACTION", SourceState::WaitingUser),
    ("USER_AUTHORIZATION_PENDING", SourceState::WaitingUser),
    ("USER_INPUT_TIMEOUT", SourceState::WaitingUser),
    ("ALREADY_LOGGED_IN", SourceState::Outdated),
    ("UNEXPECTED_ERROR", SourceState::Outdated),
    ("SITE_NOT_AVAILABLE", SourceState::Outdated),
    ("CONNECTION_ERROR", SourceState::Outdated),
];

/// The errors that end the consent, whatever the status.
const CONSENT_OVER: &[&str] = &[
    "USER_AUTHORIZATION_REVOKED",
    "USER_AUTHORIZATION_NOT_GRANTED",
];

/// Reads an item.
pub fn item(body: &[u8], now: DateTime<Utc>) -> Result<SourceReport, VendorError> {
    let malformed = || answers::error_in_success(body, Endpoint::Item);
    let item: wire::Item<'_> = wire::read(body).map_err(|_| malformed())?;
    let status = item.status.text().ok_or_else(malformed)?;
    let (state, reason) = state(&item, &status, now);
    Ok(SourceReport {
        state,
        reason,
        transactions_current: state == SourceState::Ok && transactions_current(&item),
        last_synced_at: item.last_updated_at.instant(),
    })
}

fn state(item: &wire::Item<'_>, status: &str, now: DateTime<Utc>) -> (SourceState, String) {
    let state = meaning(STATUSES, status).unwrap_or(SourceState::Unknown);
    let cause = cause(item, state);
    if let Some(code) = cause.as_deref().filter(|code| CONSENT_OVER.contains(code)) {
        return (SourceState::ConsentExpired, word(code));
    }
    let consent = item.consent_expires_at.instant();
    if consent.is_some_and(|end| end <= now) {
        return (SourceState::ConsentExpired, "consent_expired".to_owned());
    }
    match (state, cause) {
        (SourceState::Outdated, Some(code)) => {
            let state = meaning(CAUSES, &code).unwrap_or(state);
            (state, word(&code))
        }
        (SourceState::LoginError | SourceState::WaitingUser, Some(code)) => (state, word(&code)),
        (SourceState::Ok, _) if execution(item).as_deref() == Some("PARTIAL_SUCCESS") => {
            (state, "partial_success".to_owned())
        }
        _ => (state, word(status)),
    }
}

/// Why the last run failed. Where the item has no error, its last run is named by what went wrong.
fn cause<'a>(item: &wire::Item<'a>, state: SourceState) -> Option<Cow<'a, str>> {
    let error: Option<wire::Fault<'_>> = item.error.object();
    let told = error.and_then(|error| error.code.text());
    let failed = matches!(state, SourceState::Outdated | SourceState::LoginError);
    let by_run = || execution(item).filter(|word| failed && word != "ERROR");
    told.or_else(by_run)
}

fn execution<'a>(item: &wire::Item<'a>) -> Option<Cow<'a, str>> {
    item.execution_status.text()
}

/// Whether the last run of an updated item brought its transactions up to date. A run that went
/// well may leave out the details; a run that went well in part has to name them.
fn transactions_current(item: &wire::Item<'_>) -> bool {
    let detail: Option<wire::StatusDetail<'_>> = item.status_detail.object();
    let product: Option<wire::ProductStatus<'_>> =
        detail.and_then(|detail| detail.transactions.object());
    let updated = product.and_then(|product| product.is_updated.flag());
    match execution(item).as_deref() {
        None | Some("SUCCESS") => updated.unwrap_or(true),
        Some("PARTIAL_SUCCESS") => updated.unwrap_or(false),
        Some(_) => false,
    }
}

fn meaning(table: &[(&str, SourceState)], word: &str) -> Option<SourceState> {
    let row = table.iter().find(|(name, _)| *name == word);
    row.map(|(_, state)| *state)
}

/// The vendor's own word, in the form that is safe to show.
fn word(text: &str) -> String {
    Code::of(text).map_or_else(|| "unknown".to_owned(), |code| code.as_str().to_owned())
}
