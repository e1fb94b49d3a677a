//! One transaction: its JSON as text, and the keys it is found by.

use chrono::{DateTime, NaiveDate, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::query::Span;
use super::refusal::Refusal;
use super::shape::{cents, stamp};

/// What `created_at` tells. Belvo's own documents say both.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum CreatedAt {
    #[default]
    Creation,
    LastUpdate,
}

#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) link: Uuid,
    pub(super) account: Uuid,
    pub(super) value_date: NaiveDate,
    pub(super) status: String,
    pub(super) direction: Option<String>,
    pub(super) description: String,
    pub(super) cents: i64,
    collected: DateTime<Utc>,
    created: DateTime<Utc>,
    updated: DateTime<Utc>,
    /// An object without the account and the two times, which are set in front of it when it is
    /// written; or, of a broken row, all there is.
    text: String,
    broken: bool,
}

impl Row {
    /// A row of `fields`, which hold at least an `id` and a `value_date`.
    pub(super) fn new(
        (link, account): (Uuid, Uuid),
        fields: Map<String, Value>,
        created: DateTime<Utc>,
    ) -> Self {
        let mut row = Self {
            id: Uuid::nil(),
            link,
            account,
            value_date: created.date_naive(),
            status: String::new(),
            direction: None,
            description: String::new(),
            cents: 0,
            collected: created,
            created,
            updated: created,
            text: String::new(),
            broken: false,
        };
        row.keep(fields);
        row
    }

    /// Takes `fields` over. A key that they hold in no usable form stays as it was.
    fn keep(&mut self, fields: Map<String, Value>) {
        let text = |name| fields.get(name).and_then(Value::as_str);
        if let Some(id) = text("id").and_then(|id| id.parse().ok()) {
            self.id = id;
        }
        if let Some(day) = text("value_date").and_then(|day| day.parse().ok()) {
            self.value_date = day;
        }
        text("status")
            .unwrap_or_default()
            .clone_into(&mut self.status);
        self.direction = text("type").map(str::to_owned);
        text("description")
            .unwrap_or_default()
            .clone_into(&mut self.description);
        self.cents = fields.get("amount").and_then(cents).unwrap_or(0);
        self.text = Value::Object(fields).to_string();
    }

    pub(super) fn fields(&self) -> Map<String, Value> {
        match serde_json::from_str(&self.text) {
            Ok(Value::Object(fields)) => fields,
            _ => Map::new(),
        }
    }

    /// Changes the row as Belvo would on reading the bank anew.
    pub(super) fn edit(
        &mut self,
        now: DateTime<Utc>,
        change: impl FnOnce(&mut Map<String, Value>),
    ) {
        let mut fields = self.fields();
        change(&mut fields);
        self.keep(fields);
        self.collected = now;
        self.updated = now;
    }

    /// Leaves the row to be found where it was and to be read as `text`.
    pub(super) fn spoil(&mut self, text: String) {
        self.text = text;
        self.broken = true;
    }

    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// What the row adds to what the account holds.
    pub(super) fn signed_cents(&self) -> i64 {
        match self.direction.as_deref() {
            Some("INFLOW") => self.cents,
            Some("OUTFLOW") => -self.cents,
            _ => 0,
        }
    }

    /// What the row has moved already; a pending one has moved nothing.
    pub(super) fn settled_cents(&self) -> i64 {
        match &*self.status {
            "PROCESSED" if !self.broken => self.signed_cents(),
            _ => 0,
        }
    }

    /// Notes that the bank was asked again and had nothing new to say of the row.
    pub(super) fn seen(&mut self, now: DateTime<Utc>) {
        self.collected = now;
    }

    /// Where the row stands in a list: the newest first.
    pub(super) fn place(&self) -> impl Ord + use<> {
        std::cmp::Reverse((self.value_date, self.created, self.id))
    }

    pub(super) fn write(&self, out: &mut String, account: &str, mode: CreatedAt) {
        if self.broken {
            out.push_str(&self.text);
            return;
        }
        let created = stamp(self.created_at(mode), self.id.as_u128());
        let collected = stamp(self.collected, self.id.as_u128() >> 2);
        out.push_str("{\"account\":");
        out.push_str(account);
        for (name, at) in [("created_at", created), ("collected_at", collected)] {
            for part in [",\"", name, "\":\"", &at, "\""] {
                out.push_str(part);
            }
        }
        out.push(',');
        out.push_str(self.text.trim_start_matches('{'));
    }

    fn created_at(&self, mode: CreatedAt) -> DateTime<Utc> {
        match mode {
            CreatedAt::Creation => self.created,
            CreatedAt::LastUpdate => self.updated,
        }
    }
}

/// One condition on a row.
#[derive(Debug)]
pub(super) enum Condition<'a> {
    Link(Vec<Uuid>),
    Account(Vec<Uuid>),
    Status(&'a [String]),
    Direction(&'a [String]),
    Span(&'a Span),
}

impl<'a> Condition<'a> {
    pub(super) fn of(field: &'static str, values: &'a [String]) -> Result<Self, Refusal> {
        let ids = || {
            values
                .iter()
                .map(|value| value.parse())
                .collect::<Result<Vec<Uuid>, _>>()
                .map_err(|_| Refusal::invalid(field, "Enter a valid UUID."))
        };
        Ok(match field {
            "link" => Self::Link(ids()?),
            "account" => Self::Account(ids()?),
            "status" => Self::Status(values),
            _ => Self::Direction(values),
        })
    }

    pub(super) fn admits(&self, row: &Row, mode: CreatedAt) -> bool {
        match self {
            Self::Link(links) => links.contains(&row.link),
            Self::Account(accounts) => accounts.contains(&row.account),
            Self::Status(statuses) => statuses.contains(&row.status),
            Self::Direction(directions) => row
                .direction
                .as_ref()
                .is_some_and(|direction| directions.contains(direction)),
            Self::Span(span) => match span.field {
                "value_date" => span.holds_day(row.value_date),
                "collected_at" => span.holds_instant(row.collected),
                _ => span.holds_instant(row.created_at(mode)),
            },
        }
    }
}

/// The members of a transaction that a bank account and a card share.
pub(super) fn plain_fields(id: Uuid, day: NaiveDate) -> Map<String, Value> {
    let Value::Object(fields) = json!({
        "id": id,
        "internal_identification": format!("TXN{}{:08X}", day.format("%Y%m%d"), id.as_fields().0),
        "value_date": day,
        "accounting_date": day,
        "local_currency_amount": null,
        "balance": null,
        "currency": "BRL",
        "observations": null,
        "reference": null,
        "merchant": null,
        "category": null,
        "subcategory": null,
        "status": "PROCESSED",
        "credit_card_data": null,
        "counterparty": null,
        "loan_data": null,
        "payment_type": null,
        "operation_type_additional_info": null,
        "mcc": null,
        // Belvo adds members without notice.
        "enrichment_revision": 3,
    }) else {
        return Map::new();
    };
    fields
}
