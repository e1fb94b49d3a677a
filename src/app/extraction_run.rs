//! Running an extraction: reading a source's tables, and keeping the rows sealed.
//!
//! No connection to our database is held while the source is waited for. Each piece of rows is one
//! short transaction, which also proves that the extraction is still ours. An attempt begins at the
//! beginning: a table has no order that another attempt could go on in.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt as _;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{App, AppError, extractions::chunk_binding, pull_run::out_of_time};
use crate::{
    connectors::{Batch, ConnectorError, Limits},
    domain::{
        extraction::{ExtractionProgress, MAX_ATTEMPTS, backoff},
        ids::{ExtractionId, TenantId, new_uuid},
        pull::PullFailure,
        random,
    },
    storage::{
        Chunk, ChunkPlace, ClaimedExtraction, Constraint, ExtractionEnding, ExtractionLease,
        StorageError, within,
    },
};

/// How long a worker may give no sign of life.
const LEASE: TimeDelta = TimeDelta::seconds(60);
/// How often it gives one.
const HEARTBEAT: Duration = Duration::from_secs(15);
/// How many pieces are cleared away in one transaction.
const PIECES: i64 = 100;

/// Why an attempt ended early.
#[derive(Debug, thiserror::Error)]
enum Stop {
    /// The source's doing.
    #[error(transparent)]
    Source(#[from] ConnectorError),
    /// The database's, or ours.
    #[error(transparent)]
    App(#[from] AppError),
    /// The extraction is no longer ours.
    #[error("the extraction was taken over or called off")]
    LeaseLost,
    /// What is stored of the request does not read back; that does not pass.
    #[error("what is stored of the request does not read back")]
    Unreadable,
    /// The process is about to end.
    #[error("the worker is stopping")]
    Stopping,
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Self::App(error.into())
    }
}

/// How far an attempt has come.
#[derive(Clone, Copy, Default)]
struct Kept {
    progress: ExtractionProgress,
    chunks: u32,
}

impl App {
    /// Claims the extraction that is next, if one is due.
    pub async fn claim_extraction(&self) -> Result<Option<ClaimedExtraction>, AppError> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let token = new_uuid(&*parts.clock, &*parts.random);
        let mut system = parts.store.begin_claim().await?;
        let claimed = match system.claim_extraction(token, now, now + LEASE).await {
            // Another worker has just begun with another one of the same connection.
            Err(StorageError::Violates(Constraint::RunningExtraction, _)) => return Ok(None),
            other => other?,
        };
        // Claim, commit, then work.
        system.commit().await?;
        Ok(claimed)
    }

    /// Runs a claimed extraction to its end, and writes down what became of it.
    pub async fn run_extraction(&self, claimed: ClaimedExtraction, stopping: &CancellationToken) {
        let outcome = tokio::select! {
            outcome = self.extract(&claimed) => outcome,
            lost = self.keep_extraction(&claimed) => Err(lost),
            () = out_of_time(stopping) => Err(Stop::Stopping),
        };
        let ours = match self.extraction_ending(&claimed, &outcome) {
            Some(ending) => self.end_extraction(&claimed, &ending).await,
            None => Ok(false),
        };
        match ours {
            Ok(true) => {}
            Ok(false) => tracing::info!(
                tenant.id = %claimed.tenant,
                connection.id = %claimed.connection,
                extraction.id = %claimed.lease.extraction,
                "an extraction was taken over or called off"
            ),
            // The lease runs out, and the extraction is found by it.
            Err(error) => {
                tracing::warn!(%error, extraction.id = %claimed.lease.extraction, "the end of an extraction could not be written");
            }
        }
    }

    /// Gives a sign of life from time to time; comes back only when the extraction is lost.
    async fn keep_extraction(&self, claimed: &ClaimedExtraction) -> Stop {
        let mut kept_at = self.0.parts.clock.now();
        loop {
            tokio::time::sleep(HEARTBEAT).await;
            match within(HEARTBEAT, self.sign_of_life(claimed)).await {
                Ok(true) => kept_at = self.0.parts.clock.now(),
                Ok(false) => return Stop::LeaseLost,
                Err(error) => {
                    tracing::warn!(%error, extraction.id = %claimed.lease.extraction, "the lease of an extraction could not be kept");
                    if self.0.parts.clock.now() - kept_at >= LEASE {
                        return Stop::LeaseLost;
                    }
                }
            }
        }
    }

    async fn sign_of_life(&self, claimed: &ClaimedExtraction) -> Result<bool, StorageError> {
        let until = self.0.parts.clock.now() + LEASE;
        let mut tx = self.0.parts.store.begin(claimed.tenant).await?;
        let ours = tx.keep_extraction(claimed.lease, until).await?;
        tx.commit().await?;
        Ok(ours)
    }

