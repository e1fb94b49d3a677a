//! `extractions` and `extraction_chunks`: what was asked for of a source, and the rows that came.

use chrono::{DateTime, Utc};
use serde_json::Value;
use uuid::Uuid;

use super::{
    StorageError, TenantTx,
    page::{Page, PageStart, rows_to_ask},
};
use crate::{
    domain::{
        extraction::{Extraction, ExtractionProgress, ExtractionRequest, ExtractionStatus},
        ids::{ConnectionId, ExtractionId},
        pull::PullFailure,
    },
    vault::Sealed,
};

/// Proves that whoever writes still is the one that runs the extraction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExtractionLease {
    /// The extraction.
    pub extraction: ExtractionId,
    /// The proof.
    pub token: Uuid,
}

/// Where a piece of an extraction's rows is kept; each is sealed for just this place.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ChunkPlace {
    /// The extraction.
    pub extraction: ExtractionId,
    /// Which of its attempts read them.
    pub attempt: u32,
    /// Which piece it is, from zero.
    pub position: u32,
}

/// A piece of an extraction's rows.
#[derive(Debug)]
pub struct Chunk {
    /// Where it is kept.
    pub place: ChunkPlace,
    /// The table that the rows are of.
    pub table: String,
    /// How many there are.
    pub rows: u64,
    /// Their lines.
    pub lines: Sealed,
}

/// What becomes of an extraction whose attempt is over.
#[derive(Clone, Debug)]
pub enum ExtractionEnding {
    /// All rows are here, and are kept until then.
    Complete {
        /// Until when.
        rows_until: DateTime<Utc>,
    },
    /// It is begun again at this instant.
    Retry {
        /// When.
        at: DateTime<Utc>,
        /// Why this attempt failed; `None` if it only stopped, which does not count.
        failure: Option<PullFailure>,
    },
    /// It rests until somebody retries it.
    Failed(PullFailure),
    /// There is nothing to extract any more.
    Cancelled,
}

