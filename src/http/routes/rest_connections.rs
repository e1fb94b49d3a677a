//! `/v1/discovery/rest-connections`

mod read;
mod wire;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};

use self::wire::{
    CreateRestConnectionRequest, RestConnectionList, RestConnectionResponse,
    UpdateRestConnectionRequest,
};
use super::discovery_connections::wire::{ConnectionSchemaResponse, ConnectionTestResponse};
use crate::{
    app::RestConnection,
    domain::{connection::ConnectionKind, ids::ConnectionId},
    http::{
        Api,
        body::JsonBody,
        caller::{Reader, Writer},
        openapi::{
            ListProblems, OneProblems, RestChangeProblems, RestCreateProblems, SourceTestProblems,
        },
        page::{Paging, Scope},
        parts::{Id, Query, etag, expected_versions},
        problem::Problem,
    },
};

const PATH: &str = "/v1/discovery/rest-connections";
const LIST: &str = "rest-connections";
const KIND: ConnectionKind = ConnectionKind::Rest;

fn described(connection: RestConnection) -> impl IntoResponse {
    (
        [(header::ETAG, etag(connection.connection.version))],
        Json(RestConnectionResponse::from(connection)),
    )
}

/// Create REST connection
///
/// Creates a connection to a REST endpoint whose lists are declared as resources; a resource is read
/// like a table of a database. What proves who we are is sealed before persistence and is never
/// returned. The endpoint is looked at before this answers: one that can't be reached is
/// UNREACHABLE, and its connection is created all the same.
#[utoipa::path(
    post,
    path = "/v1/discovery/rest-connections",
    operation_id = "createRestConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    request_body = CreateRestConnectionRequest,
    responses(
        (
            status = 201, description = "Created", body = RestConnectionResponse,
            headers(
                ("Location" = String, description = "Where the connection is; ends in its id"),
                ("ETag" = String, description = "Its version, for If-Match"),
            )
        ),
        RestCreateProblems
    )
)]
pub(in crate::http) async fn create(
    State(api): State<Api>,
    Writer(caller): Writer,
    JsonBody(mut fields): JsonBody,
) -> Result<impl IntoResponse, Problem> {
    let new = read::new(&api, &mut fields);
    let new = fields.finish(new)?;
    let connection = api.app().create_rest_connection(&caller, new).await?;
    let location = format!("{PATH}/{}", connection.connection.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        described(connection),
    ))
}

/// List REST connections
///
/// Lists the tenant's REST connections, ordered by config name, page by page.
#[utoipa::path(
    get,
    path = "/v1/discovery/rest-connections",
    operation_id = "listRestConnections",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("limit" = Option<i64>, Query, description = "Rows per page", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list", nullable = false),
    ),
    responses(
        (status = 200, description = "OK", body = RestConnectionList),
        ListProblems
    )
)]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Reader(caller): Reader,
    Query(mut fields): Query,
) -> Result<Json<RestConnectionList>, Problem> {
    let scope = Scope {
        tenant: caller.tenant,
        list: LIST,
        filter: "",
    };
    let paging = Paging::read(&mut fields, api.signer(), &scope);
    let paging = fields.finish(paging)?;
    let page = api
        .app()
        .list_rest_connections(&caller, &paging.start, paging.limit)
        .await?;
    let page = paging.page(
        api.signer(),
        &scope,
        page,
        |one| (one.connection.config_name.to_string(), one.connection.id.0),
        Into::into,
    );
    Ok(Json(page.into()))
}

/// Get REST connection
///
/// Answers one REST connection. The id of anything else is a 404.
#[utoipa::path(
    get,
    path = "/v1/discovery/rest-connections/{id}",
    operation_id = "getRestConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Connection id")),
    responses(
        (
            status = 200, description = "OK", body = RestConnectionResponse,
            headers(("ETag" = String, description = "Its version, for If-Match"))
        ),
        OneProblems
    )
)]
pub(in crate::http) async fn get(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(id): Id<ConnectionId>,
) -> Result<impl IntoResponse, Problem> {
    Ok(described(api.app().rest_connection(&caller, id).await?))
}

/// Update REST connection
///
/// Changes a connection. Left out, auth keeps what is sealed, but only while the base URL stays on
/// its origin (scheme, host and port): a secret goes only to whom it was given for. Where the
/// connection leads elsewhere or proves itself otherwise, the endpoint is looked at before this
/// answers.
#[utoipa::path(
    put,
    path = "/v1/discovery/rest-connections/{id}",
    operation_id = "updateRestConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "Connection id"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read; the update is refused if the connection changed since", nullable = false),
    ),
    request_body = UpdateRestConnectionRequest,
    responses(
        (
            status = 200, description = "OK", body = RestConnectionResponse,
            headers(("ETag" = String, description = "Its version, for If-Match"))
        ),
        RestChangeProblems
    )
)]
pub(in crate::http) async fn update(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<ConnectionId>,
    headers: HeaderMap,
    JsonBody(mut fields): JsonBody,
) -> Result<impl IntoResponse, Problem> {
    let current = api.app().rest_connection(&caller, id).await?;
    let change = read::change(&api, &current, expected_versions(&headers), &mut fields);
    let change = fields.finish(change)?;
    let connection = api
        .app()
        .update_rest_connection(&caller, id, change)
        .await?;
    Ok(described(connection))
}

/// Delete REST connection
///
/// Soft-deletes the connection: its name is free again, its credential is gone, and so is what its
/// endpoint was found to offer.
#[utoipa::path(
    delete,
    path = "/v1/discovery/rest-connections/{id}",
    operation_id = "deleteRestConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Connection id")),
    responses((status = 204, description = "No Content"), OneProblems)
)]
pub(in crate::http) async fn delete(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<ConnectionId>,
) -> Result<StatusCode, Problem> {
    api.app()
        .delete_discovery_connection(&caller, KIND, id)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Get REST connection schema
///
/// Answers the resources as tables, with the columns that the endpoint's records were last found to
/// have. The list is empty until it was looked at with success.
#[utoipa::path(
    get,
    path = "/v1/discovery/rest-connections/{id}/schema",
    operation_id = "getRestConnectionSchema",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Connection id")),
    responses(
        (status = 200, description = "OK", body = ConnectionSchemaResponse),
        OneProblems
    )
)]
pub(in crate::http) async fn schema(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(id): Id<ConnectionId>,
) -> Result<Json<ConnectionSchemaResponse>, Problem> {
    let tables = api.app().discovered_tables(&caller, KIND, id).await?;
    Ok(Json(ConnectionSchemaResponse::new(id, tables)))
}

/// Test REST connection
///
/// Asks the endpoint, now. Whatever it does is an outcome: status and lastSeenAt of the connection
/// are what it was. A connection may be tested ten times a minute.
#[utoipa::path(
    post,
    path = "/v1/discovery/rest-connections/{id}/test",
    operation_id = "testRestConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Connection id")),
    responses(
        (status = 200, description = "OK", body = ConnectionTestResponse),
        SourceTestProblems
    )
)]
pub(in crate::http) async fn test(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<ConnectionId>,
) -> Result<Json<ConnectionTestResponse>, Problem> {
    let test = api
        .app()
        .test_discovery_connection(&caller, KIND, id)
        .await?;
    Ok(Json(ConnectionTestResponse::new(id, test)))
}
