//! `/v1/discovery/deliveries` and `…/aggregator-connections/{id}/deliveries`

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{ToSchema, openapi::schema::Object};

use super::{pulls::PullResponse, words};
use crate::{
    domain::{
        delivery::{Delivery, DeliveryId, DeliveryOutcome},
        ids::ConnectionId,
    },
    http::{
        Api,
        caller::{Reader, Writer},
        openapi::{DeliveryProblems, ListOfOneProblems},
        page::{Paging, Scope, list_response},
        parts::{Id, Query},
        problem::Problem,
    },
};

const LIST: &str = "aggregator-deliveries";

fn outcomes() -> Object {
    words(DeliveryOutcome::ALL.iter().map(|one| one.as_str()))
}

/// A webhook that came in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct DeliveryResponse {
    /// Delivery id
    id: String,
    /// What the vendor calls the kind of event
    #[schema(examples("transactions/created"))]
    event: String,
    /// What the vendor's redeliveries of one event have in common
    key: String,
    /// When it came in
    received_at: DateTime<Utc>,
    /// What became of it
    #[schema(schema_with = outcomes)]
    outcome: &'static str,
    /// The pull that it asked for
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pull_id: Option<String>,
}

list_response! {
    /// A page of the webhooks that came in for a connection, newest first.
    AggregatorDeliveryList of DeliveryResponse
}

impl From<Delivery> for DeliveryResponse {
    fn from(delivery: Delivery) -> Self {
        Self {
            id: delivery.id.to_string(),
            event: delivery.event,
            key: delivery.key,
            received_at: delivery.received_at,
            outcome: delivery.outcome.as_str(),
            pull_id: delivery.pull.map(|pull| pull.to_string()),
        }
    }
}

/// List deliveries
///
/// Lists the webhooks that were accepted for a connection in the last 30 days, newest first. Each
/// event is there once, however often it was delivered.
#[utoipa::path(
    get,
    path = "/v1/discovery/aggregator-connections/{id}/deliveries",
    operation_id = "listAggregatorDeliveries",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "Opaque aggregator connection id"),
        ("limit" = Option<i64>, Query, description = "Rows per page", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list", nullable = false),
    ),
    responses((status = 200, description = "OK", body = AggregatorDeliveryList), ListOfOneProblems)
)]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(connection): Id<ConnectionId>,
    Query(mut fields): Query,
) -> Result<Json<AggregatorDeliveryList>, Problem> {
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
        .list_deliveries(&caller, connection, &paging.start, paging.limit)
        .await?;
    let key = |delivery: &Delivery| (delivery.received_at, delivery.id.0);
    let page = paging.page(api.signer(), &scope, page, key, Into::into);
    Ok(Json(page.into()))
}

/// Replay delivery
///
/// Asks again for the pull that a delivery asked for.
#[utoipa::path(
    post,
    path = "/v1/discovery/deliveries/{id}/replay",
    operation_id = "replayAggregatorDelivery",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Delivery id")),
    responses((status = 202, description = "Accepted", body = PullResponse), DeliveryProblems)
)]
pub(in crate::http) async fn replay(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<DeliveryId>,
) -> Result<impl IntoResponse, Problem> {
    let pull = api.app().replay_delivery(&caller, id).await?;
    Ok((StatusCode::ACCEPTED, Json(PullResponse::from(pull))))
}
