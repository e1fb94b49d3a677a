//! Opening what it takes to reach a source.

use std::sync::Arc;

use crate::{
    app::{App, AppError, credentials::credential_binding},
    connectors::{Connector, Source},
    domain::{
        connection::{ConfigName, ConnectionKind},
        database::DatabasePlace,
        discovery::StoredPlace,
        ids::{ConnectionId, TenantId},
        rest::{RestAuth, RestPlace},
    },
    storage::AccessToSource,
    vault::WrappedKey,
};

/// What on our side stands between a connection and its source.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Obstacle {
    /// The deployment no longer registers the type of connector that the connection needs.
    #[error("the connection's type of connector is not registered")]
    ConnectorNotRegistered,
    /// The deployment no longer lets connections name this host.
    #[error("the connection's host may not be named any more")]
    HostNotAllowed,
    /// The tenant's data key was destroyed, and the credential with it.
    #[error("the tenant's data key was destroyed")]
    DataKeyDestroyed,
}

impl Obstacle {
    /// A stable word for records and logs.
    #[must_use]
    pub fn class(self) -> &'static str {
        match self {
            Self::ConnectorNotRegistered => "connector_not_registered",
            Self::HostNotAllowed => "host_not_allowed",
            Self::DataKeyDestroyed => "data_key_destroyed",
        }
    }
}

/// A source, ready to be reached: its credential is open.
#[derive(Debug)]
pub(in crate::app) struct OpenedSource {
    /// What reaches it.
    pub(in crate::app) connector: Arc<dyn Connector>,
    /// Where it is and what proves who we are.
    pub(in crate::app) source: Source,
    /// Whether it is a database or a REST endpoint.
    pub(in crate::app) kind: ConnectionKind,
    /// The tenant's name for the connection.
    pub(in crate::app) config_name: ConfigName,
}

impl App {
    /// The source behind a living connection. No connection to the database is held afterwards.
    ///
    /// What stands against it on our side is a [`SourceBarred`](AppError::SourceBarred).
    pub(in crate::app) async fn source_of(
        &self,
        tenant: TenantId,
        id: ConnectionId,
    ) -> Result<OpenedSource, AppError> {
        let mut tx = self.0.parts.store.begin(tenant).await?;
        let stored = tx
            .access_to_source(id)
            .await?
            .ok_or(AppError::ConnectionNotFound)?;
        let key = tx.tenant_key().await?;
        drop(tx);
        self.open_source(tenant, &stored, key.as_ref())?
            .map_err(AppError::SourceBarred)
    }

    /// Opens what is stored of a connection, if nothing on our side stands against it.
    pub(super) fn open_source(
        &self,
        tenant: TenantId,
        stored: &AccessToSource,
        key: Option<&WrappedKey>,
    ) -> Result<Result<OpenedSource, Obstacle>, AppError> {
        let connection = &stored.connection;
        let Some(connector) = self.0.parts.registry.get(&connection.connector) else {
            return Ok(Err(Obstacle::ConnectorNotRegistered));
        };
        let Some(key) = key else {
            return Ok(Err(Obstacle::DataKeyDestroyed));
        };
        let binding = credential_binding(tenant, connection.id);
        let vault = &self.0.parts.vault;
        let source = match connection.kind {
            ConnectionKind::Database => Source::Database {
                place: database_place(connection.id, &stored.place)?,
                login: vault.open_database_login(key, &binding, &stored.credential)?,
            },
            ConnectionKind::Rest => {
                let (place, kind) = rest_place(connection.id, &stored.place)?;
                let pair = vault.open_credential(key, &binding, &stored.credential)?;
                let auth = RestAuth::from_stored(&kind, pair.client_id(), pair.secret())
                    .map_err(|_| unreadable(connection.id))?;
                Source::Rest { place, auth }
            }
            ConnectionKind::Aggregator => return Err(unreadable(connection.id)),
        };
        // The list may have become shorter since the connection was made.
        if connector.admits(&source).is_err() {
            return Ok(Err(Obstacle::HostNotAllowed));
        }
        Ok(Ok(OpenedSource {
            connector: Arc::clone(connector),
            source,
            kind: connection.kind,
            config_name: connection.config_name.clone(),
        }))
    }
}

/// The place of a database, as it is stored.
pub(super) fn database_place(
    id: ConnectionId,
    stored: &StoredPlace,
) -> Result<DatabasePlace, AppError> {
    DatabasePlace::from_stored(stored).ok_or_else(|| unreadable(id))
}

/// The type of the connector that reaches REST endpoints.
const REST_CONNECTOR: &str = "rest-generic";

/// The parts of a REST endpoint that are stored, with the kind of its proof.
pub(super) fn stored_rest_place(place: &RestPlace, auth_kind: &str) -> StoredPlace {
    let mut attributes = place.to_stored();
    attributes["auth"] = auth_kind.into();
    StoredPlace {
        connector: REST_CONNECTOR.to_owned(),
        host: place.base_url.to_string(),
        attributes,
    }
}

/// The place of a REST endpoint, as it is stored, and the kind of its proof.
pub(super) fn rest_place(
    id: ConnectionId,
    stored: &StoredPlace,
) -> Result<(RestPlace, String), AppError> {
    let place = RestPlace::from_stored(&stored.attributes).ok();
    let kind = stored.attributes["auth"].as_str().map(str::to_owned);
    place.zip(kind).ok_or_else(|| unreadable(id))
}

fn unreadable(id: ConnectionId) -> AppError {
    AppError::Internal(
        format!("what is stored of the place of connection {id} does not read back").into(),
    )
}
