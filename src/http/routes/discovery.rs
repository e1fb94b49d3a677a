//! `/v1/discovery/refresh` and `/v1/discovery/status`

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use super::instant;
use crate::http::{
    Api,
    caller::{Reader, Writer},
    openapi::{ReadProblems, RefreshProblems},
    problem::Problem,
};

/// What a refresh did.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RefreshResponse {
    /// How many connections' sources let us in; the others are UNREACHABLE or UNKNOWN now
    connections_synced: u64,
}

/// How reading sources does.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct DiscoveryStatusResponse {
    /// Whether this deployment registers a connector and the workers of this process, where it has any, are at it; whether single sources can be reached is the status of their connections
    fetcher_healthy: bool,
    /// How many database and REST connections there are
    connection_count: u64,
    /// When a refresh last looked at every connection; absent until one did
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    last_sync_at: Option<String>,
}

/// Refresh discovery
///
/// Looks at the source of every database and REST connection of the tenant, and keeps what was
/// found: status and schema. One refresh of a tenant runs at a time; a source that can't be reached
/// holds up no other. What 25 seconds were not enough for is looked at first the next time.
#[utoipa::path(
    post,
    path = "/v1/discovery/refresh",
    operation_id = "refreshDiscovery",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    responses(
        (status = 200, description = "OK", body = RefreshResponse),
        RefreshProblems
    )
)]
pub(in crate::http) async fn refresh(
    State(api): State<Api>,
    Writer(caller): Writer,
) -> Result<Json<RefreshResponse>, Problem> {
    let connections_synced = api.app().refresh_discovery_connections(&caller).await?;
    Ok(Json(RefreshResponse { connections_synced }))
}

/// Get discovery status
///
/// Tells how reading sources does, all in all.
#[utoipa::path(
    get,
    path = "/v1/discovery/status",
    operation_id = "getDiscoveryStatus",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    responses(
        (status = 200, description = "OK", body = DiscoveryStatusResponse),
        ReadProblems
    )
)]
pub(in crate::http) async fn status(
    State(api): State<Api>,
    Reader(caller): Reader,
) -> Result<Json<DiscoveryStatusResponse>, Problem> {
    let status = api.app().discovery_status(&caller).await?;
    Ok(Json(DiscoveryStatusResponse {
        fetcher_healthy: status.healthy,
        connection_count: status.connections,
        last_sync_at: status.last_sync_at.map(instant),
    }))
}
