//! Which tables and columns there are for the login.

use futures_util::TryStreamExt as _;
use sqlx::{PgConnection, Row as _, postgres::types::Oid};

use super::{connecting::query, errors};
use crate::{
    connectors::{ConnectorError, MAX_DESCRIPTION_BYTES},
    domain::table::{Column, Table},
};

/// What a column costs beside its texts.
const COLUMN_BYTES: usize = size_of::<Column>();

/// The schema of this name, which the login may use.
pub(super) async fn schema(
    connection: &mut PgConnection,
    name: &str,
) -> Result<Oid, ConnectorError> {
    if name.contains('\0') {
        return Err(ConnectorError::NoSuchPlace);
    }
    let found = query(
        "SELECT oid, has_schema_privilege(oid, 'USAGE') FROM pg_namespace WHERE nspname = $1",
    )
    .bind(name)
    .fetch_optional(connection)
    .await
    .map_err(|error| errors::of(&error))?
    .ok_or(ConnectorError::NoSuchPlace)?;
    let usable: Option<bool> = get(&found, 1)?;
    if usable == Some(true) {
        get(&found, 0)
    } else {
        Err(ConnectorError::NotPermitted)
    }
}

/// The tables of a schema, each with what the login may select of it.
pub(super) async fn tables(
    connection: &mut PgConnection,
    schema: Oid,
) -> Result<Vec<Table>, ConnectorError> {
    let mut rows = query(
        "SELECT c.relname::text, a.attname::text, format_type(a.atttypid, a.atttypmod),
                NOT (a.attnotnull OR t.typnotnull)
           FROM pg_class AS c
           LEFT JOIN (pg_attribute AS a JOIN pg_type AS t ON t.oid = a.atttypid)
             ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
            AND has_column_privilege(c.oid, a.attnum, 'SELECT')
          WHERE c.relnamespace = $1 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
            AND has_any_column_privilege(c.oid, 'SELECT')
          ORDER BY c.relname, c.oid, a.attnum",
    )
    .bind(schema)
    .fetch(connection);
    let mut tables: Vec<Table> = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await.map_err(|error| errors::of(&error))? {
        let name: String = get(&row, 0)?;
        bytes += name.len();
        if tables.last().is_none_or(|table| table.name != name) {
            bytes += size_of::<Table>();
            tables.push(Table {
                name,
                columns: Vec::new(),
            });
        }
        // A table may do without columns.
        let Some(name) = get::<Option<String>>(&row, 1)? else {
            continue;
        };
        let column = Column {
            name,
            type_name: get(&row, 2)?,
            nullable: get(&row, 3)?,
        };
        bytes += COLUMN_BYTES + column.name.len() + column.type_name.len();
        if bytes > MAX_DESCRIPTION_BYTES {
            return Err(ConnectorError::TooLarge);
        }
        if let Some(table) = tables.last_mut() {
            table.columns.push(column);
        }
    }
    Ok(tables)
}

/// Reads a member of a row of the catalogue.
pub(super) fn get<'r, T>(row: &'r sqlx::postgres::PgRow, index: usize) -> Result<T, ConnectorError>
where
    T: sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    row.try_get(index).map_err(|_| ConnectorError::Malformed)
}
