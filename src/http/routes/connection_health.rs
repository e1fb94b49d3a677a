//! `/v1/discovery/aggregator-connections/test` and `…/{id}/status`

use axum::{Json, extract::State};
use serde::Serialize;
use utoipa::{ToSchema, openapi::schema::Object};

use super::{
    aggregator_connections::{AggregatorVendor, vendor_schema},
    instant, words,
};
use crate::{
    domain::{
        connection::ConfigName,
        ids::ConnectionId,
        status::{
            ConnectionStatus, CredentialState, DataState, DataStatus, SourceState, Verdict,
            WebhookState, WebhookStatus,
        },
        vendor::Vendor,
    },
    http::{
        Api,
        body::JsonBody,
        caller::{Reader, Writer},
        openapi::{OneProblems, TestProblems},
        parts::Id,
        problem::Problem,
    },
};

/// The connection to test.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TestAggregatorConnectionRequest {
    /// Aggregator vendor of the connection
    #[schema(schema_with = vendor_schema)]
    vendor: AggregatorVendor,
    /// Connection config name
    #[schema(min_length = 1, max_length = 100, examples("pluggy-main"))]
    config_name: String,
}

/// What the test found.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TestAggregatorConnectionResponse {
    /// Aggregator vendor of the connection
    #[schema(schema_with = vendor_schema)]
    vendor: AggregatorVendor,
    /// Connection config name
    #[schema(examples("pluggy-main"))]
    config_name: String,
    /// Whether the vendor accepts the credential, and the item or link can be read and needs nothing of its user
    healthy: bool,
}

macro_rules! verdict_schema {
    ($(#[$doc:meta])* $name:ident, $state:ty, $words:ident) => {
        $(#[$doc])*
        #[derive(Debug, Serialize, ToSchema)]
        #[serde(rename_all = "camelCase", deny_unknown_fields)]
        pub(in crate::http) struct $name {
            /// The verdict
            #[schema(schema_with = $words)]
            verdict: &'static str,
            /// Why, as a stable word: the vendor's own code in lower case, or one of ours
            #[schema(max_length = 64)]
            reason: String,
            /// Since when the verdict is this one
            #[schema(format = "date-time")]
            since: String,
        }

        impl From<Verdict<$state>> for $name {
            fn from(verdict: Verdict<$state>) -> Self {
                Self {
                    verdict: verdict.state.as_str(),
                    reason: verdict.reason,
                    since: instant(verdict.since),
                }
            }
        }

        fn $words() -> Object {
            words(<$state>::ALL.iter().map(|state| state.as_str()))
        }
    };
}

verdict_schema!(
    /// Whether the vendor accepts the credential.
    CredentialVerdict, CredentialState, credential_words
);
verdict_schema!(
    /// How the item or link at the vendor does.
    SourceVerdict, SourceState, source_words
);

fn webhook_words() -> Object {
    words(WebhookState::ALL.iter().map(|state| state.as_str()))
}

fn data_words() -> Object {
    words(DataState::ALL.iter().map(|state| state.as_str()))
}

/// Whether the vendor's webhooks come in.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct WebhooksVerdict {
    /// The verdict
    #[schema(schema_with = webhook_words)]
    verdict: &'static str,
    /// Why, as a stable word
    #[schema(max_length = 64)]
    reason: String,
    /// Since when the verdict is this one
    #[schema(format = "date-time")]
    since: String,
    /// When a webhook was last accepted
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    last_accepted_at: Option<String>,
    /// When a webhook with a good token was last refused, because its source was not accepted
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    last_rejected_at: Option<String>,
}

impl From<WebhookStatus> for WebhooksVerdict {
    fn from(status: WebhookStatus) -> Self {
        Self {
            verdict: status.verdict.state.as_str(),
            reason: status.verdict.reason,
            since: instant(status.verdict.since),
            last_accepted_at: status.last_accepted_at.map(instant),
            last_rejected_at: status.last_rejected_at.map(instant),
        }
    }
}

/// Whether the rows are what the vendor has.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct DataVerdict {
    /// The verdict
    #[schema(schema_with = data_words)]
    verdict: &'static str,
    /// Why, as a stable word
    #[schema(max_length = 64)]
    reason: String,
    /// Since when the verdict is this one
    #[schema(format = "date-time")]
    since: String,
    /// When a pull last succeeded
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time", nullable = false)]
    last_success_at: Option<String>,
    /// The last pull that came to an end
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_pull_id: Option<String>,
    /// How many rows there are
    transactions: u64,
    /// Changes that no webhook had announced, found by the last pull that looked without being told to:
    /// the daily one, or one asked for by hand
    missed_by_webhooks: u64,
}

