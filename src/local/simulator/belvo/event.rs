//! The events that Belvo sends about a link.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::notice::Notice;
use super::World;
use super::link::Link;

/// What happened, before it is put into the envelope.
#[derive(Debug)]
pub(super) struct Event {
    kind: &'static str,
    code: &'static str,
    data: Value,
}

impl Event {
    pub(super) fn new(kind: &'static str, code: &'static str, data: Value) -> Self {
        Self { kind, code, data }
    }

    pub(super) fn new_rows(count: usize) -> Self {
        let data = json!({ "new_transactions": count });
        Self::new("TRANSACTIONS", "new_transactions_available", data)
    }

    pub(super) fn updated(ids: &[Uuid]) -> Self {
        let data = json!({ "count": ids.len(), "updated_transactions": ids });
        Self::new("TRANSACTIONS", "transactions_updated", data)
    }

    pub(super) fn deleted(ids: &[Uuid]) -> Self {
        let data = json!({ "count": ids.len(), "deleted_transactions": ids });
        Self::new("TRANSACTIONS", "transactions_deleted", data)
    }

    /// An event about the consent of `link`; `due` is told when it is about to end.
    pub(super) fn consent(code: &'static str, link: &Link, due: Option<DateTime<Utc>>) -> Self {
        let mut data = json!({
            "consent_id": link.consent.id,
            "action": "renew",
            "institution": link.institution,
            "institution_display_name": "Mock Bank",
            "institution_icon_logo": "https://example.org/logo.svg",
        });
        if let Some(due) = due {
            data["consent_due_date"] = json!(due.format("%Y-%m-%dT%H:%M:%S%.3fZ").to_string());
        }
        Self::new("CONSENT", code, data)
    }
}

impl World {
    /// Puts `event` into the envelope. To be called while the link is still there: the caller's
    /// own id for it is a part of what is told.
    pub(super) fn tell(&mut self, link: Uuid, event: Event) -> Notice {
        let Event { kind, code, data } = event;
        let external = self.link(link).map(|link| link.external.clone());
        let consent = kind == "CONSENT";
        let mut body = json!({
            "webhook_id": self.webhook_id(consent),
            "webhook_type": kind,
            "webhook_code": code,
            "link_id": link,
            "external_id": external,
            "data": data,
        });
        // Events about a consent come without these two.
        if !consent {
            body["request_id"] = json!(self.chance.uuid());
            body["process_type"] = json!(match code {
                "historical_update" => "historical_update",
                _ => "recurrent_update",
            });
        }
        Notice {
            resource: link.to_string(),
            body,
        }
    }

    /// What `/refresh/`, a first load and new credentials lead to. Each resource is done when it
    /// is done, so the accounts are not told of first.
    pub(super) fn tell_history(&mut self, link: Uuid) -> Vec<Notice> {
        let of_link = || self.rows.iter().filter(|row| row.link == link);
        let flowing = |way: &str| {
            of_link()
                .filter(|row| row.direction.as_deref() == Some(way))
                .count()
        };
        let transactions = json!({
            "total_transactions": of_link().count(),
            "total_inflow_transactions": flowing("INFLOW"),
            "total_outflow_transactions": flowing("OUTFLOW"),
            "first_transaction_date": of_link().map(|row| row.value_date).min(),
            "last_transaction_date": of_link().map(|row| row.value_date).max(),
        });
        let accounts = self.accounts.iter().filter(|one| one.link == link).count();
        let bills = self.bills.iter().filter(|bill| bill.link == link).count();
        [
            ("TRANSACTIONS", transactions),
            ("BILLS", json!({ "total_bills": bills })),
            ("ACCOUNTS", json!({ "total_accounts": accounts })),
            ("OWNERS", json!({ "total_owners": 1 })),
        ]
        .map(|(kind, data)| self.tell(link, Event::new(kind, "historical_update", data)))
        .into()
    }

    fn webhook_id(&mut self, consent: bool) -> String {
        let id = if consent || self.switches.own_webhook_id {
            self.chance.uuid()
        } else {
            self.endpoint
        };
        id.simple().to_string()
    }
}
