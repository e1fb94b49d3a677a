//! `/v1/discovery/extractions`, `…/connections/{id}/extractions` and
//! `…/rest-connections/{id}/extractions`

mod request;

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use chrono::{DateTime, NaiveDate, Utc};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::{ToSchema, openapi::schema::Object};

use self::request::{FiltersBody, StartExtractionRequest, TableBody, read_request};
use super::{pulls::PullError, words};
use crate::{
    app::{App, AppError},
    domain::{
        caller::Caller,
        connection::ConnectionKind,
        extraction::{Extraction, ExtractionProgress, ExtractionStatus},
        ids::{ConnectionId, ExtractionId},
    },
    http::{
        Api,
        accept::Form,
        body::JsonBody,
        caller::{Reader, Writer},
        export,
        fields::Fields,
        openapi::{
            ExtractionChangeProblems, ExtractionProblems, ExtractionRequestProblems,
            ExtractionRowsDeletionProblems, ExtractionRowsProblems, ListOfOneProblems,
        },
        page::{Paging, Scope, list_response},
        parts::{Id, Query},
        problem::Problem,
    },
};

const LIST: &str = "extractions";

fn statuses() -> Object {
    words(ExtractionStatus::ALL.iter().map(|one| one.as_str()))
}

/// How far an extraction has come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ExtractionProgressBody {
    /// Tables that were read to their end
    tables: u32,
    /// Rows that are here
    rows: u64,
    /// Bytes of their lines
    bytes: u64,
}

impl From<ExtractionProgress> for ExtractionProgressBody {
    fn from(progress: ExtractionProgress) -> Self {
        Self {
            tables: progress.tables,
            rows: progress.rows,
            bytes: progress.bytes,
        }
    }
}

/// An extraction.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct ExtractionResponse {
    /// Extraction id
    id: String,
    /// The connection whose tables are read
    connection_id: String,
    /// What is read of each table
    tables: BTreeMap<String, TableBody>,
    /// The first day
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date", nullable = false)]
    start_date: Option<NaiveDate>,
    /// The last day, which is included
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = "date", nullable = false)]
    end_date: Option<NaiveDate>,
    /// What rows have to meet
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    filters: Option<FiltersBody>,
    /// Where it is in its life
    #[schema(schema_with = statuses)]
    status: &'static str,
    /// How far it has come
    progress: ExtractionProgressBody,
    /// How often it was begun
    attempts: u32,
    /// When it is begun next, while it waits
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_attempt_at: Option<DateTime<Utc>>,
    /// Why its last attempt failed, in words
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error_message: Option<String>,
    /// The same, with a stable word
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<PullError>,
    /// When it was asked for
    created_at: DateTime<Utc>,
    /// When something last happened to it
    updated_at: DateTime<Utc>,
    /// When it was first begun
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    started_at: Option<DateTime<Utc>>,
    /// When it came to its end
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    finished_at: Option<DateTime<Utc>>,
    /// Until when its rows are kept
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    rows_until: Option<DateTime<Utc>>,
}

list_response! {
    /// A page of a connection's extractions, newest first.
    ExtractionList of ExtractionResponse
}

impl From<Extraction> for ExtractionResponse {
    fn from(extraction: Extraction) -> Self {
        let request = extraction.request;
        let failure = extraction.failure;
        Self {
            id: extraction.id.to_string(),
            connection_id: extraction.connection.to_string(),
            tables: request
                .tables
                .into_iter()
                .map(|(name, table)| (name, table.into()))
                .collect(),
            start_date: request.start_date,
            end_date: request.end_date,
            filters: (!request.equals.is_empty()).then_some(FiltersBody {
                equals: request.equals,
            }),
            progress: extraction.progress.into(),
            attempts: extraction.attempts,
            next_attempt_at: extraction.next_attempt_at,
            error_message: failure.as_ref().map(|failure| failure.message.clone()),
            error: failure.map(Into::into),
            created_at: extraction.created_at,
            updated_at: extraction.updated_at,
            started_at: extraction.started_at,
            finished_at: extraction.finished_at,
            // Only what is complete can be taken; what is left of others is cleared away.
            rows_until: extraction
                .rows_until
                .filter(|_| extraction.status == ExtractionStatus::Complete),
            status: extraction.status.as_str(),
        }
    }
}

