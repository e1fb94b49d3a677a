//! Rows that the vendor no longer has.

use std::collections::HashSet;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use uuid::Uuid;

use super::super::{StorageError, TenantTx};
use crate::domain::{
    ids::{AccountId, ConnectionId, PullId, TransactionId},
    replacement::{AHEAD, Candidate, Fingerprint, pair},
};

/// How long after a deletion a new row can still be the deleted one told anew.
const REMEMBERED: TimeDelta = TimeDelta::days(1);

/// How long after it was first missed a row must be missed again to be gone. Two listings that come
/// closer together may both be of one moment in which the vendor lags behind itself.
const APART: TimeDelta = TimeDelta::minutes(10);

/// Rows that the vendor says are gone.
#[derive(Debug)]
pub struct Gone<'a> {
    /// The connection.
    pub connection: ConnectionId,
    /// The account.
    pub account: AccountId,
    /// Their names.
    pub vendor_ids: &'a [String],
    /// The pull that found out.
    pub pull: PullId,
    /// When.
    pub now: DateTime<Utc>,
}

/// A complete listing, for what it lacks.
#[derive(Debug)]
pub struct Absence<'a> {
    /// The connection.
    pub connection: ConnectionId,
    /// The account that was listed.
    pub account: AccountId,
    /// The civil days that the listing holds for sure, both included; `None` for all there are. Where
    /// the vendor counts days in another time zone, the days at the edges are not held for sure.
    pub window: Option<(NaiveDate, NaiveDate)>,
    /// The vendor's names of all rows that were listed.
    pub seen: &'a HashSet<String>,
    /// The pull that listed them.
    pub pull: PullId,
    /// When.
    pub now: DateTime<Utc>,
}

/// What a listing lacked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Absent {
    /// Rows that are missing for the first time.
    pub newly_missing: u64,
    /// Rows that an earlier pull had missed already: they are deleted now.
    pub deleted: u64,
}

impl TenantTx {
    /// Deletes rows; answers how many of them lived. They stay as tombstones.
    pub async fn tombstone(&mut self, gone: &Gone<'_>) -> Result<u64, StorageError> {
        let ids = sqlx::query_scalar!(
            "SELECT id FROM transactions
             WHERE tenant_id = $1 AND connection_id = $2 AND vendor_id = ANY ($3)
               AND account_id = $4 AND deleted_at IS NULL
             ORDER BY vendor_id FOR UPDATE",
            self.tenant.0,
            gone.connection.0,
            gone.vendor_ids,
            gone.account.0
        )
        .fetch_all(&mut *self.tx)
        .await?;
        self.delete_rows(&ids, Some(gone.pull), gone.now).await
    }

    /// Which of these rows of an account live.
    pub async fn living_among(
        &mut self,
        connection: ConnectionId,
        account: AccountId,
        vendor_ids: &[String],
    ) -> Result<Vec<String>, StorageError> {
        let living = sqlx::query_scalar!(
            "SELECT vendor_id FROM transactions
             WHERE tenant_id = $1 AND connection_id = $2 AND vendor_id = ANY ($3)
               AND account_id = $4 AND deleted_at IS NULL",
            self.tenant.0,
            connection.0,
            vendor_ids,
            account.0
        )
        .fetch_all(&mut *self.tx)
        .await?;
        Ok(living)
    }

    /// Whether a complete listing lacks any row.
    pub async fn lacks_rows(&mut self, absence: &Absence<'_>) -> Result<bool, StorageError> {
        Ok(!self.unseen(absence).await?.is_empty())
    }

    /// The living rows that a complete listing lacks.
    async fn unseen(&mut self, absence: &Absence<'_>) -> Result<Vec<Unseen>, StorageError> {
        let (from, to) = absence.window.unzip();
        let mut unseen = sqlx::query_as!(
            Unseen,
            "SELECT id, vendor_id, missing_since, missing_pull_id FROM transactions
             WHERE tenant_id = $1 AND connection_id = $2 AND account_id = $3
               AND civil_date BETWEEN coalesce($4::date, '-infinity') AND coalesce($5::date, 'infinity')
               AND deleted_at IS NULL
             ORDER BY id",
            self.tenant.0,
            absence.connection.0,
            absence.account.0,
            from,
            to
        )
        .fetch_all(&mut *self.tx)
        .await?;
        unseen.retain(|row| !absence.seen.contains(&row.vendor_id));
        Ok(unseen)
    }

