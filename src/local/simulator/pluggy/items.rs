//! Items and their consents.

use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    World,
    shape::{self, Kind, coded, connector, item_error, listing, refusal, stamp},
};
use crate::local::simulator::{
    exchange::{Answer, Ask},
    notice::Notice,
};

#[derive(Debug)]
pub(super) struct Item {
    pub(super) client: String,
    pub(super) body: Value,
    pub(super) accounts: Vec<Uuid>,
    pub(super) consent: Value,
    /// The holder took the consent back: lists are empty from then on.
    pub(super) revoked: bool,
    /// Only its notices speak of it.
    pub(super) deleted: bool,
    /// What the sync that runs will come to; it is over when the item is looked at next.
    pub(super) outcome: Option<Outcome>,
}

/// What a sync comes to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    Success,
    Partial,
    Failure(&'static str),
}

/// What becomes of a connection of the sandbox, by its user.
fn sandbox_outcome(user: &str) -> Outcome {
    match user {
        "user-ok" | "user-ok-account-warning" => Outcome::Success,
        "user-ok-account-error" => Outcome::Partial,
        "user-logged" => Outcome::Failure("ALREADY_LOGGED_IN"),
        "user-locked" => Outcome::Failure("ACCOUNT_LOCKED"),
        "user-error" => Outcome::Failure("UNEXPECTED_ERROR"),
        "user-unavailable" => Outcome::Failure("SITE_NOT_AVAILABLE"),
        "user-account-need-actions" => Outcome::Failure("ACCOUNT_NEEDS_ACTION"),
        "user-connection-error" => Outcome::Failure("CONNECTION_ERROR"),
        "user-account-credentials-reset" => Outcome::Failure("ACCOUNT_CREDENTIALS_RESET"),
        "user-not-supported" => Outcome::Failure("USER_NOT_SUPPORTED"),
        _ => Outcome::Failure("INVALID_CREDENTIALS"),
    }
}

pub(super) fn unknown() -> Answer {
    coded(404, "ITEM_NOT_FOUND", "item not found")
}

impl World {
    /// An item that this client may see.
    pub(super) fn item(&self, client: &str, id: Uuid) -> Option<&Item> {
        let found = self.items.get(&id)?;
        (found.client == client && !found.deleted).then_some(found)
    }

    /// Adds an item as it is after its first sync, with one account of each kind.
    pub(super) fn add_item(
        &mut self,
        client: &str,
        id: Uuid,
        connector: &Value,
        now: DateTime<Utc>,
    ) -> [Uuid; 2] {
        let accounts = [(Kind::Bank, 12_345), (Kind::Card, 8670)].map(|(kind, number)| {
            let account = self.chance.uuid();
            let body = shape::account(account, id, kind, number, now);
            self.add_account(account, id, body);
            account
        });
        let consent = json!({
            "id": self.chance.uuid(), "itemId": id,
            "products": ["ACCOUNTS", "CREDIT_CARDS", "TRANSACTIONS"],
            "openFinancePermissionsGranted": ["ACCOUNTS_READ"],
            "createdAt": stamp(now), "expiresAt": null, "revokedAt": null,
        });
        let item = Item {
            client: client.to_owned(),
            body: shape::item(id, connector, now),
            accounts: accounts.to_vec(),
            consent,
            revoked: false,
            deleted: false,
            outcome: None,
        };
        self.items.insert(id, item);
        accounts
    }

    fn add_account(&mut self, id: Uuid, item: Uuid, body: Value) {
        let account = super::Account {
            item,
            body,
            rows: super::rows::Rows::default(),
            bills: Vec::new(),
        };
        self.accounts.insert(id, account);
    }

    pub(super) fn create_item(
        &mut self,
        client: &str,
        ask: &Ask<'_>,
        now: DateTime<Utc>,
    ) -> Answer {
        let body: Value = serde_json::from_slice(ask.body).unwrap_or_default();
        let Some(connector) = body["connectorId"].as_i64().and_then(connector) else {
            return refusal(400, "connectorId must name a connector");
        };
        let Some(user) = body["parameters"]["user"].as_str() else {
            return refusal(400, "parameters should not be empty");
        };
        let id = self.chance.uuid();
        for account in self.add_item(client, id, &connector, now) {
            self.add_history(account, 200, 365, now);
        }
        let Some(item) = self.items.get_mut(&id) else {
            return unknown();
        };
        item.body["status"] = json!("UPDATING");
        item.body["executionStatus"] = json!("CREATED");
        item.body["lastUpdatedAt"] = Value::Null;
        for name in ["webhookUrl", "clientUserId"] {
            item.body[name] = body[name].clone();
        }
        item.outcome = Some(sandbox_outcome(user));
        let mut answer = Answer::json(200, &item.body);
        answer.notices = vec![self.item_notice("item/created", id, "CLIENT")];
        answer
    }

    pub(super) fn show_item(&mut self, client: &str, id: &str, now: DateTime<Utc>) -> Answer {
        let found = id
            .parse()
            .ok()
            .filter(|&id| self.item(client, id).is_some());
        let Some(id) = found else {
            return unknown();
        };
        let ended = self.items.get_mut(&id).and_then(|item| item.outcome.take());
        let notices = ended.map(|outcome| self.finish_sync(id, outcome, now));
        let mut answer = Answer::json(200, &self.items[&id].body);
        answer.notices.extend(notices);
        answer
    }

