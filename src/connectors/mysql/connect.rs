//! Reaching the server, and what a session is allowed.

use std::time::Duration;

use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, Row as _,
    mysql::{MySqlConnectOptions, MySqlConnection, MySqlSslMode},
};

use super::{classify, ours, sqlx_query};
use crate::{
    connectors::{ConnectorError, Limits, Source, hosts::DatabaseHosts, timed},
    domain::database::TlsMode,
};

/// How long saying good-bye may take. The server notices a closed socket as well.
const LEAVING: Duration = Duration::from_secs(1);

/// A session that may only read.
pub(super) struct Session {
    pub(super) line: MySqlConnection,
    /// Whether it is `MariaDB`, which differs here and there.
    pub(super) is_mariadb: bool,
}

impl Session {
    pub(super) async fn open(
        hosts: &DatabaseHosts,
        source: &Source,
        limits: &Limits,
    ) -> Result<Self, ConnectorError> {
        timed(limits.connect, Self::connect(hosts, source, limits)).await
    }

    async fn connect(
        hosts: &DatabaseHosts,
        source: &Source,
        limits: &Limits,
    ) -> Result<Self, ConnectorError> {
        let (place, login) = ours(source)?;
        let proves_name = place.tls == TlsMode::VerifyFull;
        let host = hosts
            .dial(&place.host, place.port, proves_name, limits.connect)
            .await?;
        let mut options = MySqlConnectOptions::new()
            .host(&host)
            .port(place.port)
            .username(login.user.expose())
            .database(&place.database)
            .ssl_mode(match place.tls {
                TlsMode::Disable => MySqlSslMode::Disabled,
                TlsMode::Prefer => MySqlSslMode::Preferred,
                TlsMode::Require => MySqlSslMode::Required,
                TlsMode::VerifyFull => MySqlSslMode::VerifyIdentity,
            })
            .statement_cache_capacity(0)
            // The database's own mode stays as its views and columns know it.
            .pipes_as_concat(false)
            .no_engine_substitution(false)
            .timezone("+00:00".to_owned())
            // The driver would log what the tenant's tables are called.
            .disable_statement_logging();
        if let Some(password) = &login.password {
            options = options.password(password.expose());
        }
        if let Some(certificates) = &place.certificates {
            options = options.ssl_ca_from_pem(certificates.clone().into_bytes());
        }
        let mut line = options.connect().await.map_err(|error| classify(&error))?;
        let version: String = sqlx_query("SELECT VERSION()")
            .fetch_one(&mut line)
            .await
            .map_err(|error| classify(&error))?
            .try_get_unchecked(0)
            .map_err(|_| ConnectorError::Malformed)?;
        let mut session = Self {
            line,
            is_mariadb: version.contains("MariaDB"),
        };
        session.bound(limits).await?;
        Ok(session)
    }

    /// Lets nothing be written, and no statement last longer than everything may.
    async fn bound(&mut self, limits: &Limits) -> Result<(), ConnectorError> {
        let millis = limits.total.as_millis().max(1);
        let most = if self.is_mariadb {
            format!(
                "SET SESSION max_statement_time = {}.{:03}",
                millis / 1000,
                millis % 1000
            )
        } else {
            format!("SET SESSION MAX_EXECUTION_TIME = {millis}")
        };
        let lock = limits.connect.as_secs().max(1);
        for statement in [
            "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY".to_owned(),
            most,
            format!("SET SESSION lock_wait_timeout = {lock}"),
        ] {
            self.line
                .execute(sqlx_query(statement))
                .await
                .map_err(|error| classify(&error))?;
        }
        Ok(())
    }

    /// Says good-bye. Should the server not care, there is nothing to be done about it.
    pub(super) async fn close(self) {
        let leaving = async { self.line.close().await.map_err(|error| classify(&error)) };
        if let Err(error) = timed(LEAVING, leaving).await {
            tracing::debug!(class = error.class(), "a session ended unasked");
        }
    }
}
