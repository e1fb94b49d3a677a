//! Accounts, and the bills of cards.

use serde_json::Value;
use uuid::Uuid;

use super::{
    World,
    rows::Rows,
    shape::{listing, refusal},
};
use crate::local::simulator::exchange::{Answer, Ask};

#[derive(Debug)]
pub(super) struct Account {
    pub(super) item: Uuid,
    pub(super) body: Value,
    pub(super) rows: Rows,
    pub(super) bills: Vec<Value>,
}

impl World {
    /// The accounts of an item, whoever asks.
    pub(super) fn accounts_of(&self, item: Uuid) -> impl Iterator<Item = (Uuid, &Account)> {
        self.items
            .get(&item)
            .into_iter()
            .flat_map(|item| &item.accounts)
            .filter_map(|&id| Some((id, self.accounts.get(&id)?)))
    }

    /// An account that this client may see. Nothing is seen through a consent that was revoked.
    pub(super) fn visible(&self, client: &str, id: &str) -> Option<(Uuid, &Account)> {
        let id = id.parse().ok()?;
        let account = self.accounts.get(&id)?;
        let item = self.items.get(&account.item)?;
        (item.client == client && !item.deleted && !item.revoked).then_some((id, account))
    }

    pub(super) fn list_accounts(&self, client: &str, ask: &Ask<'_>) -> Answer {
        let Some(item) = ask.parameter("itemId").and_then(|id| id.parse().ok()) else {
            return refusal(400, "itemId must be a UUID");
        };
        if self.item(client, item).is_none() {
            return if self.settings.unknown_item_status == 404 {
                super::items::unknown()
            } else {
                listing(&[])
            };
        }
        let wanted = ask.parameter("type");
        let shown: Vec<_> = self
            .accounts_of(item)
            .filter(|(_, account)| !self.items[&account.item].revoked)
            .filter(|(_, account)| wanted.is_none_or(|kind| account.body["type"] == kind))
            .map(|(_, account)| account.body.clone())
            .collect();
        listing(&shown)
    }

    pub(super) fn show_account(&self, client: &str, id: &str) -> Answer {
        match self.visible(client, id) {
            Some((_, account)) => Answer::json(200, &account.body),
            None => refusal(404, "account not found for the given id"),
        }
    }

    pub(super) fn list_bills(&self, client: &str, ask: &Ask<'_>) -> Answer {
        let Some(id) = ask.parameter("accountId") else {
            return refusal(400, "accountId must be a UUID");
        };
        let found = self.visible(client, id);
        listing(found.map_or(&[], |(_, account)| &account.bills))
    }
}
