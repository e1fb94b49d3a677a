//! `/v1/discovery/webhooks/{provider}/{webhookToken}`: where the vendors' webhooks come in.

use std::{net::SocketAddr, time::Duration};

use axum::{
    body::Body,
    extract::{ConnectInfo, Path, Request, State, rejection::PathRejection},
    http::{HeaderMap, HeaderValue, StatusCode},
};
use tokio::time::Instant;
use tracing::field::display;

use crate::{
    app::{IncomingWebhook, WebhookProof},
    http::{Api, body::WebhookBody, openapi::WebhookProblems, problem::Problem},
};

/// How long the body of a webhook that comes from the vendor may be on its way.
const PATIENCE: Duration = Duration::from_secs(10);

/// Receive aggregator webhook
///
/// Takes an event of an aggregator. The token in the path says which connection it is for; beside it
/// the request has to bear the vendor's signature or header, or come from one of its addresses.
/// Answered once the event and the pull that it asks for are committed. What is no use is accepted
/// too, so that the vendor does not send it again; a repeated event changes nothing.
#[utoipa::path(
    post,
    path = "/v1/discovery/webhooks/{provider}/{webhookToken}",
    operation_id = "receiveAggregatorWebhook",
    tag = "Discovery",
    security(),
    params(
        ("provider" = String, Path, description = "Aggregator vendor: pluggy or belvo"),
        ("webhookToken" = String, Path, description = "A minted webhook token"),
    ),
    request_body(content = Object, description = "The vendor's event", content_type = "application/json"),
    responses((status = 202, description = "Accepted"), WebhookProblems)
)]
pub(in crate::http) async fn receive(
    State(api): State<Api>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    path: Result<Path<(String, String)>, PathRejection>,
    request: Request,
) -> Result<StatusCode, Problem> {
    // A path that can't be read holds no good token.
    let (provider, token) = path.map(|Path(parts)| parts).unwrap_or_default();
    let (head, body) = request.into_parts();
    let values = |name: &str| {
        let values = head.headers.get_all(name).iter();
        values.map(HeaderValue::as_bytes).collect()
    };
    let proof = WebhookProof {
        peer: peer.ip(),
        headers: &values,
    };
    let mut webhook = api
        .app()
        .recognise_webhook(&provider, &token, &proof)
        .await?;
    let outcome = take(&api, &mut webhook, &head.headers, body).await;
    // Of one that was taken no line tells, so its name would be written for nobody.
    if (outcome.is_err() || tracing::enabled!(tracing::Level::DEBUG))
        && let Some(token) = webhook.token_id()
    {
        tracing::Span::current().record("webhook_token.id", display(token));
    }
    outcome
}

async fn take(
    api: &Api,
    webhook: &mut IncomingWebhook,
    headers: &HeaderMap,
    body: Body,
) -> Result<StatusCode, Problem> {
    let app = api.app();
    // What is wrong with a body is for the vendor to know.
    let hide = |webhook: &IncomingWebhook, fault: Problem| {
        if webhook.is_vouched() {
            fault
        } else {
            app.refuse_webhook(webhook).into()
        }
    };
    // Whatever the token is, or whoever sends a body slowly, or a large one, could tell a good token by how
    // long the answer takes.
    let until = webhook.due().unwrap_or_else(|| Instant::now() + PATIENCE);
    let body = WebhookBody::new(headers, body, until);
    let mut body = body.map_err(|fault| hide(webhook, fault))?;
    while let Some(part) = body.next().await.map_err(|fault| hide(webhook, fault))? {
        app.add_to_webhook(webhook, &part).await?;
    }
    app.accept_webhook(webhook).await?;
    Ok(StatusCode::ACCEPTED)
}
