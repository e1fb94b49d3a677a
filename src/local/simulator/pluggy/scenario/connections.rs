//! What happens to items.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Told, connector_event, identifier};
use crate::local::simulator::{
    chance::Chance,
    notice::Notice,
    pluggy::{World, items::Outcome, shape::connector, shape::stamp},
};

impl World {
    /// The scenarios of items; nothing if `name` is none of them.
    pub(super) fn connection_scenario(
        &mut self,
        name: &str,
        params: &Value,
        now: DateTime<Utc>,
    ) -> Option<Told> {
        let outcome = match name {
            "login-error" => Outcome::Failure("INVALID_CREDENTIALS"),
            "outdated" => Outcome::Failure("SITE_NOT_AVAILABLE"),
            "partial-success" => Outcome::Partial,
            "item-recovers" => Outcome::Success,
            "consent-revoked" => Outcome::Failure("USER_AUTHORIZATION_REVOKED"),
            "add-item" => return Some(self.link(params, now)),
            "relink" => return Some(self.relink(params, now)),
            "waiting-user" | "item-deleted" | "connector-status" => {
                return Some(self.target_item(params).map(|id| match name {
                    "waiting-user" => vec![self.wait_for_user(id, params, now)],
                    "item-deleted" => vec![self.drop_item(id)],
                    _ => {
                        let connector = self.items[&id].body["connector"]["id"].clone();
                        vec![connector_event(&mut self.chance, id, &connector)]
                    }
                }));
            }
            _ => return None,
        };
        Some(self.target_item(params).map(|id| {
            if let Some(item) = self.items.get_mut(&id) {
                item.outcome = None;
                item.revoked = name == "consent-revoked";
                item.consent["revokedAt"] = if item.revoked {
                    json!(stamp(now))
                } else {
                    Value::Null
                };
            }
            vec![self.finish_sync(id, outcome, now)]
        }))
    }

    fn wait_for_user(&mut self, id: Uuid, params: &Value, now: DateTime<Utc>) -> Notice {
        let (status, event) = if params["action"] == true {
            ("WAITING_USER_ACTION", "item/waiting_user_action")
        } else {
            ("WAITING_USER_INPUT", "item/waiting_user_input")
        };
        if let Some(item) = self.items.get_mut(&id) {
            item.body["status"] = json!(status);
            item.body["executionStatus"] = json!(status);
            item.body["updatedAt"] = json!(stamp(now));
            if params["action"] == true {
                item.body["userAction"] = json!({
                    "instructions": "Approve the access in the bank's app",
                    "type": "authorize-access", "attributes": null,
                    "expiresAt": stamp(now + Duration::minutes(5)),
                });
            } else {
                item.body["parameter"] = json!({
                    "name": "token", "label": "Token", "type": "number", "optional": false,
                });
            }
        }
        self.item_notice(event, id, "CLIENT")
    }

    /// A new item with a history: `itemId`, `clientId`, `connectorId` and `rows` (of each account)
    /// may be given.
    fn link(&mut self, params: &Value, now: DateTime<Utc>) -> Told {
        let client = self.client(params)?;
        let id = identifier(params, "itemId")?.unwrap_or_else(|| self.chance.uuid());
        if self.items.contains_key(&id) {
            return Err(format!("there is already an item {id}"));
        }
        let number = params["connectorId"].as_i64().unwrap_or(601);
        let connector =
            connector(number).ok_or_else(|| format!("there is no connector {number}"))?;
        let rows = params["rows"].as_u64().unwrap_or(200).min(2_000_000);
        let accounts = self.add_item(&client, id, &connector, now);
        let mut told = vec![self.item_notice("item/created", id, "USER")];
        for account in accounts {
            let rows = self.add_history(account, rows, 365, now);
            if !rows.is_empty() {
                told.push(self.created_notice(account, &rows, now, false));
            }
        }
        told.push(self.item_notice("item/updated", id, "USER"));
        Ok(told)
    }

    /// The same bank connected anew: the old item is deleted, the rows come back under a new item
    /// with new ids of everything, and only the bank's own ids are what they were.
    fn relink(&mut self, params: &Value, now: DateTime<Utc>) -> Told {
        let old = self.target_item(params)?;
        let new = identifier(params, "newItemId")?.unwrap_or_else(|| self.chance.uuid());
        let client = self.items[&old].client.clone();
        let connector = self.items[&old].body["connector"].clone();
        let kept: Vec<(Value, Vec<Value>)> = self
            .accounts_of(old)
            .map(|(_, account)| {
                let rows = account.rows.newest_first();
                let rows = rows.filter_map(|(_, text)| serde_json::from_str(text).ok());
                (account.body["number"].clone(), rows.collect())
            })
            .collect();
        let mut told = vec![self.drop_item(old)];
        let accounts = self.add_item(&client, new, &connector, now);
        told.push(self.item_notice("item/created", new, "USER"));
        for (account, (number, mut rows)) in accounts.into_iter().zip(kept) {
            if let Some(account) = self.accounts.get_mut(&account) {
                account.body["number"] = number;
            }
            for row in &mut rows {
                renew(row, account, &mut self.chance, now);
                self.put_row(account, row, now);
            }
            told.push(self.created_notice(account, &rows, now, false));
        }
        told.push(self.item_notice("item/updated", new, "USER"));
        Ok(told)
    }
}

/// Gives a row a new identity at Pluggy; the bank's own id stays.
fn renew(row: &mut Value, account: Uuid, chance: &mut Chance, now: DateTime<Utc>) {
    // A row that is no object stays what it is.
    if row.is_object() {
        row["id"] = json!(chance.uuid());
        row["accountId"] = json!(account);
        row["createdAt"] = json!(stamp(now));
        row["updatedAt"] = json!(stamp(now));
    }
}
