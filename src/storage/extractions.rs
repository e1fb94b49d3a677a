//! `extractions` and `extraction_chunks`: what was asked for of a source, and the rows that came.

mod attempt;
mod chunks;

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

pub use self::{
    attempt::{ExtractionEnding, ExtractionLease},
    chunks::{Chunk, ChunkPlace},
};
use super::{
    StorageError, TenantTx,
    page::{Page, PageStart, rows_to_ask},
};
use crate::domain::{
    extraction::{Extraction, ExtractionProgress, ExtractionRequest, ExtractionStatus},
    ids::{ConnectionId, ExtractionId},
    pull::PullFailure,
};

struct Row {
    id: Uuid,
    connection_id: Uuid,
    status: String,
    request: Value,
    due_at: DateTime<Utc>,
    attempts: i32,
    tables: i32,
    chunks: i32,
    rows: i64,
    bytes: i64,
    error_class: Option<String>,
    error_message: Option<String>,
    created_at: DateTime<Utc>,
    updated_at: DateTime<Utc>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    rows_until: Option<DateTime<Utc>>,
}

fn inconsistent(column: &'static str, id: Uuid) -> StorageError {
    StorageError::Inconsistent {
        table: "extractions",
        column,
        id,
    }
}

/// Reads what was asked for.
fn request(value: Value, id: Uuid) -> Result<ExtractionRequest, StorageError> {
    serde_json::from_value(value).map_err(|_| inconsistent("request", id))
}

impl TryFrom<Row> for Extraction {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        let status: ExtractionStatus = row
            .status
            .parse()
            .map_err(|_| inconsistent("status", row.id))?;
        let failure = row.error_class.zip(row.error_message);
        Ok(Self {
            id: ExtractionId(row.id),
            connection: ConnectionId(row.connection_id),
            request: request(row.request, row.id)?,
            status,
            attempts: row.attempts.unsigned_abs(),
            next_attempt_at: (status == ExtractionStatus::Pending).then_some(row.due_at),
            progress: ExtractionProgress {
                tables: row.tables.unsigned_abs(),
                rows: row.rows.unsigned_abs(),
                bytes: row.bytes.unsigned_abs(),
            },
            chunks: row.chunks.unsigned_abs(),
            failure: failure.map(|(class, message)| PullFailure { class, message }),
            created_at: row.created_at,
            updated_at: row.updated_at,
            started_at: row.started_at,
            finished_at: row.finished_at,
            rows_until: row.rows_until,
        })
    }
}

/// Every query that reads extractions; what follows the columns is part of the text, so that each
/// is checked.
macro_rules! select {
    ($rest:tt $(, $argument:expr)*) => {
        sqlx::query_as!(
            Row,
            "SELECT id, connection_id, status, request, due_at, attempts, tables, chunks, rows, bytes,
                    error_class, error_message, created_at, updated_at, started_at, finished_at,
                    rows_until
             FROM extractions WHERE tenant_id = $1 " + $rest
            $(, $argument)*
        )
    };
}

