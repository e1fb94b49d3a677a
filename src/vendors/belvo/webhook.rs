//! Belvo's webhooks: which event it is, and what it says may have changed.
//!
//! Belvo's payments share the vocabulary of types, but speak of an object where the rest speaks of
//! a link. So what names no link concerns none of our rows, whatever else it says.

use std::fmt::Write as _;

use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::domain::event::{Hint, NotAnEvent, VendorEvent};

/// Where the names of changed rows have been seen. Belvo's documents do not show it.
const ID_LISTS: [&str; 4] = [
    "updated_transactions",
    "deleted_transactions",
    "transactions",
    "ids",
];

/// The most rows that one event may name; of more, none is followed by its name.
const MAX_IDS: usize = 10_000;

const MAX_NAME_LENGTH: usize = 64;

/// Longer than any name of a link.
const MAX_LINK_LENGTH: usize = 128;

/// Reads the body of a webhook.
pub fn parse(body: &[u8]) -> Result<VendorEvent, NotAnEvent> {
    let envelope: Value = serde_json::from_slice(body).map_err(|_| NotAnEvent::NotJson)?;
    let kind = member(&envelope, "webhook_type").to_ascii_lowercase();
    if kind.is_empty() {
        return Err(NotAnEvent::NoEnvelope);
    }
    let code = member(&envelope, "webhook_code").to_ascii_lowercase();
    // Older events call the link by its shorter name.
    let link = match member(&envelope, "link_id") {
        "" => member(&envelope, "link"),
        link => link,
    };
    let resource = is_plain(link, MAX_LINK_LENGTH).then(|| link.to_owned());
    let hint = if resource.is_some() {
        hint_of(&kind, &code, &envelope["data"])
    } else {
        Hint::Nothing
    };
    Ok(VendorEvent {
        key: key_of(&envelope, link, &kind, &code),
        // Two events that are alike to the byte may be two all the same, when they bear no id.
        key_expires: true,
        name: name_of(&kind, &code),
        resource,
        hint,
    })
}

fn hint_of(kind: &str, code: &str, data: &Value) -> Hint {
    match (kind, code) {
        ("transactions", "historical_update") => Hint::Full,
        ("transactions", "new_transactions_available") => Hint::Created {
            account: None,
            since: None,
        },
        ("transactions", "transactions_updated") => {
            ids_in(data).map_or(Hint::Window, |ids| Hint::Updated { account: None, ids })
        }
        ("transactions", "transactions_deleted") => {
            ids_in(data).map_or(Hint::Window, |ids| Hint::Deleted { account: None, ids })
        }
        // A bill that closes is written into the rows that are on it.
        ("bills", _) => Hint::Window,
        ("accounts" | "link" | "consent" | "owners", _) => Hint::Source,
        _ => Hint::Nothing,
    }
}

/// The rows that an event names. A list that holds anything else, or too much, is none: the rows
/// that it would be followed to might not be all that changed.
fn ids_in(data: &Value) -> Option<Vec<String>> {
    ID_LISTS.iter().find_map(|name| {
        let ids = data[name].as_array()?;
        if ids.is_empty() || ids.len() > MAX_IDS {
            return None;
        }
        ids.iter()
            .map(|id| id.as_str().filter(|id| is_uuid(id)).map(str::to_owned))
            .collect()
    })
}

/// Whether a text is a UUID, with dashes or without, and nothing around it.
fn is_uuid(text: &str) -> bool {
    matches!(text.len(), 32 | 36) && Uuid::try_parse(text).is_ok()
}

/// What tells one event from all others: everything in it that could. `webhook_id` alone may name
/// the endpoint that was called rather than the event.
fn key_of(envelope: &Value, link: &str, kind: &str, code: &str) -> String {
    let request = member(envelope, "request_id")
        .replace('-', "")
        .to_ascii_lowercase();
    // A parsed object keeps its members by name, so two that differ only in order are one text.
    let data = envelope.get("data").map(Value::to_string);
    let mut hash = Sha256::new();
    for part in [
        link,
        kind,
        code,
        member(envelope, "process_type"),
        &request,
        member(envelope, "webhook_id"),
        data.as_deref().unwrap_or_default(),
    ] {
        // With its length in front, no part can pass for the end of the one before.
        hash.update(part.len().to_be_bytes());
        hash.update(part);
    }
    hash.finalize().iter().fold(String::new(), |mut key, byte| {
        // Writing to a text can't fail.
        let _ = write!(key, "{byte:02x}");
        key
    })
}

fn name_of(kind: &str, code: &str) -> String {
    let name = format!("{kind}/{code}");
    let fits = is_plain(kind, MAX_NAME_LENGTH) && is_plain(code, MAX_NAME_LENGTH);
    if fits && name.len() <= MAX_NAME_LENGTH {
        name
    } else {
        "unknown".to_owned()
    }
}

/// Whether a text is a word that is safe everywhere.
fn is_plain(text: &str, max_length: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !text.is_empty() && text.len() <= max_length && text.bytes().all(plain)
}

/// A member of the envelope; empty, if it is missing or no text.
fn member<'a>(envelope: &'a Value, name: &str) -> &'a str {
    envelope[name].as_str().map_or("", str::trim)
}

#[cfg(test)]
mod tests;
