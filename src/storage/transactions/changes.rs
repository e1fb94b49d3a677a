//! The change feed: transactions in the order of the database transactions that changed them.
//!
//! A row carries the identifier of the database transaction that wrote it. Identifiers are handed out
//! at a transaction's first write, not at its end, so that a reader who sees one does not yet see all
//! smaller ones. That is why the feed ends before the oldest transaction that still runs: nothing can
//! appear behind a place that was read.

use uuid::Uuid;

use super::{
    super::{StorageError, TenantTx, page::rows_to_ask},
    read::row_of,
};
use crate::domain::transaction::TransactionRecord;

/// A place in the feed.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct FeedPosition {
    /// The database transaction of the last row that was read.
    pub xid: u64,
    /// That row.
    pub id: Uuid,
    /// Where the feed ended when the reader was last at its end.
    pub known: u64,
}

/// What happened to a transaction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeOp {
    /// It appeared since the reader was last at the end of the feed.
    Added,
    /// It was there before.
    Modified,
    /// It is gone.
    Removed,
}

/// A stretch of the feed.
#[derive(Debug)]
pub struct Changes {
    /// What changed, each transaction as it is now.
    pub items: Vec<(ChangeOp, TransactionRecord)>,
    /// The place behind it.
    pub next: FeedPosition,
    /// Whether there is more already.
    pub has_more: bool,
}

impl TenantTx {
    /// The feed from a place on.
    pub async fn transaction_changes(
        &mut self,
        from: &FeedPosition,
        limit: u16,
    ) -> Result<Changes, StorageError> {
        let inconsistent = |column| StorageError::Inconsistent {
            table: "transactions",
            column,
            id: from.id,
        };
        let number = |text: &str, column| text.parse::<u64>().map_err(|_| inconsistent(column));
        // Asked before the rows: whatever ended by now is seen by the next statement.
        let end = sqlx::query_scalar!(
            r#"SELECT pg_snapshot_xmin(pg_current_snapshot())::text AS "end!""#
        )
        .fetch_one(&mut *self.tx)
        .await?;
        let mut rows = sqlx::query!(
            r#"SELECT changed_xid::text AS "changed!", added_xid::text AS "added!",
                      id, connection_id, account_id, vendor_id, date, civil_date, description,
                      direction, amount::text AS "amount!", currency,
                      amount_in_account_currency::text AS in_account, status,
                      details::text AS "details!", replaces_id, version, pull_id, first_seen_at,
                      updated_at, deleted_at
               FROM transactions
               WHERE tenant_id = $1 AND (changed_xid, id) > ($2::text::xid8, $3)
                 AND changed_xid < $4::text::xid8
               ORDER BY changed_xid, id LIMIT $5"#,
            self.tenant.0,
            from.xid.to_string(),
            from.id,
            end,
            rows_to_ask(limit)
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let has_more = rows.len() > usize::from(limit);
        rows.truncate(limit.into());
        let mut next = *from;
        let mut items = Vec::with_capacity(rows.len());
        for row in rows {
            (next.xid, next.id) = (number(&row.changed, "changed_xid")?, row.id);
            let op = if row.deleted_at.is_some() {
                ChangeOp::Removed
            } else if number(&row.added, "added_xid")? >= from.known {
                ChangeOp::Added
            } else {
                ChangeOp::Modified
            };
            let record = row_of!(row);
            items.push((op, record.try_into()?));
        }
        if !has_more {
            next.known = number(&end, "changed_xid")?;
        }
        Ok(Changes {
            items,
            next,
            has_more,
        })
    }
}
