//! Transactions, read one by one, page by page, and version by version.

use std::str::FromStr;

use chrono::{DateTime, NaiveDate, Utc};
use serde::Deserialize;
use uuid::Uuid;

use super::{
    super::{
        StorageError, TenantTx,
        page::{Page, PageStart, rows_to_ask},
    },
    details::Details,
    merge::AccountMerge,
};
use crate::domain::{
    ids::{AccountId, ConnectionId, PullId, TransactionId},
    money::Amount,
    transaction::{Direction, TransactionRecord, TransactionStatus, TransactionVersion},
};

/// Which transactions a list holds; deleted ones never.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TransactionFilter {
    /// Only those of these accounts; `None` for all of the tenant's.
    pub accounts: Option<Vec<AccountId>>,
    /// Only those of this status.
    pub status: Option<TransactionStatus>,
    /// Only those of this direction.
    pub direction: Option<Direction>,
    /// Only those of this civil day and later ones.
    pub date_from: Option<NaiveDate>,
    /// Only those of this civil day and earlier ones.
    pub date_to: Option<NaiveDate>,
}

pub(super) struct Row {
    pub(super) id: Uuid,
    pub(super) connection_id: Uuid,
    pub(super) account_id: Uuid,
    pub(super) vendor_id: String,
    pub(super) date: DateTime<Utc>,
    pub(super) civil_date: NaiveDate,
    pub(super) description: String,
    pub(super) direction: String,
    pub(super) amount: String,
    pub(super) currency: String,
    pub(super) in_account: Option<String>,
    pub(super) status: String,
    pub(super) details: String,
    pub(super) replaces_id: Option<Uuid>,
    pub(super) version: i32,
    pub(super) pull_id: Uuid,
    pub(super) first_seen_at: DateTime<Utc>,
    pub(super) updated_at: DateTime<Utc>,
    pub(super) deleted_at: Option<DateTime<Utc>>,
}

/// The [`Row`] of a query that reads more than it.
macro_rules! row_of {
    ($from:ident) => {
        $crate::storage::transactions::read::Row {
            id: $from.id,
            connection_id: $from.connection_id,
            account_id: $from.account_id,
            vendor_id: $from.vendor_id,
            date: $from.date,
            civil_date: $from.civil_date,
            description: $from.description,
            direction: $from.direction,
            amount: $from.amount,
            currency: $from.currency,
            in_account: $from.in_account,
            status: $from.status,
            details: $from.details,
            replaces_id: $from.replaces_id,
            version: $from.version,
            pull_id: $from.pull_id,
            first_seen_at: $from.first_seen_at,
            updated_at: $from.updated_at,
            deleted_at: $from.deleted_at,
        }
    };
}
pub(super) use row_of;

fn inconsistent(id: Uuid, column: &'static str) -> StorageError {
    StorageError::Inconsistent {
        table: "transactions",
        column,
        id,
    }
}

fn read<T: FromStr>(id: Uuid, column: &'static str, text: &str) -> Result<T, StorageError> {
    text.parse().map_err(|_| inconsistent(id, column))
}

impl TryFrom<Row> for TransactionRecord {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        let id = row.id;
        let mut details: Details<'_> =
            serde_json::from_str(&row.details).map_err(|_| inconsistent(id, "details"))?;
        let in_account = |text: String| read::<Amount>(id, "amount_in_account_currency", &text);
        Ok(Self {
            id: TransactionId(id),
            connection_id: ConnectionId(row.connection_id),
            account_id: AccountId(row.account_id),
            vendor_id: row.vendor_id,
            date: row.date,
            civil_date: row.civil_date,
            description: row.description,
            direction: read(id, "direction", &row.direction)?,
            amount: read(id, "amount", &row.amount)?,
            currency: read(id, "currency", &row.currency)?,
            amount_in_account_currency: row.in_account.map(in_account).transpose()?,
            status: read(id, "status", &row.status)?,
            category: details.category(),
            payment_method: details.payment_method(),
            counterparty: details.counterparty(),
            references: details.references(),
            card: details.card().map_err(|_| inconsistent(id, "details"))?,
            replaces_id: row.replaces_id.map(TransactionId),
            version: row.version,
            pull_id: PullId(row.pull_id),
            first_seen_at: row.first_seen_at,
            updated_at: row.updated_at,
            deleted_at: row.deleted_at,
        })
    }
}

