//! Reading one table: what to ask for, and turning what comes into lines.

use std::collections::BTreeSet;

use futures_util::{TryFutureExt as _, TryStreamExt as _};
use sqlx::{AssertSqlSafe, Executor as _, PgConnection, postgres::types::Oid};

use super::{
    connecting::query,
    decoding::{Decoder, Kind},
    describing::get,
    errors,
};
use crate::{
    connectors::{
        ConnectorError,
        batches::{BatchWriter, MAX_ROW_BYTES, PATIENCE, patient},
    },
    domain::table::TableRead,
};

/// A column of the table that is read.
struct Found {
    name: String,
    permitted: bool,
    shape: Shape,
}

/// What of a column's type decides how it is read. A domain counts as what it is a domain of.
#[derive(Clone, Copy)]
struct Shape {
    kind: Kind,
    /// How the column is selected, as a pattern for the server's `format`.
    form: &'static str,
    /// The type that a day is compared as, if it is one of days.
    day: Option<&'static str>,
}

impl Shape {
    /// The types that have a form of their own have had the same number ever since.
    fn of(base: Oid, nested: bool) -> Self {
        let (kind, day) = match base.0 {
            _ if nested => (Kind::Json, None),
            16 => (Kind::Bool, None),
            17 => (Kind::Bytes, None),
            // Integers of all sizes, object numbers, floats.
            20 | 21 | 23 | 26 | 700 | 701 => (Kind::Number, None),
            114 | 3802 => (Kind::Json, None),
            1082 => (Kind::Text, Some("date")),
            1114 => (Kind::Timestamp, Some("timestamp")),
            1184 => (Kind::Instant, Some("timestamptz")),
            _ => (Kind::Text, None),
        };
        let form = match base.0 {
            // Exact numbers are strings in an array as well.
            1231 => "pg_catalog.to_json(%I::pg_catalog.text[])",
            _ if nested => "pg_catalog.to_json(%I)",
            _ => "%I",
        };
        Self { kind, form, day }
    }
}

/// Reads what `read` asks for of a schema, within a transaction.
pub(super) async fn read(
    connection: &mut PgConnection,
    schema: &str,
    read: &TableRead,
    mut to: BatchWriter,
) -> Result<(), ConnectorError> {
    let looking = columns_of_locked(connection, schema, &read.table);
    let all = patient(PATIENCE, looking).await?;
    let chosen = choose(&all, read)?;
    let writing = statement(connection, schema, read, &all, &chosen);
    let statement = patient(PATIENCE, writing).await?;

    let columns = chosen
        .iter()
        .map(|found| (found.name.as_str(), found.shape.kind));
    let mut decoder = Decoder::new(columns);
    let copying = connection
        .copy_out_raw(&statement)
        .map_err(|error| errors::of(&error));
    let mut lines = patient(PATIENCE, copying)
        .await?
        .map_err(|error| errors::of(&error));
    while let Some(line) = patient(PATIENCE, lines.try_next()).await? {
        if line.len() > MAX_ROW_BYTES {
            return Err(ConnectorError::TooLarge);
        }
        to.line(|out| decoder.row(&line, out)).await?;
    }
    to.finish().await
}

/// Locks the table against everything that would change its shape, then looks at it.
async fn columns_of_locked(
    connection: &mut PgConnection,
    schema: &str,
    table: &str,
) -> Result<Vec<Found>, ConnectorError> {
    let no_such_table = || ConnectorError::NoSuchTable {
        table: table.to_owned(),
    };
    // No name is empty, and none has this character.
    if table.is_empty() || table.contains('\0') {
        return Err(no_such_table());
    }
    let lock = query("SELECT format('SELECT FROM %I.%I LIMIT 0', $1, $2)")
        .bind(schema)
        .bind(table)
        .fetch_one(&mut *connection)
        .await
        .map_err(|error| errors::of(&error))?;
    // A statement that names a table locks it, and the transaction keeps the lock.
    attempt(connection, get(&lock, 0)?).await.map_err(|error| {
        match errors::sqlstate(&error).as_deref() {
            // There is none, or what has this name holds no rows.
            Some("42P01" | "42809") => no_such_table(),
            _ => errors::of(&error),
        }
    })?;
    // A name that is too long was shortened just now; nothing is called the whole of it.
    let rows = query(
        "WITH RECURSIVE columns AS (
             SELECT a.attnum, a.attname, a.atttypid,
                    has_column_privilege(c.oid, a.attnum, 'SELECT') AS permitted
               FROM pg_class AS c
               JOIN pg_namespace AS n ON n.oid = c.relnamespace
               LEFT JOIN pg_attribute AS a
                 ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
              WHERE n.nspname = $1 AND c.relname = $2 AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
         ), types AS (
             SELECT oid AS declared, oid, typtype, typbasetype, typcategory, typelem, typlen
               FROM pg_type WHERE oid IN (SELECT atttypid FROM columns)
             UNION ALL
             SELECT d.declared, t.oid, t.typtype, t.typbasetype, t.typcategory, t.typelem, t.typlen
               FROM types AS d JOIN pg_type AS t ON t.oid = d.typbasetype
              WHERE d.typtype = 'd'
         )
         SELECT c.attname::text, c.permitted, t.oid,
                t.typtype = 'c' OR (t.typcategory = 'A' AND t.typelem <> 0 AND t.typlen = -1)
           FROM columns AS c
           LEFT JOIN types AS t ON t.declared = c.atttypid AND t.typtype <> 'd'
          ORDER BY c.attnum",
    )
    .bind(schema)
    .bind(table)
    .fetch_all(connection)
    .await
    .map_err(|error| errors::of(&error))?;
    if rows.is_empty() {
        return Err(no_such_table());
    }
    let mut found = Vec::new();
    for row in rows {
        // A table may do without columns.
        if let Some(name) = get(&row, 0)? {
            found.push(Found {
                name,
                permitted: get(&row, 1)?,
                shape: Shape::of(get(&row, 2)?, get(&row, 3)?),
            });
        }
    }
    Ok(found)
}

