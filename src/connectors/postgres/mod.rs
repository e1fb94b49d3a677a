//! `PostgreSQL`, and what speaks like it.
//!
//! One connection, one read-only transaction and one schema a call. Rows come by `COPY`, the quickest way
//! out of this engine, and their text becomes JSON here ([`decoding`]). Names and values are written into
//! statements by the server itself.
//!
//! Within an array or a composite a value is what the server's own `to_json` makes of it: bytes are text
//! as the engine writes it, hexadecimal digits after `\x`. Only arrays of exact numbers are arrays of
//! strings, so that no reader rounds them.

mod connecting;
mod decoding;
mod describing;
mod errors;
mod reading;

use futures_util::future::BoxFuture;
use sqlx::PgConnection;

use super::{
    Batches, Connector, ConnectorError, Limits, Reach, Source,
    batches::{PATIENCE, batches, patient},
    hosts::DatabaseHosts,
    timed,
};
use crate::domain::{
    connector::{ConnectorCategory, ConnectorType},
    database::{DatabaseLogin, DatabasePlace, DatabaseType, TlsMode},
    table::{Table, TableRead},
};

/// The schema of a connection that names none.
const USUAL_SCHEMA: &str = "public";

/// Reaches `PostgreSQL`.
#[derive(Debug)]
pub(super) struct Postgres {
    hosts: DatabaseHosts,
}

impl Postgres {
    pub(super) fn new(reach: &Reach) -> Self {
        Self {
            hosts: DatabaseHosts::new(reach.database_hosts.clone()),
        }
    }
}

fn database(source: &Source) -> Result<(&DatabasePlace, &DatabaseLogin), ConnectorError> {
    match source {
        Source::Database { place, login } if place.database_type == DatabaseType::Postgresql => {
            Ok((place, login))
        }
        _ => Err(ConnectorError::Refused),
    }
}

fn schema_of(place: &DatabasePlace) -> &str {
    place.schema.as_deref().unwrap_or(USUAL_SCHEMA)
}

/// Connects and begins.
async fn enter(
    hosts: &DatabaseHosts,
    source: &Source,
    limits: Limits,
) -> Result<PgConnection, ConnectorError> {
    let (place, login) = database(source)?;
    let mut connection = connecting::connect(hosts, place, login, limits).await?;
    connecting::begin(&mut connection, limits).await?;
    Ok(connection)
}

impl Connector for Postgres {
    fn connector_type(&self) -> ConnectorType {
        ConnectorType {
            name: DatabaseType::Postgresql.connector(),
            category: ConnectorCategory::Database,
        }
    }

    fn admits(&self, source: &Source) -> Result<(), ConnectorError> {
        let (place, _) = database(source)?;
        let proves_name = place.tls == TlsMode::VerifyFull;
        self.hosts.admits(&place.host, place.port, proves_name)
    }

    fn test<'a>(
        &'a self,
        source: &'a Source,
        limits: Limits,
    ) -> BoxFuture<'a, Result<(), ConnectorError>> {
        Box::pin(timed(limits.total, async move {
            let (place, login) = database(source)?;
            let mut connection = connecting::connect(&self.hosts, place, login, limits).await?;
            connecting::run(&mut connection, "SELECT 1").await?;
            connecting::leave(connection).await;
            Ok(())
        }))
    }

    fn describe<'a>(
        &'a self,
        source: &'a Source,
        limits: Limits,
    ) -> BoxFuture<'a, Result<Vec<Table>, ConnectorError>> {
        Box::pin(timed(limits.total, async move {
            let (place, _) = database(source)?;
            let mut connection = enter(&self.hosts, source, limits).await?;
            let schema = describing::schema(&mut connection, schema_of(place)).await?;
            let tables = describing::tables(&mut connection, schema).await?;
            connecting::leave(connection).await;
            Ok(tables)
        }))
    }

    fn read(&self, source: Source, read: TableRead, limits: Limits) -> Batches {
        let hosts = self.hosts.clone();
        batches(limits, move |to| {
            Box::pin(async move {
                let (place, _) = database(&source)?;
                let schema = schema_of(place);
                let mut connection = patient(PATIENCE, enter(&hosts, &source, limits)).await?;
                patient(PATIENCE, describing::schema(&mut connection, schema)).await?;
                reading::read(&mut connection, schema, &read, to).await?;
                connecting::leave(connection).await;
                Ok(())
            })
        })
    }
}
