//! Reading a table, row by row.

use chrono::Days as SomeDays;
use futures_util::TryStreamExt as _;
use sqlx::{Executor as _, Row as _, mysql::MySqlRow};

use super::{
    classify,
    columns::{Bound, Chosen, Kind, quoted},
    connect::Session,
    get, sqlx_query,
};
use crate::{
    connectors::{
        ConnectorError, MAX_DESCRIPTION_BYTES,
        batches::{BatchWriter, PATIENCE, patient},
        lines::write_text,
    },
    domain::table::TableRead,
};

pub(super) async fn read(
    session: &mut Session,
    namespace: &str,
    read: &TableRead,
    mut to: BatchWriter,
) -> Result<(), ConnectorError> {
    let planning = async {
        session
            .line
            .execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            .await
            .map_err(|error| classify(&error))?;
        Plan::make(session, namespace, read).await
    };
    let plan = patient(PATIENCE, planning).await?;
    let mut statement = sqlx_query(plan.statement);
    for value in plan.values {
        statement = match value {
            Bound::Text(text) => statement.bind(text),
            Bound::Bytes(bytes) => statement.bind(bytes),
        };
    }
    let mut rows = statement
        .fetch(&mut session.line)
        .map_err(|error| classify(&error));
    while let Some(row) = patient(PATIENCE, rows.try_next()).await? {
        to.line(|line| write_row(line, &plan.columns, &row)).await?;
    }
    to.finish().await
}

fn write_row(line: &mut Vec<u8>, columns: &[Chosen], row: &MySqlRow) -> Result<(), ConnectorError> {
    line.push(b'{');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            line.push(b',');
        }
        write_text(line, &column.name);
        line.push(b':');
        let value: Option<&[u8]> = row
            .try_get_unchecked(index)
            .map_err(|_| ConnectorError::Malformed)?;
        column.write(line, value)?;
    }
    line.extend_from_slice(b"}\n");
    Ok(())
}

/// What to ask the server.
struct Plan {
    statement: String,
    /// What its parameters are bound to, in order.
    values: Vec<Bound>,
    columns: Vec<Chosen>,
}

impl Plan {
    /// Makes it from the table as it is now.
    async fn make(
        session: &mut Session,
        namespace: &str,
        read: &TableRead,
    ) -> Result<Self, ConnectorError> {
        let there = columns_of(session, namespace, &read.table).await?;
        if there.is_empty() {
            return Err(ConnectorError::NoSuchTable {
                table: read.table.clone(),
            });
        }
        let find = |name: &String| {
            let found = there.iter().find(|column| column.name == *name);
            found.ok_or_else(|| ConnectorError::NoSuchColumn {
                table: read.table.clone(),
                column: name.clone(),
            })
        };
        let columns: Vec<Chosen> = match &read.columns {
            None => there.clone(),
            Some(names) => names
                .iter()
                .map(|name| find(name).cloned())
                .collect::<Result<_, _>>()?,
        };
        let mut conditions = Vec::new();
        let mut values = Vec::new();
        for (name, text) in &read.equals {
            let (condition, value) =
                find(name)?
                    .equals(text)
                    .ok_or_else(|| ConnectorError::BadFilter {
                        column: name.clone(),
                    })?;
            conditions.push(condition);
            values.push(value);
        }
        if let Some(days) = &read.days {
            let column = find(&days.column)?;
            if !column.kind.has_day() {
                return Err(ConnectorError::NoDates {
                    column: days.column.clone(),
                });
            }
            let name = quoted(&column.name);
            if let Some(from) = days.from {
                conditions.push(format!("{name} >= CAST(? AS DATETIME)"));
                values.push(Bound::Text(from.to_string()));
            }
            if let Some(behind) = days.to.and_then(|to| to.checked_add_days(SomeDays::new(1))) {
                conditions.push(format!("{name} < CAST(? AS DATETIME)"));
                values.push(Bound::Text(behind.to_string()));
            }
        }
        let expressions: Vec<String> = columns.iter().map(Chosen::expression).collect();
        let mut statement = format!(
            "SELECT {} FROM {}.{}",
            expressions.join(", "),
            quoted(namespace),
            quoted(&read.table)
        );
        if !conditions.is_empty() {
            statement.push_str(" WHERE ");
            statement.push_str(&conditions.join(" AND "));
        }
        Ok(Self {
            statement,
            values,
            columns,
        })
    }
}

/// The columns of a table that the login may read.
async fn columns_of(
    session: &mut Session,
    namespace: &str,
    table: &str,
) -> Result<Vec<Chosen>, ConnectorError> {
    // At MariaDB a document is a text that is checked to be one.
    let is_json = if session.is_mariadb {
        "EXISTS (SELECT 1 FROM information_schema.check_constraints k
                 WHERE k.constraint_schema = c.table_schema AND k.table_name = c.table_name
                   AND k.constraint_name = c.column_name
                   AND k.check_clause = CONCAT('json_valid(`', REPLACE(c.column_name, '`', '``'), '`)'))"
    } else {
        "c.data_type = 'json'"
    };
    let mut rows = sqlx_query(format!(
        "SELECT CAST(c.column_name AS CHAR), LOWER(CAST(c.data_type AS CHAR)), {is_json}
         FROM information_schema.columns c
         WHERE c.table_schema = ? AND c.table_name = ?
           AND FIND_IN_SET('select', c.privileges) > 0
           -- The engine may compare names without regard to case.
           AND CAST(c.table_name AS BINARY) = CAST(? AS BINARY)
         ORDER BY c.ordinal_position"
    ))
    .bind(namespace.to_owned())
    .bind(table.to_owned())
    .bind(table.to_owned())
    .fetch(&mut session.line)
    .map_err(|error| classify(&error));
    let mut columns = Vec::new();
    let mut bytes = 0;
    while let Some(row) = rows.try_next().await? {
        let name = get(&row, 0)?;
        let is_json: bool = row
            .try_get_unchecked(2)
            .map_err(|_| ConnectorError::Malformed)?;
        bytes += size_of::<Chosen>() + name.len();
        if bytes > MAX_DESCRIPTION_BYTES {
            return Err(ConnectorError::TooLarge);
        }
        columns.push(Chosen {
            name,
            kind: Kind::of(&get(&row, 1)?, is_json),
        });
    }
    Ok(columns)
}