    /// Notes which rows a complete listing lacked. A row is deleted only when a second pull's listing
    /// lacks it as well, some time later.
    pub async fn note_absent(&mut self, absence: &Absence<'_>) -> Result<Absent, StorageError> {
        let unseen = self.unseen(absence).await?;
        let first: Vec<Uuid> = unseen
            .iter()
            .filter(|row| row.missing_pull_id.is_none())
            .map(|row| row.id)
            .collect();
        let again: Vec<Uuid> = unseen
            .iter()
            .filter(|row| row.missing_pull_id.is_some_and(|by| by != absence.pull.0))
            .filter(|row| {
                row.missing_since
                    .is_some_and(|since| since + APART <= absence.now)
            })
            .map(|row| row.id)
            .collect();
        if !first.is_empty() {
            sqlx::query!(
                "UPDATE transactions SET missing_since = $3, missing_pull_id = $4
                 WHERE tenant_id = $1 AND id = ANY ($2) AND missing_since IS NULL",
                self.tenant.0,
                &first,
                absence.now,
                absence.pull.0
            )
            .execute(&mut *self.tx)
            .await?;
        }
        Ok(Absent {
            newly_missing: first.len() as u64,
            deleted: self
                .delete_rows(&again, Some(absence.pull), absence.now)
                .await?,
        })
    }

