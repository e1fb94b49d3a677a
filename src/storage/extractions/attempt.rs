//! What an attempt writes under its lease: how far it has come, and how it ends.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    super::{StorageError, TenantTx},
    count, whole,
};
use crate::domain::{
    extraction::{ExtractionProgress, ExtractionStatus},
    ids::ExtractionId,
    pull::PullFailure,
};

/// Proves that whoever writes still is the one that runs the extraction.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct ExtractionLease {
    /// The extraction.
    pub extraction: ExtractionId,
    /// The proof.
    pub token: Uuid,
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

impl TenantTx {
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
