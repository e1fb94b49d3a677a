//! A world to begin with.

use chrono::{DateTime, Days, NaiveTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    World,
    auth::Application,
    shape::{Draft, Kind, everyday, stamp},
};
use crate::local::simulator::{PLUGGY_CLIENT_ID, PLUGGY_ITEM, PLUGGY_SECRET, money::money};

/// How far back the first sync reaches.
const DAYS: u64 = 365;
/// Rows of the demo's each account.
const ROWS: u64 = 200;

impl World {
    /// One application with one item: a checking account and a card, with a year of rows.
    pub(in crate::local::simulator) fn seed_demo(&mut self, now: DateTime<Utc>) {
        self.add_client(PLUGGY_CLIENT_ID, PLUGGY_SECRET);
        let connector = super::shape::connector(601).unwrap_or_default();
        let item: Uuid = PLUGGY_ITEM.parse().unwrap_or_default();
        let accounts = self.add_item(PLUGGY_CLIENT_ID, item, &connector, now);
        for account in accounts {
            self.add_history(account, ROWS, DAYS, now);
        }
        let [_, card] = accounts;
        self.add_open_bill(card, now);
    }

    pub(super) fn add_client(&mut self, id: &str, secret: &str) {
        let application = Application {
            secret: secret.to_owned(),
            disabled: false,
        };
        self.applications.insert(id.to_owned(), application);
    }

    /// Adds `count` everyday rows, spread evenly over the days before `now`; they were ingested
    /// with the first sync.
    pub(super) fn add_history(
        &mut self,
        account: Uuid,
        count: u64,
        days: u64,
        now: DateTime<Utc>,
    ) -> Vec<Value> {
        let Some(kind) = self.accounts.get(&account).map(|one| Kind::of(&one.body)) else {
            return Vec::new();
        };
        let today = now.date_naive().and_time(NaiveTime::MIN).and_utc();
        let mut shown = Vec::new();
        for n in 0..count {
            let back = 1 + n * days / count.max(1);
            let day = today - Days::new(back);
            let row = everyday(&mut self.chance, account, kind, day, now);
            self.put_row(account, &row, now);
            // Enough for a notice; the rest of a large batch need not be kept twice.
            if shown.len() < 500 {
                shown.push(row);
            }
        }
        shown
    }

    /// What is not billed yet, and the last bill.
    fn add_open_bill(&mut self, card: Uuid, now: DateTime<Utc>) {
        for (description, cents) in [("MERCADO", -18_990), ("POSTO", -21_000)] {
            let mut row = Draft {
                kind: Kind::Card,
                date: now.date_naive().and_time(NaiveTime::MIN).and_utc(),
                created: now,
                description,
                cents,
                status: "PENDING",
                operation: "",
                category: "Groceries",
            }
            .row(card, &mut self.chance);
            row["creditCardMetadata"]["billForecastDate"] = json!(now.format("%Y-%m").to_string());
            self.put_row(card, &row, now);
        }
        let bill = json!({
            "id": self.chance.uuid(),
            "dueDate": (now - Days::new(10)).format("%Y-%m-%dT00:00:00").to_string(),
            "billClosingDate": (now - Days::new(20)).format("%Y-%m-%dT00:00:00").to_string(),
            "totalAmount": money(93_417), "totalAmountCurrencyCode": "BRL",
            "minimumPaymentAmount": money(14_012), "allowsInstallments": true,
            "financeCharges": [], "payments": [], "createdAt": stamp(now), "updatedAt": stamp(now),
        });
        if let Some(account) = self.accounts.get_mut(&card) {
            account.bills.push(bill);
        }
    }
}