    async fn extract(&self, claimed: &ClaimedExtraction) -> Result<(), Stop> {
        let began = Instant::now();
        let extraction = claimed.lease.extraction;
        let request = claimed.request.as_ref().ok_or(Stop::Unreadable)?;
        self.clear_pieces(claimed.tenant, extraction, claimed.attempts)
            .await?;
        let opened = self.source_of(claimed.tenant, claimed.connection).await?;
        let whole = self.0.parts.extraction_rules.limits;
        let mut kept = Kept::default();
        for read in request.reads() {
            let table = read.table.clone();
            // What one table has used up is not there for the next one.
            let limits = Limits {
                rows: whole.rows.saturating_sub(kept.progress.rows),
                bytes: whole.bytes.saturating_sub(kept.progress.bytes),
                total: whole.total.saturating_sub(began.elapsed()),
                ..whole
            };
            if limits.total.is_zero() {
                return Err(ConnectorError::TimedOut.into());
            }
            let mut batches = opened.connector.read(opened.source.clone(), read, limits);
            while let Some(batch) = batches.next().await {
                self.keep_batch(claimed, &table, &batch?, &mut kept).await?;
            }
            kept.progress.tables += 1;
            self.note_progress(claimed, &kept).await?;
        }
        Ok(())
    }

    async fn keep_batch(
        &self,
        claimed: &ClaimedExtraction,
        table: &str,
        batch: &Batch,
        kept: &mut Kept,
    ) -> Result<(), Stop> {
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let place = ChunkPlace {
            extraction: claimed.lease.extraction,
            attempt: claimed.attempts,
            position: kept.chunks,
        };
        kept.progress.rows += batch.rows;
        kept.progress.bytes += batch.lines.len() as u64;
        kept.chunks += 1;
        let _turn = self.0.page_writes.acquire().await;
        let mut tx = parts.store.begin(claimed.tenant).await?;
        // First, since it also holds the row against whoever calls it off.
        if !tx
            .advance_extraction(claimed.lease, &kept.progress, kept.chunks, now, now + LEASE)
            .await?
        {
            return Err(Stop::LeaseLost);
        }
        let key = tx
            .tenant_key()
            .await?
            .ok_or_else(|| AppError::Internal("the tenant's data key is gone".into()))?;
        let binding = chunk_binding(claimed.tenant, place, table);
        let lines = parts
            .vault
            .seal(&key, &binding, &batch.lines)
            .map_err(AppError::from)?;
        tx.insert_extraction_chunk(&Chunk {
            place,
            table: table.to_owned(),
            rows: batch.rows,
            lines,
        })
        .await?;
        tx.commit().await?;
        Ok(())
    }