impl ExtractionEnding {
    /// A word for the log.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Complete { .. } => "complete",
            Self::Retry { .. } => "retry",
            Self::Failed(_) => "failed",
            Self::Cancelled => "cancelled",
        }
    }
}

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

    /// How many pieces of rows an attempt has left.
    pub async fn count_extraction_chunks(
        &mut self,
        id: ExtractionId,
        attempt: u32,
    ) -> Result<u64, StorageError> {
        let count = sqlx::query_scalar!(
            r#"SELECT count(*) AS "count!" FROM extraction_chunks
               WHERE tenant_id = $1 AND extraction_id = $2 AND attempt = $3"#,
            self.tenant.0,
            id.0,
            whole(attempt)
        )
        .fetch_one(&mut *self.tx)
        .await?;
        Ok(count.unsigned_abs())
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

    /// Keeps the lease of an extraction and notes how far it has come; `false` if the lease is
    /// lost, and then nothing else of this transaction may be kept.
    pub async fn advance_extraction(
        &mut self,
        lease: ExtractionLease,
        progress: &ExtractionProgress,
        chunks: u32,
        now: DateTime<Utc>,
        lease_until: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "UPDATE extractions SET status = CASE WHEN $6::bigint > 0 OR $4::integer > 0 THEN 'EXTRACTING'
                                                  ELSE status END,
                    tables = $4, chunks = $5, rows = $6, bytes = $7, updated_at = $8,
                    lease_until = $9
             WHERE tenant_id = $1 AND id = $2 AND lease = $3",
            self.tenant.0,
            lease.extraction.0,
            lease.token,
            whole(progress.tables),
            whole(chunks),
            count(progress.rows),
            count(progress.bytes),
            now,
            lease_until
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Gives a sign of life; `false` if the lease is lost.
    pub async fn keep_extraction(
        &mut self,
        lease: ExtractionLease,
        lease_until: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "UPDATE extractions SET lease_until = $4
             WHERE tenant_id = $1 AND id = $2 AND lease = $3",
            self.tenant.0,
            lease.extraction.0,
            lease.token,
            lease_until
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Keeps a piece of rows.
    pub async fn insert_extraction_chunk(&mut self, chunk: &Chunk) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO extraction_chunks
                 (tenant_id, extraction_id, attempt, position, table_name, rows, lines)
             VALUES ($1, $2, $3, $4, $5, $6, $7)",
            self.tenant.0,
            chunk.place.extraction.0,
            whole(chunk.place.attempt),
            whole(chunk.place.position),
            chunk.table,
            i32::try_from(chunk.rows).unwrap_or(i32::MAX),
            chunk.lines.as_bytes()
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// The first piece from that place on, of that table if one is named.
    pub async fn extraction_chunk(
        &mut self,
        from: ChunkPlace,
        table: Option<&str>,
    ) -> Result<Option<Chunk>, StorageError> {
        let row = sqlx::query!(
            "SELECT position, table_name, rows, lines FROM extraction_chunks
             WHERE tenant_id = $1 AND extraction_id = $2 AND attempt = $3 AND position >= $4
               AND ($5::text IS NULL OR table_name = $5)
             ORDER BY position LIMIT 1",
            self.tenant.0,
            from.extraction.0,
            whole(from.attempt),
            whole(from.position),
            table
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        row.map(|row| {
            Ok(Chunk {
                place: ChunkPlace {
                    position: row.position.unsigned_abs(),
                    ..from
                },
                table: row.table_name,
                rows: row.rows.unsigned_abs().into(),
                lines: Sealed::from_stored(row.lines).map_err(|_| StorageError::Inconsistent {
                    table: "extraction_chunks",
                    column: "lines",
                    id: from.extraction.0,
                })?,
            })
        })
        .transpose()
    }

    /// Clears rows away: those of attempts before this one, at most so many pieces. Answers how
    /// many there were.
    pub async fn delete_chunks_before(
        &mut self,
        id: ExtractionId,
        attempt: u32,
        most: i64,
    ) -> Result<u64, StorageError> {
        let done = sqlx::query!(
            "DELETE FROM extraction_chunks
             WHERE tenant_id = $1 AND extraction_id = $2 AND (attempt, position) IN (
                 SELECT attempt, position FROM extraction_chunks
                 WHERE tenant_id = $1 AND extraction_id = $2 AND attempt < $3 LIMIT $4)",
            self.tenant.0,
            id.0,
            whole(attempt),
            most
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
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

    /// Ends an attempt; `false` if the lease is lost, and then the extraction is somebody else's.
    pub async fn end_extraction_attempt(
        &mut self,
        lease: ExtractionLease,
        ending: &ExtractionEnding,
        now: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        use ExtractionStatus::{Cancelled, Complete, Failed, Pending};
        let (status, due_at, failure, rows_until) = match ending {
            ExtractionEnding::Complete { rows_until } => (Complete, now, None, *rows_until),
            ExtractionEnding::Retry { at, failure } => (Pending, *at, failure.as_ref(), now),
            ExtractionEnding::Failed(failure) => (Failed, now, Some(failure), now),
            ExtractionEnding::Cancelled => (Cancelled, now, None, now),
        };
        let done = sqlx::query!(
            "UPDATE extractions SET status = $4::text, due_at = $5, lease = NULL, lease_until = NULL,
                    error_class = $6, error_message = $7, updated_at = $8::timestamptz,
                    failures = failures + CASE WHEN $6::text IS NULL THEN 0 ELSE 1 END,
                    finished_at = CASE WHEN $4 = 'PENDING' THEN NULL ELSE $8::timestamptz END,
                    -- What waits keeps what it has read until it begins anew.
                    rows_until = CASE WHEN $4 = 'PENDING' THEN NULL ELSE $9::timestamptz END
             WHERE tenant_id = $1 AND id = $2 AND lease = $3",
            self.tenant.0,
            lease.extraction.0,
            lease.token,
            status.as_str(),
            due_at,
            failure.map(|failure| failure.class.as_str()),
            failure.map(|failure| failure.message.as_str()),
            now,
            rows_until
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}
