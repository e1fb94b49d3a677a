//! The rows of many accounts as one list, for exports.
//!
//! A page of such a list takes the first rows of each account to find the first of all, and most of
//! them are read again for the next page. An export has all the pages to come, so it keeps what it read
//! of each account until its turn comes, and every row is read once.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
};

use chrono::NaiveDate;
use uuid::Uuid;

use super::{
    super::{StorageError, TenantTx},
    read::{TransactionFilter, row_of},
};
use crate::domain::{
    ids::AccountId,
    transaction::{Direction, TransactionRecord, TransactionStatus},
};

/// About how many rows wait for their turn in all, up to 1,000 accounts; of more, the fewest of each.
const HELD: usize = 8_000;
/// The fewest that are read of an account at once.
const FEWEST: usize = 8;

/// Where an export of several accounts is.
#[derive(Clone, Debug)]
pub struct AccountMerge(Vec<Source>);

/// One account.
#[derive(Clone, Debug)]
struct Source {
    account: Uuid,
    /// The last row that was read.
    place: Option<(NaiveDate, Uuid)>,
    /// What was read, and has not had its turn.
    rows: VecDeque<TransactionRecord>,
    /// Whether there may be more behind it.
    more: bool,
}

fn place(record: &TransactionRecord) -> (NaiveDate, Uuid) {
    (record.civil_date, record.id.0)
}

impl AccountMerge {
    /// The beginning of an export.
    #[must_use]
    pub fn new(accounts: &[AccountId]) -> Self {
        let source = |account: &AccountId| Source {
            account: account.0,
            place: None,
            rows: VecDeque::new(),
            more: true,
        };
        Self(accounts.iter().map(source).collect())
    }

    /// Whether nothing can be given out before more was read.
    fn is_dry(&self) -> bool {
        let mut sources = self.0.iter();
        sources.any(|source| source.more && source.rows.is_empty())
    }

    /// Gives out rows in their order until `limit` are in `out`, or an account that may have more has
    /// none at hand. Answers whether there are any left.
    fn give(&mut self, out: &mut Vec<TransactionRecord>, limit: usize) -> bool {
        let heads = self.0.iter().enumerate();
        let mut next: BinaryHeap<_> = heads
            .filter_map(|(number, source)| Some((place(source.rows.front()?), Reverse(number))))
            .collect();
        while out.len() < limit {
            let Some((_, Reverse(number))) = next.pop() else {
                return false;
            };
            let source = &mut self.0[number];
            out.extend(source.rows.pop_front());
            match source.rows.front() {
                Some(row) => next.push((place(row), Reverse(number))),
                None if source.more => break,
                None => {}
            }
        }
        true
    }
}

impl TenantTx {
    /// The next rows of an export, the newest day first, of a day the newest row first; fewer than
    /// `limit` only at the end. The accounts are those of the export, whatever the filter says.
    pub async fn next_of_accounts(
        &mut self,
        merge: &mut AccountMerge,
        filter: &TransactionFilter,
        limit: u16,
    ) -> Result<Vec<TransactionRecord>, StorageError> {
        let limit = usize::from(limit);
        let mut out = Vec::with_capacity(limit);
        while out.len() < limit {
            if merge.is_dry() {
                self.fill(merge, filter, limit).await?;
            }
            if !merge.give(&mut out, limit) {
                break;
            }
        }
        Ok(out)
    }

    /// Reads more of the accounts that have little at hand.
    async fn fill(
        &mut self,
        merge: &mut AccountMerge,
        filter: &TransactionFilter,
        limit: usize,
    ) -> Result<(), StorageError> {
        let open = merge.0.iter().filter(|source| source.more).count();
        let depth = (HELD / open.max(1)).clamp(FEWEST, limit.max(FEWEST));
        let mut low: Vec<&mut Source> = merge
            .0
            .iter_mut()
            .filter(|source| source.more && source.rows.len() <= depth / 2)
            .collect();
        let accounts: Vec<Uuid> = low.iter().map(|source| source.account).collect();
        let (days, ids): (Vec<Option<NaiveDate>>, Vec<Uuid>) = low
            .iter()
            .map(|source| match source.place {
                Some((day, id)) => (Some(day), id),
                None => (None, Uuid::max()),
            })
            .unzip();
        let read = sqlx::query!(
            r#"SELECT account.number AS "number!", t.id AS "id!",
                      t.connection_id AS "connection_id!", t.account_id AS "account_id!",
                      t.vendor_id AS "vendor_id!", t.date AS "date!", t.civil_date AS "civil_date!",
                      t.description AS "description!", t.direction AS "direction!",
                      t.amount::text AS "amount!", t.currency AS "currency!",
                      t.amount_in_account_currency::text AS in_account, t.status AS "status!",
                      t.details::text AS "details!", t.replaces_id, t.version AS "version!",
                      t.pull_id AS "pull_id!", t.first_seen_at AS "first_seen_at!",
                      t.updated_at AS "updated_at!", t.deleted_at
               FROM unnest($2::uuid[], $3::date[], $4::uuid[])
                   WITH ORDINALITY AS account (id, day, row_id, number)
               CROSS JOIN LATERAL (
                   SELECT * FROM transactions t
                   WHERE t.tenant_id = $1 AND t.account_id = account.id
                     -- With the account in each, so that no other index serves them: without
                     -- statistics the tenant's looks just as good, and is read whole.
                     AND (t.account_id, t.civil_date, t.id)
                         < (account.id, coalesce(account.day, 'infinity'), account.row_id)
                     AND (t.account_id, t.civil_date)
                         >= (account.id, coalesce($5::date, '-infinity'))
                     AND (t.account_id, t.civil_date)
                         <= (account.id, coalesce($6::date, 'infinity'))
                     AND ($7::text IS NULL OR t.status = $7)
                     AND ($8::text IS NULL OR t.direction = $8)
                     AND t.deleted_at IS NULL
                   ORDER BY t.civil_date DESC, t.id DESC LIMIT $9) AS t
               ORDER BY account.number, t.civil_date DESC, t.id DESC"#,
            self.tenant.0,
            &accounts,
            &days as &[Option<NaiveDate>],
            &ids,
            filter.date_from,
            filter.date_to,
            filter.status.map(TransactionStatus::as_str),
            filter.direction.map(Direction::as_str),
            i64::try_from(depth).unwrap_or(i64::MAX)
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let mut counts = vec![0; low.len()];
        for row in read {
            let index = usize::try_from(row.number - 1).unwrap_or(usize::MAX);
            let (Some(source), Some(count)) = (low.get_mut(index), counts.get_mut(index)) else {
                continue;
            };
            let record = row_of!(row);
            source.place = Some((record.civil_date, record.id));
            source.rows.push_back(record.try_into()?);
            *count += 1;
        }
        for (source, count) in low.into_iter().zip(counts) {
            source.more = count == depth;
        }
        Ok(())
    }
}
