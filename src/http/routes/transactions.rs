//! `/v1/discovery/transactions`, and those of one connection

mod table;
mod wire;

use axum::{
    Json,
    extract::State,
    response::{IntoResponse, Response},
};
use chrono::NaiveDate;
use uuid::Uuid;

pub(in crate::http) use self::wire::Transaction;
use self::wire::{
    TransactionDirection, TransactionList, TransactionState, TransactionVersion,
    TransactionVersionList,
};
use super::day::day;
use crate::{
    app::ExportPlace,
    domain::{
        caller::Caller,
        ids::{AccountId, ConnectionId, TransactionId},
        transaction::{Direction, TransactionRecord, TransactionStatus},
    },
    http::{
        Api,
        accept::{Form, Wanted},
        caller::Reader,
        export::{self, BATCH, Batch},
        fields::Fields,
        openapi::{
            ListOfOneProblems, ListOfTransactionProblems, ListProblems, TransactionProblems,
        },
        page::{Paging, Scope},
        parts::{Id, Query, parse_uuid},
        problem::{Code, Problem},
    },
    storage::TransactionFilter,
};

const LIST: &str = "transactions";
const VERSIONS: &str = "transaction-versions";

/// Where in the order of a list a transaction stands.
type Key = (NaiveDate, Uuid);

fn key(record: &TransactionRecord) -> Key {
    (record.civil_date, record.id.0)
}

/// Reads the filters; the text stands for them in a cursor.
fn read_filter(fields: &mut Fields) -> (Option<TransactionFilter>, String) {
    let names = ["accountId", "status", "direction", "dateFrom", "dateTo"];
    let sent = names.map(|name| fields.has(name));
    let account = fields.optional("accountId", |text| {
        let id = parse_uuid(text).map(AccountId);
        id.ok_or("must be the id of an account")
    });
    let status = fields.optional("status", str::parse::<TransactionStatus>);
    let direction = fields.optional("direction", str::parse::<Direction>);
    let date_from = fields.optional("dateFrom", day);
    let date_to = fields.optional("dateTo", day);
    let read = [
        account.is_some(),
        status.is_some(),
        direction.is_some(),
        date_from.is_some(),
        date_to.is_some(),
    ];
    let mut right = sent == read;
    if let (Some(from), Some(to)) = (date_from, date_to)
        && to < from
    {
        let message = "must not be before dateFrom";
        let value = Some(to.to_string().into());
        fields.fault_of(Code::InvalidRequest, "dateTo", message, value);
        right = false;
    }
    let filter = TransactionFilter {
        accounts: account.map(|account| vec![account]),
        status,
        direction,
        date_from,
        date_to,
    };
    let text = format!("{filter:?}");
    (right.then_some(filter), text)
}

async fn answer(
    api: Api,
    caller: Caller,
    connection: Option<ConnectionId>,
    form: Form,
    mut fields: Fields,
) -> Result<Response, Problem> {
    let (filter, text) = read_filter(&mut fields);
    if form != Form::Page {
        let filter = fields.finish(filter)?;
        return stream(api, caller, connection, form, filter).await;
    }
    let scope = Scope {
        tenant: caller.tenant,
        list: LIST,
        filter: &format!("{connection:?} {text}"),
    };
    let paging = Paging::read(&mut fields, api.signer(), &scope);
    let (filter, paging) = fields.finish(filter.zip(paging))?;
    let page = api
        .app()
        .list_transactions(&caller, connection, &filter, &paging.start, paging.limit)
        .await?;
    let page = paging.page(api.signer(), &scope, page, key, Transaction::from);
    Ok(Json(TransactionList::from(page)).into_response())
}

async fn stream(
    api: Api,
    caller: Caller,
    connection: Option<ConnectionId>,
    form: Form,
    filter: TransactionFilter,
) -> Result<Response, Problem> {
    export::answer(form, move |from: Option<ExportPlace>| {
        let (api, caller, filter) = (api.clone(), caller.clone(), filter.clone());
        async move {
            let mut text = match (form, &from) {
                (Form::Table, None) => table::header(),
                _ => String::new(),
            };
            let (records, next) = api
                .app()
                .export_transactions(&caller, connection, &filter, from, BATCH)
                .await?;
            for record in records {
                match form {
                    Form::Table => text.push_str(&table::record(&record)),
                    Form::Page | Form::Lines => {
                        let line = serde_json::to_string(&Transaction::from(record));
                        text.push_str(
                            &line.map_err(|error| crate::app::AppError::Internal(error.into()))?,
                        );
                        text.push('\n');
                    }
                }
            }
            Ok(Batch { text, next })
        }
    })
    .await
}

