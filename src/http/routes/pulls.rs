//! `/v1/discovery/pulls` and `…/aggregator-connections/{id}/pulls`

use axum::{Json, extract::State, http::StatusCode, response::IntoResponse};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::{ToSchema, openapi::schema::Object};

use super::{day::day, words};
use crate::{
    domain::{
        ids::{ConnectionId, PullId},
        pull::{Progress, Pull, PullFailure, PullReason, PullState},
    },
    http::{
        Api,
        body::OptionalJsonBody,
        caller::{Reader, Writer},
        openapi::{ListOfOneProblems, PullChangeProblems, PullProblems, PullRequestProblems},
        page::{Paging, Scope, list_response},
        parts::{Id, Query},
        problem::{Code, Problem},
    },
};

const LIST: &str = "aggregator-pulls";

fn states() -> Object {
    words(PullState::ALL.iter().map(|one| one.as_str()))
}

fn reasons() -> Object {
    words(PullReason::ALL.iter().map(|one| one.as_str()))
}

/// A pull to ask for. Without a window, what is new and the recent past are read.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct RequestAggregatorPullRequest {
    /// The first day of a backfill
    #[schema(format = "date", nullable = false, examples("2026-01-01"))]
    from: Option<String>,
    /// The last day of a backfill
    #[schema(format = "date", nullable = false, examples("2026-01-31"))]
    to: Option<String>,
}

/// How far a pull has come.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct PullProgress {
    /// Accounts that were read
    accounts: u32,
    /// Pages that were written
    pages: u64,
    /// Rows that the vendor sent
    seen: u64,
    /// Rows that were new
    inserted: u64,
    /// Rows that had changed
    updated: u64,
    /// Rows that were known already
    unchanged: u64,
    /// Rows that were gone
    deleted: u64,
    /// Rows that could not be read
    quarantined: u64,
    /// Changes that no webhook had announced
    missed_by_webhooks: u64,
    /// Listings in which rows moved from page to page each time they were read. What they lack is found
    /// by the next look.
    unsettled: u64,
}

/// Why an attempt failed.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct PullError {
    /// A stable word; `joined` if another pull, which the message names, took the work over
    #[schema(examples("throttled"))]
    class: String,
    /// The same in words
    message: String,
}

/// A pull.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(in crate::http) struct PullResponse {
    /// Pull id
    id: String,
    /// The connection that is pulled
    connection_id: String,
    /// Where it is in its life
    #[schema(schema_with = states)]
    state: &'static str,
    /// What asked for it first
    #[schema(schema_with = reasons)]
    reason: &'static str,
    /// The first day that was asked for, of a backfill
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date", nullable = false)]
    from: Option<String>,
    /// The last day that was asked for, of a backfill
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date", nullable = false)]
    to: Option<String>,
    /// How often it was begun
    attempts: u32,
    /// When it is tried next, while it waits
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    next_attempt_at: Option<DateTime<Utc>>,
    /// How far it has come
    progress: PullProgress,
    /// Why its last attempt failed
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<PullError>,
    /// When it was asked for
    created_at: DateTime<Utc>,
    /// When it was first begun
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    started_at: Option<DateTime<Utc>>,
    /// When it came to its end
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    finished_at: Option<DateTime<Utc>>,
}

list_response! {
    /// A page of a connection's pulls, newest first.
    AggregatorPullList of PullResponse
}

impl From<Progress> for PullProgress {
    fn from(progress: Progress) -> Self {
        Self {
            accounts: progress.accounts,
            pages: progress.pages,
            seen: progress.seen,
            inserted: progress.inserted,
            updated: progress.updated,
            unchanged: progress.unchanged,
            deleted: progress.deleted,
            quarantined: progress.quarantined,
            missed_by_webhooks: progress.missed,
            unsettled: progress.unsettled,
        }
    }
}

impl From<PullFailure> for PullError {
    fn from(failure: PullFailure) -> Self {
        Self {
            class: failure.class,
            message: failure.message,
        }
    }
}

impl From<Pull> for PullResponse {
    fn from(pull: Pull) -> Self {
        let (from, to) = pull.window.unzip();
        Self {
            id: pull.id.to_string(),
            connection_id: pull.connection.to_string(),
            state: pull.state.as_str(),
            reason: pull.reason.as_str(),
            from: from.map(|day| day.to_string()),
            to: to.map(|day| day.to_string()),
            attempts: pull.attempts,
            next_attempt_at: pull.next_attempt_at,
            progress: pull.progress.into(),
            error: pull.failure.map(Into::into),
            created_at: pull.created_at,
            started_at: pull.started_at,
            finished_at: pull.finished_at,
        }
    }
}

