//! Connections to databases: create and change.

use super::sources::Obstacle;
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
        let place = DatabasePlace {
            database_type: engine,
            host: host.to_owned(),
            port,
            database: String::new(),
            schema: None,
            tls: TlsMode::default(),
            certificates: None,
        };
        self.admit_place(place).is_ok()
    }

    fn admit_place(&self, place: DatabasePlace) -> Result<(), AppError> {
        let connector = self.0.parts.registry.get(place.database_type.connector());
        let connector =
            connector.ok_or(AppError::SourceBarred(Obstacle::ConnectorNotRegistered))?;
        let login = DatabaseLogin {
            user: SecretText::new(String::new()),
            password: None,
        };
        connector
            .admits(&Source::Database { place, login })
            .map_err(|_| AppError::HostNotAllowed)
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
        match self.admit_place(place) {
            Ok(()) => Ok(true),
            Err(AppError::HostNotAllowed) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes a connection, its credential sealed for it alone, after a look at its database. One
    /// that can't be reached is made all the same.
    pub async fn create_database_connection(
        &self,
        caller: &Caller,
        new: NewDatabase,
    ) -> Result<DiscoveryConnection, AppError> {
        let stored = new.place.to_stored();
        let source = Source::Database {
            place: new.place,
            login: new.login,
        };
        self.provision(caller, new.config_name, source, stored)
            .await
    }

    /// Changes a connection part by part. Where it leads elsewhere or somebody else logs in, its
    /// database is looked at before this answers; the change holds whatever that finds.
    ///
    /// A kept password is not sent over a way that is less protected than the one it was given for.
    /// Another host or port may be named without it: only hosts that the deployment lists can be.
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
        let login = self
            .changed_login(&mut tx, caller, &current, &change)
            .await?;
        let sends_password = !matches!(change.password, Nullable::Keep);
        let place = DatabasePlace {
            database_type: change.database_type.unwrap_or(was.database_type),
            host: change.host.unwrap_or_else(|| was.host.clone()),
            port: change.port.unwrap_or(was.port),
            database: change.database.unwrap_or_else(|| was.database.clone()),
            schema: change.schema.or(was.schema.clone()),
            tls: change.tls.unwrap_or(was.tls),
            certificates: change.certificates.or(was.certificates.clone()),
        };
        if !sends_password && weakens(&was, &place) {
            return Err(AppError::PasswordStaysBehind);
        }
        // Between the check of the parts and now another change may have come.
        if place != was {
            self.admit_place(place.clone())?;
        }
        let forget = what_to_forget(&was, &place, login.is_some());
        let stored = place.to_stored();
        let credential = match login {
            Some(login) => {
                let source = Source::Database { place, login };
                Some(self.seal_source(&mut tx, caller, id, &source).await?)
            }
            None => None,
        };
        let config_name = change.config_name.unwrap_or(current.connection.config_name);
        tx.update_discovery_connection(
            id,
            &SourceChange {
                config_name: &config_name,
                place: &stored,
                credential: credential.as_ref(),
                forget,
                now,
            },
        )
        .await?;
        self.after_change(caller, tx, id, version, forget, action)
            .await?;
        self.discovery_connection(caller, ConnectionKind::Database, id)
            .await
    }

    /// The login as it is from now on; `None` if it stays as it is.
    async fn changed_login(
        &self,
        tx: &mut TenantTx,
        caller: &Caller,
        current: &AccessToSource,
        change: &DatabaseChange,
    ) -> Result<Option<DatabaseLogin>, AppError> {
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
        Ok(Some(login))
    }
}

/// The place of a database connection; anything else is not found.
fn database_place(stored: Option<&AccessToSource>) -> Result<DatabasePlace, AppError> {
    let stored = stored
        .filter(|stored| stored.connection.kind == ConnectionKind::Database)
        .ok_or(AppError::ConnectionNotFound)?;
    super::sources::database_place(stored.connection.id, &stored.place)
}

/// Whether the way to the database becomes less protected, or believes somebody else.
fn weakens(was: &DatabasePlace, is: &DatabasePlace) -> bool {
    is.tls < was.tls || is.certificates != was.certificates
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
