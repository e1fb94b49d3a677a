//! `/v1/discovery/aggregator-connections`

use axum::{
    Json,
    extract::State,
    http::{HeaderMap, StatusCode, header},
    response::IntoResponse,
};
use serde::Serialize;
use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::schema::{Object, ObjectBuilder, Type},
};

use crate::{
    app::{AggregatorChange, CredentialChange, NewAggregator},
    domain::{
        base_url::{BaseUrl, HostPolicy},
        connection::{
            AccountRef, AggregatorConnection, ConfigName, TextError, Version, parse_credential_part,
        },
        credential::Credential,
        ids::ConnectionId,
        vendor::Vendor,
    },
    http::{
        Api,
        body::JsonBody,
        caller::{Reader, Writer},
        fields::Fields,
        openapi::{ChangeProblems, CreateProblems, ListProblems, OneProblems},
        page::{Paging, Scope, list_response},
        parts::{Id, Query, etag, expected_versions},
        problem::{Code, Problem},
    },
};

const PATH: &str = "/v1/discovery/aggregator-connections";
const LIST: &str = "aggregator-connections";

/// The aggregator vendor: pluggy (Pluggy Open Finance aggregator) or belvo (Belvo aggregator)
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(examples("pluggy"))]
pub(in crate::http) enum AggregatorVendor {
    Pluggy,
    Belvo,
}

list_response! {
    /// A page of the tenant's aggregator connections.
    AggregatorConnectionList of AggregatorConnectionListItem
}

/// The published description of a member `vendor`.
pub(super) fn vendor_schema() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(Vendor::ALL.map(Vendor::as_str)))
        .description(Some(
            "Aggregator vendor: pluggy (Pluggy Open Finance aggregator) or belvo (Belvo aggregator)",
        ))
        .examples(["pluggy"])
        .build()
}

impl From<Vendor> for AggregatorVendor {
    fn from(vendor: Vendor) -> Self {
        match vendor {
            Vendor::Pluggy => Self::Pluggy,
            Vendor::Belvo => Self::Belvo,
        }
    }
}

/// A connection to create.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct CreateAggregatorConnectionRequest {
    /// Aggregator vendor: pluggy (Pluggy Open Finance aggregator) or belvo (Belvo aggregator)
    #[schema(schema_with = vendor_schema)]
    vendor: AggregatorVendor,
    /// Unique connection config name (tenant-scoped); the mint endpoint binds a token to this name
    #[schema(min_length = 1, max_length = 100, examples("pluggy-main"))]
    config_name: String,
    /// Vendor API base URL, stored as the connection host
    #[schema(
        format = "uri",
        min_length = 1,
        max_length = 512,
        examples("https://api.pluggy.ai")
    )]
    base_url: String,
    /// Opaque vendor account reference (Pluggy itemId, Belvo link id) the webhook pull threads onto its request
    #[schema(
        min_length = 1,
        max_length = 200,
        examples("a1b2c3d4-5678-90ab-cdef-1234567890ab")
    )]
    account_ref: String,
    /// Aggregator API client id (sealed; never emitted)
    #[schema(min_length = 1, max_length = 4096)]
    client_id: String,
    /// Aggregator API client secret (sealed; never emitted)
    #[schema(min_length = 1, max_length = 4096)]
    secret: String,
}

/// A change of a connection. The vendor is immutable, so it is no member.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct UpdateAggregatorConnectionRequest {
    /// Unique connection config name (tenant-scoped); the mint endpoint binds a token to this name
    #[schema(min_length = 1, max_length = 100, examples("pluggy-main"))]
    config_name: String,
    /// Vendor API base URL, stored as the connection host
    #[schema(
        format = "uri",
        min_length = 1,
        max_length = 512,
        examples("https://api.pluggy.ai")
    )]
    base_url: String,
    /// Opaque vendor account reference (Pluggy itemId, Belvo link id) the webhook pull threads onto its request
    #[schema(
        min_length = 1,
        max_length = 200,
        examples("a1b2c3d4-5678-90ab-cdef-1234567890ab")
    )]
    account_ref: String,
    /// Aggregator API client id (optional; supply with secret to rotate, omit both to keep the stored credential; sealed; never emitted)
    #[schema(min_length = 1, max_length = 4096, nullable = false)]
    client_id: Option<String>,
    /// Aggregator API client secret (optional; supply with clientId to rotate, omit both to keep the stored credential; sealed; never emitted)
    #[schema(min_length = 1, max_length = 4096, nullable = false)]
    secret: Option<String>,
}

/// A connection, free of secrets.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct AggregatorConnectionResponse {
    /// Aggregator vendor the connection is bound to
    #[schema(schema_with = vendor_schema)]
    vendor: AggregatorVendor,
    /// Connection config name the operator mints a token against
    #[schema(examples("pluggy-main"))]
    config_name: String,
    /// Stored vendor API base URL
    #[schema(format = "uri", examples("https://api.pluggy.ai"))]
    base_url: String,
    /// Stored opaque vendor account reference (Pluggy itemId, Belvo link id)
    #[schema(examples("a1b2c3d4-5678-90ab-cdef-1234567890ab"))]
    account_ref: String,
}

