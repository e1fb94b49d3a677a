//! The rows of many accounts as one list.
//!
//! Each account has an index of its own rows in their order, and none is over all of them. So a few
//! rows are read of each, and more only of those that may have some among the next ones: to find the
//! next L of A accounts takes about 4 A + 2 L rows, and some multiples of L if few accounts have most
//! of them. What was read and is not among them waits for its turn, so that an export, which has all
//! the rows to come, reads each once.

use std::collections::BTreeMap;

use chrono::{Datelike as _, NaiveDate};
use futures_util::TryStreamExt as _;
use uuid::Uuid;

use super::{
    super::{StorageError, TenantTx, page::PageStart},
    read::{Row, TransactionFilter},
};
use crate::domain::{
    ids::AccountId,
    transaction::{Direction, TransactionRecord, TransactionStatus},
};

/// How many rows may wait for their turn, or about as many: those that are needed next are read all the same.
/// Of very many accounts, [`FEWEST`] of each and as many again.
const HELD: usize = 8_000;
/// The fewest that are read of an account at once.
const FEWEST: usize = 4;
/// How many times as many are read of an account when those before were not enough.
const GROWTH: usize = 4;

/// A row's day and identifier, which is where it stands in a list.
type Place = (NaiveDate, Uuid);
/// The same as a number: what comes first in the list has the least.
type Turn = (i32, u128);

/// Where a list of several accounts is.
#[derive(Debug)]
pub struct AccountMerge {
    filter: TransactionFilter,
    backwards: bool,
    /// Those that may have more rows than were read.
    accounts: BTreeMap<Uuid, Reading>,
    /// What was read, and has not had its turn.
    waiting: BTreeMap<Turn, Box<TransactionRecord>>,
    /// The most that may wait.
    most: usize,
}

/// How far an account was read.
#[derive(Debug)]
struct Reading {
    /// The last row that was read; `None` for nothing before the first one.
    reached: Option<Place>,
    /// How many rows were asked for when it was last read.
    asked: usize,
    /// How many of them came.
    came: usize,
}

/// What is to be read next, one entry of each for every account.
#[derive(Default)]
struct Wanted {
    accounts: Vec<Uuid>,
    days: Vec<Option<NaiveDate>>,
    ids: Vec<Uuid>,
    rows: Vec<i64>,
}

fn turn(backwards: bool, (day, id): Place) -> Turn {
    let (day, id) = (day.num_days_from_ce(), id.as_u128());
    if backwards { (day, id) } else { (!day, !id) }
}

impl AccountMerge {
    /// The rows of these accounts from `start` on, in the order that a page from there is read in.
    #[must_use]
    pub fn new(
        accounts: &[AccountId],
        filter: &TransactionFilter,
        start: &PageStart<Place>,
    ) -> Self {
        let (key, backwards) = match start {
            PageStart::First => (None, false),
            PageStart::After(key) => (Some(*key), false),
            PageStart::Before(key) => (Some(*key), true),
        };
        let edge = if backwards {
            filter.date_from.map(|day| (day, Uuid::nil()))
        } else {
            filter.date_to.map(|day| (day, Uuid::max()))
        };
        let places = [key, edge].into_iter().flatten();
        let reached = places.max_by_key(|place| turn(backwards, *place));
        let unread = |account: &AccountId| {
            let reading = Reading {
                reached,
                asked: 0,
                came: 0,
            };
            (account.0, reading)
        };
        Self {
            filter: filter.clone(),
            backwards,
            accounts: accounts.iter().map(unread).collect(),
            waiting: BTreeMap::new(),
            most: HELD.max(2 * FEWEST * accounts.len()),
        }
    }

    /// What has to be read before the next `limit` rows are known; `None` if they are.
    fn wanted(&mut self, limit: usize) -> Option<Wanted> {
        self.accounts
            .retain(|_, reading| reading.came == reading.asked);
        let first = (2 * limit).div_ceil(self.accounts.len().max(1));
        // An account that was read farther than this has nothing to add to the next rows.
        let last = self.waiting.keys().nth(limit.saturating_sub(1));
        let backwards = self.backwards;
        let mut behind: Vec<(&Uuid, &mut Reading)> = self
            .accounts
            .iter_mut()
            .filter(|(_, reading)| match (last, reading.reached) {
                (Some(last), Some(place)) => turn(backwards, place) < *last,
                _ => true,
            })
            .collect();
        // Those that wait may all come late, and then the next ones still have to be read in few steps.
        let room = self.most.saturating_sub(self.waiting.len()).max(limit);
        if behind.is_empty() {
            return None;
        }
        let share = room / behind.len();
        let mut wanted = Wanted::default();
        for (account, reading) in &mut behind {
            let more = match reading.asked {
                0 => first,
                asked => asked * GROWTH,
            };
            reading.asked = more.min(limit).min(share).max(FEWEST);
            reading.came = 0;
            wanted.accounts.push(**account);
            wanted.days.push(reading.reached.map(|(day, _)| day));
            let edge = if backwards { Uuid::nil() } else { Uuid::max() };
            wanted.ids.push(reading.reached.map_or(edge, |(_, id)| id));
            let rows = i64::try_from(reading.asked).unwrap_or(i64::MAX);
            wanted.rows.push(rows);
        }
        Some(wanted)
    }

