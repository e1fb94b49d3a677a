//! What the vendors' webhooks brought, as an operator sees it.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{App, AppError};
use crate::{
    domain::{
        audit::AuditAction,
        caller::Caller,
        delivery::{Delivery, DeliveryId, DeliveryOutcome},
        ids::ConnectionId,
        pull::{Pull, PullReason},
    },
    storage::{Page, PageStart},
};

/// How long a delivery is kept.
const KEPT: TimeDelta = TimeDelta::days(30);
/// How many are cleared away at once.
const PRUNED_AT_ONCE: i64 = 2_000;

impl App {
    /// A page of what came in for a connection, newest first.
    pub async fn list_deliveries(
        &self,
        caller: &Caller,
        connection: ConnectionId,
        start: &PageStart<(DateTime<Utc>, Uuid)>,
        limit: u16,
    ) -> Result<Page<Delivery>, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        tx.aggregator_connection(connection)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        Ok(tx.list_deliveries(connection, start, limit).await?)
    }

    /// Asks again for the pull that a delivery asked for.
    pub async fn replay_delivery(&self, caller: &Caller, id: DeliveryId) -> Result<Pull, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let delivery = tx
            .lock_delivery(id)
            .await?
            .ok_or(AppError::DeliveryNotFound)?;
        if delivery.outcome != DeliveryOutcome::Queued {
            return Err(AppError::DeliveryAsksForNothing);
        }
        if !tx.share_aggregator_connection(delivery.connection).await? {
            return Err(AppError::ConnectionNotFound);
        }
        let pull = self
            .ask_for_pull(&mut tx, delivery.connection, PullReason::Webhook, None)
            .await?;
        tx.assign_delivery(id, pull).await?;
        let pull = tx.pull(pull).await?.ok_or(AppError::PullNotFound)?;
        tx.audit(&caller.subject, AuditAction::DeliveryReplayed, id.0, now)
            .await?;
        tx.commit().await?;
        Ok(pull)
    }

    /// Clears away deliveries that were kept for long enough.
    pub async fn prune_deliveries(&self) -> Result<u64, AppError> {
        let before = self.0.parts.clock.now() - KEPT;
        let mut pruned = 0;
        loop {
            let mut tx = self.0.parts.store.begin_system().await?;
            let some = tx.prune_deliveries(before, PRUNED_AT_ONCE).await?;
            tx.commit().await?;
            pruned += some;
            if some < PRUNED_AT_ONCE.unsigned_abs() {
                return Ok(pruned);
            }
        }
    }
}
