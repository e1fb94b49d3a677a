//! The world of the demonstration: one customer of one bank, over a year.

use chrono::{DateTime, Days, NaiveDate, NaiveTime, TimeDelta, Utc};
use serde_json::json;
use uuid::Uuid;

use super::account::{Account, Kind};
use super::adding::twin;
use super::bill::Bill;
use super::keys::KeyPair;
use super::link::{Consent, INSTITUTION, Link};
use super::row::Row;
use super::{DENIED_PASSWORD, DENIED_SECRET_ID, LINK, PASSWORD, SECRET_ID, World, drawing};

const DAYS: u64 = 360;
/// Card purchases of the last so many days are on no bill yet.
const OPEN_BILL: u64 = 20;

impl World {
    /// Fills the world: two key pairs of which one works, and a link with a checking account, a
    /// savings account and a card.
    pub(in crate::local::simulator) fn seed_demo(&mut self, now: DateTime<Utc>) {
        self.keys.extend([
            KeyPair {
                id: SECRET_ID,
                password: PASSWORD,
                admitted: true,
            },
            KeyPair {
                id: DENIED_SECRET_ID,
                password: DENIED_PASSWORD,
                admitted: false,
            },
        ]);
        let id = LINK.parse().unwrap_or(Uuid::nil());
        let link = self.draw_link(id, now - TimeDelta::days(120), now);
        self.links.push(link);
        for (kind, number, cents, limit, rows) in [
            (Kind::Checking, "24550245", 845_210, 0, 170),
            (Kind::Savings, "88120033", 2_310_045, 0, 30),
            (Kind::Card, "1234,8885", 184_377, 1_200_000, 100),
        ] {
            let mut account = self.draw_account(id, kind, number, now);
            (account.cents, account.limit) = (cents, limit);
            account.settle();
            self.accounts.push(account.clone());
            self.seed_rows(&account, rows, now);
        }
        self.seed_bills(now);
    }

    pub(super) fn draw_link(
        &mut self,
        id: Uuid,
        created: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Link {
        let user = [self.chance.uuid(), self.chance.uuid()].map(|part| part.simple().to_string());
        Link {
            id,
            institution: INSTITUTION.to_owned(),
            user: format!("{}=", &user.concat()[..43]),
            external: "demonstration".to_owned(),
            status: "valid",
            access_mode: "recurrent".to_owned(),
            stale_in: "365d".to_owned(),
            resources: json!(["ACCOUNTS", "OWNERS", "TRANSACTIONS", "BILLS"]),
            created,
            accessed: now,
            refreshed: None,
            consent: Consent {
                id: self.chance.uuid(),
                status: "AUTHORISED",
                ends: created + TimeDelta::days(366),
            },
        }
    }

    pub(super) fn draw_account(
        &mut self,
        link: Uuid,
        kind: Kind,
        number: &str,
        now: DateTime<Utc>,
    ) -> Account {
        let id = self.chance.uuid();
        Account {
            id,
            link,
            kind,
            institution: INSTITUTION.to_owned(),
            internal: self.chance.uuid().simple().to_string(),
            number: number.to_owned(),
            cents: 0,
            limit: 0,
            created: self.link(link).map_or(now, |link| link.created),
            collected: now,
            text: String::new(),
        }
    }

    fn seed_rows(&mut self, account: &Account, count: u64, now: DateTime<Utc>) {
        let today = now.date_naive();
        let mut rows: Vec<Row> = (0..count)
            .map(|index| {
                let day = today - Days::new(index * DAYS / count);
                // What the link did not bring along came in with the refresh of the next morning.
                let morning = (day + Days::new(1)).and_time(NaiveTime::MIN).and_utc()
                    + TimeDelta::microseconds(self.chance.between(21_600_000_000, 23_400_000_000));
                let known = morning.max(account.created).min(now);
                let mut row = drawing::row(&mut self.chance, account, day, known);
                if index < 2 && account.kind != Kind::Savings {
                    row.edit(known, |fields| {
                        fields.insert("status".to_owned(), json!("PENDING"));
                        fields.insert("accounting_date".to_owned(), json!(null));
                    });
                }
                row
            })
            .collect();
        // Two coffees on one day for one price are two, however alike they look.
        if account.kind == Kind::Checking
            && let Some(first) = rows.get(9).cloned()
        {
            let drawn = drawing::fields(&mut self.chance, account, first.value_date, now);
            let twin = twin(drawn, first.fields());
            rows.push(Row::new((account.link, account.id), twin, now));
        }
        self.store(rows);
    }

    /// Closes a bill for each month that is over.
    fn seed_bills(&mut self, now: DateTime<Utc>) {
        let cards: Vec<Account> = self
            .accounts
            .iter()
            .filter(|account| account.kind == Kind::Card)
            .cloned()
            .collect();
        for account in cards {
            let mut closed = now.date_naive() - Days::new(DAYS);
            let open = now.date_naive() - Days::new(OPEN_BILL);
            while closed <= open {
                let at = closed.and_time(NaiveTime::MIN).and_utc() + TimeDelta::hours(9);
                self.close_bill(&account, closed, at.max(account.created));
                closed = closed + Days::new(30);
            }
        }
    }

    /// Puts the purchases up to `closed` that are on no bill yet on one. Gives their ids.
    pub(super) fn close_bill(
        &mut self,
        account: &Account,
        closed: NaiveDate,
        now: DateTime<Utc>,
    ) -> Vec<Uuid> {
        let waiting = |row: &Row| {
            row.account == account.id
                && row.value_date <= closed
                && row.status == "PROCESSED"
                && !row.is_broken()
                && row.fields()["credit_card_data"]["bill_name"].is_null()
        };
        let mut bill = Bill {
            id: self.chance.uuid(),
            link: account.link,
            account: account.id,
            internal: self.chance.uuid().simple().to_string(),
            closed,
            cents: 0,
            collected: now,
        };
        let places: Vec<usize> = (0..self.rows.len())
            .filter(|place| waiting(&self.rows[*place]))
            .collect();
        bill.cents = -places
            .iter()
            .map(|place| self.rows[*place].signed_cents())
            .sum::<i64>();
        for place in &places {
            self.rows[*place].edit(now, |fields| bill.fill(fields));
        }
        if !places.is_empty() {
            self.bills.push(bill);
        }
        places.iter().map(|place| self.rows[*place].id).collect()
    }
}
