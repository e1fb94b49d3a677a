//! Scenarios of what no client expects: rows that cannot be read, events that mean something else,
//! and pages that lead nowhere.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::account::{Account, Kind};
use super::super::event::Event;
use super::super::row::Row;
use super::super::{Drift, World, drawing};
use super::{Notice, Params, Told};

/// One way to break a row, given the row as it would have been.
type Breakage = fn(&mut Value);

const BREAKAGES: &[Breakage] = &[
    |row| row["amount"] = Value::Null,
    |row| row["amount"] = json!("12,34"),
    |row| row["value_date"] = json!("31/02/2026"),
    |row| row["id"] = json!(17),
    |row| row["account"] = json!("closed"),
    |row| *row = json!("unavailable"),
    |row| *row = Value::Null,
];

impl World {
    /// Arms a change that happens between two pages: of the next list of transactions that is
    /// read past its first page. Rows come in and go out at the front.
    pub(super) fn page_drift(&mut self, params: &Params<'_>, _: DateTime<Utc>) -> Told {
        let delete = params.count("delete", 0, 1000)?;
        let insert = params.count("insert", u64::from(delete == 0), 1000)?;
        let size = |count| usize::try_from(count).map_err(|_| "that is too many".to_owned());
        self.drifts.push_back(Drift {
            insert: size(insert)?,
            delete: size(delete)?,
        });
        Ok(Vec::new())
    }

    /// Adds one row of each kind that cannot be read.
    pub(super) fn malformed_rows(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let account = self.first_account(params)?;
        let rows: Vec<Row> = BREAKAGES
            .iter()
            .map(|breakage| {
                let mut row = drawing::row(&mut self.chance, &account, now.date_naive(), now);
                let mut text = String::new();
                self.write(&mut text, &row);
                let mut value = serde_json::from_str(&text).unwrap_or(Value::Null);
                breakage(&mut value);
                row.spoil(value.to_string());
                row
            })
            .collect();
        Ok(self.receive_and_tell(account.link, rows, now))
    }

    /// A row of which nobody knows which way the money went: `type` is null, or as given.
    pub(super) fn unknown_direction(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let kind = json!(params.text("type")?);
        self.odd_row(params, now, &[("type", kind)])
    }

    /// A row with values and members that no document names, and an account of a new category.
    pub(super) fn unknown_enum_and_field(
        &mut self,
        params: &Params<'_>,
        now: DateTime<Utc>,
    ) -> Told {
        let mut notices = self.odd_row(
            params,
            now,
            &[
                ("status", json!("SETTLING")),
                ("category", json!("Space Travel")),
                ("operation_type", json!("DREX")),
                ("payment_type", json!("STREAMED")),
                ("settlement", json!({ "rail": "DREX", "hops": [1, 2] })),
            ],
        )?;
        let link = self.link_of(params)?;
        let mut wallet = self.draw_account(link, Kind::Wallet, "99000001", now);
        wallet.created = now;
        wallet.settle();
        self.accounts.push(wallet);
        let data = json!({ "new_accounts": 1 });
        notices.push(self.tell(link, Event::new("ACCOUNTS", "new_accounts_available", data)));
        Ok(notices)
    }

    /// An event of the payments product, which shares its words with transactions and has no link.
    pub(super) fn decoy_payment_event(&mut self, params: &Params<'_>, _: DateTime<Utc>) -> Told {
        let codes = ["OBJECT_CREATED", "STATUS_UPDATE"];
        let code = params.choice("code", &codes)?.unwrap_or("OBJECT_CREATED");
        let object = self.chance.uuid();
        let body = json!({
            "webhook_id": self.chance.uuid(),
            "webhook_type": "TRANSACTIONS",
            "webhook_code": code,
            "object_id": object,
            "data": { "status": "SUCCEEDED" },
        });
        Ok(vec![Notice {
            resource: object.to_string(),
            body,
        }])
    }

    /// A new row whose event comes without the two members that older events do not have.
    pub(super) fn missing_request_id(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let mut notices = self.odd_row(params, now, &[])?;
        for notice in &mut notices {
            if let Value::Object(members) = &mut notice.body {
                members.remove("request_id");
                members.remove("process_type");
            }
        }
        Ok(notices)
    }

    pub(super) fn repeat_page(&mut self, params: &Params<'_>, _: DateTime<Utc>) -> Told {
        self.next_trick.repeat = params.flag("on", true)?;
        Ok(Vec::new())
    }

    pub(super) fn foreign_next(&mut self, params: &Params<'_>, _: DateTime<Utc>) -> Told {
        let host = params.text("host")?.unwrap_or("elsewhere.invalid");
        self.next_trick.foreign = params.flag("on", true)?.then(|| host.to_owned());
        Ok(Vec::new())
    }

    pub(super) fn error_in_200s(&mut self, params: &Params<'_>, _: DateTime<Utc>) -> Told {
        self.errors_in_200 = params.count("times", 1, u64::MAX)?;
        Ok(Vec::new())
    }

    fn odd_row(
        &mut self,
        params: &Params<'_>,
        now: DateTime<Utc>,
        members: &[(&str, Value)],
    ) -> Told {
        let account = self.first_account(params)?;
        let mut row = drawing::row(&mut self.chance, &account, now.date_naive(), now);
        row.edit(now, |fields| {
            for (name, value) in members {
                fields.insert((*name).to_owned(), value.clone());
            }
        });
        Ok(self.receive_and_tell(account.link, vec![row], now))
    }

    fn receive_and_tell(&mut self, link: Uuid, rows: Vec<Row>, now: DateTime<Utc>) -> Vec<Notice> {
        let event = Event::new_rows(rows.len());
        self.receive(rows, now);
        vec![self.tell(link, event)]
    }

    fn first_account(&self, params: &Params<'_>) -> Result<Account, String> {
        let link = self.link_of(params)?;
        self.accounts
            .iter()
            .find(|account| account.link == link)
            .cloned()
            .ok_or_else(|| "the link has no account".to_owned())
    }
}
