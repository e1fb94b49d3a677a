//! Connections to REST endpoints: create, read, list, change.

use uuid::Uuid;

use super::sources::{rest_place, stored_rest_place};
use crate::{
    app::{App, AppError},
    connectors::Source,
    domain::{
        audit::AuditAction,
        caller::Caller,
        connection::{ConfigName, ConnectionKind, Version},
        discovery::DiscoveryConnection,
        host_rule::HostOrNet,
        ids::ConnectionId,
        rest::{RestAuth, RestPlace},
    },
    storage::{AccessToSource, Forget, Page, PageStart, SourceChange},
};

/// A connection as an operator asks for it; every part is checked already.
#[derive(Debug)]
pub struct NewRest {
    /// The tenant's name for it.
    pub config_name: ConfigName,
    /// Where the endpoint is, and what it offers.
    pub place: RestPlace,
    /// What proves who we are.
    pub auth: RestAuth,
}

/// A change as an operator asks for it; every part is checked already.
#[derive(Debug)]
pub struct RestChange {
    /// The name from now on.
    pub config_name: ConfigName,
    /// Where the endpoint is from now on, and what it offers.
    pub place: RestPlace,
    /// Another proof; `None` keeps the stored one.
    pub auth: Option<RestAuth>,
    /// The versions the operator is willing to change; `None` for any.
    pub expected: Option<Vec<Version>>,
}

/// A living connection to a REST endpoint. Free of secrets.
#[derive(Clone, Debug)]
pub struct RestConnection {
    /// What it is.
    pub connection: DiscoveryConnection,
    /// Where the endpoint is, and what it offers.
    pub place: RestPlace,
    /// Which kind of proof is sealed.
    pub auth_kind: String,
}

impl RestConnection {
    fn of(stored: AccessToSource) -> Result<Self, AppError> {
        let (place, auth_kind) = rest_place(stored.connection.id, &stored.place)?;
        Ok(Self {
            connection: stored.connection,
            place,
            auth_kind,
        })
    }

    /// Whether a stored proof may be sent to this endpoint: it was given for the origin that the
    /// connection leads to.
    #[must_use]
    pub fn keeps_auth_at(&self, place: &RestPlace) -> bool {
        self.place.base_url.origin() == place.base_url.origin()
    }
}

impl App {
    /// The private hosts that a base URL may name beside every public one.
    #[must_use]
    pub fn rest_private_hosts(&self) -> &[HostOrNet] {
        &self.0.parts.rest_private_hosts
    }

    /// Makes a connection, its credential sealed for it alone, after a look at its endpoint. One
    /// that can't be reached is made all the same.
    pub async fn create_rest_connection(
        &self,
        caller: &Caller,
        new: NewRest,
    ) -> Result<RestConnection, AppError> {
        let stored = stored_rest_place(&new.place, new.auth.kind());
        let auth_kind = new.auth.kind().to_owned();
        let source = Source::Rest {
            place: new.place.clone(),
            auth: new.auth,
        };
        let connection = self
            .provision(caller, new.config_name, source, stored)
            .await?;
        Ok(RestConnection {
            connection,
            place: new.place,
            auth_kind,
        })
    }

    /// One connection.
    pub async fn rest_connection(
        &self,
        caller: &Caller,
        id: ConnectionId,
    ) -> Result<RestConnection, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let stored = tx.access_to_source(id).await?;
        RestConnection::of(only_rest(stored)?)
    }

    /// A page of the tenant's connections, ordered by config name, then id.
    pub async fn list_rest_connections(
        &self,
        caller: &Caller,
        start: &PageStart<(String, Uuid)>,
        limit: u16,
    ) -> Result<Page<RestConnection>, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let page = tx.list_rest_connections(start, limit).await?;
        Ok(Page {
            items: page
                .items
                .into_iter()
                .map(RestConnection::of)
                .collect::<Result<_, _>>()?,
            more_after: page.more_after,
            more_before: page.more_before,
        })
    }

    /// Changes a connection. Where it leads elsewhere or proves itself otherwise, its endpoint is
    /// looked at before this answers; the change holds whatever that finds.
    pub async fn update_rest_connection(
        &self,
        caller: &Caller,
        id: ConnectionId,
        change: RestChange,
    ) -> Result<RestConnection, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let current = only_rest(tx.lock_access_to_source(id).await?)?;
        let current = RestConnection::of(current)?;
        let version = current.connection.version;
        if change
            .expected
            .as_ref()
            .is_some_and(|versions| !versions.contains(&version))
        {
            return Err(AppError::ConnectionChanged);
        }
        // A secret goes only to whom it was given for.
        if change.auth.is_none() && !current.keeps_auth_at(&change.place) {
            return Err(AppError::AuthStaysBehind);
        }
        let (credential, action, auth_kind) = match change.auth {
            Some(auth) => {
                let kind = auth.kind().to_owned();
                let source = Source::Rest {
                    place: change.place.clone(),
                    auth,
                };
                let sealed = self.seal_source(&mut tx, caller, id, &source).await?;
                (Some(sealed), AuditAction::CredentialRotated, kind)
            }
            None => (None, AuditAction::ConnectionUpdated, current.auth_kind),
        };
        let forget = if current.place != change.place {
            Forget::Everything
        } else if credential.is_some() {
            Forget::Health
        } else {
            Forget::Nothing
        };
        tx.update_discovery_connection(
            id,
            &SourceChange {
                config_name: &change.config_name,
                place: &stored_rest_place(&change.place, &auth_kind),
                credential: credential.as_ref(),
                forget,
                now,
            },
        )
        .await?;
        self.after_change(caller, tx, id, version, forget, action)
            .await?;
        self.rest_connection(caller, id).await
    }
}

fn only_rest(stored: Option<AccessToSource>) -> Result<AccessToSource, AppError> {
    stored
        .filter(|stored| stored.connection.kind == ConnectionKind::Rest)
        .ok_or(AppError::ConnectionNotFound)
}
