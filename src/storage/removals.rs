//! `removals`: deleted connections whose transactions are still to be removed.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{StorageError, TenantTx};
use crate::domain::ids::ConnectionId;

impl TenantTx {
    /// Asks that the rows of a connection be removed, now that it is deleted.
    pub async fn ask_for_removal(
        &mut self,
        connection: ConnectionId,
        now: DateTime<Utc>,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "INSERT INTO removals (tenant_id, connection_id, asked_at) VALUES ($1, $2, $3)
             ON CONFLICT DO NOTHING",
            self.tenant.0,
            connection.0,
            now
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Removes some of the rows of a deleted connection, which become tombstones; answers whether there
    /// may be more. What another process is at is left to it.
    pub async fn remove_some(
        &mut self,
        connection: ConnectionId,
        most: i64,
        now: DateTime<Utc>,
    ) -> Result<bool, StorageError> {
        let place = sqlx::query_scalar!(
            "SELECT place FROM removals WHERE tenant_id = $1 AND connection_id = $2
             FOR UPDATE SKIP LOCKED",
            self.tenant.0,
            connection.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        let Some(place) = place else {
            return Ok(false);
        };
        // In the order of the primary key, tombstones too, so that no part of it is read twice.
        let rows = sqlx::query!(
            r#"SELECT id, vendor_id, deleted_at IS NULL AS "lives!" FROM transactions
               WHERE tenant_id = $1 AND connection_id = $2 AND vendor_id > $3
               ORDER BY vendor_id LIMIT $4"#,
            self.tenant.0,
            connection.0,
            place,
            most
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let living: Vec<Uuid> = rows
            .iter()
            .filter(|row| row.lives)
            .map(|row| row.id)
            .collect();
        self.delete_rows(&living, None, now).await?;
        match rows.last() {
            Some(last) if i64::try_from(rows.len()).is_ok_and(|read| read >= most) => {
                sqlx::query!(
                    "UPDATE removals SET place = $3 WHERE tenant_id = $1 AND connection_id = $2",
                    self.tenant.0,
                    connection.0,
                    last.vendor_id
                )
                .execute(&mut *self.tx)
                .await?;
                Ok(true)
            }
            _ => {
                sqlx::query!(
                    "DELETE FROM removals WHERE tenant_id = $1 AND connection_id = $2",
                    self.tenant.0,
                    connection.0
                )
                .execute(&mut *self.tx)
                .await?;
                Ok(false)
            }
        }
    }
}