    async fn note_progress(&self, claimed: &ClaimedExtraction, kept: &Kept) -> Result<(), Stop> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(claimed.tenant).await?;
        if !tx
            .advance_extraction(claimed.lease, &kept.progress, kept.chunks, now, now + LEASE)
            .await?
        {
            return Err(Stop::LeaseLost);
        }
        tx.commit().await?;
        Ok(())
    }

    /// Clears away what attempts before this one have left.
    async fn clear_pieces(
        &self,
        tenant: TenantId,
        extraction: ExtractionId,
        before_attempt: u32,
    ) -> Result<(), StorageError> {
        loop {
            let mut tx = self.0.parts.store.begin(tenant).await?;
            let cleared = tx
                .delete_chunks_before(extraction, before_attempt, PIECES)
                .await?;
            tx.commit().await?;
            if cleared < PIECES.unsigned_abs() {
                return Ok(());
            }
        }
    }

    /// What becomes of the extraction; `None` if that is no longer ours to say.
    fn extraction_ending(
        &self,
        claimed: &ClaimedExtraction,
        outcome: &Result<(), Stop>,
    ) -> Option<ExtractionEnding> {
        let now = self.0.parts.clock.now();
        let stop = match outcome {
            Ok(()) => {
                let retention = self.0.parts.extraction_rules.retention;
                let rows_until = TimeDelta::from_std(retention)
                    .ok()
                    .and_then(|kept| now.checked_add_signed(kept));
                return Some(ExtractionEnding::Complete {
                    rows_until: rows_until.unwrap_or(DateTime::<Utc>::MAX_UTC),
                });
            }
            Err(stop) => stop,
        };
        let failure = |class: &str, message: &str| PullFailure {
            class: class.to_owned(),
            message: message.to_owned(),
        };
        Some(match stop {
            Stop::LeaseLost => return None,
            Stop::Unreadable => {
                tracing::error!(extraction.id = %claimed.lease.extraction, "what is stored of an extraction's request does not read back");
                ExtractionEnding::Failed(failure(
                    "internal",
                    "the server failed; its log knows more",
                ))
            }
            Stop::Stopping => ExtractionEnding::Retry {
                at: now,
                failure: None,
            },
            Stop::App(AppError::ConnectionNotFound) => ExtractionEnding::Cancelled,
            Stop::App(AppError::SourceBarred(obstacle)) => {
                ExtractionEnding::Failed(failure(obstacle.class(), &obstacle.to_string()))
            }
            Stop::App(AppError::Unavailable(_)) => self.extract_later(
                claimed.failures,
                failure("database_unavailable", "the database was not available"),
            ),
            Stop::App(error) => {
                tracing::error!(%error, extraction.id = %claimed.lease.extraction, "an extraction failed by a defect");
                self.extract_later(
                    claimed.failures,
                    failure("internal", "the server failed; its log knows more"),
                )
            }
            Stop::Source(error) => {
                let failure = failure(error.class(), &error.to_string());
                if error.may_pass() {
                    self.extract_later(claimed.failures, failure)
                } else {
                    ExtractionEnding::Failed(failure)
                }
            }
        })
    }

    /// Another attempt after a while, unless there were enough of them.
    fn extract_later(&self, failures: u32, failure: PullFailure) -> ExtractionEnding {
        let failures = failures + 1;
        if failures >= MAX_ATTEMPTS {
            return ExtractionEnding::Failed(failure);
        }
        let [high, low] = random::draw::<2>(&*self.0.parts.random);
        let chance = u16::from_be_bytes([high, low]) % 1000;
        ExtractionEnding::Retry {
            at: self.0.parts.clock.now() + backoff(failures, chance),
            failure: Some(failure),
        }
    }

    /// Writes down what became of an attempt; `false` if that is no longer ours to say.
    async fn end_extraction(
        &self,
        claimed: &ClaimedExtraction,
        ending: &ExtractionEnding,
    ) -> Result<bool, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(claimed.tenant).await?;
        if !tx
            .end_extraction_attempt(claimed.lease, ending, now)
            .await?
        {
            return Ok(false);
        }
        // Another one of its connection may have waited for this.
        tx.wake_workers().await?;
        tx.commit().await?;
        let failure = match ending {
            ExtractionEnding::Failed(failure) => Some(failure),
            ExtractionEnding::Retry { failure, .. } => failure.as_ref(),
            ExtractionEnding::Complete { .. } | ExtractionEnding::Cancelled => None,
        };
        tracing::info!(
            tenant.id = %claimed.tenant,
            connection.id = %claimed.connection,
            extraction.id = %claimed.lease.extraction,
            attempt = claimed.attempts,
            ending = ending.word(),
            class = failure.map(|failure| failure.class.as_str()),
            "an attempt at an extraction is over"
        );
        Ok(true)
    }

    /// Ends the attempts of workers that gave no sign of life, so that their extractions are begun
    /// anew. Answers how many there were.
    pub async fn reclaim_abandoned_extractions(&self) -> Result<usize, AppError> {
        let now = self.0.parts.clock.now();
        let mut system = self.0.parts.store.begin_system().await?;
        let abandoned = system.abandoned_extractions(now, 100).await?;
        drop(system);
        let mut ended = 0;
        for (tenant, lease, failures) in abandoned {
            let failure = PullFailure {
                class: "worker_lost".to_owned(),
                message: "the worker gave no sign of life".to_owned(),
            };
            // What kills its worker each time must not do so for ever.
            let ending = self.extract_later(failures, failure);
            match self.end_lost_extraction(tenant, lease, &ending, now).await {
                Ok(true) => {
                    ended += 1;
                    tracing::warn!(tenant.id = %tenant, extraction.id = %lease.extraction, "an extraction lost its worker");
                }
                Ok(false) => {}
                // The others are not to wait for this one.
                Err(error) => {
                    tracing::error!(%error, tenant.id = %tenant, extraction.id = %lease.extraction, "an extraction that lost its worker could not be ended");
                }
            }
        }
        Ok(ended)
    }

    async fn end_lost_extraction(
        &self,
        tenant: TenantId,
        lease: ExtractionLease,
        ending: &ExtractionEnding,
        now: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let mut tx = self.0.parts.store.begin(tenant).await?;
        let ended = tx.end_extraction_attempt(lease, ending, now).await?;
        tx.commit().await?;
        Ok(ended)
    }

    /// Clears away the rows that were kept long enough. Answers of how many extractions.
    pub async fn prune_extractions(&self) -> Result<usize, AppError> {
        let now = self.0.parts.clock.now();
        let mut system = self.0.parts.store.begin_system().await?;
        let overdue = system.overdue_extraction_rows(now, 20).await?;
        drop(system);
        let mut pruned = 0;
        for (tenant, id) in overdue {
            match self.prune_extraction(tenant, id, now).await {
                Ok(done) => pruned += usize::from(done),
                // The others are not to wait for this one.
                Err(error) => {
                    tracing::error!(%error, tenant.id = %tenant, extraction.id = %id, "the rows of an extraction could not be cleared away");
                }
            }
        }
        Ok(pruned)
    }

    async fn prune_extraction(
        &self,
        tenant: TenantId,
        id: ExtractionId,
        now: DateTime<Utc>,
    ) -> Result<bool, AppError> {
        loop {
            let mut tx = self.0.parts.store.begin(tenant).await?;
            // Held, so that it is not begun anew meanwhile.
            let overdue = tx.lock_extraction_rows(id).await?;
            if overdue.is_none_or(|until| until > now) {
                return Ok(false);
            }
            let cleared = tx.delete_chunks_before(id, u32::MAX, PIECES).await?;
            let done = cleared < PIECES.unsigned_abs();
            if done {
                tx.forget_extraction_rows(id).await?;
            }
            tx.commit().await?;
            if done {
                return Ok(true);
            }
        }
    }
}