async fn start(
    app: &App,
    caller: &Caller,
    kind: ConnectionKind,
    connection: ConnectionId,
    fields: Fields,
) -> Result<Response, Problem> {
    // First, so that what belongs to somebody else is not there, whatever is sent.
    app.discovery_connection(caller, kind, connection).await?;
    let request = read_request(fields)?;
    let extraction = app
        .request_extraction(caller, kind, connection, request)
        .await?;
    let location = format!("/v1/discovery/extractions/{}", extraction.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        Json(ExtractionResponse::from(extraction)),
    )
        .into_response())
}

/// Start extraction
///
/// Asks for the rows of some of a database's tables. They are read by a worker, kept for a while, and
/// taken from the extraction.
#[utoipa::path(
    post,
    path = "/v1/discovery/connections/{id}/extractions",
    operation_id = "startExtraction",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Discovery connection id")),
    request_body = StartExtractionRequest,
    responses((status = 201, description = "Created", body = ExtractionResponse), ExtractionRequestProblems)
)]
pub(in crate::http) async fn start_of_database(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(connection): Id<ConnectionId>,
    JsonBody(fields): JsonBody,
) -> Result<Response, Problem> {
    start(
        api.app(),
        &caller,
        ConnectionKind::Database,
        connection,
        fields,
    )
    .await
}

/// Start extraction of a REST connection
///
/// Asks for the records of some of an endpoint's resources; a resource is a table.
#[utoipa::path(
    post,
    path = "/v1/discovery/rest-connections/{id}/extractions",
    operation_id = "startRestExtraction",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "REST connection id")),
    request_body = StartExtractionRequest,
    responses((status = 201, description = "Created", body = ExtractionResponse), ExtractionRequestProblems)
)]
pub(in crate::http) async fn start_of_rest(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(connection): Id<ConnectionId>,
    JsonBody(fields): JsonBody,
) -> Result<Response, Problem> {
    start(api.app(), &caller, ConnectionKind::Rest, connection, fields).await
}

async fn page(
    api: &Api,
    caller: &Caller,
    kind: ConnectionKind,
    connection: ConnectionId,
    mut fields: Fields,
) -> Result<Json<ExtractionList>, Problem> {
    let filter = connection.to_string();
    let scope = Scope {
        tenant: caller.tenant,
        list: LIST,
        filter: &filter,
    };
    let paging = Paging::read(&mut fields, api.signer(), &scope);
    let paging = fields.finish(paging)?;
    let page = api
        .app()
        .list_extractions(caller, kind, connection, &paging.start, paging.limit)
        .await?;
    let page = paging.page(api.signer(), &scope, page, |one| one.id.0, Into::into);
    Ok(Json(page.into()))
}

/// List extractions
///
/// Lists the extractions of a database, newest first.
#[utoipa::path(
    get,
    path = "/v1/discovery/connections/{id}/extractions",
    operation_id = "listExtractions",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "Discovery connection id"),
        ("limit" = Option<i64>, Query, description = "Rows per page", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list", nullable = false),
    ),
    responses((status = 200, description = "OK", body = ExtractionList), ListOfOneProblems)
)]
pub(in crate::http) async fn list_of_database(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(connection): Id<ConnectionId>,
    Query(fields): Query,
) -> Result<Json<ExtractionList>, Problem> {
    page(&api, &caller, ConnectionKind::Database, connection, fields).await
}

/// List extractions of a REST connection
///
/// Lists the extractions of an endpoint, newest first.
#[utoipa::path(
    get,
    path = "/v1/discovery/rest-connections/{id}/extractions",
    operation_id = "listRestExtractions",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "REST connection id"),
        ("limit" = Option<i64>, Query, description = "Rows per page", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list", nullable = false),
    ),
    responses((status = 200, description = "OK", body = ExtractionList), ListOfOneProblems)
)]
pub(in crate::http) async fn list_of_rest(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(connection): Id<ConnectionId>,
    Query(fields): Query,
) -> Result<Json<ExtractionList>, Problem> {
    page(&api, &caller, ConnectionKind::Rest, connection, fields).await
}

/// Get extraction
///
/// Answers one extraction, and how far it has come.
#[utoipa::path(
    get,
    path = "/v1/discovery/extractions/{id}",
    operation_id = "getExtraction",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Extraction id")),
    responses((status = 200, description = "OK", body = ExtractionResponse), ExtractionProblems)
)]
pub(in crate::http) async fn get(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(id): Id<ExtractionId>,
) -> Result<Json<ExtractionResponse>, Problem> {
    Ok(Json(api.app().extraction(&caller, id).await?.into()))
}