/// A connection in a list: its description and the id that leads to it.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct AggregatorConnectionListItem {
    /// Opaque aggregator connection id
    id: String,
    /// Aggregator vendor the connection is bound to
    #[schema(schema_with = vendor_schema)]
    vendor: AggregatorVendor,
    /// Connection config name the operator mints a token against
    #[schema(examples("pluggy-main"))]
    config_name: String,
    /// Stored vendor API base URL
    #[schema(format = "uri", examples("https://api.pluggy.ai"))]
    base_url: String,
    /// Stored opaque vendor account reference (Pluggy itemId, Belvo link id)
    #[schema(examples("a1b2c3d4-5678-90ab-cdef-1234567890ab"))]
    account_ref: String,
}

impl From<AggregatorConnection> for AggregatorConnectionResponse {
    fn from(connection: AggregatorConnection) -> Self {
        Self {
            vendor: connection.vendor.into(),
            config_name: connection.config_name.to_string(),
            base_url: connection.base_url.to_string(),
            account_ref: connection.account_ref.to_string(),
        }
    }
}

impl From<AggregatorConnection> for AggregatorConnectionListItem {
    fn from(connection: AggregatorConnection) -> Self {
        Self {
            id: connection.id.to_string(),
            vendor: connection.vendor.into(),
            config_name: connection.config_name.to_string(),
            base_url: connection.base_url.to_string(),
            account_ref: connection.account_ref.to_string(),
        }
    }
}

fn described(connection: AggregatorConnection) -> impl IntoResponse {
    (
        [(header::ETAG, etag(connection.version))],
        Json(AggregatorConnectionResponse::from(connection)),
    )
}

/// Reads a base URL against the hosts of its vendor; without a vendor, against those of all.
fn read_base_url(fields: &mut Fields, policy: &HostPolicy) -> Option<BaseUrl> {
    let text = fields.required("baseUrl", |text| {
        if text.is_empty() {
            Err(TextError::Empty)
        } else {
            Ok(text.to_owned())
        }
    })?;
    BaseUrl::parse(&text, policy)
        .map_err(|error| {
            // Before an `@` may stand a password, behind a `?` or `#` a key.
            let quoted = (!text.contains(['@', '?', '#'])).then(|| Value::String(text.clone()));
            fields.fault_of(
                Code::BaseUrlNotAllowed,
                "baseUrl",
                error.to_string(),
                quoted,
            );
        })
        .ok()
}

fn read_new(api: &Api, fields: &mut Fields) -> Option<NewAggregator> {
    let vendor = fields.required("vendor", str::parse::<Vendor>);
    let config_name = fields.required("configName", ConfigName::parse);
    let base_url = match vendor {
        Some(vendor) => read_base_url(fields, api.app().host_policy(vendor)),
        None => read_base_url(fields, &api.app().host_policy_of_all()),
    };
    let account_ref = fields.required("accountRef", AccountRef::parse);
    let client_id = fields.required("clientId", parse_credential_part);
    let secret = fields.required("secret", parse_credential_part);
    Some(NewAggregator {
        vendor: vendor?,
        config_name: config_name?,
        base_url: base_url?,
        account_ref: account_ref?,
        credential: Credential::new(client_id?, secret?),
    })
}

fn read_change(
    policy: &HostPolicy,
    expected: Option<Vec<Version>>,
    fields: &mut Fields,
) -> Option<AggregatorChange> {
    let config_name = fields.required("configName", ConfigName::parse);
    let base_url = read_base_url(fields, policy);
    let account_ref = fields.required("accountRef", AccountRef::parse);
    let credential = read_credential_change(fields);
    Some(AggregatorChange {
        config_name: config_name?,
        base_url: base_url?,
        account_ref: account_ref?,
        credential: credential?,
        expected,
    })
}

fn read_credential_change(fields: &mut Fields) -> Option<CredentialChange> {
    let missing = match (fields.has("clientId"), fields.has("secret")) {
        (false, false) => return Some(CredentialChange::Keep),
        (true, true) => None,
        (false, true) => Some("clientId"),
        (true, false) => Some("secret"),
    };
    let client_id = fields.optional("clientId", parse_credential_part);
    let secret = fields.optional("secret", parse_credential_part);
    if let Some(missing) = missing {
        fields.fault_of(
            Code::HalfCredential,
            missing,
            "is missing: send clientId and secret together to replace the credential, \
             or neither to keep it",
            None,
        );
        return None;
    }
    Some(CredentialChange::Rotate(Credential::new(
        client_id?, secret?,
    )))
}

