//! Scenarios of the transactions: what a bank adds, settles, corrects and takes back.

use chrono::{DateTime, Days, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::super::World;
use super::super::account::{Account, Kind};
use super::super::drawing;
use super::super::event::Event;
use super::super::row::Row;
use super::super::shape::{cents, money};
use super::{Params, Told};

const MOST_AT_ONCE: u64 = 10_000;
/// How far back Belvo asks the bank again on each refresh.
const READ_AGAIN: u64 = 6;

impl World {
    pub(super) fn initial_load(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let link = self.link_of(params)?;
        self.access(link, now);
        Ok(self.tell_history(link))
    }

    /// New rows of today and yesterday, `count` of them, and `late` ones that the bank has only now
    /// booked for days long past. The first is pending.
    pub(super) fn daily_refresh(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let link = self.link_of(params)?;
        if self.link(link).is_some_and(|link| link.status != "valid") {
            return Err("the link is not valid, so Belvo does not refresh it".to_owned());
        }
        let count = params.count("count", 5, MOST_AT_ONCE)?;
        let late = params.count("late", 2, MOST_AT_ONCE)?;
        let accounts: Vec<Account> = self
            .accounts
            .iter()
            .filter(|account| account.link == link)
            .cloned()
            .collect();
        if accounts.is_empty() {
            return Err("the link has no account".to_owned());
        }
        self.access(link, now);
        let today = now.date_naive();
        let since = today - Days::new(READ_AGAIN);
        for row in self.rows.iter_mut().filter(|row| row.link == link) {
            if row.value_date >= since {
                row.seen(now);
            }
        }
        let mut rows = Vec::new();
        for (index, account) in (0..count + late).zip(accounts.iter().cycle()) {
            let day = if index < count {
                today - Days::new(index % 2)
            } else {
                today - Days::new(8 + (index - count) % 32)
            };
            let mut row = drawing::row(&mut self.chance, account, day, now);
            if index == 0 && count > 0 {
                row.edit(now, |fields| {
                    fields.insert("status".to_owned(), json!("PENDING"));
                    fields.insert("accounting_date".to_owned(), Value::Null);
                });
            }
            rows.push(row);
        }
        let event = Event::new_rows(rows.len());
        self.receive(rows, now);
        Ok(vec![self.tell(link, event)])
    }

    /// Whatever is pending settles, under the id it had.
    pub(super) fn pending_processed(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let link = self.link_of(params)?;
        let pending: Vec<usize> = (0..self.rows.len())
            .filter(|place| {
                let row = &self.rows[*place];
                row.link == link && row.status == "PENDING" && !row.is_broken()
            })
            .collect();
        if pending.is_empty() {
            return Err("nothing is pending on the link; a daily-refresh brings it".to_owned());
        }
        let ids: Vec<Uuid> = pending
            .into_iter()
            .map(|place| {
                self.amend(place, now, |fields| {
                    fields.insert("status".to_owned(), json!("PROCESSED"));
                    fields.insert("accounting_date".to_owned(), json!(now.date_naive()));
                })
            })
            .collect();
        Ok(vec![self.tell(link, Event::updated(&ids))])
    }

    pub(super) fn edit_amount(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let place = self.row_of(params)?;
        let amount = match params.value("amount") {
            None => self.rows[place].cents + 100,
            Some(value) => cents(value).ok_or("amount is a number, such as \"12.34\"")?,
        };
        let id = self.amend(place, now, |fields| {
            fields.insert("amount".to_owned(), money(amount));
        });
        let link = self.rows[place].link;
        Ok(vec![self.tell(link, Event::updated(&[id]))])
    }

    pub(super) fn edit_description(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let place = self.row_of(params)?;
        let description = match params.text("description")? {
            Some(description) => description.to_owned(),
            None => format!("{} CORRIGIDO", self.rows[place].description),
        };
        let id = self.amend(place, now, |fields| {
            fields.insert("description".to_owned(), json!(description));
        });
        let link = self.rows[place].link;
        Ok(vec![self.tell(link, Event::updated(&[id]))])
    }

    pub(super) fn delete_row(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let place = self.row_of(params)?;
        let Row { id, link, .. } = self.rows[place];
        self.remove(&[id], now);
        Ok(vec![self.tell(link, Event::deleted(&[id]))])
    }

    /// Removes one of two rows that look alike, be they two or not.
    pub(super) fn dedupe(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let link = self.link_of(params)?;
        let likeness = |row: &Row| {
            let looks = (row.account, row.value_date, row.cents);
            (row.link == link && !row.is_broken()).then(|| (looks, row.description.clone()))
        };
        let mut met = std::collections::HashSet::new();
        let twin = self
            .rows
            .iter()
            .find(|row| likeness(row).is_some_and(|looks| !met.insert(looks)))
            .map(|row| row.id)
            .ok_or("no two rows of the link look alike; add two with the same description")?;
        self.remove(&[twin], now);
        Ok(vec![self.tell(link, Event::deleted(&[twin]))])
    }

    /// The card's purchases so far go on a bill and learn its name, due date and amount.
    pub(super) fn bill_closes(&mut self, params: &Params<'_>, now: DateTime<Utc>) -> Told {
        let link = self.link_of(params)?;
        let card = self
            .accounts
            .iter()
            .find(|account| account.link == link && account.kind == Kind::Card)
            .cloned()
            .ok_or("the link has no card")?;
        let ids = self.close_bill(&card, now.date_naive(), now);
        if ids.is_empty() {
            return Err("every purchase on the card is on a bill already".to_owned());
        }
        let bill = Event::new("BILLS", "new_bills_available", json!({ "new_bills": 1 }));
        Ok(vec![
            self.tell(link, Event::updated(&ids)),
            self.tell(link, bill),
        ])
    }

    /// Notes that Belvo got through to the bank.
    pub(super) fn access(&mut self, link: Uuid, now: DateTime<Utc>) {
        for one in self.links.iter_mut().filter(|one| one.id == link) {
            one.accessed = now;
        }
        for account in self.accounts.iter_mut().filter(|one| one.link == link) {
            account.collected = now;
            account.settle();
        }
    }
}
