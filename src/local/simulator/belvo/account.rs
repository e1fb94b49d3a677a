//! One account as Belvo shows it, alone and inside each of its transactions.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::shape::{money, stamp};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Checking,
    Savings,
    Card,
    /// Of a category that no document names.
    Wallet,
}

#[derive(Clone, Debug)]
pub(super) struct Account {
    pub(super) id: Uuid,
    pub(super) link: Uuid,
    pub(super) kind: Kind,
    pub(super) institution: String,
    /// The bank's own id, which a new link does not change.
    pub(super) internal: String,
    pub(super) number: String,
    /// What is there; of a card, what was spent.
    pub(super) cents: i64,
    pub(super) limit: i64,
    pub(super) created: DateTime<Utc>,
    pub(super) collected: DateTime<Utc>,
    /// [`Self::json`] as it was when the account last changed.
    pub(super) text: String,
}

impl Account {
    /// Writes the text anew; to be called after each change.
    pub(super) fn settle(&mut self) {
        self.text = self.json().to_string();
    }

    /// Takes in what a row moved; a card counts the other way round, as it shows debt.
    pub(super) fn take(&mut self, signed: i64) {
        self.cents += match self.kind {
            Kind::Card => -signed,
            _ => signed,
        };
    }

    pub(super) fn category(&self) -> &'static str {
        match self.kind {
            Kind::Checking => "CHECKING_ACCOUNT",
            Kind::Savings => "SAVINGS_ACCOUNT",
            Kind::Card => "CREDIT_CARD",
            Kind::Wallet => "DIGITAL_WALLET_ACCOUNT",
        }
    }

    pub(super) fn json(&self) -> Value {
        let card = self.kind == Kind::Card;
        let collected = stamp(self.collected, self.id.as_u128());
        let available = match self.kind {
            Kind::Card => self.limit - self.cents,
            _ => self.cents,
        };
        json!({
            "id": self.id,
            "link": self.link,
            "institution": { "name": self.institution, "type": "bank" },
            "collected_at": collected,
            "created_at": stamp(self.created, self.id.as_u128() >> 2),
            "last_accessed_at": stamp(self.collected, self.id.as_u128() >> 4),
            "category": self.category(),
            "balance_type": if card { "LIABILITY" } else { "ASSET" },
            "type": match self.kind {
                Kind::Checking => "CONTA_DEPOSITO_A_VISTA",
                Kind::Savings => "CONTA_POUPANCA",
                Kind::Card => "GOLD",
                Kind::Wallet => "CARTEIRA",
            },
            "subtype": if card { "MASTERCARD" } else { "INDIVIDUAL" },
            // The bank names its cards and savings, and leaves a checking account without.
            "name": match self.kind {
                Kind::Checking => Value::Null,
                Kind::Savings => json!("Poupança"),
                Kind::Card => json!("Cartão Gold"),
                Kind::Wallet => json!("Carteira"),
            },
            "number": if card { Value::Null } else { json!(self.number) },
            "agency": if card { Value::Null } else { json!("6272") },
            "check_digit": if card { Value::Null } else { json!("7") },
            "balance": {
                "current": money(self.cents),
                "available": money(available),
                "blocked": money(0),
                "automatically_invested": money(0),
            },
            "overdraft": if self.kind == Kind::Checking {
                json!({ "arranged": money(150_000), "used": money(0), "unarranged": money(0) })
            } else {
                Value::Null
            },
            "currency": "BRL",
            "public_identification_name":
                if card { "CREDIT_CARD_NUMBER" } else { "AGENCY/NUMBER" },
            "public_identification_value":
                if card { self.number.clone() } else { format!("6272/{}", self.number) },
            "internal_identification": self.internal,
            "credit_data": if card { self.credit(&collected) } else { Value::Null },
            "loan_data": null,
            "funds_data": null,
            // Belvo adds members without notice.
            "consolidated_view": { "eligible": true },
        })
    }

    fn credit(&self, collected: &str) -> Value {
        json!({
            "collected_at": collected,
            "credit_limit": money(self.limit),
            "limits": [{
                "type": "LIMITE_CREDITO_TOTAL",
                "card_number": self.number,
                "limit": money(self.limit),
                "used": money(self.cents),
                "available": money(self.limit - self.cents),
                "currency": "BRL",
            }],
            "cutting_date": null,
            "minimum_payment": null,
            "network": "MASTERCARD",
            "network_additional_info": null,
            "cards": [{ "is_multiple": false, "identification_number": self.number }],
            "next_payment_date": null,
            "no_interest_payment": null,
            "interest_rate": null,
            "monthly_payment": null,
            "last_payment_date": null,
        })
    }

    /// What `/api/br/balances/` shows of an account that has a balance of its own.
    pub(super) fn balance(&self) -> Option<Value> {
        if !matches!(self.kind, Kind::Checking | Kind::Savings) {
            return None;
        }
        let id = Uuid::from_u128(self.id.as_u128().rotate_left(64));
        Some(json!({
            "id": id,
            "link": self.link,
            "account_id": self.id,
            "account_internal_identification": self.internal,
            "collected_at": stamp(self.collected, id.as_u128()),
            "created_at": stamp(self.created, id.as_u128() >> 2),
            "last_updated_at": stamp(self.collected, 1),
            "currency": "BRL",
            "available": money(self.cents.max(0)),
            "blocked": money(0),
            "automatically_invested": money(0),
        }))
    }
}
