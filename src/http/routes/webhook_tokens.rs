//! `/v1/discovery/webhooks/tokens`

use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
};
use chrono::{DateTime, TimeDelta, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::aggregator_connections::{AggregatorVendor, vendor_schema};
use crate::{
    app::MintedToken,
    domain::{
        connection::ConfigName, ids::WebhookTokenId, vendor::Vendor,
        webhook_token::WebhookTokenRecord,
    },
    http::{
        Api,
        body::{JsonBody, OptionalJsonBody},
        caller::{Reader, Writer},
        openapi::{ListProblems, MintProblems, RotateProblems, TokenProblems},
        page::{Paging, Scope, list_response},
        parts::{Id, Query},
        problem::Problem,
    },
};

const PATH: &str = "/v1/discovery/webhooks/tokens";
const LIST: &str = "webhook-tokens";
/// How long a rotated token lives on, unless the caller says otherwise: over a weekend's two days.
const DEFAULT_GRACE_SECONDS: i64 = 48 * 60 * 60;
const MAX_GRACE_SECONDS: i64 = 30 * 24 * 60 * 60;

/// A token to mint.
#[derive(Debug, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(in crate::http) struct MintAggregatorWebhookTokenRequest {
    /// Aggregator vendor of the connection
    #[schema(schema_with = vendor_schema)]
    vendor: AggregatorVendor,
    /// Config name of the connection to bind the token to
    #[schema(min_length = 1, max_length = 100, examples("pluggy-main"))]
    connection_config_name: String,
}

/// A minted token. It is shown this once; only its SHA-256 is stored.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct MintAggregatorWebhookTokenResponse {
    /// The raw token
    token: String,
    /// The URL to configure at the vendor; it holds the token
    #[schema(format = "uri")]
    webhook_url: String,
    /// Aggregator vendor whose webhooks the token admits
    #[schema(schema_with = vendor_schema)]
    vendor: AggregatorVendor,
}

/// How to rotate a token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RotateAggregatorWebhookTokenRequest {
    /// How many seconds the old token lives on; 48 hours if left out
    #[schema(minimum = 0, maximum = 2_592_000, default = 172_800, nullable = false)]
    grace_seconds: Option<i64>,
}

/// What is known of a minted token.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct AggregatorWebhookTokenListItem {
    /// Webhook token id (not the token)
    id: String,
    /// Aggregator vendor whose webhooks the token admits
    #[schema(schema_with = vendor_schema)]
    vendor: AggregatorVendor,
    /// The connection the token is bound to
    connection_id: String,
    /// That connection's present config name
    connection_config_name: String,
    /// The token's first eight characters
    #[schema(examples("whk_Zk3v"))]
    prefix: String,
    /// When it was minted
    created_at: DateTime<Utc>,
    /// When it ends by itself; null for never
    #[schema(required)]
    expires_at: Option<DateTime<Utc>>,
    /// When it was revoked; null if it was not
    #[schema(required)]
    revoked_at: Option<DateTime<Utc>>,
    /// When a webhook last came in by it; null if none did
    #[schema(required)]
    last_used_at: Option<DateTime<Utc>>,
}

list_response! {
    /// A page of the tenant's webhook tokens, newest first.
    AggregatorWebhookTokenList of AggregatorWebhookTokenListItem
}

impl From<WebhookTokenRecord> for AggregatorWebhookTokenListItem {
    fn from(record: WebhookTokenRecord) -> Self {
        Self {
            id: record.id.to_string(),
            vendor: record.vendor.into(),
            connection_id: record.connection_id.to_string(),
            connection_config_name: record.connection_config_name.to_string(),
            prefix: record.prefix,
            created_at: record.created_at,
            expires_at: record.expires_at,
            revoked_at: record.revoked_at,
            last_used_at: record.last_used_at,
        }
    }
}

fn shown_once(minted: &MintedToken) -> impl IntoResponse + use<> {
    (
        StatusCode::CREATED,
        [(header::LOCATION, format!("{PATH}/{}", minted.id))],
        Json(MintAggregatorWebhookTokenResponse {
            token: minted.token.expose().to_owned(),
            webhook_url: minted.webhook_url.clone(),
            vendor: minted.vendor.into(),
        }),
    )
}

