//! The body that asks for an extraction.

use std::{collections::BTreeMap, sync::Arc};

use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use crate::{
    app::ExtractionRefusal,
    domain::{
        extraction::{ExtractionRequest, MAX_TABLES, NotThere, Purpose, TableRequest},
        fault::Fault,
    },
    http::{
        fields::Fields,
        problem::{Code, Problem},
        routes::day::day,
    },
};

/// The most columns that a body may name for one table: more than any engine has.
const MAX_COLUMNS: usize = 4096;
/// The most columns that may be compared.
const MAX_FILTERS: usize = 20;

/// What to read of a table.
#[derive(Debug, Default, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TableBody {
    /// The columns to read; all of them if left out
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, min_items = 1)]
    columns: Option<Vec<String>>,
    /// The column that startDate and endDate speak of
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    date_column: Option<String>,
}

impl From<TableRequest> for TableBody {
    fn from(table: TableRequest) -> Self {
        Self {
            columns: table.columns,
            date_column: table.date_column,
        }
    }
}

/// What rows have to meet.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct FiltersBody {
    /// The value that each of these columns has to have, in every table
    pub(super) equals: BTreeMap<String, String>,
}

/// Which rows to extract.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct StartExtractionRequest {
    /// The tables to read, by name
    tables: BTreeMap<String, TableBody>,
    /// The first day; every table then needs a dateColumn
    #[schema(format = "date", nullable = false, examples("2026-01-01"))]
    start_date: Option<String>,
    /// The last day, which is included
    #[schema(format = "date", nullable = false, examples("2026-01-31"))]
    end_date: Option<String>,
    /// What rows have to meet
    #[schema(nullable = false)]
    filters: Option<FiltersBody>,
}

/// Reads the body; everything wrong with it is told at once.
pub(super) fn read_request(mut fields: Fields) -> Result<ExtractionRequest, Problem> {
    let start_date = fields.optional_of(Code::InvalidExtraction, "startDate", day);
    let end_date = fields.optional_of(Code::InvalidExtraction, "endDate", day);
    if let (Some(start), Some(end)) = (start_date, end_date)
        && end < start
    {
        fields.fault_of(
            Code::InvalidExtraction,
            "endDate",
            "must not be before startDate",
            None,
        );
    }
    let dated = start_date.is_some() || end_date.is_some();
    let tables = read_tables(&mut fields, dated);
    let equals = read_filters(&mut fields);
    fields.finish(Some(ExtractionRequest {
        tables,
        start_date,
        end_date,
        equals,
    }))
}

fn read_tables(fields: &mut Fields, dated: bool) -> BTreeMap<String, TableRequest> {
    let mut tables = BTreeMap::new();
    let entries = match fields.take("tables") {
        Some(Value::Object(entries)) => entries,
        Some(_) => {
            fault(fields, "tables", "must be an object of table names");
            return tables;
        }
        None => {
            fault(fields, "tables", "is required");
            return tables;
        }
    };
    if entries.is_empty() || entries.len() > MAX_TABLES {
        fields.fault_of(
            Code::InvalidExtraction,
            "tables",
            format!("must name from 1 to {MAX_TABLES} tables"),
            None,
        );
    }
    for (name, value) in entries {
        let place = format!("tables.{name}");
        refuse_nul(fields, &place, [name.as_str()]);
        let Value::Object(mut members) = value else {
            fault(
                fields,
                &place,
                "must be an object, as in {} for all columns",
            );
            continue;
        };
        let columns = members
            .remove("columns")
            .and_then(|value| read_columns(fields, &format!("{place}.columns"), value));
        let date_column = match members.remove("dateColumn") {
            None => None,
            Some(Value::String(column)) => Some(column),
            Some(_) => {
                fault(fields, &format!("{place}.dateColumn"), "must be a string");
                None
            }
        };
        let columns_of_it = columns.iter().flatten().chain(&date_column);
        refuse_nul(fields, &place, columns_of_it.map(String::as_str));
        if dated && date_column.is_none() {
            fields.fault_of(
                Code::InvalidExtraction,
                &format!("{place}.dateColumn"),
                "is required with startDate or endDate: name the column that they speak of",
                None,
            );
        }
        for unknown in members.keys() {
            let place = format!("{place}.{unknown}");
            fault(fields, &place, "is not known here; leave it out");
        }
        tables.insert(
            name,
            TableRequest {
                columns,
                date_column,
            },
        );
    }
    tables
}

