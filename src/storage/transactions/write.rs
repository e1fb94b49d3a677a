//! Pages of a vendor's rows, written so that nothing is written where nothing changed.
//!
//! What is known of a page's rows is read first, and only what differs is sent. The condition of the
//! upsert alone would not do: Postgres locks a row before it looks at the condition, which dirties
//! its page.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, NaiveDate, Utc};
use sqlx::Connection as _;
use uuid::Uuid;

use super::{
    super::{StorageError, TenantTx},
    details::Details,
};
use crate::domain::{
    ids::{self, AccountId, ConnectionId, PullId},
    random::Random,
    transaction::{ContentHash, Transaction, content_hash},
};

/// A page of rows to store.
#[derive(Debug)]
pub struct PageWrite<'a> {
    /// The connection they were read through.
    pub connection: ConnectionId,
    /// The account they belong to.
    pub account: AccountId,
    /// The pull that read them.
    pub pull: PullId,
    /// The rows. Of those with the same name the last one counts.
    pub rows: &'a [Transaction],
    /// When they were read.
    pub now: DateTime<Utc>,
    /// What new identifiers are made of.
    pub random: &'a dyn Random,
}

/// What a page turned out to be.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Applied {
    /// Rows that were new.
    pub inserted: u64,
    /// Rows that had changed.
    pub updated: u64,
    /// Rows that were stored already just as they are.
    pub unchanged: u64,
    /// Rows that had been deleted and are there again.
    pub revived: u64,
}

/// What is stored already, by the vendor's names: living rows only.
#[derive(Debug, Default)]
pub struct Known {
    rows: HashMap<String, KnownRow>,
    /// Whether nothing at all was stored of the account, not even a tombstone.
    was_empty: bool,
}

#[derive(Clone, Copy, Debug)]
struct KnownRow {
    hash: ContentHash,
    missing: bool,
}

struct Row {
    vendor_id: String,
    content_hash: Vec<u8>,
    missing: bool,
}

impl Known {
    fn of(rows: impl IntoIterator<Item = Row>) -> Self {
        let read = |row: Row| {
            // A hash of another length is none of ours: the row is written anew.
            let hash = row.content_hash.try_into().ok()?;
            let known = KnownRow {
                hash,
                missing: row.missing,
            };
            Some((row.vendor_id, known))
        };
        Self {
            rows: rows.into_iter().filter_map(read).collect(),
            was_empty: false,
        }
    }

    /// Whether these rows are stored just as they are, and nothing is to be written of them.
    #[must_use]
    pub fn holds(&self, rows: &[Transaction]) -> bool {
        rows.iter().all(|row| {
            let stored = self.rows.get(&row.vendor_id);
            stored.is_some_and(|stored| !stored.missing && stored.hash == content_hash(row))
        })
    }

    /// Whether every row that is known has one of these names.
    #[must_use]
    pub fn is_within(&self, names: &HashSet<String>) -> bool {
        self.rows.keys().all(|name| names.contains(name))
    }

    /// How many rows are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }
}

/// One way to insert rows; what stands around it is part of the text.
///
/// The arrays are unnested where values are chosen and not where rows come from: there each would be
/// put aside as a whole first, which takes a tenth of what an insert costs. They are equally long.
macro_rules! insert {
    ($before:tt, $after:tt, $tenant:expr, $page:expr, $columns:expr) => {
        sqlx::query!(
            $before
                + "INSERT INTO transactions
                       (tenant_id, connection_id, account_id, pull_id, first_seen_at, updated_at,
                        id, vendor_id, date, civil_date, direction, status, amount, currency,
                        amount_in_account_currency, description, details, content_hash)
                   SELECT $1, $2, $3, $4, $5, $5,
                          n.id, n.vendor_id, n.date, n.civil_date, n.direction, n.status,
                          n.amount::numeric, n.currency, n.in_account::numeric, n.description,
                          n.details::jsonb, n.hash
                   FROM (SELECT unnest($6::uuid[]) AS id, unnest($7::text[]) AS vendor_id,
                                unnest($8::timestamptz[]) AS date, unnest($9::date[]) AS civil_date,
                                unnest($10::text[]) AS direction, unnest($11::text[]) AS status,
                                unnest($12::text[]) AS amount, unnest($13::text[]) AS currency,
                                unnest($14::text[]) AS in_account, unnest($15::text[]) AS description,
                                unnest($16::text[]) AS details, unnest($17::bytea[]) AS hash) AS n "
                + $after,
            $tenant.0,
            $page.connection.0,
            $page.account.0,
            $page.pull.0,
            $page.now,
            &$columns.ids,
            &$columns.vendor_ids as &[&str],
            &$columns.dates,
            &$columns.civil_dates,
            &$columns.directions as &[&str],
            &$columns.statuses as &[&str],
            &$columns.amounts,
            &$columns.currencies as &[&str],
            &$columns.in_account as &[Option<String>],
            &$columns.descriptions as &[&str],
            &$columns.details,
            &$columns.hashes as &[&[u8]]
        )
    };
}

