//! What the vendors' webhooks brought, as an operator sees it.

use chrono::{DateTime, TimeDelta, Utc};
use uuid::Uuid;

use super::{App, AppError};
use crate::{
    domain::{
        audit::AuditAction,
        caller::Caller,
        delivery::{Delivery, DeliveryId, DeliveryOutcome},
        ids::{ConnectionId, PullId, TenantId},
        pull::{Pull, PullReason},
    },
    storage::{NewPull, Page, PageStart},
};

/// How long a delivery is kept.
const KEPT: TimeDelta = TimeDelta::days(30);
/// How many are cleared away in one transaction.
const PRUNED_AT_ONCE: i64 = 1_000;
/// How many such transactions a round has at most: what else is to be looked after waits for it.
const BATCHES_AT_ONCE: usize = 20;
/// How many connections a round looks at.
const CONNECTIONS_AT_ONCE: i64 = 200;

/// How far the clearing away has come on its way through all connections; it begins anew when it is
/// through.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct PruningPlace((TenantId, ConnectionId));

impl Default for PruningPlace {
    fn default() -> Self {
        Self((TenantId(Uuid::nil()), ConnectionId(Uuid::nil())))
    }
}

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
        // Not held yet: whoever else writes deliveries holds their pull before.
        let delivery = tx.delivery(id).await?.ok_or(AppError::DeliveryNotFound)?;
        if delivery.outcome != DeliveryOutcome::Queued {
            return Err(AppError::DeliveryAsksForNothing);
        }
        if !tx.share_aggregator_connection(delivery.connection).await? {
            return Err(AppError::ConnectionNotFound);
        }
        let pull = tx
            .ask_for_pull(&NewPull {
                id: PullId::new(&*self.0.parts.clock, &*self.0.parts.random),
                connection: delivery.connection,
                reason: PullReason::Webhook,
                window: None,
                by_hand: true,
                now,
            })
            .await?;
        if !tx.assign_delivery(id, pull).await? {
            return Err(AppError::DeliveryNotFound);
        }
        let pull = tx.pull(pull).await?.ok_or(AppError::PullNotFound)?;
        tx.audit(&caller.subject, AuditAction::DeliveryReplayed, id.0, now)
            .await?;
        tx.commit().await?;
        Ok(pull)
    }

    /// Clears away deliveries that were kept for long enough, of some connections from `from` on.
    /// Answers where to go on the next time.
    pub async fn prune_deliveries(&self, from: PruningPlace) -> Result<PruningPlace, AppError> {
        let before = self.0.parts.clock.now() - KEPT;
        let mut tx = self.0.parts.store.begin_system().await?;
        let connections = tx
            .connections_with_deliveries(from.0, CONNECTIONS_AT_ONCE)
            .await?;
        drop(tx);
        let Some(last) = connections.last() else {
            return Ok(PruningPlace::default());
        };
        for _ in 0..BATCHES_AT_ONCE {
            let mut tx = self.0.parts.store.begin_system().await?;
            let pruned = tx
                .prune_deliveries(&connections, before, PRUNED_AT_ONCE)
                .await?;
            tx.commit().await?;
            if pruned < PRUNED_AT_ONCE.unsigned_abs() {
                return Ok(PruningPlace(*last));
            }
        }
        // There is more of the same than one round should take.
        Ok(from)
    }
}
