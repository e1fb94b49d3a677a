//! Extractions, as an operator sees them: ask for one, look, retry, call off, take the rows.

use std::time::Duration;

use uuid::Uuid;
use zeroize::Zeroizing;

use super::{App, AppError, Obstacle, discovery::Look};
use crate::{
    connectors::{ConnectorError, Limits},
    domain::{
        audit::AuditAction,
        caller::Caller,
        connection::ConnectionKind,
        extraction::{Extraction, ExtractionRequest, ExtractionStatus, NotThere},
        ids::{ConnectionId, ExtractionId, TenantId},
        table::Table,
    },
    storage::{ChunkPlace, Page, PageStart},
    vault::{Binding, stored_row},
};

/// How many extractions of one connection may wait or run.
const MOST_LIVE: u64 = 20;

/// How much an extraction may take, and how long its rows are kept.
#[derive(Clone, Copy, Debug)]
pub struct ExtractionRules {
    /// How long and how much.
    pub limits: Limits,
    /// How long its rows are kept.
    pub retention: Duration,
    /// How many bytes of rows a tenant may keep before another extraction is refused.
    pub tenant_bytes: u64,
}

/// Why an extraction does not do as asked.
#[derive(Debug, thiserror::Error)]
pub enum ExtractionRefusal {
    /// No such extraction in this tenant.
    #[error("no such extraction")]
    NotFound,
    /// It is complete, waits or runs, so there is nothing to retry.
    #[error("the extraction is not to be retried")]
    NotOver,
    /// It is over, so there is nothing to call off.
    #[error("the extraction is over")]
    Over,
    /// It waits or runs, so its rows can't be given up.
    #[error("the extraction is not over")]
    StillLive,
    /// It did not come to its end, so its rows are not all there.
    #[error("the extraction is not complete")]
    NotComplete,
    /// Its rows were kept long enough.
    #[error("the extraction's rows are gone")]
    RowsGone,
    /// As many extractions of the connection wait as may.
    #[error("too many extractions of the connection wait")]
    TooMany,
    /// The tenant's extractions keep as many bytes as they may.
    #[error("the tenant's extractions keep too many bytes")]
    TooMuchKept,
    /// It asks for what its source does not have.
    #[error("the extraction asks for what is not there")]
    NotInSource(Vec<NotThere>),
    /// Its source can't be asked now.
    #[error("the source can't be reached")]
    SourceUnreachable(#[source] ConnectorError),
}

/// A piece of an extraction's rows.
#[derive(Debug)]
pub struct ExtractedLines {
    /// The table that they are of.
    pub table: String,
    /// A JSON object a line.
    pub lines: Zeroizing<Vec<u8>>,
    /// Where the next piece may be.
    pub next: u32,
}

/// The place of a piece of rows; one that was moved, or is said to be of another table, does not
/// open.
pub(super) fn chunk_binding(tenant: TenantId, place: ChunkPlace, table: &str) -> Binding {
    Binding {
        tenant,
        table: "extraction_chunks",
        row: stored_row(&[
            place.extraction.0.as_bytes(),
            &place.attempt.to_be_bytes(),
            &place.position.to_be_bytes(),
            table.as_bytes(),
        ]),
        column: "lines",
    }
}

impl App {
    /// Asks for an extraction of a connection's tables. What the source does not have is told at
    /// once: by what it was last found to offer and, where that is not enough, by looking.
    pub async fn request_extraction(
        &self,
        caller: &Caller,
        kind: ConnectionKind,
        connection: ConnectionId,
        request: ExtractionRequest,
    ) -> Result<Extraction, AppError> {
        self.check_extraction(caller, kind, connection, &request)
            .await?;
        let parts = &self.0.parts;
        let now = parts.clock.now();
        let id = ExtractionId::new(&*parts.clock, &*parts.random);
        let mut tx = parts.store.begin(caller.tenant).await?;
        // Held, so that a deletion either comes first or finds the extraction.
        if !tx.share_connection(connection).await? {
            return Err(AppError::ConnectionNotFound);
        }
        if tx.count_live_extractions(connection).await? >= MOST_LIVE {
            return Err(ExtractionRefusal::TooMany.into());
        }
        if tx.kept_extraction_bytes().await? >= parts.extraction_rules.tenant_bytes {
            return Err(ExtractionRefusal::TooMuchKept.into());
        }
        tx.insert_extraction(id, connection, &request, now).await?;
        let extraction = tx
            .extraction(id)
            .await?
            .ok_or(ExtractionRefusal::NotFound)?;
        tx.audit(&caller.subject, AuditAction::ExtractionRequested, id.0, now)
            .await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %connection,
            extraction.id = %id,
            "an extraction was asked for"
        );
        Ok(extraction)
    }

