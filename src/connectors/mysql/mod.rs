//! `MySQL` and `MariaDB`.

mod columns;
mod connect;
mod error;
mod read;

use std::collections::BTreeMap;

use futures_util::{TryStreamExt as _, future::BoxFuture};
use sqlx::{AssertSqlSafe, Executor as _, Row as _};

use self::{connect::Session, error::classify};
use super::{
    Batches, Connector, ConnectorError, Limits, MAX_DESCRIPTION_BYTES, Reach, Source, TableRead,
    batches::batches, hosts::DatabaseHosts, timed,
};
use crate::domain::{
    connector::{ConnectorCategory, ConnectorType},
    database::{DatabaseLogin, DatabasePlace, DatabaseType, TlsMode},
    table::{Column, Table},
};

/// Reaches `MySQL` and `MariaDB`.
#[derive(Clone, Debug)]
pub(super) struct Mysql {
    hosts: DatabaseHosts,
}

impl Mysql {
    pub(super) fn new(reach: &Reach) -> Self {
        Self {
            hosts: DatabaseHosts::new(reach.database_hosts.clone()),
        }
    }
}

/// A source of this kind.
fn ours(source: &Source) -> Result<(&DatabasePlace, &DatabaseLogin), ConnectorError> {
    match source {
        Source::Database { place, login } if place.database_type == DatabaseType::Mysql => {
            Ok((place, login))
        }
        Source::Database { .. } | Source::Rest { .. } => Err(ConnectorError::Refused),
    }
}

/// The database whose tables are offered: here, a schema is one.
fn namespace(place: &DatabasePlace) -> &str {
    place.schema.as_deref().unwrap_or(&place.database)
}

impl Connector for Mysql {
    fn connector_type(&self) -> ConnectorType {
        ConnectorType {
            name: DatabaseType::Mysql.connector(),
            category: ConnectorCategory::Database,
        }
    }

    fn admits(&self, source: &Source) -> Result<(), ConnectorError> {
        let (place, _) = ours(source)?;
        let proves_name = place.tls == TlsMode::VerifyFull;
        self.hosts.admits(&place.host, place.port, proves_name)
    }

    fn test<'a>(
        &'a self,
        source: &'a Source,
        limits: Limits,
    ) -> BoxFuture<'a, Result<(), ConnectorError>> {
        Box::pin(timed(limits.total, async move {
            let mut session = Session::open(&self.hosts, source, &limits).await?;
            session
                .line
                .execute("DO 1")
                .await
                .map_err(|error| classify(&error))?;
            session.close().await;
            Ok(())
        }))
    }

    fn describe<'a>(
        &'a self,
        source: &'a Source,
        limits: Limits,
    ) -> BoxFuture<'a, Result<Vec<Table>, ConnectorError>> {
        Box::pin(timed(limits.total, async move {
            let (place, _) = ours(source)?;
            let mut session = Session::open(&self.hosts, source, &limits).await?;
            let tables = tables(&mut session, namespace(place)).await?;
            session.close().await;
            Ok(tables)
        }))
    }

    fn read(&self, source: Source, read: TableRead, limits: Limits) -> Batches {
        let hosts = self.hosts.clone();
        batches(limits, move |to| {
            Box::pin(async move {
                let (place, _) = ours(&source)?;
                let mut session = Session::open(&hosts, &source, &limits).await?;
                read::read(&mut session, namespace(place), &read, to).await?;
                session.close().await;
                Ok(())
            })
        })
    }
}

/// Everything that the login may see there; the engine leaves out what it may not.
async fn tables(session: &mut Session, namespace: &str) -> Result<Vec<Table>, ConnectorError> {
    let mut rows = sqlx_query(
        "SELECT CAST(table_name AS CHAR), CAST(column_name AS CHAR), CAST(column_type AS CHAR),
                is_nullable = 'YES'
         FROM information_schema.columns
         WHERE table_schema = ? AND FIND_IN_SET('select', privileges) > 0
         ORDER BY ordinal_position",
    )
    .bind(namespace.to_owned())
    .fetch(&mut session.line)
    .map_err(|error| classify(&error));
    let mut tables: BTreeMap<String, Vec<Column>> = BTreeMap::new();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        let table: String = get(&row, 0)?;
        let column = Column {
            name: get(&row, 1)?,
            type_name: get(&row, 2)?,
            nullable: row
                .try_get_unchecked(3)
                .map_err(|_| ConnectorError::Malformed)?,
        };
        bytes += size_of::<Column>() + table.len() + column.name.len() + column.type_name.len();
        if bytes > MAX_DESCRIPTION_BYTES {
            return Err(ConnectorError::TooLarge);
        }
        tables.entry(table).or_default().push(column);
    }
    Ok(tables
        .into_iter()
        .map(|(name, columns)| Table { name, columns })
        .collect())
}

fn get(row: &sqlx::mysql::MySqlRow, index: usize) -> Result<String, ConnectorError> {
    row.try_get_unchecked(index)
        .map_err(|_| ConnectorError::Malformed)
}

/// A statement for the tenant's database; its schema is not ours to check against.
#[expect(
    clippy::disallowed_methods,
    reason = "a tenant's database has no schema that could be checked at build time"
)]
fn sqlx_query(
    statement: impl Into<String>,
) -> sqlx::query::Query<'static, sqlx::MySql, sqlx::mysql::MySqlArguments> {
    // Every text comes from this module; names in it are quoted by `columns::quoted`.
    sqlx::query(AssertSqlSafe(statement.into()))
}