impl TenantTx {
    /// How many rows of a connection live.
    pub async fn count_transactions(
        &mut self,
        connection: ConnectionId,
    ) -> Result<u64, StorageError> {
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM transactions
               WHERE tenant_id = $1 AND connection_id = $2 AND deleted_at IS NULL"#,
            self.tenant.0,
            connection.0
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(count.unsigned_abs())
    }

    /// What is stored of an account, to be read once before a listing that holds most of it.
    pub async fn known_of_account(&mut self, account: AccountId) -> Result<Known, StorageError> {
        let mut rows = sqlx::query!(
            r#"SELECT vendor_id, content_hash, missing_since IS NOT NULL AS "missing!",
                      deleted_at IS NULL AS "lives!"
               FROM transactions WHERE tenant_id = $1 AND account_id = $2"#,
            self.tenant.0,
            account.0
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let was_empty = rows.is_empty();
        rows.retain(|row| row.lives);
        let rows = rows.into_iter().map(|row| Row {
            vendor_id: row.vendor_id,
            content_hash: row.content_hash,
            missing: row.missing,
        });
        Ok(Known {
            was_empty,
            ..Known::of(rows)
        })
    }

    /// What is stored under these names.
    async fn known_of_names(
        &mut self,
        connection: ConnectionId,
        names: &[&str],
    ) -> Result<Known, StorageError> {
        let rows = sqlx::query_as!(
            Row,
            // The fence keeps it one look into the primary key for each name. Without it, and without
            // statistics, the planner reads all of a tenant through another index instead; that is
            // also why tombstones are left out only after they were found.
            r#"SELECT known.vendor_id, known.content_hash, known.missing AS "missing!"
               FROM unnest($3::text[]) AS page (vendor_id)
               CROSS JOIN LATERAL (
                   SELECT t.vendor_id, t.content_hash, t.missing_since IS NOT NULL AS missing,
                          t.deleted_at
                   FROM transactions t
                   WHERE t.tenant_id = $1 AND t.connection_id = $2
                     AND t.vendor_id = page.vendor_id
                   OFFSET 0) AS known
               WHERE known.deleted_at IS NULL"#,
            self.tenant.0,
            connection.0,
            names as &[&str]
        )
        .fetch_all(&mut *self.tx)
        .await?;
        Ok(Known::of(rows))
    }

    /// Makes the stored rows equal to those of a page.
    pub async fn apply_page(&mut self, page: &PageWrite<'_>) -> Result<Applied, StorageError> {
        let names: Vec<&str> = page.rows.iter().map(|row| row.vendor_id.as_str()).collect();
        let mut known = self.known_of_names(page.connection, &names).await?;
        self.apply_page_knowing(page, &mut known).await
    }

    /// The same, where it was read before what is stored; `known` is kept up to date.
    pub async fn apply_page_knowing(
        &mut self,
        page: &PageWrite<'_>,
        known: &mut Known,
    ) -> Result<Applied, StorageError> {
        // In the order of the key: two that write the same rows never wait for each other in a ring.
        let rows: BTreeMap<&str, &Transaction> = page
            .rows
            .iter()
            .map(|row| (row.vendor_id.as_str(), row))
            .collect();
        let mut differing: Vec<(&Transaction, ContentHash)> = Vec::new();
        let mut found: Vec<&str> = Vec::new();
        let mut all_new = known.was_empty;
        for (name, row) in &rows {
            let hash = content_hash(row);
            match known.rows.get(*name) {
                Some(stored) if stored.hash == hash => {
                    if stored.missing {
                        found.push(name);
                    }
                }
                stored => {
                    all_new &= stored.is_none();
                    differing.push((row, hash));
                }
            }
        }
        if !found.is_empty() {
            self.clear_missing(page.connection, &found).await?;
        }
        let mut applied = Applied::default();
        if !differing.is_empty() {
            let columns = Columns::of(page, &differing)?;
            let inserted = if all_new {
                self.insert_rows(page, &columns).await?
            } else {
                None
            };
            applied = match inserted {
                Some(applied) => applied,
                None => self.upsert_rows(page, &columns).await?,
            };
        }
        if applied.revived > 0 {
            let names: Vec<&str> = differing
                .iter()
                .map(|(row, _)| row.vendor_id.as_str())
                .collect();
            self.unlink_living(page.connection, &names, page.pull, page.now)
                .await?;
        }
        let written = applied.inserted + applied.updated + applied.revived;
        applied.unchanged = (rows.len() as u64).saturating_sub(written);
        for name in found {
            if let Some(row) = known.rows.get_mut(name) {
                row.missing = false;
            }
        }
        known.rows.extend(differing.into_iter().map(|(row, hash)| {
            let missing = false;
            (row.vendor_id.clone(), KnownRow { hash, missing })
        }));
        Ok(applied)
    }

    /// Writes rows of which none is stored; `None` if one is, and then nothing was written.
    ///
    /// Where nothing is looked for that may be in the way, a row costs the database a fifth less.
    async fn insert_rows(
        &mut self,
        page: &PageWrite<'_>,
        columns: &Columns<'_>,
    ) -> Result<Option<Applied>, StorageError> {
        let mut attempt = self.tx.begin().await?;
        let written = insert!("", "", self.tenant, page, columns)
            .execute(&mut *attempt)
            .await;
        match written {
            Ok(written) => {
                attempt.commit().await?;
                Ok(Some(Applied {
                    inserted: written.rows_affected(),
                    ..Applied::default()
                }))
            }
            // The account was empty, but the vendor gives it a row of another one.
            Err(sqlx::Error::Database(error)) if error.is_unique_violation() => {
                attempt.rollback().await?;
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Writes rows of which some may be stored.
    async fn upsert_rows(
        &mut self,
        page: &PageWrite<'_>,
        columns: &Columns<'_>,
    ) -> Result<Applied, StorageError> {
        let counts = insert!(
            "WITH written AS (",
            r#"ON CONFLICT (tenant_id, connection_id, vendor_id) DO UPDATE
                   SET account_id = excluded.account_id, pull_id = excluded.pull_id,
                       updated_at = excluded.updated_at, date = excluded.date,
                       civil_date = excluded.civil_date, direction = excluded.direction,
                       status = excluded.status, amount = excluded.amount,
                       currency = excluded.currency,
                       amount_in_account_currency = excluded.amount_in_account_currency,
                       description = excluded.description, details = excluded.details,
                       content_hash = excluded.content_hash,
                       version = transactions.version + 1,
                       changed_xid = excluded.changed_xid,
                       added_xid = CASE WHEN transactions.deleted_at IS NULL
                                        THEN transactions.added_xid ELSE excluded.added_xid END,
                       deleted_at = NULL, missing_since = NULL, missing_pull_id = NULL
                   WHERE transactions.content_hash <> excluded.content_hash
                      OR transactions.deleted_at IS NOT NULL
                   RETURNING version = 1 AS is_new, added_xid = changed_xid AS appears
               )
               SELECT count(*) AS "written!", count(*) FILTER (WHERE is_new) AS "inserted!",
                      count(*) FILTER (WHERE appears AND NOT is_new) AS "revived!"
               FROM written"#,
            self.tenant,
            page,
            columns
        )
        .fetch_one(&mut *self.tx)
        .await?;
        let count = |number: i64| u64::try_from(number).unwrap_or_default();
        let (inserted, revived) = (count(counts.inserted), count(counts.revived));
        Ok(Applied {
            inserted,
            updated: count(counts.written) - inserted - revived,
            unchanged: 0,
            revived,
        })
    }

    /// Notes that rows were listed, though they could not be read: they are not missing.
    pub async fn note_present(
        &mut self,
        connection: ConnectionId,
        names: &[&str],
    ) -> Result<(), StorageError> {
        self.clear_missing(connection, names).await
    }

    async fn clear_missing(
        &mut self,
        connection: ConnectionId,
        names: &[&str],
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE transactions SET missing_since = NULL, missing_pull_id = NULL
             WHERE tenant_id = $1 AND connection_id = $2 AND vendor_id = ANY ($3)
               AND missing_since IS NOT NULL",
            self.tenant.0,
            connection.0,
            names as &[&str]
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}

/// The rows, column by column.
#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    vendor_ids: Vec<&'a str>,
    dates: Vec<DateTime<Utc>>,
    civil_dates: Vec<NaiveDate>,
    directions: Vec<&'a str>,
    statuses: Vec<&'a str>,
    amounts: Vec<String>,
    currencies: Vec<&'a str>,
    in_account: Vec<Option<String>>,
    descriptions: Vec<&'a str>,
    details: Vec<String>,
    hashes: Vec<&'a [u8]>,
}

impl<'a> Columns<'a> {
    fn of(
        page: &PageWrite<'_>,
        rows: &'a [(&'a Transaction, ContentHash)],
    ) -> Result<Self, StorageError> {
        let mut columns = Self {
            ids: ids::uuids_at(page.now, page.random, rows.len()),
            ..Self::default()
        };
        for (row, hash) in rows {
            let details = serde_json::to_string(&Details::of(row))
                .map_err(|error| sqlx::Error::Encode(error.into()))?;
            columns.vendor_ids.push(&row.vendor_id);
            columns.dates.push(row.date);
            columns.civil_dates.push(row.civil_date);
            columns.directions.push(row.direction.as_str());
            columns.statuses.push(row.status.as_str());
            columns.amounts.push(row.amount.decimal().to_string());
            columns.currencies.push(row.currency.as_str());
            let in_account = row.amount_in_account_currency;
            columns
                .in_account
                .push(in_account.map(|amount| amount.decimal().to_string()));
            columns.descriptions.push(&row.description);
            columns.details.push(details);
            columns.hashes.push(hash);
        }
        Ok(columns)
    }
}