impl From<DataStatus> for DataVerdict {
    fn from(status: DataStatus) -> Self {
        Self {
            verdict: status.verdict.state.as_str(),
            reason: status.verdict.reason,
            since: instant(status.verdict.since),
            last_success_at: status.last_success_at.map(instant),
            last_pull_id: status.last_pull.map(|pull| pull.to_string()),
            transactions: status.transactions,
            missed_by_webhooks: status.missed_by_webhooks,
        }
    }
}

/// Four verdicts that do not follow from each other.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct AggregatorConnectionStatusResponse {
    /// Whether the vendor accepts the credential
    credential: CredentialVerdict,
    /// How the item or link at the vendor does
    source: SourceVerdict,
    /// Whether the vendor's webhooks come in
    webhooks: WebhooksVerdict,
    /// Whether the rows are what the vendor has
    data: DataVerdict,
}

impl From<ConnectionStatus> for AggregatorConnectionStatusResponse {
    fn from(status: ConnectionStatus) -> Self {
        Self {
            credential: status.credential.into(),
            source: status.source.into(),
            webhooks: status.webhooks.into(),
            data: status.data.into(),
        }
    }
}

/// Test aggregator connection
///
/// Proves the sealed credential to the vendor afresh, then looks at the item or link. Whatever the
/// vendor does is an outcome: a refused credential, an unknown item, a vendor that does not answer
/// within ten seconds are all `healthy: false`; the reason is in the connection's status. A
/// connection may be tested ten times a minute.
#[utoipa::path(
    post,
    path = "/v1/discovery/aggregator-connections/test",
    operation_id = "testAggregatorConnection",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    request_body = TestAggregatorConnectionRequest,
    responses(
        (status = 200, description = "OK", body = TestAggregatorConnectionResponse),
        TestProblems
    )
)]
pub(in crate::http) async fn test(
    State(api): State<Api>,
    Writer(caller): Writer,
    JsonBody(mut fields): JsonBody,
) -> Result<Json<TestAggregatorConnectionResponse>, Problem> {
    let vendor = fields.required("vendor", str::parse::<Vendor>);
    let config_name = fields.required("configName", ConfigName::parse);
    let (vendor, config_name) = fields.finish(vendor.zip(config_name))?;
    let outcome = api
        .app()
        .test_aggregator_connection(&caller, vendor, &config_name)
        .await?;
    Ok(Json(TestAggregatorConnectionResponse {
        vendor: vendor.into(),
        config_name: config_name.to_string(),
        healthy: outcome.healthy,
    }))
}

/// Get aggregator connection status
///
/// Tells four things apart: whether the vendor accepts the credential, how the item or link does,
/// whether webhooks come in, and whether the rows are what the vendor has.
#[utoipa::path(
    get,
    path = "/v1/discovery/aggregator-connections/{id}/status",
    operation_id = "getAggregatorConnectionStatus",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Opaque aggregator connection id")),
    responses(
        (status = 200, description = "OK", body = AggregatorConnectionStatusResponse),
        OneProblems
    )
)]
pub(in crate::http) async fn status(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(id): Id<ConnectionId>,
) -> Result<Json<AggregatorConnectionStatusResponse>, Problem> {
    let status = api.app().aggregator_connection_status(&caller, id).await?;
    Ok(Json(status.into()))
}
