//! `deliveries`, read: what came in. It is written by the intake.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{
    StorageError, SystemTx, TenantTx,
    page::{Page, PageStart, rows_to_ask},
};
use crate::domain::{
    delivery::{Delivery, DeliveryId},
    ids::{ConnectionId, PullId, TenantId},
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

/// A page of a connection's deliveries: those `$behind` a key, read in `$order` and sorted in `$whole_order`.
///
/// The index does not know the order of what came in at one instant, so it is followed to the instant at which the
/// page is full, and what that leads to is sorted. Asked to sort by more than an index knows, the planner may sort all
/// there is.
macro_rules! select_page {
    ($behind:tt, $order:tt, $whole_order:tt, $($argument:expr),*) => {
        sqlx::query_as!(
            Row,
            "SELECT near.* FROM (
                 SELECT id, connection_id, event, event_key, outcome, pull_id, received_at
                 FROM deliveries WHERE tenant_id = $1 AND connection_id = $2 AND " + $behind +
            " ORDER BY " + $order + " FETCH FIRST $5 ROWS WITH TIES) AS near
             ORDER BY " + $whole_order + " LIMIT $5",
            $($argument),*
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
            select_page!(
                "(received_at, id) > ($3, $4)",
                "received_at",
                "received_at, id",
                tenant,
                connection,
                at,
                id,
                most
            )
            .fetch_all(&mut *self.tx)
            .await?
        } else {
            select_page!(
                "(received_at, id) < ($3, $4)",
                "received_at DESC",
                "received_at DESC, id DESC",
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

    /// One delivery.
    pub async fn delivery(&mut self, id: DeliveryId) -> Result<Option<Delivery>, StorageError> {
        let row = sqlx::query_as!(
            Row,
            "SELECT id, connection_id, event, event_key, outcome, pull_id, received_at
             FROM deliveries WHERE tenant_id = $1 AND id = $2",
            self.tenant.0,
            id.0
        )
        .fetch_optional(&mut *self.tx)
        .await?;
        row.map(TryInto::try_into).transpose()
    }

    /// Notes which pull does what a delivery asks for; answers whether the delivery is there.
    pub async fn assign_delivery(
        &mut self,
        id: DeliveryId,
        pull: PullId,
    ) -> Result<bool, StorageError> {
        let done = sqlx::query!(
            "UPDATE deliveries SET pull_id = $3, outcome = 'queued', heard_at = NULL
             WHERE tenant_id = $1 AND id = $2",
            self.tenant.0,
            id.0,
            pull.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// When something last came in for a connection.
    pub async fn last_delivery_at(
        &mut self,
        connection: ConnectionId,
    ) -> Result<Option<DateTime<Utc>>, StorageError> {
        Ok(sqlx::query_scalar!(
            "SELECT received_at FROM deliveries WHERE tenant_id = $1 AND connection_id = $2
             ORDER BY received_at DESC LIMIT 1",
            self.tenant.0,
            connection.0
        )
        .fetch_optional(&mut *self.tx)
        .await?)
    }
}

fn far_future() -> DateTime<Utc> {
    DateTime::from_timestamp(32_503_680_000, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

impl SystemTx {
    /// Some connections that something came in for, behind `after` in the order of the index.
    pub async fn connections_with_deliveries(
        &mut self,
        after: (TenantId, ConnectionId),
        most: i64,
    ) -> Result<Vec<(TenantId, ConnectionId)>, StorageError> {
        let (tenant, connection) = after;
        let rows = sqlx::query!(
            r#"WITH RECURSIVE named AS (
                   -- From connection to connection, without reading what lies between.
                   (SELECT tenant_id, connection_id FROM deliveries
                    WHERE (tenant_id, connection_id) > ($1, $2)
                    ORDER BY tenant_id, connection_id LIMIT 1)
                   UNION ALL
                   SELECT next.tenant_id, next.connection_id
                   FROM named n
                   CROSS JOIN LATERAL (
                       SELECT d.tenant_id, d.connection_id FROM deliveries d
                       WHERE (d.tenant_id, d.connection_id) > (n.tenant_id, n.connection_id)
                       ORDER BY d.tenant_id, d.connection_id LIMIT 1) AS next
               )
               SELECT tenant_id AS "tenant_id!", connection_id AS "connection_id!"
               FROM named LIMIT $3"#,
            tenant.0,
            connection.0,
            most
        )
        .fetch_all(&mut *self.tx)
        .await?;
        let named = rows
            .into_iter()
            .map(|row| (TenantId(row.tenant_id), ConnectionId(row.connection_id)));
        Ok(named.collect())
    }

    /// Clears away some of what came in for these connections before `before`; answers how many there
    /// were.
    pub async fn prune_deliveries(
        &mut self,
        connections: &[(TenantId, ConnectionId)],
        before: DateTime<Utc>,
        most: i64,
    ) -> Result<u64, StorageError> {
        let (tenants, connections): (Vec<Uuid>, Vec<Uuid>) = connections
            .iter()
            .map(|(tenant, connection)| (tenant.0, connection.0))
            .unzip();
        let done = sqlx::query!(
            // The second look at the time is for one that was written anew since the first.
            "DELETE FROM deliveries WHERE received_at < $3 AND ctid = ANY (ARRAY(
                 SELECT old.ctid FROM unnest($1::uuid[], $2::uuid[]) AS c (tenant_id, id)
                 CROSS JOIN LATERAL (
                     SELECT d.ctid FROM deliveries d
                     WHERE d.tenant_id = c.tenant_id AND d.connection_id = c.id
                       AND d.received_at < $3
                     ORDER BY d.received_at LIMIT $4) AS old
                 LIMIT $4))",
            &tenants,
            &connections,
            before,
            most
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(done.rows_affected())
    }
}
