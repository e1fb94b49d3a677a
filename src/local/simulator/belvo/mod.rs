//! Belvo's aggregation API for Brazil: a world of links, accounts, transactions and bills, and how
//! it answers.
//!
//! The world does no input or output and reads no clock: what time it is comes with each request,
//! and what has to be told comes back with each answer.

mod account;
mod adding;
mod bill;
mod drawing;
mod event;
mod keys;
mod link;
mod page;
mod query;
mod refusal;
mod route;
mod row;
mod scenario;
mod seed;
mod shape;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::account::Account;
use self::bill::Bill;
use self::event::Event;
use self::keys::KeyPair;
use self::link::Link;
use self::page::NextTrick;
use self::query::MOST_PER_PAGE;
use self::row::{CreatedAt, Row};
use super::chance::Chance;
use super::notice::Notice;

/// The key pair of the demo world.
pub(in crate::local::simulator) const SECRET_ID: &str = "6f1a2c3d-4b5e-4f60-8a71-92b3c4d5e6f7";
pub(in crate::local::simulator) const PASSWORD: &str =
    "simulated-Belvo-password_0123456789abcdefghijklmnopqrstuv";
/// A second pair, known but never let into production.
pub(in crate::local::simulator) const DENIED_SECRET_ID: &str =
    "0b9c8d7e-6f5a-4e3d-8c2b-1a09f8e7d6c5";
pub(in crate::local::simulator) const DENIED_PASSWORD: &str =
    "simulated-Belvo-denied_0123456789abcdefghijklmnopqrstuvwx";
/// The link of the demo world.
pub(in crate::local::simulator) const LINK: &str = "1f2e3d4c-5b6a-4798-8a9b-0c1d2e3f4a5b";

/// How this Belvo behaves where the real one's behaviour is a setting, or is not known.
#[derive(Clone, Debug)]
struct Switches {
    /// Whether the edge turns undocumented query parameters away.
    waf: bool,
    page_size: usize,
    /// How many items a page holds, whatever is asked for.
    most_per_page: usize,
    created_at: CreatedAt,
    /// Whether each event has a `webhook_id` of its own; else all have that of the endpoint.
    own_webhook_id: bool,
}

/// Changes that wait for a reader to be between two pages.
#[derive(Clone, Debug)]
struct Drift {
    insert: usize,
    delete: usize,
}

/// Everything this Belvo knows.
#[derive(Debug)]
pub(super) struct World {
    /// Decides what is made; reading takes nothing from it.
    chance: Chance,
    request_ids: Chance,
    /// What the registered webhook is called, and so most of the events of it.
    endpoint: Uuid,
    keys: Vec<KeyPair>,
    links: Vec<Link>,
    accounts: Vec<Account>,
    bills: Vec<Bill>,
    /// In the order of the lists.
    rows: Vec<Row>,
    switches: Switches,
    next_trick: NextTrick,
    /// Taken one at a time, each by the next list that is read past its first page.
    drifts: VecDeque<Drift>,
    /// How many lists are yet to answer 200 with a fault inside.
    errors_in_200: u64,
}

impl World {
    /// A world with nothing in it, not even keys.
    pub(super) fn new(chance: Chance) -> Self {
        Self {
            request_ids: chance.branch("request ids"),
            endpoint: chance.branch("endpoint").uuid(),
            chance,
            keys: Vec::new(),
            links: Vec::new(),
            accounts: Vec::new(),
            bills: Vec::new(),
            rows: Vec::new(),
            switches: Switches {
                waf: false,
                page_size: 100,
                most_per_page: MOST_PER_PAGE,
                created_at: CreatedAt::default(),
                own_webhook_id: false,
            },
            next_trick: NextTrick::default(),
            drifts: VecDeque::new(),
            errors_in_200: 0,
        }
    }

    /// What there is, for whoever steers the world.
    pub(super) fn state(&self) -> Value {
        let accounts: Vec<_> = self
            .accounts
            .iter()
            .map(|account| {
                let of_account = |row: &&Row| row.account == account.id;
                json!({
                    "id": account.id,
                    "link": account.link,
                    "category": account.category(),
                    "internalIdentification": account.internal,
                    "rows": self.rows.iter().filter(of_account).count(),
                })
            })
            .collect();
        let links: Vec<_> = self
            .links
            .iter()
            .map(|link| {
                json!({
                    "id": link.id,
                    "institution": link.institution,
                    "accessMode": link.access_mode,
                    "status": link.status,
                    "consent": { "id": link.consent.id, "status": link.consent.status },
                })
            })
            .collect();
        json!({
            "links": links,
            "accounts": accounts,
            "rows": self.rows.len(),
            "bills": self.bills.len(),
            "switches": {
                "waf": self.switches.waf,
                "page_size": self.switches.page_size,
                "most_per_page": self.switches.most_per_page,
                "created_at": match self.switches.created_at {
                    CreatedAt::Creation => "creation",
                    CreatedAt::LastUpdate => "last-update",
                },
                "webhook_id": if self.switches.own_webhook_id { "delivery" } else { "endpoint" },
            },
            "armed": {
                "repeat-page": self.next_trick.repeat,
                "foreign-next": self.next_trick.foreign,
                "page-drift": self.drifts.len(),
                "error-in-200": self.errors_in_200,
            },
        })
    }