/// Create aggregator connection
///
/// Creates an Open-Finance data-aggregator (Pluggy/Belvo) connection. The credential is sealed
/// before persistence and is never returned. The id is in `Location`.
#[utoipa::path(
    post,
    path = "/v1/discovery/aggregator-connections",
    operation_id = "createAggregatorConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    request_body = CreateAggregatorConnectionRequest,
    responses(
        (
            status = 201, description = "Created", body = AggregatorConnectionResponse,
            headers(
                ("Location" = String, description = "Where the connection is; ends in its id"),
                ("ETag" = String, description = "Its version, for If-Match"),
            )
        ),
        CreateProblems
    )
)]
pub(in crate::http) async fn create(
    State(api): State<Api>,
    Writer(caller): Writer,
    JsonBody(mut fields): JsonBody,
) -> Result<impl IntoResponse, Problem> {
    let new = read_new(&api, &mut fields);
    let new = fields.finish(new)?;
    let connection = api.app().create_aggregator_connection(&caller, new).await?;
    let location = format!("{PATH}/{}", connection.id);
    Ok((
        StatusCode::CREATED,
        [(header::LOCATION, location)],
        described(connection),
    ))
}

/// List aggregator connections
///
/// Lists the tenant's connections, ordered by config name, page by page.
#[utoipa::path(
    get,
    path = "/v1/discovery/aggregator-connections",
    operation_id = "listAggregatorConnections",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("limit" = Option<i64>, Query, description = "Rows per page", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list", nullable = false),
        ("vendor" = inline(Option<AggregatorVendor>), Query, description = "Only connections of this vendor", nullable = false),
    ),
    responses(
        (status = 200, description = "OK", body = AggregatorConnectionList),
        ListProblems
    )
)]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Reader(caller): Reader,
    Query(mut fields): Query,
) -> Result<Json<AggregatorConnectionList>, Problem> {
    let vendor = fields.optional("vendor", str::parse::<Vendor>);
    let scope = Scope {
        tenant: caller.tenant,
        list: LIST,
        filter: vendor.map_or("", Vendor::as_str),
    };
    let paging = Paging::read(&mut fields, api.signer(), &scope);
    let paging = fields.finish(paging)?;
    let page = api
        .app()
        .list_aggregator_connections(&caller, vendor, &paging.start, paging.limit)
        .await?;
    let page = paging.page(
        api.signer(),
        &scope,
        page,
        |connection| (connection.config_name.to_string(), connection.id.0),
        Into::into,
    );
    Ok(Json(page.into()))
}

/// Get aggregator connection
///
/// Answers one connection. The id of anything else is a 404.
#[utoipa::path(
    get,
    path = "/v1/discovery/aggregator-connections/{id}",
    operation_id = "getAggregatorConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Opaque aggregator connection id")),
    responses(
        (
            status = 200, description = "OK", body = AggregatorConnectionResponse,
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
    let connection = api.app().aggregator_connection(&caller, id).await?;
    Ok(described(connection))
}

/// Update aggregator connection
///
/// Edits an existing Open-Finance data-aggregator (Pluggy/Belvo) connection by id so a mistyped
/// baseUrl is not permanent. The vendor is immutable. clientId/secret are optional: supply both to
/// rotate the sealed credential, or omit both to leave the stored secret intact. The supplied
/// credential is sealed before persistence and is never returned. A non-aggregator connection id
/// returns 404.
#[utoipa::path(
    put,
    path = "/v1/discovery/aggregator-connections/{id}",
    operation_id = "updateAggregatorConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "Opaque aggregator connection id"),
        ("If-Match" = Option<String>, Header, description = "The ETag that was read; the update is refused if the connection changed since", nullable = false),
    ),
    request_body = UpdateAggregatorConnectionRequest,
    responses(
        (
            status = 200, description = "OK", body = AggregatorConnectionResponse,
            headers(("ETag" = String, description = "Its version, for If-Match"))
        ),
        ChangeProblems
    )
)]
pub(in crate::http) async fn update(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<ConnectionId>,
    headers: HeaderMap,
    JsonBody(mut fields): JsonBody,
) -> Result<impl IntoResponse, Problem> {
    // Which hosts may be named depends on the vendor, which only the stored connection knows.
    let vendor = api.app().aggregator_connection(&caller, id).await?.vendor;
    let policy = api.app().host_policy(vendor);
    let change = read_change(policy, expected_versions(&headers), &mut fields);
    let change = fields.finish(change)?;
    let connection = api
        .app()
        .update_aggregator_connection(&caller, id, change)
        .await?;
    Ok(described(connection))
}

/// Delete aggregator connection
///
/// Soft-deletes the connection: its name is free again, its credential is gone, its webhook tokens
/// are revoked. Its transactions are removed soon after: no list holds them any more, and the feed of
/// changes tells that they are gone.
#[utoipa::path(
    delete,
    path = "/v1/discovery/aggregator-connections/{id}",
    operation_id = "deleteAggregatorConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Opaque aggregator connection id")),
    responses((status = 204, description = "No Content"), OneProblems)
)]
pub(in crate::http) async fn delete(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<ConnectionId>,
) -> Result<StatusCode, Problem> {
    api.app().delete_aggregator_connection(&caller, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