fn read_columns(fields: &mut Fields, place: &str, value: Value) -> Option<Vec<String>> {
    let columns: Option<Vec<String>> = match value {
        Value::Array(values) => values
            .into_iter()
            .map(|value| match value {
                Value::String(column) => Some(column),
                _ => None,
            })
            .collect(),
        _ => None,
    };
    let Some(columns) = columns else {
        fault(fields, place, "must be a list of column names");
        return None;
    };
    if columns.is_empty() || columns.len() > MAX_COLUMNS {
        fields.fault_of(
            Code::InvalidExtraction,
            place,
            format!("must name from 1 to {MAX_COLUMNS} columns; leave it out to read all"),
            None,
        );
    }
    let mut seen = std::collections::BTreeSet::new();
    if let Some(twice) = columns.iter().find(|column| !seen.insert(column.as_str())) {
        fields.fault_of(
            Code::InvalidExtraction,
            place,
            "names a column twice",
            Some(twice.clone().into()),
        );
    }
    Some(columns)
}

fn read_filters(fields: &mut Fields) -> BTreeMap<String, String> {
    let mut equals = BTreeMap::new();
    let mut filters = match fields.take("filters") {
        None => return equals,
        Some(Value::Object(filters)) => filters,
        Some(_) => {
            fault(fields, "filters", "must be an object");
            return equals;
        }
    };
    match filters.remove("equals") {
        None => {}
        Some(Value::Object(entries)) => {
            if entries.len() > MAX_FILTERS {
                fields.fault_of(
                    Code::InvalidExtraction,
                    "filters.equals",
                    format!("must name at most {MAX_FILTERS} columns"),
                    None,
                );
            }
            for (column, value) in entries {
                let texts = [column.as_str()].into_iter().chain(value.as_str());
                refuse_nul(fields, &format!("filters.equals.{column}"), texts);
                match value {
                    Value::String(text) => {
                        equals.insert(column, text);
                    }
                    _ => fault(
                        fields,
                        &format!("filters.equals.{column}"),
                        "must be a string; write a number as one, too",
                    ),
                }
            }
        }
        Some(_) => fault(fields, "filters.equals", "must be an object"),
    }
    for unknown in filters.keys() {
        let place = format!("filters.{unknown}");
        fault(
            fields,
            &place,
            "is not known here; equality is the only filter",
        );
    }
    equals
}

/// No source has a name or a text with a NUL in it that could be asked for, and none can be stored.
fn refuse_nul<'a>(fields: &mut Fields, place: &str, texts: impl IntoIterator<Item = &'a str>) {
    if texts.into_iter().any(|text| text.contains('\0')) {
        fields.fault_of(
            Code::InvalidExtraction,
            place,
            "has a NUL character in it; leave it out",
            None,
        );
    }
}

fn fault(fields: &mut Fields, place: &str, message: &str) {
    fields.fault_of(Code::InvalidRequest, place, message, None);
}

impl From<ExtractionRefusal> for Problem {
    fn from(refusal: ExtractionRefusal) -> Self {
        let conflict = |detail: &str| Self::new(Code::Conflict, detail);
        match refusal {
            ExtractionRefusal::NotFound => Self::new(
                Code::ExtractionNotFound,
                "There is no such extraction in this tenant.",
            ),
            ExtractionRefusal::NotOver => conflict(
                "The extraction is complete, waits or runs; only one that failed or was cancelled can be retried.",
            ),
            ExtractionRefusal::Over => {
                conflict("The extraction is over; only one that waits or runs can be cancelled.")
            }
            ExtractionRefusal::StillLive => conflict(
                "The extraction waits or runs; cancel it, and what it has read is cleared away.",
            ),
            ExtractionRefusal::NotComplete => conflict(
                "The extraction is not complete, so its rows can't be taken; read its status.",
            ),
            ExtractionRefusal::RowsGone => conflict(
                "The extraction's rows were kept long enough or were deleted, and are gone; start another one.",
            ),
            ExtractionRefusal::TooMany => conflict(
                "As many extractions of this connection wait as may; wait for one to end, or cancel one.",
            ),
            ExtractionRefusal::TooMuchKept => conflict(
                "The tenant's extractions keep as many bytes of rows as may be kept; delete the rows of one that you have taken, or wait until they are cleared away.",
            ),
            ExtractionRefusal::NotInSource(missing) => not_in_source(&missing),
            ExtractionRefusal::SourceUnreachable(cause) => Self {
                cause: Some(Arc::new(cause)),
                ..Self::new(
                    Code::SourceUnavailable,
                    "The source of the connection can't be reached now.",
                )
            },
        }
    }
}

