//! Deliveries as a statement takes them.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use crate::domain::{delivery::NewDelivery, event::Hint};

/// The deliveries as columns, each of which is one parameter.
#[derive(Default)]
pub(super) struct Columns<'a> {
    pub(super) tenants: Vec<Uuid>,
    pub(super) ids: Vec<Uuid>,
    pub(super) connections: Vec<Uuid>,
    pub(super) tokens: Vec<Uuid>,
    pub(super) events: Vec<&'a str>,
    pub(super) event_keys: Vec<&'a str>,
    pub(super) key_expires: Vec<bool>,
    pub(super) bodies: Vec<&'a [u8]>,
    pub(super) outcomes: Vec<&'static str>,
    pub(super) hints: Vec<&'static str>,
    pub(super) hint_accounts: Vec<Option<&'a str>>,
    pub(super) hint_sinces: Vec<Option<DateTime<Utc>>>,
    /// Lists in a list have to have one length in Postgres, so each is a text: a JSON array.
    pub(super) hint_ids: Vec<Option<String>>,
    pub(super) received_at: Vec<DateTime<Utc>>,
}

impl<'a> Columns<'a> {
    /// Of those that come twice, the first.
    pub(super) fn of(deliveries: impl Iterator<Item = &'a NewDelivery>) -> Self {
        let mut columns = Self::default();
        let mut seen = HashSet::new();
        for delivery in deliveries.filter(|one| seen.insert((one.tenant, one.id))) {
            columns.tenants.push(delivery.tenant.0);
            columns.ids.push(delivery.id.0);
            columns.connections.push(delivery.connection.0);
            columns.tokens.push(delivery.token.0);
            columns.events.push(&delivery.event);
            columns.event_keys.push(&delivery.event_key);
            columns.key_expires.push(delivery.key_expires);
            columns.bodies.push(&delivery.body);
            columns.outcomes.push(delivery.outcome.as_str());
            columns.received_at.push(delivery.received_at);
            let (hint, account, since, ids) = parts(&delivery.hint);
            columns.hints.push(hint);
            columns.hint_accounts.push(account);
            columns.hint_sinces.push(since);
            columns
                .hint_ids
                .push(ids.map(|ids| Value::from(ids).to_string()));
        }
        columns
    }
}

/// What a hint is called, and what it says: in which account, since when, which rows.
type Parts<'a> = (
    &'static str,
    Option<&'a str>,
    Option<DateTime<Utc>>,
    Option<&'a [String]>,
);

fn parts(hint: &Hint) -> Parts<'_> {
    match hint {
        Hint::Nothing => ("nothing", None, None, None),
        Hint::Source => ("source", None, None, None),
        Hint::Window => ("window", None, None, None),
        Hint::Full => ("full", None, None, None),
        Hint::Created { account, since } => ("created", account.as_deref(), *since, None),
        Hint::Updated { account, ids } => ("updated", account.as_deref(), None, Some(ids)),
        Hint::Deleted { account, ids } => ("deleted", account.as_deref(), None, Some(ids)),
    }
}