/// What a superseded version is kept as.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Snapshot {
    account_id: Uuid,
    date: DateTime<Utc>,
    civil_date: NaiveDate,
    description: String,
    direction: String,
    amount: String,
    currency: String,
    amount_in_account_currency: Option<String>,
    status: String,
    details: Box<serde_json::value::RawValue>,
    replaces_id: Option<Uuid>,
    deleted_at: Option<DateTime<Utc>>,
}

/// One query for the tenant's list. Its order and its direction are part of the text, so that each reads
/// just the index made for it.
macro_rules! list_query {
    ($tx:expr, $compare:tt, $edge:tt, $direction:tt, $($argument:expr),+) => {
        sqlx::query_as!(
            Row,
            r#"SELECT id, connection_id, account_id, vendor_id, date, civil_date, description,
                      direction, amount::text AS "amount!", currency,
                      amount_in_account_currency::text AS in_account, status,
                      details::text AS "details!", replaces_id, version, pull_id, first_seen_at,
                      updated_at, deleted_at
               FROM transactions
               WHERE tenant_id = $1
                 AND (civil_date, id) "# + $compare + " (coalesce($2::date, " + $edge + "), $3)
                 AND civil_date BETWEEN coalesce($4::date, '-infinity')
                                    AND coalesce($5::date, 'infinity')
                 AND ($6::text IS NULL OR status = $6)
                 AND ($7::text IS NULL OR direction = $7)
                 AND deleted_at IS NULL
               ORDER BY civil_date " + $direction + ", id " + $direction + " LIMIT $8",
            $($argument),+
        )
        .fetch_all(&mut *$tx)
        .await?
    };
}

struct VersionRow {
    version: i32,
    pull_id: Uuid,
    written_at: DateTime<Utc>,
    replaced_at: Option<DateTime<Utc>>,
    snapshot: Option<String>,
}

/// The superseded versions, and the present one as the one without a snapshot.
macro_rules! versions_query {
    ($tx:expr, $compare:tt, $direction:tt, $($argument:expr),+) => {
        sqlx::query_as!(
            VersionRow,
            r#"SELECT version AS "version!", pull_id AS "pull_id!", written_at AS "written_at!",
                      replaced_at, snapshot
               FROM (SELECT version, pull_id, written_at, replaced_at, snapshot::text
                     FROM transaction_versions WHERE tenant_id = $1 AND transaction_id = $2
                     UNION ALL
                     SELECT version, pull_id, updated_at, NULL, NULL
                     FROM transactions WHERE tenant_id = $1 AND id = $2) AS versions
               WHERE version "# + $compare + " $3 ORDER BY version " + $direction + " LIMIT $4",
            $($argument),+
        )
        .fetch_all(&mut *$tx)
        .await?
    };
}

