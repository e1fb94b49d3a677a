//! `cursors`: how far each account was read.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{StorageError, TenantTx, accounts::StoredAccount};
use crate::domain::{
    ids::{AccountId, ConnectionId},
    pull::{Backfill, Cursor, NamedPlace, Step, Unfinished},
};

impl TenantTx {
    /// How far an account was read, the listing that was not read to its end, and how far rows were
    /// read by name.
    pub async fn cursor(
        &mut self,
        connection: ConnectionId,
        account: AccountId,
    ) -> Result<(Cursor, Option<Unfinished>, Option<NamedPlace>), StorageError> {
        let row = sqlx::query!(
            "SELECT watermark, window_at, full_at, backfill_from, backfill_to, backfill_at,
                    listing, listing_mark, listing_total, listing_began_at, listing_noted_at,
                    named_at, named_to
             FROM cursors
             WHERE tenant_id = $1 AND connection_id = $2 AND account_id = $3",
            self.tenant.0,
            connection.0,
            account.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some(row) = row else {
            return Ok((Cursor::default(), None, None));
        };
        let days = row.backfill_from.zip(row.backfill_to).zip(row.backfill_at);
        let cursor = Cursor {
            watermark: row.watermark,
            window_at: row.window_at,
            full_at: row.full_at,
            backfill: days.map(|((from, to), at)| Backfill { from, to, at }),
        };
        let times = row.listing_began_at.zip(row.listing_noted_at);
        // A listing that is not known here, of another version perhaps, is begun anew.
        let step = row.listing.as_deref().and_then(Step::of_lasting);
        let unfinished = step.zip(row.listing_mark).zip(times);
        let unfinished = unfinished.map(|((step, mark), (began, noted_at))| Unfinished {
            step,
            mark,
            total: row.listing_total.map(i64::unsigned_abs),
            began,
            noted_at,
        });
        let named = row.named_at.zip(row.named_to);
        let named = named.map(|(at, to)| NamedPlace { at, to });
        Ok((cursor, unfinished, named))
    }

    /// Moves a cursor to where whoever has the lease knows it to stand; that may be further back.
    pub async fn move_cursor(
        &mut self,
        connection: ConnectionId,
        account: AccountId,
        to: &Cursor,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO cursors (tenant_id, connection_id, account_id, watermark, window_at,
                 full_at, backfill_from, backfill_to, backfill_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
             ON CONFLICT (tenant_id, connection_id, account_id) DO UPDATE
             SET watermark = excluded.watermark, window_at = excluded.window_at,
                 full_at = excluded.full_at, backfill_from = excluded.backfill_from,
                 backfill_to = excluded.backfill_to, backfill_at = excluded.backfill_at",
            self.tenant.0,
            connection.0,
            account.0,
            to.watermark,
            to.window_at,
            to.full_at,
            to.backfill.map(|days| days.from),
            to.backfill.map(|days| days.to),
            to.backfill.map(|days| days.at)
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Since when everything of each of these accounts was read; `None` if it never was of one of them.
    pub async fn read_whole_since(
        &mut self,
        connection: ConnectionId,
        accounts: &[StoredAccount],
    ) -> Result<Option<DateTime<Utc>>, StorageError> {
        let accounts: Vec<Uuid> = accounts.iter().map(|account| account.id.0).collect();
        let read = sqlx::query_scalar!(
            r#"SELECT full_at AS "full_at!" FROM cursors
               WHERE tenant_id = $1 AND connection_id = $2 AND account_id = ANY ($3)
                 AND full_at IS NOT NULL"#,
            self.tenant.0,
            connection.0,
            &accounts
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let all = read.len() == accounts.len();
        Ok(read.into_iter().min().filter(|_| all))
    }

    /// Notes how far rows of an account were read by name.
    pub async fn note_named(
        &mut self,
        connection: ConnectionId,
        account: AccountId,
        place: &NamedPlace,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO cursors (tenant_id, connection_id, account_id, named_at, named_to)
             VALUES ($1, $2, $3, $4, $5)
             ON CONFLICT (tenant_id, connection_id, account_id) DO UPDATE
             SET named_at = excluded.named_at, named_to = excluded.named_to",
            self.tenant.0,
            connection.0,
            account.0,
            place.at,
            place.to
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Notes how far a listing was read, in the transaction that writes the page before the mark.
    pub async fn note_listing(
        &mut self,
        connection: ConnectionId,
        account: AccountId,
        place: &Unfinished,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO cursors (tenant_id, connection_id, account_id, listing, listing_mark,
                 listing_total, listing_began_at, listing_noted_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
             ON CONFLICT (tenant_id, connection_id, account_id) DO UPDATE
             SET listing = excluded.listing, listing_mark = excluded.listing_mark,
                 listing_total = excluded.listing_total,
                 listing_began_at = excluded.listing_began_at,
                 listing_noted_at = excluded.listing_noted_at",
            self.tenant.0,
            connection.0,
            account.0,
            place.step.lasting(),
            place.mark,
            place.total.and_then(|total| i64::try_from(total).ok()),
            place.began,
            place.noted_at
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Forgets how far every listing of a connection was read: nobody wants the rest of them.
    pub async fn forget_listings(&mut self, connection: ConnectionId) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE cursors SET listing = NULL, listing_mark = NULL, listing_total = NULL,
                    listing_began_at = NULL, listing_noted_at = NULL
             WHERE tenant_id = $1 AND connection_id = $2 AND listing IS NOT NULL",
            self.tenant.0,
            connection.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Forgets how far a listing was read: it came to its end, or its rows moved.
    pub async fn forget_listing(
        &mut self,
        connection: ConnectionId,
        account: AccountId,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE cursors SET listing = NULL, listing_mark = NULL, listing_total = NULL,
                    listing_began_at = NULL, listing_noted_at = NULL
             WHERE tenant_id = $1 AND connection_id = $2 AND account_id = $3
               AND listing IS NOT NULL",
            self.tenant.0,
            connection.0,
            account.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
