//! What making and changing have in common, whatever the source.

use super::sources::{Obstacle, OpenedSource};
use crate::{
    app::{App, AppError},
    connectors::Source,
    domain::{
        audit::AuditAction,
        caller::Caller,
        connection::{ConfigName, ConnectionKind, Version},
        discovery::{DiscoveryConnection, StoredPlace},
        ids::ConnectionId,
    },
    storage::{AccessToSource, Forget, TenantTx},
};

impl App {
    /// Makes a connection, its credential sealed for it alone, after a look at its source. One that
    /// can't be reached is made all the same.
    pub(super) async fn provision(
        &self,
        caller: &Caller,
        config_name: ConfigName,
        source: Source,
        place: StoredPlace,
    ) -> Result<DiscoveryConnection, AppError> {
        // Nobody should have to wait for a source to hear that the name is taken.
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        if tx.is_config_name_taken(&config_name).await? {
            return Err(AppError::ConfigNameTaken);
        }
        drop(tx);
        let connector = self.0.parts.registry.get(&place.connector);
        let connector =
            connector.ok_or(AppError::SourceBarred(Obstacle::ConnectorNotRegistered))?;
        let opened = OpenedSource {
            connector: connector.clone(),
            kind: match &source {
                Source::Database { .. } => ConnectionKind::Database,
                Source::Rest { .. } => ConnectionKind::Rest,
            },
            source,
            config_name,
        };
        let look = self.look(Ok(&opened)).await;

        let now = self.0.parts.clock.now();
        let connection = DiscoveryConnection {
            id: ConnectionId::new(&*self.0.parts.clock, &*self.0.parts.random),
            kind: opened.kind,
            connector: place.connector.clone(),
            config_name: opened.config_name,
            health: look.health(),
            last_seen_at: look.is_open().then_some(now),
            schema_discovered_at: look.tables().map(|_| now),
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
        };
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let credential = self
            .seal_source(&mut tx, caller, connection.id, &opened.source)
            .await?;
        let stored = AccessToSource {
            connection,
            place,
            credential,
        };
        tx.insert_discovery_connection(&stored).await?;
        let connection = stored.connection;
        if let Some(tables) = look.tables() {
            tx.replace_discovered_tables(connection.id, tables).await?;
        }
        tx.audit(
            &caller.subject,
            AuditAction::ConnectionCreated,
            connection.id.0,
            now,
        )
        .await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %connection.id,
            connector = connection.connector,
            health = connection.health.as_str(),
            trouble = look.trouble(),
            "a discovery connection was created"
        );
        Ok(connection)
    }

    /// Ends the transaction of a change that was written, and looks at the source if what was found
    /// says nothing any more.
    pub(super) async fn after_change(
        &self,
        caller: &Caller,
        mut tx: TenantTx,
        id: ConnectionId,
        changed: Version,
        forget: Forget,
        action: AuditAction,
    ) -> Result<(), AppError> {
        if forget == Forget::Everything {
            tx.forget_discovered_tables(id).await?;
        }
        let now = self.0.parts.clock.now();
        tx.audit(&caller.subject, action, id.0, now).await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %id,
            action = action.as_str(),
            "a discovery connection was changed"
        );
        if forget != Forget::Nothing
            && let Err(error) = self
                .look_again(caller.tenant, id, Version(changed.0 + 1))
                .await
        {
            // The change is written; it must not be answered as if it were not.
            tracing::warn!(%error, connection.id = %id, "a source could not be looked at after a change");
        }
        Ok(())
    }
}
