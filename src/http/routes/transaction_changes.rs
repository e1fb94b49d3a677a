//! `/v1/discovery/transactions/changes`

use axum::{Json, extract::State};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::transactions::Transaction;
use crate::{
    http::{
        Api,
        caller::Reader,
        openapi::ListProblems,
        page::{Scope, open_cursor, read_limit, write_cursor},
        parts::Query,
        problem::{Code, Problem},
    },
    storage::{ChangeOp, FeedPosition},
};

const FEED: &str = "transaction-changes";

/// One change.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TransactionChange {
    /// What happened; for added and modified alike the transaction takes the place of whatever is
    /// held under its id
    #[schema(inline)]
    op: TransactionChangeOp,
    /// The transaction, as it is now
    transaction: Transaction,
}

/// What happened to a transaction
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(in crate::http) enum TransactionChangeOp {
    /// It appeared since the reader was last at the end of the feed
    Added,
    /// It was there before
    Modified,
    /// It is gone
    Removed,
}

/// A stretch of the change feed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct TransactionChanges {
    /// The changes, in order
    #[schema(max_items = 200)]
    items: Vec<TransactionChange>,
    /// Leads on from here; to be stored once the items are
    next_cursor: String,
    /// Whether there is more already
    has_more: bool,
}

/// What a cursor of the feed holds.
#[derive(Deserialize, Serialize)]
struct Place {
    x: u64,
    i: Uuid,
    k: u64,
}

/// Sync transaction changes
///
/// Answers what changed in the tenant's transactions since a cursor, in the order of the database's
/// commits and without gaps: whoever stores nextCursor together with the items never misses a change
/// and never needs to read one again. Each transaction is told once, as it is now. Without a cursor
/// the feed begins with the oldest change.
#[utoipa::path(
    get,
    path = "/v1/discovery/transactions/changes",
    operation_id = "syncTransactionChanges",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("limit" = Option<i64>, Query, description = "Changes per answer", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "The last nextCursor of this feed", nullable = false),
    ),
    responses(
        (status = 200, description = "OK", body = TransactionChanges),
        ListProblems
    )
)]
pub(in crate::http) async fn sync(
    State(api): State<Api>,
    Reader(caller): Reader,
    Query(mut fields): Query,
) -> Result<Json<TransactionChanges>, Problem> {
    let scope = Scope {
        tenant: caller.tenant,
        list: FEED,
        filter: "",
    };
    let limit = read_limit(&mut fields);
    let from = if fields.has("cursor") {
        let parse = |text: &str| {
            open_cursor::<Place>(text, api.signer(), &scope)
                .map(|place| FeedPosition {
                    xid: place.x,
                    id: place.i,
                    known: place.k,
                })
                .ok_or("is not a cursor of this feed; leave it out to begin anew")
        };
        fields.optional_of(Code::InvalidPage, "cursor", parse)
    } else {
        Some(FeedPosition::default())
    };
    let (limit, from) = fields.finish(limit.zip(from))?;
    let changes = api.app().transaction_changes(&caller, &from, limit).await?;
    let place = Place {
        x: changes.next.xid,
        i: changes.next.id,
        k: changes.next.known,
    };
    let next_cursor = write_cursor(api.signer(), &scope, &place)
        .ok_or_else(|| Problem::internal("a cursor can't be written"))?;
    let items = changes
        .items
        .into_iter()
        .map(|(op, record)| TransactionChange {
            op: match op {
                ChangeOp::Added => TransactionChangeOp::Added,
                ChangeOp::Modified => TransactionChangeOp::Modified,
                ChangeOp::Removed => TransactionChangeOp::Removed,
            },
            transaction: record.into(),
        })
        .collect();
    Ok(Json(TransactionChanges {
        items,
        next_cursor,
        has_more: changes.has_more,
    }))
}