/// The problem of asking for what the source does not have.
fn not_in_source(missing: &[NotThere]) -> Problem {
    let faults = missing.iter().map(|one| match one {
        NotThere::Table { table } => Fault {
            location: format!("body.tables.{table}"),
            message: "is no table of the connection; its schema lists them".to_owned(),
            value: None,
        },
        NotThere::Column {
            table,
            column,
            purpose,
        } => Fault {
            location: match purpose {
                Purpose::Read => format!("body.tables.{table}.columns"),
                Purpose::Date => format!("body.tables.{table}.dateColumn"),
                Purpose::Filter => format!("body.filters.equals.{column}"),
            },
            message: format!("the table \"{table}\" has no such column"),
            value: Some(column.clone().into()),
        },
    });
    Problem::invalid(Code::InvalidExtraction, faults.collect())
}

/// The problem of asking for the rows of a table that the extraction does not have.
pub(super) fn unknown_table(name: &str) -> Problem {
    Problem::invalid(
        Code::InvalidExtraction,
        vec![Fault {
            location: "query.table".to_owned(),
            message: "is none of the tables of this extraction".to_owned(),
            value: Some(name.into()),
        }],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ExtractionRequest, Problem> {
        read_request(Fields::of_body(text.as_bytes()).unwrap())
    }

    #[test]
    fn a_whole_request_is_read() {
        let request = read(
            r#"{"tables": {"a": {"columns": ["x", "y"], "dateColumn": "at"}, "b": {"dateColumn": "d"}},
                "startDate": "2026-01-01", "endDate": "2026-01-31",
                "filters": {"equals": {"shop": "1"}}}"#,
        )
        .unwrap();
        assert_eq!(request.tables["a"].columns.as_ref().unwrap().len(), 2);
        assert_eq!(request.tables["b"].columns, None);
        assert_eq!(request.equals["shop"], "1");
        assert_eq!(request.start_date.unwrap().to_string(), "2026-01-01");
    }

    #[test]
    fn every_fault_is_told_at_once() {
        let problem = read(
            r#"{"tables": {"a": 1, "b": {"columns": [], "extra": 1}, "c": {"columns": ["x", "x"]}},
                "startDate": "yesterday", "endDate": "2026-02-30",
                "filters": {"like": {}, "equals": {"n": 1}}, "limit": 3}"#,
        )
        .unwrap_err();
        let mut places: Vec<&str> = problem
            .errors
            .iter()
            .map(|fault| fault.location.as_str())
            .collect();
        places.sort_unstable();
        assert_eq!(
            places,
            [
                "body.endDate",
                "body.filters.equals.n",
                "body.filters.like",
                "body.limit",
                "body.startDate",
                "body.tables.a",
                "body.tables.b.columns",
                "body.tables.b.extra",
                "body.tables.c.columns",
            ]
        );
    }

    #[test]
    fn what_only_an_extraction_can_get_wrong_has_its_code() {
        for text in [
            r#"{"tables": {}}"#,
            r#"{"tables": {"a": {}}, "startDate": "2026-01-01"}"#,
            r#"{"tables": {"a": {"dateColumn": "d"}}, "startDate": "2026-02-01", "endDate": "2026-01-01"}"#,
            r#"{"tables": {"a\u0000": {}}}"#,
            r#"{"tables": {"a": {"columns": ["b\u0000"]}}}"#,
            r#"{"tables": {"a": {"dateColumn": "\u0000"}}}"#,
            r#"{"tables": {"a": {}}, "filters": {"equals": {"c\u0000": "1"}}}"#,
            r#"{"tables": {"a": {}}, "filters": {"equals": {"c": "1\u00002"}}}"#,
        ] {
            assert_eq!(
                read(text).unwrap_err().code,
                Code::InvalidExtraction,
                "{text}"
            );
        }
        assert_eq!(read("{}").unwrap_err().code, Code::InvalidRequest);
    }
}