    /// Deletes some of the living rows of an account that the connection has no more, those behind `after`;
    /// answers how many, and the last of them if there may be more.
    pub async fn tombstone_some_of_account(
        &mut self,
        account: AccountId,
        after: Option<(NaiveDate, Uuid)>,
        most: i64,
        pull: PullId,
        now: DateTime<Utc>,
    ) -> Result<(u64, Option<(NaiveDate, Uuid)>), StorageError> {
        let (day, id) = after.unzip();
        let rows = sqlx::query!(
            "SELECT civil_date, id FROM transactions
             WHERE tenant_id = $1 AND account_id = $2 AND deleted_at IS NULL
               AND (civil_date, id) > (coalesce($3::date, '-infinity'), $4)
             ORDER BY civil_date, id LIMIT $5 FOR UPDATE",
            self.tenant.0,
            account.0,
            day,
            id.unwrap_or_default(),
            most
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let ids: Vec<Uuid> = rows.iter().map(|row| row.id).collect();
        let deleted = self.delete_rows(&ids, Some(pull), now).await?;
        let is_full = i64::try_from(rows.len()).is_ok_and(|read| read >= most);
        let last = rows.last().filter(|_| is_full);
        Ok((deleted, last.map(|row| (row.civil_date, row.id))))
    }

    /// Deletes living rows; without a pull they stay as the last one left them.
    pub(in crate::storage) async fn delete_rows(
        &mut self,
        ids: &[Uuid],
        pull: Option<PullId>,
        now: DateTime<Utc>,
    ) -> Result<u64, StorageError> {
        if ids.is_empty() {
            return Ok(0);
        }
        let done = sqlx::query!(
            "UPDATE transactions
             SET deleted_at = $3, updated_at = $3, pull_id = coalesce($4, pull_id), version = version + 1,
                 changed_xid = pg_current_xact_id()
             WHERE tenant_id = $1 AND id = ANY ($2) AND deleted_at IS NULL",
            self.tenant.0,
            ids,
            now,
            pull.map(|pull| pull.0)
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
    }

    /// Undoes the links to those of these rows that live: what lives again was not replaced. Answers
    /// how many.
    pub(super) async fn unlink_living(
        &mut self,
        connection: ConnectionId,
        vendor_ids: &[&str],
        pull: PullId,
        now: DateTime<Utc>,
    ) -> Result<u64, StorageError> {
        let done = sqlx::query!(
            "UPDATE transactions n
             SET replaces_id = NULL, updated_at = $4, pull_id = $5, version = n.version + 1,
                 changed_xid = pg_current_xact_id()
             FROM transactions o
             WHERE o.tenant_id = $1 AND o.connection_id = $2 AND o.vendor_id = ANY ($3)
               AND o.deleted_at IS NULL
               AND n.tenant_id = $1 AND n.replaces_id = o.id",
            self.tenant.0,
            connection.0,
            vendor_ids as &[&str],
            now,
            pull.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
    }

    /// Links rows that an account got to rows that it lost less than a day before, and not more than a day before
    /// `since`, where they are the same movement told anew; answers how many.
    pub async fn link_replacements(
        &mut self,
        connection: ConnectionId,
        account: AccountId,
        pull: PullId,
        since: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<u64, StorageError> {
        let pairs = self
            .replacements(connection, account, account, None, since)
            .await?;
        self.link(&pairs, pull, now).await
    }

    /// Which rows that an account got replace which of those that it, or the one whose place it took, lost not
    /// more than a day before `since`: the old one first. What replaces a row comes within a day of its deletion.
    /// But what was of the past since `left_at` went then, whenever it was deleted, so the day counts back from
    /// there, and for what replaces it there is no end.
    pub async fn replacements(
        &mut self,
        connection: ConnectionId,
        from: AccountId,
        to: AccountId,
        left_at: Option<DateTime<Utc>>,
        since: DateTime<Utc>,
    ) -> Result<Vec<(TransactionId, TransactionId)>, StorageError> {
        let gone = sqlx::query_as!(
            Row,
            r#"SELECT t.id, t.civil_date, t.amount::text AS "amount!", t.currency, t.description,
                      t.details -> 'references' ->> 'bankId' AS bank_id,
                      least(coalesce(t.missing_since, t.deleted_at), $5::timestamptz) AS "at!",
                      coalesce(v.pull_id, t.pull_id) AS "first_pull!",
                      CASE WHEN $5 IS NULL THEN t.deleted_at END AS deleted_at
               FROM transactions t
               LEFT JOIN transaction_versions v
                   ON v.tenant_id = $1 AND v.transaction_id = t.id AND v.version = 1
               WHERE t.tenant_id = $1 AND t.connection_id = $2 AND t.account_id = $3
                 AND t.deleted_at >= $4
                 AND NOT EXISTS (
                     SELECT FROM transactions n WHERE n.tenant_id = $1 AND n.replaces_id = t.id)"#,
            self.tenant.0,
            connection.0,
            from.0,
            left_at.unwrap_or(since) - REMEMBERED,
            left_at
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let Some(earliest) = gone.iter().map(|row| row.at).min() else {
            return Ok(Vec::new());
        };
        let come = sqlx::query_as!(
            Row,
            r#"SELECT t.id, t.civil_date, t.amount::text AS "amount!", t.currency, t.description,
                      t.details -> 'references' ->> 'bankId' AS bank_id, t.first_seen_at AS at,
                      coalesce(v.pull_id, t.pull_id) AS "first_pull!", t.deleted_at
               FROM transactions t
               LEFT JOIN transaction_versions v
                   ON v.tenant_id = $1 AND v.transaction_id = t.id AND v.version = 1
               WHERE t.tenant_id = $1 AND t.connection_id = $2 AND t.account_id = $3
                 AND t.deleted_at IS NULL AND t.first_seen_at >= $4 AND t.replaces_id IS NULL"#,
            self.tenant.0,
            connection.0,
            to.0,
            earliest - AHEAD
        )
        .fetch_all(&mut *self.tx)
        .await?;
        Ok(pair(&candidates(gone)?, &candidates(come)?))
    }

    /// Notes that rows replace others, the old one of each pair first; answers how many.
    pub async fn link(
        &mut self,
        pairs: &[(TransactionId, TransactionId)],
        pull: PullId,
        now: DateTime<Utc>,
    ) -> Result<u64, StorageError> {
        if pairs.is_empty() {
            return Ok(0);
        }
        let (old, new): (Vec<Uuid>, Vec<Uuid>) =
            pairs.iter().map(|(old, new)| (old.0, new.0)).unzip();
        let done = sqlx::query!(
            "UPDATE transactions t
             SET replaces_id = link.old, updated_at = $4, pull_id = $5, version = t.version + 1,
                 changed_xid = pg_current_xact_id()
             FROM unnest($2::uuid[], $3::uuid[]) AS link (old, new)
             WHERE t.tenant_id = $1 AND t.id = link.new",
            self.tenant.0,
            &old,
            &new,
            now,
            pull.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
    }
}

struct Unseen {
    id: Uuid,
    vendor_id: String,
    missing_since: Option<DateTime<Utc>>,
    missing_pull_id: Option<Uuid>,
}

struct Row {
    id: Uuid,
    civil_date: NaiveDate,
    amount: String,
    currency: String,
    description: String,
    bank_id: Option<String>,
    at: DateTime<Utc>,
    first_pull: Uuid,
    deleted_at: Option<DateTime<Utc>>,
}

fn candidates(rows: Vec<Row>) -> Result<Vec<Candidate>, StorageError> {
    let read = |row: Row| {
        let inconsistent = |column| StorageError::Inconsistent {
            table: "transactions",
            column,
            id: row.id,
        };
        let amount = row.amount.parse().map_err(|_| inconsistent("amount"))?;
        let currency = row.currency.parse().map_err(|_| inconsistent("currency"))?;
        Ok(Candidate {
            id: TransactionId(row.id),
            bank_id: row.bank_id,
            fingerprint: Fingerprint::new(row.civil_date, amount, currency, &row.description),
            at: row.at,
            first_pull: PullId(row.first_pull),
            until: row.deleted_at.map(|at| at + REMEMBERED),
        })
    };
    rows.into_iter().map(read).collect()
}
