//! What can happen at Pluggy, by name.
//!
//! Each scenario changes the world and answers the notices that Pluggy would send of it.

mod connections;
mod ledger;
mod oddities;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, shape::Kind};
use crate::local::simulator::notice::Notice;

/// Every scenario, as the control API lists them.
pub(super) const NAMES: [&str; 36] = [
    "add-client",
    "add-item",
    "back-dated-row",
    "configure",
    "connector-status",
    "consent-revoked",
    "daily-sync",
    "delete-row",
    "disable-client",
    "disable-webhooks",
    "double-bill-payment",
    "edit-amount",
    "edit-description",
    "expire-keys",
    "foreign-card-row",
    "instalment-plan",
    "item-deleted",
    "item-recovers",
    "login-error",
    "malformed-rows",
    "midnight-rows",
    "null-balance",
    "odd-mcc",
    "outdated",
    "page-drift",
    "partial-success",
    "pending-posts-recreated",
    "pending-posts-same-id",
    "pending-row",
    "refund",
    "relink",
    "rotate-secret",
    "scheduled-then-posted",
    "sign-contradiction",
    "unknown-enum-and-field",
    "waiting-user",
];

/// What a scenario comes to.
type Told = Result<Vec<Notice>, String>;

impl World {
    /// Lets something happen.
    pub(in crate::local::simulator) fn scenario(
        &mut self,
        name: &str,
        params: &Value,
        now: DateTime<Utc>,
    ) -> Told {
        match name {
            "configure" => self.settings.change(params).map(|()| Vec::new()),
            "expire-keys" => {
                self.keys.clear();
                Ok(Vec::new())
            }
            "add-client" => {
                let (id, secret) = (text(params, "clientId")?, text(params, "clientSecret")?);
                self.add_client(id, secret);
                Ok(Vec::new())
            }
            "disable-client" => {
                let disabled = params["disabled"].as_bool().unwrap_or(true);
                self.application(params)?.disabled = disabled;
                Ok(Vec::new())
            }
            "rotate-secret" => {
                text(params, "clientSecret")?.clone_into(&mut self.application(params)?.secret);
                Ok(Vec::new())
            }
            "disable-webhooks" => {
                let client = self.client(params)?;
                self.disable_webhooks(&client, now);
                Ok(Vec::new())
            }
            _ => match self.connection_scenario(name, params, now) {
                Some(told) => told,
                None => self.ledger_scenario(name, params, now).unwrap_or_else(|| {
                    let known = NAMES.join(", ");
                    Err(format!("there is no scenario {name}; there are {known}"))
                }),
            },
        }
    }

    /// Adds rows as described: `rows` (each merged over an everyday row), or `count` everyday ones
    /// spread over `days`. `silent` tells nobody.
    pub(in crate::local::simulator) fn add_rows(
        &mut self,
        params: &Value,
        now: DateTime<Utc>,
    ) -> Told {
        let account = self.account(params, None)?;
        let rows = match (&params["rows"], params["count"].as_u64()) {
            (Value::Array(given), None) => self.merged_rows(account, given, now)?,
            (Value::Null, Some(count)) => {
                let days = params["days"].as_u64().unwrap_or(365).min(36_500);
                self.add_history(account, count.min(2_000_000), days, now)
            }
            _ => return Err("give either rows (a list of objects) or count".to_owned()),
        };
        if params["silent"] == true || rows.is_empty() {
            return Ok(Vec::new());
        }
        Ok(vec![self.created_notice(account, &rows, now, false)])
    }

    fn merged_rows(
        &mut self,
        account: Uuid,
        given: &[Value],
        now: DateTime<Utc>,
    ) -> Result<Vec<Value>, String> {
        let objects: Option<Vec<_>> = given.iter().map(Value::as_object).collect();
        let objects = objects.ok_or("every one of rows must be an object")?;
        let mut rows = Vec::new();
        for members in objects {
            let mut row = self.draft(account, now, now, "PIX ENVIADO LOJA", -1_990, "POSTED");
            for (name, value) in members {
                row[name] = value.clone();
            }
            self.put_row(account, &row, now);
            rows.push(row);
        }
        Ok(rows)
    }

    fn application(&mut self, params: &Value) -> Result<&mut super::Application, String> {
        let id = self.client(params)?;
        let known = self.applications.get_mut(&id);
        known.ok_or_else(|| format!("there is no client {id}"))
    }

    /// The client that `clientId` names, or the first there is.
    fn client(&self, params: &Value) -> Result<String, String> {
        match params.get("clientId") {
            Some(_) => text(params, "clientId").map(str::to_owned),
            None => self
                .applications
                .keys()
                .next()
                .cloned()
                .ok_or_else(|| "there is no client yet; run add-client".to_owned()),
        }
    }

    /// The item that `itemId` names, or the first that is still there.
    fn target_item(&self, params: &Value) -> Result<Uuid, String> {
        match identifier(params, "itemId")? {
            Some(id) if self.items.contains_key(&id) => Ok(id),
            Some(id) => Err(format!("there is no item {id}")),
            None => self
                .items
                .iter()
                .find(|(_, item)| !item.deleted)
                .map(|(id, _)| *id)
                .ok_or_else(|| "there is no item yet; run add-item".to_owned()),
        }
    }

    /// The account that `accountId` names, or the first one of the item, of this kind.
    fn account(&self, params: &Value, kind: Option<Kind>) -> Result<Uuid, String> {
        if let Some(id) = identifier(params, "accountId")? {
            return if self.accounts.contains_key(&id) {
                Ok(id)
            } else {
                Err(format!("there is no account {id}"))
            };
        }
        let item = self.target_item(params)?;
        self.accounts_of(item)
            .find(|(_, one)| kind.is_none_or(|kind| Kind::of(&one.body) == kind))
            .map(|(id, _)| id)
            .ok_or_else(|| format!("the item {item} has no such account"))
    }
}

fn text<'a>(params: &'a Value, name: &str) -> Result<&'a str, String> {
    params[name]
        .as_str()
        .ok_or_else(|| format!("{name} must be a text"))
}

fn identifier(params: &Value, name: &str) -> Result<Option<Uuid>, String> {
    match params.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => value
            .as_str()
            .and_then(|text| text.parse().ok())
            .map(Some)
            .ok_or_else(|| format!("{name} must be a UUID")),
    }
}

fn connector_event(chance: &mut super::Chance, resource: Uuid, connector: &Value) -> Notice {
    Notice {
        resource: resource.to_string(),
        body: json!({
            "event": "connector/status_updated", "eventId": chance.uuid(),
            "id": connector.to_string(), "connectorId": connector.to_string(),
            "data": { "status": "UNSTABLE" },
        }),
    }
}