impl TenantTx {
    /// A page of transactions, the newest day first; of a day the newest row first.
    pub async fn list_transactions(
        &mut self,
        filter: &TransactionFilter,
        start: &PageStart<(NaiveDate, Uuid)>,
        limit: u16,
    ) -> Result<Page<TransactionRecord>, StorageError> {
        if let Some(accounts) = &filter.accounts {
            let mut merge = AccountMerge::new(accounts, filter, start);
            let rows = self
                .next_of_accounts(&mut merge, limit.saturating_add(1))
                .await?;
            return Ok(Page::arranged(rows, limit, start));
        }
        let tenant = self.tenant.0;
        let (day, id, backwards) = match start {
            PageStart::First => (None, Uuid::max(), false),
            PageStart::After((day, id)) => (Some(*day), *id, false),
            PageStart::Before((day, id)) => (Some(*day), *id, true),
        };
        let (from, to) = (filter.date_from, filter.date_to);
        let status = filter.status.map(TransactionStatus::as_str);
        let direction = filter.direction.map(Direction::as_str);
        let most = rows_to_ask(limit);
        let tx = &mut *self.tx;
        macro_rules! list {
            ($compare:tt, $edge:tt, $order:tt) => {
                list_query!(
                    tx, $compare, $edge, $order, tenant, day, id, from, to, status, direction, most
                )
            };
        }
        let rows = if backwards {
            list!(">", "'-infinity'", "ASC")
        } else {
            list!("<", "'infinity'", "DESC")
        };
        Page::of(rows, limit, start)
    }

    /// One transaction, deleted or not.
    pub async fn transaction(
        &mut self,
        id: TransactionId,
    ) -> Result<Option<TransactionRecord>, StorageError> {
        sqlx::query_as!(
            Row,
            r#"SELECT id, connection_id, account_id, vendor_id, date, civil_date, description,
                      direction, amount::text AS "amount!", currency,
                      amount_in_account_currency::text AS in_account, status,
                      details::text AS "details!", replaces_id, version, pull_id, first_seen_at,
                      updated_at, deleted_at
               FROM transactions WHERE tenant_id = $1 AND id = $2"#,
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?
        .map(TryInto::try_into)
        .transpose()
    }

    /// A page of the versions that a transaction had, the present one first.
    pub async fn transaction_versions(
        &mut self,
        present: &TransactionRecord,
        start: &PageStart<i32>,
        limit: u16,
    ) -> Result<Page<TransactionVersion>, StorageError> {
        let (tenant, id) = (self.tenant.0, present.id.0);
        let most = rows_to_ask(limit);
        let (version, backwards) = match start {
            PageStart::First => (i32::MAX, false),
            PageStart::After(version) => (*version, false),
            PageStart::Before(version) => (*version, true),
        };
        let tx = &mut *self.tx;
        let rows = if backwards {
            versions_query!(tx, ">", "ASC", tenant, id, version, most)
        } else {
            versions_query!(tx, "<", "DESC", tenant, id, version, most)
        };
        let rows = rows.into_iter().map(|row| (row, present)).collect();
        Page::of(rows, limit, start)
    }
}

impl TryFrom<(VersionRow, &TransactionRecord)> for TransactionVersion {
    type Error = StorageError;

    fn try_from((row, present): (VersionRow, &TransactionRecord)) -> Result<Self, StorageError> {
        let Some(snapshot) = row.snapshot else {
            return Ok(Self {
                record: present.clone(),
                replaced_at: None,
            });
        };
        let was: Snapshot =
            serde_json::from_str(&snapshot).map_err(|_| StorageError::Inconsistent {
                table: "transaction_versions",
                column: "snapshot",
                id: present.id.0,
            })?;
        let row_as_it_was = Row {
            id: present.id.0,
            connection_id: present.connection_id.0,
            account_id: was.account_id,
            vendor_id: present.vendor_id.clone(),
            date: was.date,
            civil_date: was.civil_date,
            description: was.description,
            direction: was.direction,
            amount: was.amount,
            currency: was.currency,
            in_account: was.amount_in_account_currency,
            status: was.status,
            details: was.details.get().to_owned(),
            replaces_id: was.replaces_id,
            version: row.version,
            pull_id: row.pull_id,
            first_seen_at: present.first_seen_at,
            updated_at: row.written_at,
            deleted_at: was.deleted_at,
        };
        Ok(Self {
            record: row_as_it_was.try_into()?,
            replaced_at: row.replaced_at,
        })
    }
}
