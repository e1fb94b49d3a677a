//! Bodies of requests: operators' are JSON by their own account, and small.

use axum::{
    body::{Body, Bytes, to_bytes},
    extract::{FromRequest, Request},
    http::{HeaderMap, header},
};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::time::Instant;

use super::{
    fields::Fields,
    problem::{Code, Problem},
};
use crate::domain::fault::Fault;

/// The largest body of an operator's request.
const OPERATOR_BODY: usize = 64 * 1024;
/// The largest body of a webhook.
const WEBHOOK_BODY: usize = 1024 * 1024;

/// The JSON body of an operator's request.
#[derive(Debug)]
pub(super) struct JsonBody(pub(super) Fields);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let bytes = read_body(request, OPERATOR_BODY).await?;
        Fields::of_body(&bytes).map(Self)
    }
}

/// A JSON body that may be left out altogether.
#[derive(Debug)]
pub(super) struct OptionalJsonBody(pub(super) Fields);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let untyped = !request.headers().contains_key(header::CONTENT_TYPE);
        if untyped {
            let bytes = collect(request.into_body(), OPERATOR_BODY).await?;
            return if bytes.is_empty() {
                Ok(Self(Fields::empty("body")))
            } else {
                Err(wrong_type())
            };
        }
        let bytes = read_body(request, OPERATOR_BODY).await?;
        if bytes.is_empty() {
            return Ok(Self(Fields::empty("body")));
        }
        Fields::of_body(&bytes).map(Self)
    }
}

/// The body of a webhook, whatever it claims to be, part by part as it comes.
pub(super) struct WebhookBody {
    body: Limited<Body>,
    until: Instant,
}

impl WebhookBody {
    /// A body that has to be there by then.
    pub(super) fn new(headers: &HeaderMap, body: Body, until: Instant) -> Result<Self, Problem> {
        check_length(headers, WEBHOOK_BODY)?;
        Ok(Self {
            body: Limited::new(body, WEBHOOK_BODY),
            until,
        })
    }

    /// Its next part; nothing at its end.
    pub(super) async fn next(&mut self) -> Result<Option<Bytes>, Problem> {
        loop {
            let frame = tokio::time::timeout_at(self.until, self.body.frame()).await;
            let late = |_| Problem::new(Code::Unavailable, "The body did not come in time.");
            let Some(frame) = frame.map_err(late)? else {
                return Ok(None);
            };
            let frame =
                frame.map_err(|error| broken(error.is::<LengthLimitError>(), WEBHOOK_BODY))?;
            if let Ok(part) = frame.into_data() {
                return Ok(Some(part));
            }
        }
    }
}

async fn read_body(request: Request, limit: usize) -> Result<Vec<u8>, Problem> {
    // The size is looked at first: nobody should have to send much to hear that it is too much.
    check_length(request.headers(), limit)?;
    check_type(request.headers())?;
    collect(request.into_body(), limit).await
}

fn check_length(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
    let announced = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    match announced {
        Some(length) if length > limit as u64 => Err(too_large(limit)),
        _ => Ok(()),
    }
}

fn check_type(headers: &HeaderMap) -> Result<(), Problem> {
    let is_json = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok()?.parse::<mime::Mime>().ok())
        .is_some_and(|kind| kind.essence_str() == mime::APPLICATION_JSON.essence_str());
    if is_json { Ok(()) } else { Err(wrong_type()) }
}

fn wrong_type() -> Problem {
    Problem::new(
        Code::UnsupportedMediaType,
        "The body must be sent as JSON, with the header Content-Type: application/json.",
    )
}

fn too_large(limit: usize) -> Problem {
    Problem::new(
        Code::BodyTooLarge,
        format!("The body must have at most {limit} bytes."),
    )
}

async fn collect(body: Body, limit: usize) -> Result<Vec<u8>, Problem> {
    match to_bytes(body, limit).await {
        Ok(bytes) => Ok(bytes.into()),
        Err(error) => {
            let cause = std::error::Error::source(&error);
            let is_too_large = cause.is_some_and(<dyn std::error::Error>::is::<LengthLimitError>);
            Err(broken(is_too_large, limit))
        }
    }
}

/// Why a body was not read to its end.
fn broken(is_too_large: bool, limit: usize) -> Problem {
    if is_too_large {
        too_large(limit)
    } else {
        whole_body_fault("could not be read to its end")
    }
}

pub(super) fn whole_body_fault(message: impl Into<String>) -> Problem {
    Problem::invalid(Code::InvalidRequest, vec![Fault::hidden("body", message)])
}

#[cfg(test)]
mod tests {
    use futures_util::stream;

    use super::*;

    #[tokio::test]
    async fn a_webhook_that_never_comes_is_given_up() {
        let body = || Body::from_stream(stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let headers = HeaderMap::new();
        let mut body = WebhookBody::new(&headers, body(), Instant::now()).unwrap();
        assert_eq!(body.next().await.unwrap_err().code, Code::Unavailable);
    }
}
