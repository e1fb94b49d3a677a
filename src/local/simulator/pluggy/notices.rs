//! The events that Pluggy tells of.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{World, shape::stamp};
use crate::local::simulator::notice::Notice;

impl World {
    /// An event of an item. Without a trigger none is told, as with deletions.
    pub(super) fn item_notice(&mut self, event: &str, id: Uuid, trigger: &str) -> Notice {
        let mut body = json!({ "event": event, "eventId": self.chance.uuid(), "itemId": id });
        if !trigger.is_empty() {
            body["triggeredBy"] = json!(trigger);
        }
        if let Some(item) = self.items.get(&id) {
            body["clientUserId"] = item.body["clientUserId"].clone();
            if event == "item/error" {
                body["error"] = item.body["error"].clone();
            }
        }
        Notice {
            resource: id.to_string(),
            body,
        }
    }

    /// Tells of new rows. `with_id` adds the member that is no longer promised.
    pub(super) fn created_notice(
        &mut self,
        account: Uuid,
        rows: &[Value],
        created: DateTime<Utc>,
        with_id: bool,
    ) -> Notice {
        let item = self.item_of(account);
        let created = stamp(created);
        let earliest = rows.iter().filter_map(|row| row["date"].as_str()).min();
        let query = format!("accountId={account}&createdAtFrom={created}");
        let mut body = json!({
            "event": "transactions/created", "eventId": self.chance.uuid(),
            "itemId": item, "accountId": account, "triggeredBy": "SYNC",
            "transactionsCount": rows.len(), "transactionsMinDate": earliest,
            "transactionsCreatedAtFrom": created,
            "createdTransactionsLink": format!("https://api.pluggy.ai/transactions?{query}"),
            // Told with the placeholder still in it.
            "createdTransactionsLinkV2":
                format!("https://api.pluggy.ai/v2/transactions?{query}&after={{cursor}}"),
        });
        if with_id {
            body["id"] = json!(item);
        }
        Notice {
            resource: item.to_string(),
            body,
        }
    }

    /// Tells of rows that were changed or deleted.
    pub(super) fn changed_notice(&mut self, event: &str, account: Uuid, ids: &[Uuid]) -> Notice {
        let item = self.item_of(account);
        let client = self.items.get(&item).map(|item| item.client.clone());
        Notice {
            resource: item.to_string(),
            body: json!({
                "event": event, "eventId": self.chance.uuid(), "clientId": client,
                "itemId": item, "accountId": account, "transactionIds": ids,
            }),
        }
    }

    fn item_of(&self, account: Uuid) -> Uuid {
        self.accounts
            .get(&account)
            .map_or(Uuid::nil(), |account| account.item)
    }
}