    async fn check_extraction(
        &self,
        caller: &Caller,
        kind: ConnectionKind,
        id: ConnectionId,
        request: &ExtractionRequest,
    ) -> Result<(), AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let connection = tx
            .discovery_connection(kind, id)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        let names: Vec<String> = request.tables.keys().cloned().collect();
        let known = match connection.schema_discovered_at {
            Some(_) => Some(tx.discovered_tables_named(id, &names).await?),
            None => None,
        };
        drop(tx);
        let missing = |tables: &[Table]| request.missing_in(tables);
        if known.as_deref().is_some_and(|one| missing(one).is_empty()) {
            return Ok(());
        }
        // It may be new there.
        let offered = match (self.look_now(caller, kind, id).await?, known) {
            (Look::Listed(offered), _) => offered,
            // It is there and lists nothing now, so what it listed before has to do.
            (Look::Entered(_), Some(known)) => known,
            (Look::Entered(error) | Look::Shut(error), _) => {
                return Err(ExtractionRefusal::SourceUnreachable(error).into());
            }
            (Look::Barred(obstacle), _) => return Err(AppError::SourceBarred(obstacle)),
        };
        let missing = missing(&offered);
        if missing.is_empty() {
            Ok(())
        } else {
            Err(ExtractionRefusal::NotInSource(missing).into())
        }
    }

    /// One extraction.
    pub async fn extraction(
        &self,
        caller: &Caller,
        id: ExtractionId,
    ) -> Result<Extraction, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        Ok(tx
            .extraction(id)
            .await?
            .ok_or(ExtractionRefusal::NotFound)?)
    }

    /// A page of the extractions of a connection, newest first.
    pub async fn list_extractions(
        &self,
        caller: &Caller,
        kind: ConnectionKind,
        connection: ConnectionId,
        start: &PageStart<Uuid>,
        limit: u16,
    ) -> Result<Page<Extraction>, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        tx.discovery_connection(kind, connection)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        Ok(tx.list_extractions(connection, start, limit).await?)
    }

    /// Puts an extraction that failed or was called off back into the queue.
    pub async fn retry_extraction(
        &self,
        caller: &Caller,
        id: ExtractionId,
    ) -> Result<Extraction, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let found = tx.extraction(id).await?;
        let found = found.ok_or(ExtractionRefusal::NotFound)?;
        // The connection first, as a deletion does it, or the two would wait for each other.
        if !tx.share_connection(found.connection).await? {
            return Err(AppError::ConnectionNotFound);
        }
        let held = tx.lock_extraction(id).await?;
        let held = held.ok_or(ExtractionRefusal::NotFound)?;
        if !matches!(
            held.status,
            ExtractionStatus::Failed | ExtractionStatus::Cancelled
        ) {
            return Err(ExtractionRefusal::NotOver.into());
        }
        if tx.count_live_extractions(held.connection).await? >= MOST_LIVE {
            return Err(ExtractionRefusal::TooMany.into());
        }
        if tx.kept_extraction_bytes().await? >= self.0.parts.extraction_rules.tenant_bytes {
            return Err(ExtractionRefusal::TooMuchKept.into());
        }
        tx.requeue_extraction(id, now).await?;
        let waiting = tx.extraction(id).await?;
        tx.audit(&caller.subject, AuditAction::ExtractionRetried, id.0, now)
            .await?;
        tx.commit().await?;
        Ok(waiting.ok_or(ExtractionRefusal::NotFound)?)
    }

    /// Calls an extraction off that is not over. What it has read is cleared away.
    pub async fn cancel_extraction(
        &self,
        caller: &Caller,
        id: ExtractionId,
    ) -> Result<Extraction, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let held = tx.lock_extraction(id).await?;
        let held = held.ok_or(ExtractionRefusal::NotFound)?;
        if !tx.cancel_extraction(id, now).await? {
            return Err(ExtractionRefusal::Over.into());
        }
        let cancelled = tx.extraction(id).await?;
        tx.audit(&caller.subject, AuditAction::ExtractionCancelled, id.0, now)
            .await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %held.connection,
            extraction.id = %id,
            "an extraction was called off"
        );
        Ok(cancelled.ok_or(ExtractionRefusal::NotFound)?)
    }

    /// Gives the rows of an extraction that is over up before their time; they can't be taken from
    /// now on, and are cleared away soon. Doing so again changes nothing.
    pub async fn delete_extraction_rows(
        &self,
        caller: &Caller,
        id: ExtractionId,
    ) -> Result<(), AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let held = tx.lock_extraction(id).await?;
        let held = held.ok_or(ExtractionRefusal::NotFound)?;
        if !held.status.is_over() {
            return Err(ExtractionRefusal::StillLive.into());
        }
        if held.rows_until.is_none_or(|until| until <= now) {
            return Ok(());
        }
        tx.release_extraction_rows(id, now).await?;
        tx.audit(
            &caller.subject,
            AuditAction::ExtractionRowsDeleted,
            id.0,
            now,
        )
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// The next piece of the rows of a complete extraction, from that place on; of one table, if one
    /// is named. `None` when there are no more.
    pub async fn extracted_lines(
        &self,
        caller: &Caller,
        id: ExtractionId,
        table: Option<&str>,
        from: u32,
    ) -> Result<Option<ExtractedLines>, AppError> {
        let parts = &self.0.parts;
        let mut tx = parts.store.begin(caller.tenant).await?;
        let extraction = tx.extraction(id).await?;
        let extraction = extraction.ok_or(ExtractionRefusal::NotFound)?;
        if extraction.status != ExtractionStatus::Complete {
            return Err(ExtractionRefusal::NotComplete.into());
        }
        let now = parts.clock.now();
        if extraction.rows_until.is_none_or(|until| until <= now) {
            return Err(ExtractionRefusal::RowsGone.into());
        }
        let lost = || {
            let message = format!("pieces of the rows of extraction {id} are missing");
            AppError::Internal(message.into())
        };
        // Told before the first row is, or at least not by an answer that only ends early.
        if from == 0 {
            let there = tx.count_extraction_chunks(id, extraction.attempts).await?;
            if there != u64::from(extraction.chunks) {
                return Err(lost());
            }
        }
        let asked = from;
        let from = ChunkPlace {
            extraction: id,
            attempt: extraction.attempts,
            position: from,
        };
        let chunk = tx.extraction_chunk(from, table).await?;
        let key = tx.tenant_key().await?;
        drop(tx);
        let Some(chunk) = chunk else {
            let early = table.is_none() && asked != extraction.chunks;
            return if early { Err(lost()) } else { Ok(None) };
        };
        if table.is_none() && chunk.place.position != asked {
            return Err(lost());
        }
        let key = key.ok_or(AppError::SourceBarred(Obstacle::DataKeyDestroyed))?;
        let binding = chunk_binding(caller.tenant, chunk.place, &chunk.table);
        Ok(Some(ExtractedLines {
            table: chunk.table,
            lines: parts.vault.open(&key, &binding, &chunk.lines)?,
            next: chunk.place.position.saturating_add(1),
        }))
    }
}