fn whole(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

fn count(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

impl TenantTx {
    /// Asks for an extraction.
    pub async fn insert_extraction(
        &mut self,
        id: ExtractionId,
        connection: ConnectionId,
        request: &ExtractionRequest,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        let request =
            serde_json::to_value(request).map_err(|error| sqlx::Error::Encode(error.into()))?;
        sqlx::query!(
            "INSERT INTO extractions
                 (tenant_id, id, connection_id, status, request, due_at, created_at, updated_at)
             VALUES ($1, $2, $3, 'PENDING', $4, $5, $5, $5)",
            self.tenant.0,
            id.0,
            connection.0,
            request,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        self.wake_workers().await
    }

    /// One extraction.
    pub async fn extraction(
        &mut self,
        id: ExtractionId,
    ) -> Result<Option<Extraction>, StorageError> {
        select!("AND id = $2", self.tenant.0, id.0)
            .fetch_optional(&mut *self.tx)
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// One extraction, held against other changes until this transaction is over.
    pub async fn lock_extraction(
        &mut self,
        id: ExtractionId,
    ) -> Result<Option<Extraction>, StorageError> {
        select!("AND id = $2 FOR NO KEY UPDATE", self.tenant.0, id.0)
            .fetch_optional(&mut *self.tx)
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// Until when the rows of an extraction are kept, which is held against other changes until this
    /// transaction is over. Reads nothing else, so that an extraction of which something does not
    /// read back can be cleared away like any other.
    pub async fn lock_extraction_rows(
        &mut self,
        id: ExtractionId,
    ) -> Result<Option<DateTime<Utc>>, StorageError> {
        let found = sqlx::query_scalar!(
            "SELECT rows_until FROM extractions WHERE tenant_id = $1 AND id = $2
             FOR NO KEY UPDATE",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(found.flatten())
    }

    /// How many bytes of rows the tenant's extractions keep, before sealing.
    pub async fn kept_extraction_bytes(&mut self) -> Result<u64, StorageError> {
        let bytes = sqlx::query_scalar!(
            r#"SELECT coalesce(sum(bytes), 0)::bigint AS "bytes!" FROM extractions
               WHERE tenant_id = $1 AND rows_until IS NOT NULL"#,
            self.tenant.0
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(bytes.unsigned_abs())
    }

    /// A page of the extractions of a connection, newest first.
    pub async fn list_extractions(
        &mut self,
        connection: ConnectionId,
        start: &PageStart<Uuid>,
        limit: u16,
    ) -> Result<Page<Extraction>, StorageError> {
        let (tenant, connection, most) = (self.tenant.0, connection.0, rows_to_ask(limit));
        let rows = match start {
            PageStart::First => {
                select!(
                    "AND connection_id = $2 ORDER BY id DESC LIMIT $3",
                    tenant,
                    connection,
                    most
                )
                .fetch_all(&mut *self.tx)
                .await?
            }
            PageStart::After(key) => {
                select!(
                    "AND connection_id = $2 AND id < $4 ORDER BY id DESC LIMIT $3",
                    tenant,
                    connection,
                    most,
                    key
                )
                .fetch_all(&mut *self.tx)
                .await?
            }
            PageStart::Before(key) => {
                select!(
                    "AND connection_id = $2 AND id > $4 ORDER BY id LIMIT $3",
                    tenant,
                    connection,
                    most,
                    key
                )
                .fetch_all(&mut *self.tx)
                .await?
            }
        };
        Page::of(rows, limit, start)
    }

    /// How many extractions of a connection are not over.
    pub async fn count_live_extractions(
        &mut self,
        connection: ConnectionId,
    ) -> Result<u64, StorageError> {
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM extractions
               WHERE tenant_id = $1 AND connection_id = $2
                 AND status IN ('PENDING', 'SUBMITTED', 'EXTRACTING')"#,
            self.tenant.0,
            connection.0
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(count.unsigned_abs())
    }

    /// Puts an extraction that is over back into the queue, as if it had never been begun but for
    /// the number of its attempts: rows of different attempts must not mix.
    pub async fn requeue_extraction(
        &mut self,
        id: ExtractionId,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE extractions SET status = 'PENDING', due_at = $3, updated_at = $3,
                    finished_at = NULL, error_class = NULL, error_message = NULL, failures = 0,
                    rows_until = NULL, tables = 0, chunks = 0, rows = 0, bytes = 0
             WHERE tenant_id = $1 AND id = $2 AND status IN ('FAILED', 'CANCELLED')",
            self.tenant.0,
            id.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        self.wake_workers().await
    }

    /// Calls an extraction off that is not over; its worker finds its lease gone. What it has read
    /// is cleared away. Answers whether there was anything to call off.
    pub async fn cancel_extraction(
        &mut self,
        id: ExtractionId,
        now: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "UPDATE extractions SET status = 'CANCELLED', lease = NULL, lease_until = NULL,
                    finished_at = $3, updated_at = $3, rows_until = $3
             WHERE tenant_id = $1 AND id = $2
               AND status IN ('PENDING', 'SUBMITTED', 'EXTRACTING')",
            self.tenant.0,
            id.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Lets the rows of an extraction go now, if any are kept.
    pub async fn release_extraction_rows(
        &mut self,
        id: ExtractionId,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE extractions SET rows_until = $3, updated_at = $3
             WHERE tenant_id = $1 AND id = $2 AND rows_until > $3",
            self.tenant.0,
            id.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Calls off what is asked for of a connection that is deleted, and lets its rows go.
    pub async fn end_extractions_of(
        &mut self,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE extractions SET
                 rows_until = $3, updated_at = $3, lease = NULL, lease_until = NULL,
                 finished_at = coalesce(finished_at, $3),
                 status = CASE WHEN status IN ('PENDING', 'SUBMITTED', 'EXTRACTING')
                               THEN 'CANCELLED' ELSE status END
             WHERE tenant_id = $1 AND connection_id = $2
               AND (rows_until IS NOT NULL OR status IN ('PENDING', 'SUBMITTED', 'EXTRACTING'))",
            self.tenant.0,
            connection.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Notes that nothing of an extraction's rows is left.
    pub async fn forget_extraction_rows(&mut self, id: ExtractionId) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE extractions SET rows_until = NULL, chunks = 0
             WHERE tenant_id = $1 AND id = $2 AND lease IS NULL",
            self.tenant.0,
            id.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