    /// Every row with the id of its account in the account's place, whoever may read it; of a broken
    /// row, as much as there is.
    pub(super) fn rows(&self) -> Vec<Value> {
        let told = |row: &Row| {
            let mut fields = row.fields();
            fields.insert("account".to_owned(), json!(row.account));
            Value::Object(fields)
        };
        self.rows.iter().map(told).collect()
    }

    fn account(&self, id: Uuid) -> Option<&Account> {
        self.accounts.iter().find(|account| account.id == id)
    }

    fn link(&self, id: Uuid) -> Option<&Link> {
        self.links.iter().find(|link| link.id == id)
    }

    /// Stores rows where the lists have them, and moves no money.
    fn store(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
        self.rows.sort_by_cached_key(Row::place);
    }

    /// Stores what a bank has just told, and lets the balances follow.
    fn receive(&mut self, rows: Vec<Row>, now: DateTime<Utc>) {
        let mut moved: HashMap<Uuid, i64> = HashMap::new();
        for row in &rows {
            *moved.entry(row.account).or_default() += row.settled_cents();
        }
        for (account, signed) in moved {
            self.move_money(account, signed, now);
        }
        self.store(rows);
    }

    /// Changes one row as the bank would have it, and lets the balance follow.
    fn amend(
        &mut self,
        place: usize,
        now: DateTime<Utc>,
        change: impl FnOnce(&mut Map<String, Value>),
    ) -> Uuid {
        let row = &mut self.rows[place];
        let before = row.settled_cents();
        row.edit(now, change);
        let (id, account, moved) = (row.id, row.account, row.settled_cents() - before);
        self.move_money(account, moved, now);
        id
    }

    fn move_money(&mut self, account: Uuid, signed: i64, now: DateTime<Utc>) {
        if let Some(account) = self.accounts.iter_mut().find(|one| one.id == account) {
            account.take(signed);
            account.collected = now;
            account.settle();
        }
    }

    /// Removes rows as if they had never been, balances included.
    fn remove(&mut self, ids: &[Uuid], now: DateTime<Utc>) {
        let (gone, kept): (Vec<Row>, Vec<Row>) = std::mem::take(&mut self.rows)
            .into_iter()
            .partition(|row| ids.contains(&row.id));
        self.rows = kept;
        for row in gone {
            self.move_money(row.account, -row.settled_cents(), now);
        }
    }

    /// Forgets a link and all that came with it.
    fn forget(&mut self, link: Uuid) {
        self.links.retain(|one| one.id != link);
        self.accounts.retain(|account| account.link != link);
        self.bills.retain(|bill| bill.link != link);
        self.rows.retain(|row| row.link != link);
    }

    /// Carries out what was waiting for a reader to be between two pages of `link`.
    fn drift(&mut self, link: Option<Uuid>, now: DateTime<Utc>) -> Vec<Notice> {
        let Some(link) = link.filter(|_| !self.drifts.is_empty()) else {
            return Vec::new();
        };
        let Some(drift) = self.drifts.pop_front() else {
            return Vec::new();
        };
        let mut notices = Vec::new();
        // The newest rows were on the first page, so that every row after them moves up.
        let gone: Vec<Uuid> = self
            .rows
            .iter()
            .filter(|row| row.link == link)
            .take(drift.delete)
            .map(|row| row.id)
            .collect();
        if !gone.is_empty() {
            self.remove(&gone, now);
            notices.push(self.tell(link, Event::deleted(&gone)));
        }
        let account = self
            .accounts
            .iter()
            .find(|account| account.link == link)
            .cloned();
        if let Some(account) = account.filter(|_| drift.insert > 0) {
            let today = now.date_naive();
            let rows: Vec<Row> = (0..drift.insert)
                .map(|_| drawing::row(&mut self.chance, &account, today, now))
                .collect();
            self.receive(rows, now);
            notices.push(self.tell(link, Event::new_rows(drift.insert)));
        }
        notices
    }
}
