//! `discovered_tables`: what a source was last found to offer.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{StorageError, TenantTx};
use crate::domain::{
    ids::ConnectionId,
    table::{Column, Table},
};

/// A column as it is stored.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
struct StoredColumn {
    name: String,
    r#type: String,
    nullable: bool,
}

fn to_stored(columns: &[Column]) -> Value {
    columns
        .iter()
        .map(|column| {
            serde_json::json!({
                "name": column.name,
                "type": column.type_name,
                "nullable": column.nullable,
            })
        })
        .collect()
}

fn from_stored(columns: Value) -> Option<Vec<Column>> {
    let stored: Vec<StoredColumn> = serde_json::from_value(columns).ok()?;
    let column = |one: StoredColumn| Column {
        name: one.name,
        type_name: one.r#type,
        nullable: one.nullable,
    };
    Some(stored.into_iter().map(column).collect())
}

fn table(connection: ConnectionId, name: String, columns: Value) -> Result<Table, StorageError> {
    let columns = from_stored(columns).ok_or(StorageError::Inconsistent {
        table: "discovered_tables",
        column: "columns",
        id: connection.0,
    })?;
    Ok(Table { name, columns })
}

impl TenantTx {
    /// The tables of a connection, ordered by name byte by byte.
    pub async fn discovered_tables(
        &mut self,
        connection: ConnectionId,
    ) -> Result<Vec<Table>, StorageError> {
        let rows = sqlx::query!(
            "SELECT table_name, columns FROM discovered_tables
             WHERE tenant_id = $1 AND connection_id = $2 ORDER BY table_name",
            self.tenant.0,
            connection.0
        )
        .fetch_all(&mut *self.tx)
        .await?;
        rows.into_iter()
            .map(|row| table(connection, row.table_name, row.columns))
            .collect()
    }

    /// Those tables of a connection that have one of these names.
    pub async fn discovered_tables_named(
        &mut self,
        connection: ConnectionId,
        names: &[String],
    ) -> Result<Vec<Table>, StorageError> {
        let rows = sqlx::query!(
            "SELECT table_name, columns FROM discovered_tables
             WHERE tenant_id = $1 AND connection_id = $2 AND table_name = ANY($3)",
            self.tenant.0,
            connection.0,
            names
        )
        .fetch_all(&mut *self.tx)
        .await?;
        rows.into_iter()
            .map(|row| table(connection, row.table_name, row.columns))
            .collect()
    }

    /// Makes these the tables of a connection. A table that is as it was is not written.
    pub async fn replace_discovered_tables(
        &mut self,
        connection: ConnectionId,
        tables: &[Table],
    ) -> Result<(), StorageError> {
        let names: Vec<String> = tables.iter().map(|table| table.name.clone()).collect();
        let columns: Vec<Value> = tables
            .iter()
            .map(|table| to_stored(&table.columns))
            .collect();
        sqlx::query!(
            "WITH found AS (
                 SELECT * FROM unnest($3::text[], $4::jsonb[]) AS found (table_name, columns)
             ), gone AS (
                 DELETE FROM discovered_tables d
                 WHERE d.tenant_id = $1 AND d.connection_id = $2
                   AND NOT EXISTS (SELECT FROM found f WHERE f.table_name = d.table_name)
             )
             INSERT INTO discovered_tables AS d (tenant_id, connection_id, table_name, columns)
             SELECT $1, $2, f.table_name, f.columns FROM found f
             WHERE NOT EXISTS (
                 SELECT FROM discovered_tables known
                 WHERE known.tenant_id = $1 AND known.connection_id = $2
                   AND known.table_name = f.table_name AND known.columns = f.columns)
             ON CONFLICT (tenant_id, connection_id, table_name)
                 DO UPDATE SET columns = excluded.columns",
            self.tenant.0,
            connection.0,
            &names,
            &columns
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }

    /// Forgets the tables of a connection.
    pub async fn forget_discovered_tables(
        &mut self,
        connection: ConnectionId,
    ) -> Result<(), StorageError> {
        sqlx::query!(
            "DELETE FROM discovered_tables WHERE tenant_id = $1 AND connection_id = $2",
            self.tenant.0,
            connection.0
        )
        .execute(&mut *self.tx)
        .await?;
        Ok(())
    }
}
