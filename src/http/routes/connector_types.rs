//! `/v1/discovery/connector-types`

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::connector::{ConnectorCategory, ConnectorType},
    http::{Api, caller::Reader, openapi::ReadProblems},
};

/// The connector types of this deployment.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ConnectorTypeListResponse {
    /// Every type that was registered at boot, by name
    types: Vec<ConnectorTypeResponse>,
}

/// A connector type.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct ConnectorTypeResponse {
    /// Its name
    #[schema(examples("postgres"))]
    r#type: &'static str,
    /// Its family
    category: Category,
}

#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Category {
    Database,
    Rest,
}

impl From<ConnectorType> for ConnectorTypeResponse {
    fn from(connector: ConnectorType) -> Self {
        Self {
            r#type: connector.name,
            category: match connector.category {
                ConnectorCategory::Database => Category::Database,
                ConnectorCategory::Rest => Category::Rest,
            },
        }
    }
}

/// List connector types
///
/// Lists the connector types that were registered at boot, each with its category. Aggregator
/// vendors are not among them: they have connections of their own.
#[utoipa::path(
    get,
    path = "/v1/discovery/connector-types",
    operation_id = "listDiscoveryConnectorTypes",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    responses(
        (status = 200, description = "OK", body = ConnectorTypeListResponse),
        ReadProblems
    )
)]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Reader(_caller): Reader,
) -> Json<ConnectorTypeListResponse> {
    let types = api.app().connector_types();
    Json(ConnectorTypeListResponse {
        types: types.into_iter().map(Into::into).collect(),
    })
}