    /// Lets a row wait that was read. Those of an account come in their order.
    fn take(&mut self, record: TransactionRecord) {
        let place = (record.civil_date, record.id.0);
        if let Some(reading) = self.accounts.get_mut(&record.account_id.0) {
            reading.reached = Some(place);
            reading.came += 1;
        }
        let turn = turn(self.backwards, place);
        self.waiting.insert(turn, Box::new(record));
    }
}

/// One query for the next rows of each account. The order is part of the text, so that each reads the
/// index from where its account was left.
macro_rules! next_query {
    ($tx:expr, $compare:tt, $place:tt, $until:tt, $direction:tt, $($argument:expr),+) => {
        sqlx::query_as!(
            Row,
            r#"SELECT t.id AS "id!", t.connection_id AS "connection_id!",
                      t.account_id AS "account_id!", t.vendor_id AS "vendor_id!", t.date AS "date!",
                      t.civil_date AS "civil_date!", t.description AS "description!",
                      t.direction AS "direction!", t.amount::text AS "amount!",
                      t.currency AS "currency!", t.amount_in_account_currency::text AS in_account,
                      t.status AS "status!", t.details::text AS "details!", t.replaces_id,
                      t.version AS "version!", t.pull_id AS "pull_id!",
                      t.first_seen_at AS "first_seen_at!", t.updated_at AS "updated_at!",
                      t.deleted_at
               FROM unnest($2::uuid[], $3::date[], $4::uuid[], $5::bigint[])
                   AS account (id, day, row_id, rows)
               CROSS JOIN LATERAL (
                   SELECT * FROM transactions t
                   WHERE t.tenant_id = $1 AND t.account_id = account.id
                     -- Here it begins. Not with coalesce of what is no constant: the policy's barrier
                     -- keeps that out of the index's condition, and all before it would be read.
                     AND (t.civil_date, t.id) "# + $compare + " (" + $place + ", account.row_id)
                     -- Here it ends. With the account in it, so that no other index serves it: without
                     -- statistics the tenant's looks just as good, and is read whole.
                     AND (t.account_id, t.civil_date) " + $until + "
                     AND ($7::text IS NULL OR t.status = $7)
                     AND ($8::text IS NULL OR t.direction = $8)
                     AND t.deleted_at IS NULL
                   ORDER BY t.civil_date " + $direction + ", t.id " + $direction + "
                   LIMIT account.rows) AS t",
            $($argument),+
        )
        .fetch(&mut *$tx)
    };
}

impl TenantTx {
    /// The next rows of a list of several accounts, in its order; fewer than `limit` only at the end.
    pub async fn next_of_accounts(
        &mut self,
        merge: &mut AccountMerge,
        limit: u16,
    ) -> Result<Vec<TransactionRecord>, StorageError> {
        let limit = usize::from(limit);
        while let Some(wanted) = merge.wanted(limit) {
            self.read_more(merge, &wanted).await?;
        }
        let next = std::iter::from_fn(|| merge.waiting.pop_first());
        Ok(next.take(limit).map(|(_, record)| *record).collect())
    }

    async fn read_more(
        &mut self,
        merge: &mut AccountMerge,
        wanted: &Wanted,
    ) -> Result<(), StorageError> {
        let until = if merge.backwards {
            merge.filter.date_to
        } else {
            merge.filter.date_from
        };
        let status = merge.filter.status.map(TransactionStatus::as_str);
        let direction = merge.filter.direction.map(Direction::as_str);
        let (tenant, tx) = (self.tenant.0, &mut *self.tx);
        macro_rules! next {
            ($compare:tt, $place:tt, $until:tt, $order:tt) => {
                next_query!(
                    tx,
                    $compare,
                    $place,
                    $until,
                    $order,
                    tenant,
                    &wanted.accounts,
                    &wanted.days as &[Option<NaiveDate>],
                    &wanted.ids,
                    &wanted.rows,
                    until,
                    status,
                    direction
                )
            };
        }
        let mut rows = if merge.backwards {
            next!(
                ">",
                "greatest(account.day, '-infinity')",
                "<= (account.id, least($6::date, 'infinity'))",
                "ASC"
            )
        } else {
            next!(
                "<",
                "least(account.day, 'infinity')",
                ">= (account.id, greatest($6::date, '-infinity'))",
                "DESC"
            )
        };
        while let Some(row) = rows.try_next().await? {
            merge.take(row.try_into()?);
        }
        Ok(())
    }
}
