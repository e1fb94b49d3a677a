//! What a webhook of Pluggy tells. Its body is a hint: nothing in it is taken for true.

use std::fmt::Write as _;

use chrono::{DateTime, Utc};
use sha2::{Digest as _, Sha256};
use url::Url;

use super::wire::{self, Event, Unreadable};
use crate::domain::event::{Hint, NotAnEvent, VendorEvent};

/// The most rows that one event may name before reading the recent past is the better way.
const MAX_IDS: usize = 10_000;

/// The most characters of the name of a kind of event.
const MAX_NAME: usize = 64;

/// Reads the body of a webhook.
pub fn parse(body: &[u8]) -> Result<VendorEvent, NotAnEvent> {
    let event: Event<'_> = wire::read(body).map_err(|error| match error {
        Unreadable::NotJson => NotAnEvent::NotJson,
        Unreadable::OtherShape => NotAnEvent::NoEnvelope,
    })?;
    let name = event.name.text().ok_or(NotAnEvent::NoEnvelope)?;
    let key = event.key.identifier();
    Ok(VendorEvent {
        // Without a key of its own, two events of the same kind may have the same body.
        key_expires: key.is_none(),
        key: key.unwrap_or_else(|| digest(body)),
        resource: resource(&event, &name),
        hint: hint(&event, &name),
        name: safe(&name),
    })
}

/// The item. Older bodies name it by `id`, which is something else on events of other families.
fn resource(event: &Event<'_>, name: &str) -> Option<String> {
    let of_item = name.starts_with("item/") || name.starts_with("transactions/");
    let named = event.item_id.identifier();
    named.or_else(|| event.id.identifier().filter(|_| of_item))
}

fn hint(event: &Event<'_>, name: &str) -> Hint {
    let account = event.account_id.identifier();
    match name {
        "item/created"
        | "item/updated"
        | "item/login_succeeded"
        | "item/error"
        | "item/waiting_user_input"
        | "item/waiting_user_action"
        | "item/deleted" => Hint::Source,
        "transactions/created" => Hint::Created {
            account,
            since: since(event),
        },
        "transactions/updated" => match ids(event) {
            Some(ids) => Hint::Updated { account, ids },
            None => Hint::Window,
        },
        "transactions/deleted" => match ids(event) {
            Some(ids) => Hint::Deleted { account, ids },
            None => Hint::Window,
        },
        _ => Hint::Nothing,
    }
}

/// The rows that the event names, if it names all of them in a way that can be followed.
fn ids(event: &Event<'_>) -> Option<Vec<String>> {
    let list = event.transaction_ids.list()?;
    if list.len() == 0 || list.len() > MAX_IDS {
        return None;
    }
    list.iter().map(wire::Field::identifier).collect()
}

/// Since when the new rows were taken in. Of the links only this much is read; they are never
/// followed.
fn since(event: &Event<'_>) -> Option<DateTime<Utc>> {
    let of_link = |link: wire::Field<'_>| {
        let link = Url::parse(&link.text()?).ok()?;
        let values = wire::query_values(&link, "createdAtFrom");
        Some(super::dates::read(values.first()?)?.at)
    };
    event
        .transactions_created_at_from
        .instant()
        .or_else(|| of_link(event.created_transactions_link_v2))
        .or_else(|| of_link(event.created_transactions_link))
}

fn digest(body: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(body) {
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// The name in the form that is safe to show.
fn safe(name: &str) -> String {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase()
            || byte.is_ascii_digit()
            || matches!(byte, b'/' | b'_' | b'-' | b'.')
    };
    if !name.is_empty() && name.len() <= MAX_NAME && name.bytes().all(plain) {
        name.to_owned()
    } else {
        "unknown".to_owned()
    }
}

#[cfg(test)]
mod tests;
