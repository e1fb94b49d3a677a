//! The rows of an extraction, in sealed pieces.

use super::{
    super::{StorageError, TenantTx},
    whole,
};
use crate::{domain::ids::ExtractionId, vault::Sealed};

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

impl TenantTx {
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
}