/// List transactions of an aggregator connection
///
/// Lists what was pulled through a connection, the newest day first, without what is deleted: page by
/// page as JSON, or all of it at once as one JSON object a line or as a table, by the header Accept.
#[utoipa::path(
    get,
    path = "/v1/discovery/aggregator-connections/{id}/transactions",
    operation_id = "listAggregatorTransactions",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "Aggregator connection id"),
        ("limit" = Option<i64>, Query, description = "Rows per page; of JSON pages only", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list; of JSON pages only", nullable = false),
        ("accountId" = Option<String>, Query, description = "Only transactions of this account", nullable = false),
        ("status" = inline(Option<TransactionState>), Query, description = "Only transactions of this status", nullable = false),
        ("direction" = inline(Option<TransactionDirection>), Query, description = "Only transactions of this direction", nullable = false),
        ("dateFrom" = Option<NaiveDate>, Query, description = "Only transactions of this civil day and later", nullable = false),
        ("dateTo" = Option<NaiveDate>, Query, description = "Only transactions of this civil day and earlier", nullable = false),
    ),
    responses(
        (status = 200, description = "OK", content(
            (TransactionList = "application/json"),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
        )),
        ListOfOneProblems
    )
)]
pub(in crate::http) async fn list_of_connection(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(connection): Id<ConnectionId>,
    Wanted(form): Wanted,
    Query(fields): Query,
) -> Result<Response, Problem> {
    answer(api, caller, Some(connection), form, fields).await
}

/// List transactions
///
/// Lists what was pulled through all of the tenant's connections, the newest day first, without what
/// is deleted: page by page as JSON, or all of it at once as one JSON object a line or as a table, by
/// the header Accept.
#[utoipa::path(
    get,
    path = "/v1/discovery/transactions",
    operation_id = "listTransactions",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("limit" = Option<i64>, Query, description = "Rows per page; of JSON pages only", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list; of JSON pages only", nullable = false),
        ("accountId" = Option<String>, Query, description = "Only transactions of this account", nullable = false),
        ("status" = inline(Option<TransactionState>), Query, description = "Only transactions of this status", nullable = false),
        ("direction" = inline(Option<TransactionDirection>), Query, description = "Only transactions of this direction", nullable = false),
        ("dateFrom" = Option<NaiveDate>, Query, description = "Only transactions of this civil day and later", nullable = false),
        ("dateTo" = Option<NaiveDate>, Query, description = "Only transactions of this civil day and earlier", nullable = false),
    ),
    responses(
        (status = 200, description = "OK", content(
            (TransactionList = "application/json"),
            (String = "application/x-ndjson"),
            (String = "text/csv"),
        )),
        ListProblems
    )
)]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Reader(caller): Reader,
    Wanted(form): Wanted,
    Query(fields): Query,
) -> Result<Response, Problem> {
    answer(api, caller, None, form, fields).await
}

/// Get transaction
///
/// Answers one transaction, deleted or not.
#[utoipa::path(
    get,
    path = "/v1/discovery/transactions/{id}",
    operation_id = "getTransaction",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Transaction id")),
    responses(
        (status = 200, description = "OK", body = Transaction),
        TransactionProblems
    )
)]
pub(in crate::http) async fn get(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(id): Id<TransactionId>,
) -> Result<Json<Transaction>, Problem> {
    Ok(Json(api.app().transaction(&caller, id).await?.into()))
}

/// List versions of a transaction
///
/// Lists every version that a transaction had, the present one first, with the pull that wrote it.
#[utoipa::path(
    get,
    path = "/v1/discovery/transactions/{id}/versions",
    operation_id = "listTransactionVersions",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "Transaction id"),
        ("limit" = Option<i64>, Query, description = "Versions per page", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list", nullable = false),
    ),
    responses(
        (status = 200, description = "OK", body = TransactionVersionList),
        ListOfTransactionProblems
    )
)]
pub(in crate::http) async fn versions(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(id): Id<TransactionId>,
    Query(mut fields): Query,
) -> Result<Json<TransactionVersionList>, Problem> {
    let scope = Scope {
        tenant: caller.tenant,
        list: VERSIONS,
        filter: &id.to_string(),
    };
    let paging = Paging::read(&mut fields, api.signer(), &scope);
    let paging = fields.finish(paging)?;
    let page = api
        .app()
        .list_transaction_versions(&caller, id, &paging.start, paging.limit)
        .await?;
    let page = paging.page(
        api.signer(),
        &scope,
        page,
        |one| one.record.version,
        TransactionVersion::from,
    );
    Ok(Json(page.into()))
}
