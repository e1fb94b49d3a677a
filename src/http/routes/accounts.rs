//! `/v1/discovery/aggregator-connections/{id}/accounts`

use axum::{Json, extract::State};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    domain::{
        account::{AccountRecord, AccountType},
        ids::ConnectionId,
    },
    http::{
        Api,
        caller::Reader,
        openapi::ListOfOneProblems,
        page::{Paging, Scope, list_response},
        parts::{Id, Query},
        problem::Problem,
    },
};

const LIST: &str = "accounts";

/// An account, as it was last pulled. What the vendor does not tell is left out.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct AggregatorAccount {
    /// Account id
    id: String,
    /// What the vendor calls it
    vendor_id: String,
    /// What kind it is
    #[schema(inline)]
    r#type: AggregatorAccountType,
    /// The vendor's finer word for the kind
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    subtype: Option<String>,
    /// What the bank calls it
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    name: Option<String>,
    /// The last digits of its number
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples("****5678"))]
    masked_number: Option<String>,
    /// What its balance is counted in (ISO 4217)
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples("BRL"))]
    currency: Option<String>,
    /// What the holder has (positive) or owes (negative) there, as a decimal
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false, examples("1234.56"))]
    balance: Option<String>,
    /// When a pull last found it changed
    updated_at: DateTime<Utc>,
}

/// What kind of account it is
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum AggregatorAccountType {
    Bank,
    Card,
    Loan,
    Investment,
    Other,
}

impl From<AccountType> for AggregatorAccountType {
    fn from(account_type: AccountType) -> Self {
        match account_type {
            AccountType::Bank => Self::Bank,
            AccountType::Card => Self::Card,
            AccountType::Loan => Self::Loan,
            AccountType::Investment => Self::Investment,
            AccountType::Other => Self::Other,
        }
    }
}

impl From<AccountRecord> for AggregatorAccount {
    fn from(record: AccountRecord) -> Self {
        let account = record.account;
        Self {
            id: record.id.to_string(),
            vendor_id: account.vendor_id,
            r#type: account.account_type.into(),
            subtype: account.subtype,
            name: account.name,
            masked_number: account.masked_number,
            currency: account.currency.map(|currency| currency.to_string()),
            balance: account.balance.map(|balance| balance.to_string()),
            updated_at: record.updated_at,
        }
    }
}

list_response! {
    /// A page of the accounts behind a connection, in the order they were first pulled.
    AggregatorAccountList of AggregatorAccount
}

/// List accounts of an aggregator connection
///
/// Lists the accounts behind a connection as they were last pulled.
#[utoipa::path(
    get,
    path = "/v1/discovery/aggregator-connections/{id}/accounts",
    operation_id = "listAggregatorAccounts",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "Aggregator connection id"),
        ("limit" = Option<i64>, Query, description = "Rows per page", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list", nullable = false),
    ),
    responses(
        (status = 200, description = "OK", body = AggregatorAccountList),
        ListOfOneProblems
    )
)]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(connection): Id<ConnectionId>,
    Query(mut fields): Query,
) -> Result<Json<AggregatorAccountList>, Problem> {
    let scope = Scope {
        tenant: caller.tenant,
        list: LIST,
        filter: &connection.to_string(),
    };
    let paging = Paging::read(&mut fields, api.signer(), &scope);
    let paging = fields.finish(paging)?;
    let page = api
        .app()
        .list_aggregator_accounts(&caller, connection, &paging.start, paging.limit)
        .await?;
    let page = paging.page(api.signer(), &scope, page, |one| one.id.0, Into::into);
    Ok(Json(page.into()))
}
