//! Discovery connections: databases and REST endpoints, what they offer, and whether they can be
//! reached.

mod databases;
mod looks;
mod provision;
mod refresh;
mod rest;
mod sources;

use chrono::{DateTime, Utc};

pub(super) use self::looks::Look;
pub use self::{
    databases::{DatabaseChange, NewDatabase, Nullable},
    looks::SourceTest,
    rest::{NewRest, RestChange, RestConnection},
    sources::Obstacle,
};
use super::{App, AppError, readiness::Check};
use crate::domain::{
    audit::AuditAction, caller::Caller, connection::ConnectionKind, discovery::DiscoveryConnection,
    ids::ConnectionId, table::Table,
};

/// How reading sources does, all in all.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct DiscoveryStatus {
    /// Whether this process has connectors, and its workers, where it has any, are at it.
    pub healthy: bool,
    /// Living connections to databases and REST endpoints.
    pub connections: u64,
    /// When a refresh last looked at every one of them.
    pub last_sync_at: Option<DateTime<Utc>>,
}

impl App {
    /// One connection of that kind.
    pub async fn discovery_connection(
        &self,
        caller: &Caller,
        kind: ConnectionKind,
        id: ConnectionId,
    ) -> Result<DiscoveryConnection, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let connection = tx.discovery_connection(kind, id).await?;
        connection.ok_or(AppError::ConnectionNotFound)
    }

    /// Every connection of that kind, ordered by config name.
    pub async fn list_discovery_connections(
        &self,
        caller: &Caller,
        kind: ConnectionKind,
    ) -> Result<Vec<DiscoveryConnection>, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        Ok(tx.list_discovery_connections(kind).await?)
    }

    /// What the source of a connection was last found to offer, ordered by name.
    pub async fn discovered_tables(
        &self,
        caller: &Caller,
        kind: ConnectionKind,
        id: ConnectionId,
    ) -> Result<Vec<Table>, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        if tx.discovery_connection(kind, id).await?.is_none() {
            return Err(AppError::ConnectionNotFound);
        }
        Ok(tx.discovered_tables(id).await?)
    }

    /// Deletes a connection of that kind: its name is free, its credential is gone, and so is what
    /// its source was found to offer.
    pub async fn delete_discovery_connection(
        &self,
        caller: &Caller,
        kind: ConnectionKind,
        id: ConnectionId,
    ) -> Result<(), AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        if !tx.delete_discovery_connection(kind, id, now).await? {
            return Err(AppError::ConnectionNotFound);
        }
        tx.forget_discovered_tables(id).await?;
        tx.end_extractions_of(id, now).await?;
        tx.audit(&caller.subject, AuditAction::ConnectionDeleted, id.0, now)
            .await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %id,
            kind = kind.as_str(),
            "a discovery connection was deleted"
        );
        Ok(())
    }

    /// How reading sources does, all in all. Whether single sources can be reached is no part of it:
    /// that is the health of their connections.
    pub async fn discovery_status(&self, caller: &Caller) -> Result<DiscoveryStatus, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let has_connectors = self.0.parts.registry.types().next().is_some();
        let worker = self.worker(self.0.parts.clock.now());
        Ok(DiscoveryStatus {
            healthy: has_connectors && worker != Some(Check::Failing),
            connections: tx.count_discovery_connections().await?,
            last_sync_at: tx.last_refresh().await?,
        })
    }
}
