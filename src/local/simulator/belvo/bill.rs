//! One statement of a card.

use chrono::{DateTime, Days, NaiveDate, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::account::Account;
use super::shape::{money, stamp};

#[derive(Clone, Debug)]
pub(super) struct Bill {
    pub(super) id: Uuid,
    pub(super) link: Uuid,
    pub(super) account: Uuid,
    pub(super) internal: String,
    pub(super) closed: NaiveDate,
    pub(super) cents: i64,
    pub(super) collected: DateTime<Utc>,
}

impl Bill {
    fn name(&self) -> String {
        self.closed.format("%Y-%m").to_string()
    }

    fn due(&self) -> NaiveDate {
        self.closed + Days::new(10)
    }

    pub(super) fn json(&self, account: Option<&Account>) -> Value {
        json!({
            "id": self.id,
            "link": self.link,
            "account": account.map(Account::json),
            "collected_at": stamp(self.collected, self.id.as_u128()),
            "created_at": stamp(self.collected, self.id.as_u128() >> 2),
            "internal_identification": self.internal,
            "bill_name": self.name(),
            "billing_date": self.closed,
            "due_date": self.due(),
            "currency": "BRL",
            "total_amount": money(self.cents),
            "minimum_payment": money(self.cents.max(0) / 10),
            "is_instalment": false,
            "finance_charges": [],
            "payments": [],
        })
    }

    /// Fills in what a purchase on a card learns only when its bill closes.
    pub(super) fn fill(&self, row: &mut Map<String, Value>) {
        let Some(Value::Object(card)) = row.get_mut("credit_card_data") else {
            return;
        };
        for (name, value) in [
            ("bill_name", json!(self.name())),
            ("bill_due_date", json!(self.due())),
            ("bill_internal_identification", json!(self.internal)),
            ("bill_amount", money(self.cents)),
            (
                "credit_card_bill",
                json!({ "id": self.id, "internal_identification": self.internal }),
            ),
        ] {
            card.insert(name.to_owned(), value);
        }
    }
}