/// Mint webhook token
///
/// Mints a webhook token bound to an existing aggregator connection. The token and its URL are
/// returned once; only the token's SHA-256 is stored.
#[utoipa::path(
    post,
    path = "/v1/discovery/webhooks/tokens",
    operation_id = "mintAggregatorWebhookToken",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    request_body = MintAggregatorWebhookTokenRequest,
    responses(
        (
            status = 201, description = "Created", body = MintAggregatorWebhookTokenResponse,
            headers(("Location" = String, description = "The token's record; ends in its id"))
        ),
        MintProblems
    )
)]
pub(in crate::http) async fn mint(
    State(api): State<Api>,
    Writer(caller): Writer,
    JsonBody(mut fields): JsonBody,
) -> Result<impl IntoResponse, Problem> {
    let vendor = fields.required("vendor", str::parse::<Vendor>);
    let name = fields.required("connection_config_name", ConfigName::parse);
    let (vendor, name) = fields.finish(vendor.zip(name))?;
    let minted = api.app().mint_webhook_token(&caller, vendor, &name).await?;
    Ok(shown_once(&minted))
}

/// List webhook tokens
///
/// Lists the tenant's webhook tokens, newest first: what is known of them, never the tokens.
#[utoipa::path(
    get,
    path = "/v1/discovery/webhooks/tokens",
    operation_id = "listAggregatorWebhookTokens",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("limit" = Option<i64>, Query, description = "Rows per page", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list", nullable = false),
    ),
    responses(
        (status = 200, description = "OK", body = AggregatorWebhookTokenList),
        ListProblems
    )
)]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Reader(caller): Reader,
    Query(mut fields): Query,
) -> Result<Json<AggregatorWebhookTokenList>, Problem> {
    let scope = Scope {
        tenant: caller.tenant,
        list: LIST,
        filter: "",
    };
    let paging = Paging::read(&mut fields, api.signer(), &scope);
    let paging = fields.finish(paging)?;
    let page = api
        .app()
        .list_webhook_tokens(&caller, &paging.start, paging.limit)
        .await?;
    let page = paging.page(api.signer(), &scope, page, |record| record.id.0, Into::into);
    Ok(Json(page.into()))
}

/// Revoke webhook token
///
/// Revokes a token: webhooks that come by it are refused from now on. Revoking it again changes
/// nothing.
#[utoipa::path(
    delete,
    path = "/v1/discovery/webhooks/tokens/{id}",
    operation_id = "revokeAggregatorWebhookToken",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Webhook token id (not the token)")),
    responses((status = 204, description = "No Content"), TokenProblems)
)]
pub(in crate::http) async fn revoke(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<WebhookTokenId>,
) -> Result<StatusCode, Problem> {
    api.app().revoke_webhook_token(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Rotate webhook token
///
/// Mints a successor bound to the same connection. The old token lives on for a grace, so that the
/// URL can be changed at the vendor without losing a webhook.
#[utoipa::path(
    post,
    path = "/v1/discovery/webhooks/tokens/{id}/rotate",
    operation_id = "rotateAggregatorWebhookToken",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Webhook token id (not the token)")),
    request_body = Option<RotateAggregatorWebhookTokenRequest>,
    responses(
        (
            status = 201, description = "Created", body = MintAggregatorWebhookTokenResponse,
            headers(("Location" = String, description = "The successor's record; ends in its id"))
        ),
        RotateProblems
    )
)]
pub(in crate::http) async fn rotate(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<WebhookTokenId>,
    OptionalJsonBody(mut fields): OptionalJsonBody,
) -> Result<impl IntoResponse, Problem> {
    let grace = if fields.has("graceSeconds") {
        fields.optional_integer("graceSeconds", 0..=MAX_GRACE_SECONDS)
    } else {
        Some(DEFAULT_GRACE_SECONDS)
    };
    let grace = TimeDelta::seconds(fields.finish(grace)?);
    let minted = api.app().rotate_webhook_token(&caller, id, grace).await?;
    Ok(shown_once(&minted))
}