/// Retry extraction
///
/// Puts an extraction that failed or was cancelled back into the queue; it begins anew.
#[utoipa::path(
    post,
    path = "/v1/discovery/extractions/{id}/retry",
    operation_id = "retryExtraction",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Extraction id")),
    responses((status = 202, description = "Accepted", body = ExtractionResponse), ExtractionChangeProblems)
)]
pub(in crate::http) async fn retry(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<ExtractionId>,
) -> Result<impl IntoResponse, Problem> {
    let extraction = api.app().retry_extraction(&caller, id).await?;
    Ok((
        StatusCode::ACCEPTED,
        Json(ExtractionResponse::from(extraction)),
    ))
}

/// Cancel extraction
///
/// Calls an extraction off that waits or runs. What it has read is cleared away.
#[utoipa::path(
    post,
    path = "/v1/discovery/extractions/{id}/cancel",
    operation_id = "cancelExtraction",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Extraction id")),
    responses((status = 200, description = "OK", body = ExtractionResponse), ExtractionChangeProblems)
)]
pub(in crate::http) async fn cancel(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<ExtractionId>,
) -> Result<Json<ExtractionResponse>, Problem> {
    Ok(Json(api.app().cancel_extraction(&caller, id).await?.into()))
}

/// Get extraction rows
///
/// Streams the rows of a complete extraction, a JSON object a line. Without `table` each line is
/// `{"table": …, "row": {…}}`; with it, the bare rows of that table.
#[utoipa::path(
    get,
    path = "/v1/discovery/extractions/{id}/rows",
    operation_id = "getExtractionRows",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "Extraction id"),
        ("table" = Option<String>, Query, description = "Only the rows of this table, bare", nullable = false),
    ),
    responses(
        (status = 200, description = "A JSON object a line", content_type = "application/x-ndjson", body = String),
        ExtractionRowsProblems
    )
)]
pub(in crate::http) async fn rows(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(id): Id<ExtractionId>,
    Query(mut fields): Query,
) -> Result<Response, Problem> {
    let table = fields.optional("table", |text| {
        Ok::<_, std::convert::Infallible>(text.to_owned())
    });
    let table = fields.finish(Some(table))?;
    let extraction = api.app().extraction(&caller, id).await?;
    if let Some(name) = &table
        && !extraction.request.tables.contains_key(name)
    {
        return Err(request::unknown_table(name));
    }
    let app = api.app().clone();
    export::answer(Form::Lines, move |from: Option<u32>| {
        let (app, caller, table) = (app.clone(), caller.clone(), table.clone());
        async move {
            let from = from.unwrap_or_default();
            let read = app
                .extracted_lines(&caller, id, table.as_deref(), from)
                .await?;
            let Some(piece) = read else {
                return Ok(export::Batch {
                    text: String::new(),
                    next: None,
                });
            };
            let lines = std::str::from_utf8(&piece.lines)
                .map_err(|error| AppError::Internal(error.into()))?;
            let text = match table {
                Some(_) => lines.to_owned(),
                None => with_table(&piece.table, lines),
            };
            Ok(export::Batch {
                text,
                next: Some(piece.next),
            })
        }
    })
    .await
}

/// Delete extraction rows
///
/// Gives the rows of an extraction that is over up before their time. They can't be taken from now
/// on; the extraction itself stays.
#[utoipa::path(
    delete,
    path = "/v1/discovery/extractions/{id}/rows",
    operation_id = "deleteExtractionRows",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Extraction id")),
    responses((status = 204, description = "No Content"), ExtractionRowsDeletionProblems)
)]
pub(in crate::http) async fn delete_rows(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<ExtractionId>,
) -> Result<StatusCode, Problem> {
    api.app().delete_extraction_rows(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Each line with the table that it is of.
fn with_table(table: &str, lines: &str) -> String {
    let before = format!("{{\"table\":{},\"row\":", serde_json::Value::from(table));
    let mut text = String::with_capacity(lines.len() * 2);
    for line in lines.lines() {
        text.push_str(&before);
        text.push_str(line);
        text.push_str("}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::with_table;

    #[test]
    fn each_line_tells_its_table() {
        assert_eq!(
            with_table("a\"b", "{\"x\":1}\n{}\n"),
            "{\"table\":\"a\\\"b\",\"row\":{\"x\":1}}\n{\"table\":\"a\\\"b\",\"row\":{}}\n"
        );
        assert_eq!(with_table("t", ""), "");
    }
}
