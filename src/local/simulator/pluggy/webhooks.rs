//! The webhooks that applications registered, and who is to be told of an event.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use url::{Host, Url};
use uuid::Uuid;

use super::{
    World,
    shape::{coded, listing, refusal, stamp},
};
use crate::local::simulator::{
    exchange::{Answer, Ask},
    notice::Notice,
};

const EVENTS: [&str; 36] = [
    "all",
    "item/created",
    "item/updated",
    "item/error",
    "item/deleted",
    "item/waiting_user_input",
    "item/waiting_user_action",
    "item/login_succeeded",
    "connector/status_updated",
    "transactions/created",
    "transactions/updated",
    "transactions/deleted",
    "payment_intent/created",
    "payment_intent/completed",
    "payment_intent/waiting_payer_authorization",
    "payment_intent/error",
    "payment_request/updated",
    "scheduled_payment/created",
    "scheduled_payment/completed",
    "scheduled_payment/error",
    "scheduled_payment/canceled",
    "scheduled_payment/all_completed",
    "scheduled_payment/all_created",
    "boleto/updated",
    "automatic_pix_payment/created",
    "automatic_pix_payment/completed",
    "automatic_pix_payment/error",
    "automatic_pix_payment/canceled",
    "smart_transfer_preauthorization/completed",
    "smart_transfer_preauthorization/error",
    "smart_transfer_payment/completed",
    "smart_transfer_payment/error",
    "payment_refund/completed",
    "payment_refund/error",
    "item/all",
    "connector/all",
];
/// How many webhooks one event may have.
const PER_EVENT: usize = 5;

#[derive(Debug)]
pub(super) struct Webhook {
    client: String,
    url: String,
    event: String,
    headers: BTreeMap<String, String>,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
    disabled: Option<DateTime<Utc>>,
}

impl Webhook {
    /// Shown without its headers, which may hold a secret.
    fn show(&self, id: Uuid) -> Value {
        json!({
            "id": id, "url": self.url, "event": self.event,
            "createdAt": stamp(self.created), "updatedAt": stamp(self.updated),
            "disabledAt": self.disabled.map(stamp),
        })
    }
}

/// Somebody who is told of an event.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::local::simulator) struct Subscriber {
    pub(in crate::local::simulator) url: String,
    pub(in crate::local::simulator) headers: BTreeMap<String, String>,
}

impl World {
    /// Who asked to be told of this, by the application's webhooks or the item's own address.
    pub(in crate::local::simulator) fn subscribers(&self, notice: &Notice) -> Vec<Subscriber> {
        let id = notice.resource.parse().ok();
        let Some(item) = id.and_then(|id: Uuid| self.items.get(&id)) else {
            return Vec::new();
        };
        let event = &notice.body["event"];
        let registered = self
            .webhooks
            .values()
            .filter(|hook| hook.client == item.client && hook.disabled.is_none())
            .filter(|hook| hook.event == "all" || *event == hook.event.as_str())
            .map(|hook| Subscriber {
                url: hook.url.clone(),
                headers: hook.headers.clone(),
            });
        let own = item.body["webhookUrl"].as_str().map(|url| Subscriber {
            url: url.to_owned(),
            headers: BTreeMap::new(),
        });
        registered.chain(own).collect()
    }

    pub(super) fn create_webhook(
        &mut self,
        client: &str,
        ask: &Ask<'_>,
        now: DateTime<Utc>,
    ) -> Answer {
        let body: Value = serde_json::from_slice(ask.body).unwrap_or_default();
        let (url, event) = (&body["url"], &body["event"]);
        let (url, event) = (
            url.as_str().unwrap_or_default().to_owned(),
            event.as_str().unwrap_or_default().to_owned(),
        );
        if let Err(message) = self.check_webhook(client, None, &url, &event) {
            return refusal(400, &message);
        }
        let id = self.chance.uuid();
        let hook = Webhook {
            client: client.to_owned(),
            url,
            event,
            headers: read_headers(&body["headers"]),
            created: now,
            updated: now,
            disabled: None,
        };
        let answer = Answer::json(201, &hook.show(id));
        self.webhooks.insert(id, hook);
        answer
    }