    /// Shows the item as this outcome leaves it, and tells of it.
    pub(super) fn finish_sync(&mut self, id: Uuid, outcome: Outcome, now: DateTime<Utc>) -> Notice {
        let (status, execution, error, event) = match outcome {
            Outcome::Success => ("UPDATED", "SUCCESS", Value::Null, "item/updated"),
            Outcome::Partial => ("UPDATED", "PARTIAL_SUCCESS", Value::Null, "item/updated"),
            Outcome::Failure(code) => {
                let login = matches!(
                    code,
                    "INVALID_CREDENTIALS"
                        | "ACCOUNT_CREDENTIALS_RESET"
                        | "USER_AUTHORIZATION_REVOKED"
                );
                let status = if login { "LOGIN_ERROR" } else { "OUTDATED" };
                (status, code, item_error(code), "item/error")
            }
        };
        if let Some(Item { body, .. }) = self.items.get_mut(&id) {
            body["status"] = json!(status);
            body["executionStatus"] = json!(execution);
            body["userAction"] = Value::Null;
            body["parameter"] = Value::Null;
            body["updatedAt"] = json!(stamp(now));
            body["statusDetail"] = if outcome == Outcome::Partial {
                let fresh = json!({ "isUpdated": true, "lastUpdatedAt": stamp(now) });
                json!({
                    "accounts": fresh, "creditCards": fresh, "identity": null,
                    "transactions": {
                        "isUpdated": false, "lastUpdatedAt": body["lastUpdatedAt"],
                        "warnings": [{
                            "code": "001", "message": "Transactions could not be read",
                            "providerMessage": null,
                        }],
                    },
                })
            } else {
                Value::Null
            };
            if error.is_null() {
                body["lastUpdatedAt"] = json!(stamp(now));
                body["nextAutoSyncAt"] = json!(stamp(now + Duration::hours(24)));
                body["consecutiveFailedLoginAttempts"] = json!(0);
            } else if status == "LOGIN_ERROR" {
                body["nextAutoSyncAt"] = Value::Null;
                let failed = body["consecutiveFailedLoginAttempts"].as_u64().unwrap_or(0);
                body["consecutiveFailedLoginAttempts"] = json!(failed + 1);
            }
            body["error"] = error;
        }
        self.item_notice(event, id, "SYNC")
    }

    pub(super) fn update_item(&mut self, client: &str, id: &str, now: DateTime<Utc>) -> Answer {
        let found = id
            .parse()
            .ok()
            .filter(|&id| self.item(client, id).is_some());
        let minimum = self.settings.minimum_hours_between_updates;
        let trace = self.chance.uuid();
        let Some(item) = found.and_then(|id: Uuid| self.items.get_mut(&id)) else {
            return unknown();
        };
        if item.body["connector"]["id"] == 200 {
            let body = json!({
                "code": 400, "message": "MeuPluggy item cant be updated", "errorId": trace,
            });
            return Answer::json(400, &body);
        }
        if item.outcome.is_some() {
            let message = "Item is already being updated";
            return coded(400, "ITEM_IS_ALREADY_UPDATING", message);
        }
        let last = item.body["lastUpdatedAt"]
            .as_str()
            .and_then(|text| text.parse::<DateTime<Utc>>().ok());
        if last.is_some_and(|last| now - last < Duration::hours(minimum)) {
            let body = json!({
                "code": 409, "codeDescription": "CLIENT_IS_UPDATING_BEFORE_ALLOWED_FREQUENCY",
                "message": "Client is updating before the allowed frequency",
                "data": {
                    "minUpdateFrequencyAllowedInHours": minimum,
                    "lastUpdatedAt": item.body["lastUpdatedAt"],
                },
            });
            return Answer::json(409, &body);
        }
        item.body["status"] = json!("UPDATING");
        item.body["executionStatus"] = json!("LOGIN_IN_PROGRESS");
        item.outcome = Some(Outcome::Success);
        Answer::json(200, &item.body)
    }

    pub(super) fn delete_item(&mut self, client: &str, id: &str) -> Answer {
        let found = id
            .parse()
            .ok()
            .filter(|&id| self.item(client, id).is_some());
        let Some(id) = found else {
            return unknown();
        };
        let mut answer = Answer::json(200, &json!({ "count": 1 }));
        answer.notices = vec![self.drop_item(id)];
        answer
    }

    /// Forgets what an item held, and tells of it.
    pub(super) fn drop_item(&mut self, id: Uuid) -> Notice {
        if let Some(item) = self.items.get_mut(&id) {
            item.deleted = true;
            for account in std::mem::take(&mut item.accounts) {
                self.accounts.remove(&account);
            }
        }
        self.item_notice("item/deleted", id, "")
    }

    pub(super) fn list_consents(&self, client: &str, ask: &Ask<'_>) -> Answer {
        let item = ask
            .parameter("itemId")
            .and_then(|id| self.item(client, id.parse().ok()?));
        match item {
            Some(item) => listing(std::slice::from_ref(&item.consent)),
            None => listing(&[]),
        }
    }

    pub(super) fn show_consent(&self, client: &str, id: &str) -> Answer {
        let mut items = self.items.values();
        let found =
            items.find(|item| item.client == client && item.consent["id"] == id && !item.deleted);
        match found {
            Some(item) => Answer::json(200, &item.consent),
            None => coded(404, "CONSENT_NOT_FOUND", "consent not found"),
        }
    }
}
