//! Making a connection, and what holds for everything that is done with it.

use std::time::Duration;

use sqlx::{
    ConnectOptions as _, Connection as _, Executor as _, PgConnection, Postgres,
    postgres::{PgArguments, PgConnectOptions, PgSslMode},
    query::Query,
};

use super::errors;
use crate::{
    connectors::{ConnectorError, Limits, hosts::DatabaseHosts},
    domain::database::{DatabaseLogin, DatabasePlace, TlsMode},
};

/// What the server shows its own people about us.
const APPLICATION: &str = "matcher-discovery";

/// How long saying goodbye may take. The server notices a closed socket as well.
const LEAVING: Duration = Duration::from_secs(1);

/// Reaches the server and logs in.
pub(super) async fn connect(
    hosts: &DatabaseHosts,
    place: &DatabasePlace,
    login: &DatabaseLogin,
    limits: Limits,
) -> Result<PgConnection, ConnectorError> {
    let connecting = async {
        let proves_name = place.tls == TlsMode::VerifyFull;
        let host = hosts
            .dial(&place.host, place.port, proves_name, limits.connect)
            .await?;
        let connected = options(&host, place, login).connect().await;
        connected.map_err(|error| errors::connecting(&error))
    };
    tokio::time::timeout(limits.connect, connecting)
        .await
        .unwrap_or(Err(ConnectorError::TimedOut))
}

/// The driver's options begin with what this process's environment says of a database, which is
/// another one: each of them that can be set is set here.
fn options(host: &str, place: &DatabasePlace, login: &DatabaseLogin) -> PgConnectOptions {
    let password = login.password.as_ref();
    let certificates = place.certificates.as_deref().unwrap_or_default();
    PgConnectOptions::new_without_pgpass()
        .host(host)
        .port(place.port)
        .username(login.user.expose())
        .password(password.map_or("", |password| password.expose()))
        .database(&place.database)
        .ssl_mode(match place.tls {
            TlsMode::Disable => PgSslMode::Disable,
            TlsMode::Prefer => PgSslMode::Prefer,
            TlsMode::Require => PgSslMode::Require,
            TlsMode::VerifyFull => PgSslMode::VerifyFull,
        })
        .ssl_root_cert_from_pem(certificates.as_bytes().to_vec())
        .application_name(APPLICATION)
        // It is set with everything else: a pooler refuses a start that names what it does not know.
        .extra_float_digits(None)
        .statement_cache_capacity(0)
        .disable_statement_logging()
}

/// Begins the one transaction that a connection has.
///
/// It is read-committed on purpose. What is read is read by one statement, which sees one state of
/// the database whatever the level. A stricter level would fix that state with the first statement,
/// before the table is locked; a table that is rewritten in between then looks empty.
pub(super) async fn begin(
    connection: &mut PgConnection,
    limits: Limits,
) -> Result<(), ConnectorError> {
    run(connection, "BEGIN ISOLATION LEVEL READ COMMITTED READ ONLY").await?;
    let total = milliseconds(limits.total);
    let patience = milliseconds(limits.connect);
    let settings = [
        // Nothing that is named without its schema is looked for anywhere else.
        ("search_path", "pg_catalog, pg_temp"),
        ("default_transaction_read_only", "on"),
        ("statement_timeout", &total),
        ("lock_timeout", &patience),
        ("idle_in_transaction_session_timeout", &patience),
        // A statement ends soon after we are gone, even one that sends nothing for long.
        ("client_connection_check_interval", "1000"),
        ("client_encoding", "UTF8"),
        ("client_min_messages", "error"),
        ("DateStyle", "ISO, YMD"),
        ("IntervalStyle", "iso_8601"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "3"),
        ("bytea_output", "hex"),
        ("xmlbinary", "base64"),
    ];
    let (names, values): (Vec<&str>, Vec<&str>) = settings.into_iter().unzip();
    // An older server does not know each of them, and not every system can watch a socket.
    let set = query(
        "SELECT pg_catalog.set_config(name, value, true)
           FROM ROWS FROM (pg_catalog.unnest($1), pg_catalog.unnest($2)) AS wanted (name, value)
          WHERE pg_catalog.current_setting(name, true) IS NOT NULL
            AND (name OPERATOR(pg_catalog.<>) 'client_connection_check_interval'
                 OR pg_catalog.version() OPERATOR(pg_catalog.~~) '%linux%')",
    )
    .bind(names)
    .bind(values);
    set.execute(connection)
        .await
        .map_err(|error| errors::of(&error))?;
    Ok(())
}

fn milliseconds(duration: Duration) -> String {
    // Nought would mean for ever.
    let milliseconds = duration
        .as_millis()
        .clamp(1, i32::MAX.unsigned_abs().into());
    milliseconds.to_string()
}

/// Runs a statement whose rows nobody wants.
pub(super) async fn run(
    connection: &mut PgConnection,
    statement: &'static str,
) -> Result<(), ConnectorError> {
    let ran = connection.execute(sqlx::raw_sql(statement)).await;
    ran.map(drop).map_err(|error| errors::of(&error))
}

/// A statement of ours, to be given what it asks for by parameters.
#[expect(
    clippy::disallowed_methods,
    reason = "what `query!` knows is our own schema; this asks the catalogue of another database"
)]
pub(super) fn query(statement: &'static str) -> Query<'static, Postgres, PgArguments> {
    // A pooler may give the next statement to another session, which has no prepared ones.
    sqlx::query(statement).persistent(false)
}

/// Says goodbye, so that the server's log has no complaint.
pub(super) async fn leave(connection: PgConnection) {
    // Whether it hears us or not, the socket is closed.
    let _ = tokio::time::timeout(LEAVING, connection.close()).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{database::DatabaseType, secret::SecretText};

    #[test]
    fn nothing_but_the_connection_decides_where_it_goes_and_as_whom() {
        let place = DatabasePlace {
            database_type: DatabaseType::Postgresql,
            host: "db.example".to_owned(),
            port: 6432,
            database: "ledger".to_owned(),
            schema: None,
            tls: TlsMode::Require,
            certificates: None,
        };
        let login = DatabaseLogin {
            user: SecretText::new("reader".to_owned()),
            password: None,
        };
        let options = options("10.0.0.7", &place, &login);
        assert_eq!((options.get_host(), options.get_port()), ("10.0.0.7", 6432));
        assert_eq!(options.get_socket(), None);
        assert_eq!(options.get_username(), "reader");
        assert_eq!(options.get_database(), Some("ledger"));
        assert!(matches!(options.get_ssl_mode(), PgSslMode::Require));
        assert_eq!(options.get_application_name(), Some(APPLICATION));
    }

    #[test]
    fn a_time_limit_is_never_none_and_never_too_large() {
        assert_eq!(milliseconds(Duration::ZERO), "1");
        assert_eq!(milliseconds(Duration::from_secs(30)), "30000");
        assert_eq!(milliseconds(Duration::MAX), "2147483647");
    }
}
