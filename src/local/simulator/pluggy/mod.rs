//! Pluggy, as its clients meet it.

mod accounts;
mod auth;
mod items;
mod notices;
mod rows;
mod scenario;
mod seed;
mod settings;
mod shape;
mod transactions;
mod webhooks;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use self::{
    accounts::Account,
    auth::{Application, KEYS_KEPT, Key},
    items::Item,
    settings::Settings,
    shape::{connector, connectors, listing, refusal},
    transactions::Drift,
    webhooks::Webhook,
};
use super::{
    chance::Chance,
    exchange::{Answer, Ask},
};

pub(super) use self::webhooks::Subscriber;

/// Everything that Pluggy knows.
#[derive(Debug)]
pub(super) struct World {
    chance: Chance,
    settings: Settings,
    applications: BTreeMap<String, Application>,
    keys: HashMap<String, Key>,
    /// How many keys there may be before those that are over are removed.
    keys_before_sweep: usize,
    items: BTreeMap<Uuid, Item>,
    accounts: BTreeMap<Uuid, Account>,
    webhooks: BTreeMap<Uuid, Webhook>,
    drift: Option<Drift>,
}

impl World {
    pub(super) fn new(chance: Chance) -> Self {
        Self {
            chance,
            settings: Settings::default(),
            applications: BTreeMap::new(),
            keys: HashMap::new(),
            keys_before_sweep: KEYS_KEPT,
            items: BTreeMap::new(),
            accounts: BTreeMap::new(),
            webhooks: BTreeMap::new(),
            drift: None,
        }
    }

    /// What there is, in numbers and ids: for whoever looks in from outside.
    pub(super) fn state(&self) -> Value {
        let items: Vec<_> = self
            .items
            .iter()
            .map(|(id, item)| {
                let accounts: Vec<_> = self
                    .accounts_of(*id)
                    .map(|(id, account)| {
                        json!({
                            "id": id, "type": account.body["type"], "rows": account.rows.len(),
                        })
                    })
                    .collect();
                json!({
                    "id": id, "clientId": item.client, "status": item.body["status"],
                    "deleted": item.deleted, "revoked": item.revoked, "accounts": accounts,
                })
            })
            .collect();
        json!({
            "clients": self.applications.keys().collect::<Vec<_>>(),
            "keys": self.keys.len(),
            "items": items,
            "webhooks": self.webhooks.len(),
            "settings": self.settings.state(),
        })
    }

    /// Every row as it is told, whoever may read it; what is no JSON is null.
    pub(super) fn rows(&self) -> Vec<Value> {
        let texts = self.accounts.values().flat_map(|account| {
            let newest_first = account.rows.newest_first();
            newest_first.map(|(_, text)| text)
        });
        texts
            .map(|text| serde_json::from_str(text).unwrap_or_default())
            .collect()
    }

    /// Answers one call.
    pub(super) fn answer(&mut self, ask: &Ask<'_>, now: DateTime<Utc>) -> Answer {
        let path: Vec<&str> = ask.path.split('/').skip(1).collect();
        if (ask.method, &*path) == ("POST", &["auth"]) {
            return self.authenticate(ask, now);
        }
        let client = match self.admit(ask, now) {
            Ok(client) => client,
            Err(refused) => return refused,
        };
        let client = client.as_str();
        match (ask.method, &*path) {
            ("GET", ["connectors"]) => {
                let sandbox = ask.parameter("sandbox") == Some("true");
                let shown = |one: &Value| sandbox || one["isSandbox"] == false;
                listing(&connectors().into_iter().filter(shown).collect::<Vec<_>>())
            }
            ("GET", ["connectors", id]) => match id.parse().ok().and_then(connector) {
                Some(found) => Answer::json(200, &found),
                None => refusal(404, "connector not found"),
            },
            ("GET", ["categories"]) => listing(&[
                json!({ "id": "11000000", "description": "Food and drinks", "parentId": null }),
                json!({ "id": "05000000", "description": "Transfers", "parentId": null }),
            ]),
            ("POST", ["items"]) => self.create_item(client, ask, now),
            ("GET", ["items", id]) => self.show_item(client, id, now),
            ("PATCH", ["items", id]) => self.update_item(client, id, now),
            ("DELETE", ["items", id]) => self.delete_item(client, id),
            ("GET", ["consents"]) => self.list_consents(client, ask),
            ("GET", ["consents", id]) => self.show_consent(client, id),
            ("GET", ["accounts"]) => self.list_accounts(client, ask),
            ("GET", ["accounts", id]) => self.show_account(client, id),
            ("GET", ["bills"]) => self.list_bills(client, ask),
            ("GET", ["v2", "transactions"]) => self.list_transactions(client, ask, now),
            ("GET", ["transactions"]) => shape::coded(
                410,
                "ENDPOINT_DEPRECATED",
                "This endpoint is deprecated, use GET /v2/transactions instead",
            ),
            ("GET", ["transactions", id]) => self.show_transaction(client, id),
            ("POST", ["webhooks"]) => self.create_webhook(client, ask, now),
            ("GET", ["webhooks"]) => self.list_webhooks(client),
            ("GET", ["webhooks", id]) => self.show_webhook(client, id),
            ("PATCH", ["webhooks", id]) => self.change_webhook(client, id, ask, now),
            ("DELETE", ["webhooks", id]) => self.delete_webhook(client, id),
            ("GET", ["items"]) => refusal(401, "Unauthorized"),
            (method, _) => refusal(404, &format!("Cannot {method} {}", ask.path)),
        }
    }
}

impl Ask<'_> {
    fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }

    fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.query.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}
