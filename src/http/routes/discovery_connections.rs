//! `/v1/discovery/connections`: databases.

mod read;
pub(super) mod wire;

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};

use self::wire::{
    ConnectionListResponse, ConnectionProvisioningRequest, ConnectionResponse,
    ConnectionSchemaResponse, ConnectionTestResponse, ConnectionUpdateRequest,
};
use crate::{
    domain::{connection::ConnectionKind, discovery::DiscoveryConnection, ids::ConnectionId},
    http::{
        Api,
        body::JsonBody,
        caller::{Reader, Writer},
        openapi::{
            OneProblems, ReadProblems, SourceChangeProblems, SourceCreateProblems,
            SourceTestProblems,
        },
        parts::{Id, etag, expected_versions},
        problem::Problem,
    },
};

const PATH: &str = "/v1/discovery/connections";
const KIND: ConnectionKind = ConnectionKind::Database;

fn described(connection: DiscoveryConnection) -> impl IntoResponse {
    (
        [(header::ETAG, etag(connection.version))],
        Json(ConnectionResponse::from(connection)),
    )
}

/// Create discovery connection
///
/// Creates a connection to a database. User name and password are sealed before persistence and are
/// never returned, and neither is where the database is. The database is looked at before this
/// answers: one that can't be reached is UNREACHABLE, and its connection is created all the same.
#[utoipa::path(
    post,
    path = "/v1/discovery/connections",
    operation_id = "createDiscoveryConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    request_body = ConnectionProvisioningRequest,
    responses(
        (
            status = 201, description = "Created", body = ConnectionResponse,
            headers(
                ("Location" = String, description = "Where the connection is; ends in its id"),
                ("ETag" = String, description = "Its version, for If-Match"),
            )
        ),
        SourceCreateProblems
    )
)]
pub(in crate::http) async fn create(
    State(api): State<Api>,
    Writer(caller): Writer,
    JsonBody(mut fields): JsonBody,
) -> Result<impl IntoResponse, Problem> {
    let new = read::new(&api, &mut fields);
    let new = fields.finish(new)?;
    let connection = api.app().create_database_connection(&caller, new).await?;
    let location = format!("{PATH}/{}", connection.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        described(connection),
    ))
}

/// List discovery connections
///
/// Lists every database connection of the tenant, ordered by config name.
#[utoipa::path(
    get,
    path = "/v1/discovery/connections",
    operation_id = "listDiscoveryConnections",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    responses(
        (status = 200, description = "OK", body = ConnectionListResponse),
        ReadProblems
    )
)]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Reader(caller): Reader,
) -> Result<Json<ConnectionListResponse>, Problem> {
    let connections = api.app().list_discovery_connections(&caller, KIND).await?;
    Ok(Json(connections.into()))
}

/// Get discovery connection
///
/// Answers one database connection. The id of anything else is a 404.
#[utoipa::path(
    get,
    path = "/v1/discovery/connections/{id}",
    operation_id = "getDiscoveryConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Connection id")),
    responses(
        (
            status = 200, description = "OK", body = ConnectionResponse,
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
    let connection = api.app().discovery_connection(&caller, KIND, id).await?;
    Ok(described(connection))
}

/// Update discovery connection
///
/// Changes the members that are sent and leaves the others alone; a password alone rotates it. null
/// takes a schema, a password or certificates away. Where the connection leads elsewhere or
/// somebody else logs in, the database is looked at before this answers. The version, which is
/// the entity tag, counts changes like this one, and not what is found by looking.
#[utoipa::path(
    patch,
    path = "/v1/discovery/connections/{id}",
    operation_id = "updateDiscoveryConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "Connection id"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read; the update is refused if the connection changed since", nullable = false),
    ),
    request_body = ConnectionUpdateRequest,
    responses(
        (
            status = 200, description = "OK", body = ConnectionResponse,
            headers(("ETag" = String, description = "Its version, for If-Match"))
        ),
        SourceChangeProblems
    )
)]
pub(in crate::http) async fn update(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<ConnectionId>,
    headers: HeaderMap,
    JsonBody(mut fields): JsonBody,
) -> Result<impl IntoResponse, Problem> {
    api.app().discovery_connection(&caller, KIND, id).await?;
    let mut change = read::change(&api, &mut fields);
    if !read::admits_change(&api, &caller, id, &change).await? {
        read::host_not_allowed(&mut fields);
    }
    change.expected = expected_versions(&headers);
    let change = fields.finish(Some(change))?;
    let connection = api
        .app()
        .update_database_connection(&caller, id, change)
        .await?;
    Ok(described(connection))
}

/// Delete discovery connection
///
/// Soft-deletes the connection: its name is free again, its credential is gone, and so is what its
/// database was found to offer.
#[utoipa::path(
    delete,
    path = "/v1/discovery/connections/{id}",
    operation_id = "deleteDiscoveryConnection",
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

/// Get connection schema
///
/// Answers the tables that the database was last found to offer, ordered by name. The list is empty
/// until it was looked at with success; the connection's schemaDiscovered tells which it is.
#[utoipa::path(
    get,
    path = "/v1/discovery/connections/{id}/schema",
    operation_id = "getDiscoveryConnectionSchema",
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

/// Test discovery connection
///
/// Connects to the database and logs in, now. Whatever the database does is an outcome: status and
/// lastSeenAt of the connection are what it was. A connection may be tested ten times a minute.
#[utoipa::path(
    post,
    path = "/v1/discovery/connections/{id}/test",
    operation_id = "testDiscoveryConnection",
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