    fn check_webhook(
        &self,
        client: &str,
        own: Option<Uuid>,
        url: &str,
        event: &str,
    ) -> Result<(), String> {
        if !EVENTS.contains(&event) {
            return Err(format!("Invalid event type '{event}' for webhook"));
        }
        let Ok(parsed) = Url::parse(url) else {
            return Err("Webhook url must be valid URL address and not localhost".to_owned());
        };
        if self.settings.strict_webhook_urls {
            check_strictly(&parsed)?;
        }
        let others: Vec<_> = self
            .webhooks
            .iter()
            .filter(|&(id, hook)| hook.client == client && hook.event == event && Some(*id) != own)
            .collect();
        if others.iter().any(|(_, hook)| hook.url == url) {
            return Err(format!(
                "A webhook for event '{event}' and url '{url}' already exists."
            ));
        }
        if others.len() >= PER_EVENT {
            return Err(format!(
                "You have reached the maximum of {PER_EVENT} webhooks for event '{event}'."
            ));
        }
        Ok(())
    }

    pub(super) fn list_webhooks(&self, client: &str) -> Answer {
        let own = self
            .webhooks
            .iter()
            .filter(|(_, hook)| hook.client == client);
        listing(&own.map(|(id, hook)| hook.show(*id)).collect::<Vec<_>>())
    }

    fn webhook_id(&self, client: &str, id: &str) -> Option<Uuid> {
        let id = id.parse().ok()?;
        (self.webhooks.get(&id)?.client == client).then_some(id)
    }

    pub(super) fn show_webhook(&self, client: &str, id: &str) -> Answer {
        match self.webhook_id(client, id) {
            Some(id) => Answer::json(200, &self.webhooks[&id].show(id)),
            None => unknown(),
        }
    }

    pub(super) fn change_webhook(
        &mut self,
        client: &str,
        id: &str,
        ask: &Ask<'_>,
        now: DateTime<Utc>,
    ) -> Answer {
        let Some(id) = self.webhook_id(client, id) else {
            return unknown();
        };
        let body: Value = serde_json::from_slice(ask.body).unwrap_or_default();
        let old = &self.webhooks[&id];
        let url = body["url"].as_str().unwrap_or(&old.url).to_owned();
        let event = body["event"].as_str().unwrap_or(&old.event).to_owned();
        if let Err(message) = self.check_webhook(client, Some(id), &url, &event) {
            return refusal(400, &message);
        }
        let Some(hook) = self.webhooks.get_mut(&id) else {
            return unknown();
        };
        (hook.url, hook.event, hook.updated) = (url, event, now);
        if let Some(headers) = body.get("headers") {
            hook.headers = read_headers(headers);
        }
        match body["enabled"].as_bool() {
            Some(true) => hook.disabled = None,
            Some(false) => hook.disabled = Some(now),
            None => {}
        }
        Answer::json(200, &hook.show(id))
    }

    pub(super) fn delete_webhook(&mut self, client: &str, id: &str) -> Answer {
        let Some(id) = self.webhook_id(client, id) else {
            return unknown();
        };
        self.webhooks.remove(&id);
        Answer::json(200, &json!({ "count": 1 }))
    }

    /// Switches off all webhooks of a client, as happens to those that failed too often.
    pub(super) fn disable_webhooks(&mut self, client: &str, now: DateTime<Utc>) {
        for hook in self.webhooks.values_mut() {
            if hook.client == client {
                hook.disabled = Some(now);
            }
        }
    }
}

fn unknown() -> Answer {
    coded(404, "WEBHOOK_NOT_FOUND", "webhook not found")
}

fn read_headers(headers: &Value) -> BTreeMap<String, String> {
    let pairs = headers.as_object().into_iter().flatten();
    pairs
        .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
        .collect()
}

/// The rules of production, where nobody listens on a laptop.
fn check_strictly(url: &Url) -> Result<(), String> {
    if url.scheme() != "https" || url.port().is_some() {
        return Err("Webhook url must be a https secured url".to_owned());
    }
    match url.host() {
        Some(Host::Domain(name))
            if name
                .rsplit('.')
                .next()
                .is_some_and(|last| ["localhost", "local", "internal"].contains(&last)) =>
        {
            Err("Webhook url host can't be localhost or a reserved/internal name".to_owned())
        }
        Some(Host::Domain(_)) => Ok(()),
        _ => Err("Webhook url host can't be an IP address".to_owned()),
    }
}
