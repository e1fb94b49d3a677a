//! `deliveries`, read: what came in. It is written by the intake.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    StorageError, SystemTx, TenantTx,
    page::{Page, PageStart, rows_to_ask},
};
use crate::domain::{
    delivery::{Delivery, DeliveryId},
    ids::{ConnectionId, PullId},
};

struct Row {
    id: Uuid,
    connection_id: Uuid,
    event: String,
    event_key: String,
    outcome: String,
    pull_id: Option<Uuid>,
    received_at: DateTime<Utc>,
}

impl TryFrom<Row> for Delivery {
    type Error = StorageError;

    fn try_from(row: Row) -> Result<Self, StorageError> {
        Ok(Self {
            id: DeliveryId(row.id),
            connection: ConnectionId(row.connection_id),
            event: row.event,
            key: row.event_key,
            outcome: row
                .outcome
                .parse()
                .map_err(|_| StorageError::Inconsistent {
                    table: "deliveries",
                    column: "outcome",
                    id: row.id,
                })?,
            pull: row.pull_id.map(PullId),
            received_at: row.received_at,
        })
    }
}

/// Each query that reads deliveries; what follows the columns is part of the text.
macro_rules! select {
    ($rest:tt $(, $argument:expr)*) => {
        sqlx::query_as!(
            Row,
            "SELECT id, connection_id, event, event_key, outcome, pull_id, received_at
             FROM deliveries WHERE tenant_id = $1 " + $rest
            $(, $argument)*
        )
    };
}

impl TenantTx {
    /// A page of what came in for a connection, newest first.
    pub async fn list_deliveries(
        &mut self,
        connection: ConnectionId,
        start: &PageStart<(DateTime<Utc>, Uuid)>,
        limit: u16,
    ) -> Result<Page<Delivery>, StorageError> {
        let most = rows_to_ask(limit);
        let (at, id, backwards) = match start {
            PageStart::First => (DateTime::<Utc>::MAX_UTC, Uuid::max(), false),
            PageStart::After((at, id)) => (*at, *id, false),
            PageStart::Before((at, id)) => (*at, *id, true),
        };
        // The calendar of the database ends before that of the program.
        let at = at.min(far_future());
        let (tenant, connection) = (self.tenant.0, connection.0);
        let rows = if backwards {
            select!(
                "AND connection_id = $2 AND (received_at, id) > ($3, $4)
                 ORDER BY received_at, id LIMIT $5",
                tenant,
                connection,
                at,
                id,
                most
            )
            .fetch_all(&mut *self.tx)
            .await?
        } else {
            select!(
                "AND connection_id = $2 AND (received_at, id) < ($3, $4)
                 ORDER BY received_at DESC, id DESC LIMIT $5",
                tenant,
                connection,
                at,
                id,
                most
            )
            .fetch_all(&mut *self.tx)
            .await?
        };
        Page::of(rows, limit, start)
    }

    /// One delivery, held against other changes until this transaction is over.
    pub async fn lock_delivery(
        &mut self,
        id: DeliveryId,
    ) -> Result<Option<Delivery>, StorageError> {
        select!("AND id = $2 FOR NO KEY UPDATE", self.tenant.0, id.0)
            .fetch_optional(&mut *self.tx)
            .await?
            .map(TryInto::try_into)
            .transpose()
    }

    /// Notes which pull does what a delivery asks for.
    pub async fn assign_delivery(
        &mut self,
        id: DeliveryId,
        pull: PullId,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "UPDATE deliveries SET pull_id = $3, outcome = 'queued'
             WHERE tenant_id = $1 AND id = $2",
            self.tenant.0,
            id.0,
            pull.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// When something last came in for a connection.
    pub async fn last_delivery_at(
        &mut self,
        connection: ConnectionId,
    ) -> Result<Option<DateTime<Utc>>, StorageError> {
        Ok(sqlx::query_scalar!(
            "SELECT max(received_at) FROM deliveries WHERE tenant_id = $1 AND connection_id = $2",
            self.tenant.0,
            connection.0
        )
        .fetch_one(&mut *self.tx)
        .await?)
    }
}

fn far_future() -> DateTime<Utc> {
    DateTime::from_timestamp(32_503_680_000, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

impl SystemTx {
    /// Clears away some of what came in before `before`; answers how many there were.
    pub async fn prune_deliveries(
        &mut self,
        before: DateTime<Utc>,
        most: i64,
    ) -> Result<u64, StorageError> {
        let done = sqlx::query!(
            "DELETE FROM deliveries WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM deliveries WHERE received_at < $1 LIMIT $2))",
            before,
            most
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
    }
}