/// The columns of the answer; every other column that is named has to be there as well.
fn choose<'a>(all: &'a [Found], read: &TableRead) -> Result<Vec<&'a Found>, ConnectorError> {
    for name in read.named_columns() {
        if !column(all, read, name)?.permitted {
            return Err(ConnectorError::NotPermitted);
        }
    }
    if let Some(days) = &read.days
        && column(all, read, &days.column)?.shape.day.is_none()
    {
        return Err(ConnectorError::NoDates {
            column: days.column.clone(),
        });
    }
    let Some(names) = &read.columns else {
        return Ok(all.iter().filter(|column| column.permitted).collect());
    };
    // A column that is asked for twice is one member of a row all the same.
    let mut seen = BTreeSet::new();
    names
        .iter()
        .filter(|name| seen.insert(name.as_str()))
        .map(|name| column(all, read, name))
        .collect()
}

fn column<'a>(all: &'a [Found], read: &TableRead, name: &str) -> Result<&'a Found, ConnectorError> {
    all.iter()
        .find(|column| column.name == name)
        .ok_or_else(|| ConnectorError::NoSuchColumn {
            table: read.table.clone(),
            column: name.to_owned(),
        })
}

/// Lets the server write the statement: it knows best how its names and texts are quoted.
async fn statement(
    connection: &mut PgConnection,
    schema: &str,
    read: &TableRead,
    all: &[Found],
    chosen: &[&Found],
) -> Result<String, ConnectorError> {
    let names: Vec<&str> = chosen.iter().map(|column| column.name.as_str()).collect();
    let forms: Vec<&str> = chosen.iter().map(|column| column.shape.form).collect();
    let (compared, texts): (Vec<&str>, Vec<&str>) = read
        .equals
        .iter()
        .map(|(column, text)| (column.as_str(), text.as_str()))
        .unzip();
    let bad = |column: &str| ConnectorError::BadFilter {
        column: column.to_owned(),
    };
    if let Some((column, _)) = read.equals.iter().find(|(_, text)| text.contains('\0')) {
        return Err(bad(column));
    }
    let (dated, day_type) = match &read.days {
        Some(days) => {
            let shape = column(all, read, &days.column)?.shape;
            (Some(days.column.as_str()), shape.day)
        }
        None => (None, None),
    };
    let written = query(
        "WITH source AS (
             SELECT format('%I.%I', $1, $2) AS name
         ), chosen AS (
             SELECT string_agg(format(form, name), ', ' ORDER BY place) AS list
               FROM unnest($3::text[], $4::text[]) WITH ORDINALITY AS c (name, form, place)
         ), equal AS (
             SELECT coalesce(array_agg(format('%I = %L', name, value) ORDER BY place), '{}') AS list
               FROM unnest($5::text[], $6::text[]) WITH ORDINALITY AS e (name, value, place)
         ), terms AS (
             SELECT unnest(list) AS term FROM equal
             UNION ALL
             SELECT format('%I >= %L::pg_catalog.%I', $7, $9, $8) WHERE $9 IS NOT NULL
             UNION ALL
             SELECT format('%I < %L::pg_catalog.%I', $7, $10 + 1, $8) WHERE $10 IS NOT NULL
         )
         SELECT format('COPY (SELECT %s FROM %s%s) TO STDOUT', chosen.list, source.name,
                       (SELECT ' WHERE ' || string_agg(term, ' AND ') FROM terms)),
                ARRAY(SELECT format('SELECT FROM %s WHERE %s LIMIT 0', source.name, term)
                        FROM unnest(equal.list) AS u (term))
           FROM source, chosen, equal",
    )
    .bind(schema)
    .bind(&read.table)
    .bind(names)
    .bind(forms)
    .bind(compared)
    .bind(texts)
    .bind(dated)
    .bind(day_type)
    .bind(read.days.as_ref().and_then(|days| days.from))
    .bind(read.days.as_ref().and_then(|days| days.to))
    .fetch_one(&mut *connection)
    .await
    .map_err(|error| errors::of(&error))?;
    // Each comparison is tried alone, so that it is known which of them makes no sense.
    let probes: Vec<String> = get(&written, 1)?;
    for (probe, (column, _)) in probes.into_iter().zip(&read.equals) {
        let tried = attempt(connection, probe).await;
        tried.map_err(|error| match errors::sqlstate(&error).as_deref() {
            // Not a value of that type, or a type without equality.
            Some(state) if state.starts_with("22") || state.starts_with("42") => bad(column),
            _ => errors::of(&error),
        })?;
    }
    get(&written, 0)
}

/// Runs a statement that the server wrote.
async fn attempt(connection: &mut PgConnection, statement: String) -> Result<(), sqlx::Error> {
    let statement = sqlx::raw_sql(AssertSqlSafe(statement));
    connection.execute(statement).await.map(drop)
}
