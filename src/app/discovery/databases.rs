//! Connections to databases: create and change.

use super::{
    looks::Look,
    sources::{Obstacle, OpenedSource},
};
use crate::{
    app::{App, AppError, credentials::credential_binding},
    connectors::Source,
    domain::{
        audit::AuditAction,
        caller::Caller,
        connection::{ConfigName, ConnectionKind, Version},
        database::{DatabaseLogin, DatabasePlace, DatabaseType, TlsMode},
        discovery::DiscoveryConnection,
        ids::ConnectionId,
        secret::SecretText,
    },
    storage::{AccessToSource, Forget, SourceChange, TenantTx},
    vault::Sealed,
};

/// A connection as an operator asks for it; every part is checked already.
#[derive(Debug)]
pub struct NewDatabase {
    /// The tenant's name for it.
    pub config_name: ConfigName,
    /// Where the database is.
    pub place: DatabasePlace,
    /// Who logs in.
    pub login: DatabaseLogin,
}

/// What becomes of a part that may be without a value.
#[derive(Debug, Default)]
pub enum Nullable<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It is without a value from now on.
    Clear,
    /// It has this value from now on.
    Set(T),
}

impl<T> Nullable<T> {
    fn or(self, current: Option<T>) -> Option<T> {
        match self {
            Self::Keep => current,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

/// A change as an operator asks for it, part by part; every part is checked already.
#[derive(Debug, Default)]
pub struct DatabaseChange {
    /// Another name.
    pub config_name: Option<ConfigName>,
    /// Another engine.
    pub database_type: Option<DatabaseType>,
    /// Another host.
    pub host: Option<String>,
    /// Another port.
    pub port: Option<u16>,
    /// Another database.
    pub database: Option<String>,
    /// Another schema, or the engine's usual one.
    pub schema: Nullable<String>,
    /// Another protection.
    pub tls: Option<TlsMode>,
    /// Other certificates, or the public ones.
    pub certificates: Nullable<String>,
    /// Another user.
    pub user: Option<SecretText>,
    /// Another password, or none.
    pub password: Nullable<SecretText>,
    /// The versions the operator is willing to change; `None` for any.
    pub expected: Option<Vec<Version>>,
}

impl DatabaseChange {
    fn rotates(&self) -> bool {
        self.user.is_some() || !matches!(self.password, Nullable::Keep)
    }
}

impl App {
    /// The engines that a connection may name in this deployment.
    #[must_use]
    pub fn database_types(&self) -> Vec<DatabaseType> {
        let registered = |one: &DatabaseType| self.0.parts.registry.get(one.connector()).is_some();
        DatabaseType::ALL.into_iter().filter(registered).collect()
    }

    /// Whether a connection may name this host and port, as far as that can be told without asking
    /// anybody.
    #[must_use]
    pub fn admits_database(&self, engine: DatabaseType, host: &str, port: u16) -> bool {
        self.admits_place(DatabasePlace {
            database_type: engine,
            host: host.to_owned(),
            port,
            database: String::new(),
            schema: None,
            tls: TlsMode::default(),
            certificates: None,
        })
    }

    fn admits_place(&self, place: DatabasePlace) -> bool {
        let connector = self.0.parts.registry.get(place.database_type.connector());
        let login = DatabaseLogin {
            user: SecretText::new(String::new()),
            password: None,
        };
        connector.is_some_and(|one| one.admits(&Source::Database { place, login }).is_ok())
    }

    /// The same of the parts of a change, the others being as they are stored.
    pub async fn admits_database_change(
        &self,
        caller: &Caller,
        id: ConnectionId,
        engine: Option<DatabaseType>,
        host: Option<&str>,
        port: Option<u16>,
    ) -> Result<bool, AppError> {
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let stored = tx.access_to_source(id).await?;
        let mut place = database_place(stored.as_ref())?;
        place.database_type = engine.unwrap_or(place.database_type);
        place.port = port.unwrap_or(place.port);
        if let Some(host) = host {
            host.clone_into(&mut place.host);
        }
        Ok(self.admits_place(place))
    }

    /// Makes a connection, its credential sealed for it alone, after a look at its database. One
    /// that can't be reached is made all the same.
    pub async fn create_database_connection(
        &self,
        caller: &Caller,
        new: NewDatabase,
    ) -> Result<DiscoveryConnection, AppError> {
        // Nobody should have to wait for a database to hear that the name is taken.
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        if tx.is_config_name_taken(&new.config_name).await? {
            return Err(AppError::ConfigNameTaken);
        }
        drop(tx);
        let stored_place = new.place.to_stored();
        let (look, login) = self
            .look_at_database(&new.config_name, new.place, new.login)
            .await;

        let now = self.0.parts.clock.now();
        let connection = DiscoveryConnection {
            id: ConnectionId::new(&*self.0.parts.clock, &*self.0.parts.random),
            kind: ConnectionKind::Database,
            connector: stored_place.connector.clone(),
            config_name: new.config_name,
            health: look.health(),
            last_seen_at: look.is_open().then_some(now),
            schema_discovered_at: look.tables().map(|_| now),
            version: Version::FIRST,
            created_at: now,
            updated_at: now,
        };
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let credential = self
            .seal_database_login(&mut tx, caller, connection.id, &login)
            .await?;
        let stored = AccessToSource {
            connection,
            place: stored_place,
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
            "a database connection was created"
        );
        Ok(connection)
    }

    async fn look_at_database(
        &self,
        config_name: &ConfigName,
        place: DatabasePlace,
        login: DatabaseLogin,
    ) -> (Look, DatabaseLogin) {
        let connector = self.0.parts.registry.get(place.database_type.connector());
        let kept = login.clone();
        let opened = connector
            .map(|connector| OpenedSource {
                connector: connector.clone(),
                source: Source::Database { place, login },
                kind: ConnectionKind::Database,
                config_name: config_name.clone(),
            })
            .ok_or(Obstacle::ConnectorNotRegistered);
        (self.look(opened).await, kept)
    }

    /// Changes a connection part by part. Where it leads elsewhere or somebody else logs in, its
    /// database is looked at before this answers; the change holds whatever that finds.
    pub async fn update_database_connection(
        &self,
        caller: &Caller,
        id: ConnectionId,
        change: DatabaseChange,
    ) -> Result<DiscoveryConnection, AppError> {
        let now = self.0.parts.clock.now();
        let mut tx = self.0.parts.store.begin(caller.tenant).await?;
        let current = tx.lock_access_to_source(id).await?;
        let was = database_place(current.as_ref())?;
        let current = current.ok_or(AppError::ConnectionNotFound)?;
        let version = current.connection.version;
        if change
            .expected
            .as_ref()
            .is_some_and(|versions| !versions.contains(&version))
        {
            return Err(AppError::ConnectionChanged);
        }
        let action = if change.rotates() {
            AuditAction::CredentialRotated
        } else {
            AuditAction::ConnectionUpdated
        };
        let credential = self
            .changed_login(&mut tx, caller, &current, &change)
            .await?;
        let place = DatabasePlace {
            database_type: change.database_type.unwrap_or(was.database_type),
            host: change.host.unwrap_or_else(|| was.host.clone()),
            port: change.port.unwrap_or(was.port),
            database: change.database.unwrap_or_else(|| was.database.clone()),
            schema: change.schema.or(was.schema.clone()),
            tls: change.tls.unwrap_or(was.tls),
            certificates: change.certificates.or(was.certificates.clone()),
        };
        // Between the check of the parts and now another change may have come.
        if place != was && !self.admits_place(place.clone()) {
            return Err(AppError::HostNotAllowed);
        }
        let forget = what_to_forget(&was, &place, credential.is_some());
        let config_name = change.config_name.unwrap_or(current.connection.config_name);
        tx.update_discovery_connection(
            id,
            &SourceChange {
                config_name: &config_name,
                place: &place.to_stored(),
                credential: credential.as_ref(),
                forget,
                now,
            },
        )
        .await?;
        if forget == Forget::Everything {
            tx.forget_discovered_tables(id).await?;
        }
        tx.audit(&caller.subject, action, id.0, now).await?;
        tx.commit().await?;
        tracing::info!(
            tenant.id = %caller.tenant,
            connection.id = %id,
            action = action.as_str(),
            "a database connection was changed"
        );
        if forget != Forget::Nothing {
            self.look_again(caller.tenant, id, Version(version.0 + 1))
                .await?;
        }
        self.discovery_connection(caller, ConnectionKind::Database, id)
            .await
    }

    /// The login as it is from now on, sealed; `None` if it stays as it is.
    async fn changed_login(
        &self,
        tx: &mut TenantTx,
        caller: &Caller,
        current: &AccessToSource,
        change: &DatabaseChange,
    ) -> Result<Option<Sealed>, AppError> {
        if !change.rotates() {
            return Ok(None);
        }
        let id = current.connection.id;
        let password = match &change.password {
            Nullable::Set(password) => Some(Some(password.clone())),
            Nullable::Clear => Some(None),
            Nullable::Keep => None,
        };
        let login = match (change.user.clone(), password) {
            // Nothing of the stored one is needed, so it may even be one that no longer opens.
            (Some(user), Some(password)) => DatabaseLogin { user, password },
            (user, password) => {
                let key = tx
                    .tenant_key()
                    .await?
                    .ok_or(AppError::SourceBarred(Obstacle::DataKeyDestroyed))?;
                let binding = credential_binding(caller.tenant, id);
                let vault = &self.0.parts.vault;
                let stored = vault.open_database_login(&key, &binding, &current.credential)?;
                DatabaseLogin {
                    user: user.unwrap_or(stored.user),
                    password: password.unwrap_or(stored.password),
                }
            }
        };
        self.seal_database_login(tx, caller, id, &login)
            .await
            .map(Some)
    }
}

/// The place of a database connection; anything else is not found.
fn database_place(stored: Option<&AccessToSource>) -> Result<DatabasePlace, AppError> {
    let stored = stored
        .filter(|stored| stored.connection.kind == ConnectionKind::Database)
        .ok_or(AppError::ConnectionNotFound)?;
    super::sources::database_place(stored.connection.id, &stored.place)
}

fn what_to_forget(was: &DatabasePlace, is: &DatabasePlace, another_login: bool) -> Forget {
    let same_tables = DatabasePlace {
        tls: is.tls,
        certificates: is.certificates.clone(),
        ..was.clone()
    };
    if same_tables != *is {
        Forget::Everything
    } else if was != is || another_login {
        Forget::Health
    } else {
        Forget::Nothing
    }
}
