//! `cursors`: how far each account was read.

use super::{StorageError, TenantTx};
use crate::domain::{
    ids::{AccountId, ConnectionId},
    pull::Cursor,
};

impl TenantTx {
    /// How far an account was read.
    pub async fn cursor(
        &mut self,
        connection: ConnectionId,
        account: AccountId,
    ) -> Result<Cursor, StorageError> {
        let cursor = sqlx::query_as!(
            Cursor,
            "SELECT watermark, window_at, full_at FROM cursors
             WHERE tenant_id = $1 AND connection_id = $2 AND account_id = $3",
            self.tenant.0,
            connection.0,
            account.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        Ok(cursor.unwrap_or_default())
    }

    /// Moves a cursor on. What is `None` stays where it is, and nothing ever moves back.
    pub async fn move_cursor(
        &mut self,
        connection: ConnectionId,
        account: AccountId,
        to: &Cursor,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO cursors (tenant_id, connection_id, account_id, watermark, window_at, full_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (tenant_id, connection_id, account_id) DO UPDATE
             SET watermark = greatest(cursors.watermark, excluded.watermark),
                 window_at = greatest(cursors.window_at, excluded.window_at),
                 full_at = greatest(cursors.full_at, excluded.full_at)",
            self.tenant.0,
            connection.0,
            account.0,
            to.watermark,
            to.window_at,
            to.full_at
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