/// Request pull
///
/// Asks for a pull of the connection now, or for a backfill of a window of days. If a pull waits
/// already, that one does this work too and is the answer.
#[utoipa::path(
    post,
    path = "/v1/discovery/aggregator-connections/{id}/pulls",
    operation_id = "requestAggregatorPull",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Opaque aggregator connection id")),
    request_body(content = Option<RequestAggregatorPullRequest>),
    responses((status = 202, description = "Accepted", body = PullResponse), PullRequestProblems)
)]
pub(in crate::http) async fn request(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(connection): Id<ConnectionId>,
    OptionalJsonBody(mut fields): OptionalJsonBody,
) -> Result<impl IntoResponse, Problem> {
    let both = (fields.has("from"), fields.has("to"));
    let from = fields.optional("from", day);
    let to = fields.optional("to", day);
    match both {
        (true, false) => fields.fault_of(
            Code::InvalidRequest,
            "to",
            "is missing: a window has a first and a last day",
            None,
        ),
        (false, true) => fields.fault_of(
            Code::InvalidRequest,
            "from",
            "is missing: a window has a first and a last day",
            None,
        ),
        _ => {}
    }
    let window = from.zip(to);
    if window.is_some_and(|(from, to)| from > to) {
        fields.fault_of(Code::InvalidRequest, "to", "must not be before from", None);
    }
    let window = fields.finish(Some(window))?;
    let pull = api.app().request_pull(&caller, connection, window).await?;
    Ok((StatusCode::ACCEPTED, Json(PullResponse::from(pull))))
}

/// List pulls
///
/// Lists the pulls of a connection, newest first. A pull that changed nothing is kept for 90 days after
/// its end; the last one that succeeded is always there.
#[utoipa::path(
    get,
    path = "/v1/discovery/aggregator-connections/{id}/pulls",
    operation_id = "listAggregatorPulls",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(
        ("id" = String, Path, description = "Opaque aggregator connection id"),
        ("limit" = Option<i64>, Query, description = "Rows per page", minimum = 1, maximum = 200, nullable = false),
        ("cursor" = Option<String>, Query, description = "A nextCursor or prevCursor of this list", nullable = false),
    ),
    responses((status = 200, description = "OK", body = AggregatorPullList), ListOfOneProblems)
)]
pub(in crate::http) async fn list(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(connection): Id<ConnectionId>,
    Query(mut fields): Query,
) -> Result<Json<AggregatorPullList>, Problem> {
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
        .list_pulls(&caller, connection, &paging.start, paging.limit)
        .await?;
    let page = paging.page(api.signer(), &scope, page, |pull| pull.id.0, Into::into);
    Ok(Json(page.into()))
}

/// Get pull
///
/// Answers one pull.
#[utoipa::path(
    get,
    path = "/v1/discovery/pulls/{id}",
    operation_id = "getAggregatorPull",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Pull id")),
    responses((status = 200, description = "OK", body = PullResponse), PullProblems)
)]
pub(in crate::http) async fn get(
    State(api): State<Api>,
    Reader(caller): Reader,
    Id(id): Id<PullId>,
) -> Result<Json<PullResponse>, Problem> {
    Ok(Json(api.app().pull(&caller, id).await?.into()))
}

/// Retry pull
///
/// Puts a pull that failed or was cancelled back into the queue. If another pull of its connection
/// waits by now, that one does the work and is the answer.
#[utoipa::path(
    post,
    path = "/v1/discovery/pulls/{id}/retry",
    operation_id = "retryAggregatorPull",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Pull id")),
    responses((status = 202, description = "Accepted", body = PullResponse), PullChangeProblems)
)]
pub(in crate::http) async fn retry(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<PullId>,
) -> Result<impl IntoResponse, Problem> {
    let pull = api.app().retry_pull(&caller, id).await?;
    Ok((StatusCode::ACCEPTED, Json(PullResponse::from(pull))))
}

/// Cancel pull
///
/// Calls a pull off that is queued, retrying or running. What it has written stays. A pull that failed
/// can be cancelled too: the next pull of its connection then no longer makes up for it.
#[utoipa::path(
    post,
    path = "/v1/discovery/pulls/{id}/cancel",
    operation_id = "cancelAggregatorPull",
    tag = "Discovery",
    security(("BearerAuth" = [])),
    params(("id" = String, Path, description = "Pull id")),
    responses((status = 200, description = "OK", body = PullResponse), PullChangeProblems)
)]
pub(in crate::http) async fn cancel(
    State(api): State<Api>,
    Writer(caller): Writer,
    Id(id): Id<PullId>,
) -> Result<Json<PullResponse>, Problem> {
    Ok(Json(api.app().cancel_pull(&caller, id).await?.into()))
}
