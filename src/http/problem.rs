//! Everything that can go wrong for a caller, as one closed catalogue.
//!
//! A handler answers a [`Problem`]; the middleware writes it down, because only there the request's
//! id and the server's public URL are known.

use std::{error::Error, fmt, sync::Arc, time::Duration};

use axum::{
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};

use crate::{app::AppError, domain::fault::Fault};

/// How long a caller is asked to wait when nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What is wrong with the host of a database that may not be named.
pub(super) const HOST_NOT_ALLOWED: &str = "must be a host that this deployment lets database \
    connections name; ask its operator to list it in DISCOVERY_DATABASE_HOSTS";

/// What is wrong with a change that would send a stored proof to a stranger.
pub(super) const AUTH_STAYS_BEHIND: &str = "is required, because baseUrl leads to another origin: \
    the stored one is sent only to where it was given for";

macro_rules! catalogue {
    ($($(#[doc = $doc:literal])+ $name:ident = $wire:literal, $status:ident, $title:literal, $advice:literal;)+) => {
        /// A kind of problem. Once published, a code keeps its meaning.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub enum Code {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Code {
            /// Every code, in order.
            pub const ALL: &[Self] = &[$(Self::$name),+];

            /// The code on the wire.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $wire,)+ }
            }

            /// The status it is answered with.
            #[must_use]
            pub fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// What it is, in the same words every time.
            #[must_use]
            pub fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// What it means and what to do, for the page on the code.
            #[must_use]
            pub fn advice(self) -> &'static str {
                match self { $(Self::$name => $advice,)+ }
            }
        }
    };
}

catalogue! {
    /// The request breaks a rule.
    InvalidRequest = "MTCH-0001", BAD_REQUEST, "Invalid request",
        "Something in the path, the query or the body breaks a rule. The member errors names every place, what is wrong there and what would be right. Correct all of them and send the request again.";
    /// Our fault.
    Internal = "MTCH-0002", INTERNAL_SERVER_ERROR, "Internal error",
        "The server failed; your request may be fine. Try again, and if it fails again give the request id in instance to whoever operates the server: it leads to the cause in the log.";
    /// The token is missing, invalid, or without a tenant.
    Unauthorized = "MTCH-0003", UNAUTHORIZED, "Unauthorized",
        "Every call needs a header Authorization: Bearer followed by a valid token, and the token has to name a tenant (claim tenant_id or tenantId, a UUID). Get a new token if yours has expired.";
    /// The token lacks a scope.
    Forbidden = "MTCH-0004", FORBIDDEN, "Forbidden",
        "Your token is valid but does not allow this call. Reading needs the scope discovery:read, everything else discovery:write.";
    /// No such route or resource.
    NotFound = "MTCH-0005", NOT_FOUND, "Not found",
        "There is nothing at this path: no such route, or your tenant has nothing by that id. The API reference at /docs lists every path there is.";
    /// The path exists, the method does not.
    MethodNotAllowed = "MTCH-0006", METHOD_NOT_ALLOWED, "Method not allowed",
        "This path knows other methods; the header Allow lists them.";
    /// The present state does not allow it.
    Conflict = "MTCH-0007", CONFLICT, "Conflict",
        "What you ask contradicts the present state of the resource. Read it again, then decide anew.";
    /// Not now.
    Unavailable = "MTCH-0008", SERVICE_UNAVAILABLE, "Service unavailable",
        "The server can't do its work at this moment: its database does not answer, it is overloaded, or it is about to restart. Send the same request again after the time in Retry-After.";
    /// Too much.
    TooManyRequests = "MTCH-0009", TOO_MANY_REQUESTS, "Too many requests",
        "You have used up a rate limit. Send the request again after the time in Retry-After.";
    /// The body is too large.
    BodyTooLarge = "MTCH-0010", PAYLOAD_TOO_LARGE, "Body too large",
        "The body of the request is larger than this route accepts: 64 KiB for operators, 1 MiB for webhooks.";
    /// The body is not JSON by its own account.
    UnsupportedMediaType = "MTCH-0011", UNSUPPORTED_MEDIA_TYPE, "Unsupported media type",
        "Send the body as JSON, with the header Content-Type: application/json.";
    /// No such connection, or not of this kind.
    ConnectionNotFound = "MTCH-0201", NOT_FOUND, "Connection not found",
        "Your tenant has no connection of this kind with that id or name. It may have been deleted. List the connections to see which there are.";
    /// No such extraction.
    ExtractionNotFound = "MTCH-0202", NOT_FOUND, "Extraction not found",
        "Your tenant has no extraction with that id.";
    /// The vendor or the source can't be reached.
    SourceUnavailable = "MTCH-0203", SERVICE_UNAVAILABLE, "Source unavailable",
        "The vendor, database or endpoint behind the connection can't be reached now. Try again later; if it stays so, check the connection's address.";
    /// The extraction asks for something impossible.
    InvalidExtraction = "MTCH-0204", BAD_REQUEST, "Invalid extraction request",
        "The extraction names a table, column, filter or date that the source does not have. Read the connection's schema to see what it has.";
    /// A refresh is running.
    RefreshInProgress = "MTCH-0205", CONFLICT, "Refresh in progress",
        "A refresh of this tenant's connections is running. Wait for it to end.";
    /// The name is taken.
    ConfigNameTaken = "MTCH-0210", CONFLICT, "Config name taken",
        "Another connection of your tenant, of whatever kind, has this config name. Choose another name, or delete the other connection first.";
    /// Half a credential.
    HalfCredential = "MTCH-0211", BAD_REQUEST, "Half a credential",
        "clientId and secret belong together: send both to replace the stored credential, or neither to keep it.";
    /// The webhook was not accepted.
    WebhookRefused = "MTCH-0212", UNAUTHORIZED, "Webhook not accepted",
        "The webhook's token, signature or source was not accepted. Mint a new token and give its URL to the vendor.";
    /// The base URL leads elsewhere.
    BaseUrlNotAllowed = "MTCH-0213", BAD_REQUEST, "Base URL not allowed",
        "A base URL is an absolute https URL of one of the vendor's own hosts, without user, query or fragment. Only these hosts may be named, because the credential is sent there.";
    /// The page parameters are wrong.
    InvalidPage = "MTCH-0214", BAD_REQUEST, "Invalid limit or cursor",
        "limit is a number from 1 to 200. cursor is a nextCursor or prevCursor that this very list answered to your tenant, with the same filters. Without cursor the list begins anew.";
    /// No such pull.
    PullNotFound = "MTCH-0215", NOT_FOUND, "Pull not found",
        "Your tenant has no pull with that id.";
    /// Somebody was faster.
    ConnectionChanged = "MTCH-0216", PRECONDITION_FAILED, "Connection changed",
        "The connection changed since you read it: its ETag is no longer the one in your If-Match. Read it again, then decide anew.";
    /// No such token.
    WebhookTokenNotFound = "MTCH-0217", NOT_FOUND, "Webhook token not found",
        "Your tenant has no webhook token with that id. List the tokens to see which there are.";
    /// No such delivery.
    DeliveryNotFound = "MTCH-0218", NOT_FOUND, "Webhook delivery not found",
        "Your tenant has no webhook delivery with that id.";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// One occurrence of a problem.
#[derive(Clone, Debug)]
pub struct Problem {
    /// What kind it is.
    pub code: Code,
    /// What happened this time, for the caller.
    pub detail: String,
    /// Every place that is wrong.
    pub errors: Vec<Fault>,
    /// When to try again.
    pub retry_after: Option<Duration>,
    /// What caused it, for the log alone.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem of this kind.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self {
            code,
            detail: detail.into(),
            errors: Vec::new(),
            retry_after: [
                StatusCode::SERVICE_UNAVAILABLE,
                StatusCode::TOO_MANY_REQUESTS,
            ]
            .contains(&code.status())
            .then_some(RETRY_AFTER),
            cause: None,
        }
    }

    /// The caller's input breaks these rules, all of which are told at once.
    #[must_use]
    pub fn invalid(code: Code, errors: Vec<Fault>) -> Self {
        let detail = match errors.as_slice() {
            [only] => format!("{} {}", only.location, only.message),
            several => format!("The request breaks {} rules; see errors.", several.len()),
        };
        Self {
            errors,
            ..Self::new(code, detail)
        }
    }

    /// A failure of ours. The cause goes to the log, never to the caller.
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self {
            cause: Some(Arc::from(cause.into())),
            ..Self::new(Code::Internal, "")
        }
    }

    /// What the caller reads of this occurrence.
    #[must_use]
    pub fn detail_for(&self, request_id: &str) -> String {
        match self.code.status() {
            StatusCode::INTERNAL_SERVER_ERROR => format!(
                "The server failed; this is our fault. The log knows more under {request_id}."
            ),
            status if status.is_server_error() => format!(
                "The server can't do this now; this is our fault. The log knows more under {request_id}."
            ),
            _ => self.detail.clone(),
        }
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        match error {
            AppError::ConnectionNotFound => Self::new(
                Code::ConnectionNotFound,
                "There is no such connection in this tenant.",
            ),
            AppError::DeliveryNotFound => Self::new(
                Code::DeliveryNotFound,
                "There is no such webhook delivery in this tenant.",
            ),
            AppError::DeliveryAsksForNothing => Self::new(
                Code::Conflict,
                "The delivery asked for no pull, so there is none to ask for again.",
            ),
            AppError::PullNotFound => {
                Self::new(Code::PullNotFound, "There is no such pull in this tenant.")
            }
            AppError::PullNotOver => Self::new(
                Code::Conflict,
                "The pull is queued or runs already; only one that failed or was cancelled can be retried.",
            ),
            AppError::PullOver => Self::new(
                Code::Conflict,
                "The pull is over; only one that is queued, retrying, running or failed can be cancelled.",
            ),
            AppError::Extraction(refusal) => refusal.into(),
            AppError::WebhookTokenNotFound => Self::new(
                Code::WebhookTokenNotFound,
                "There is no such webhook token in this tenant.",
            ),
            AppError::TransactionNotFound => Self::new(
                Code::NotFound,
                "There is no such transaction in this tenant.",
            ),
            AppError::ConfigNameTaken => Self::new(
                Code::ConfigNameTaken,
                "A connection with this config name exists in this tenant; choose another name.",
            ),
            AppError::ConnectionChanged => Self::new(
                Code::ConnectionChanged,
                "The connection changed since it was read; read it again.",
            ),
            AppError::WebhookTokenEnded => Self::new(
                Code::Conflict,
                "The webhook token is revoked or has expired, so it can't be rotated; mint a new one.",
            ),
            AppError::WebhookRefused => Self::new(
                Code::WebhookRefused,
                "The webhook's token, signature or source was not accepted.",
            ),
            AppError::WebhookNotTaken(cause) => Self {
                cause: Some(cause),
                ..Self::new(Code::Unavailable, "The webhook can't be taken now.")
            },
            AppError::TestedTooOften(wait) => Self {
                retry_after: Some(wait),
                ..Self::new(
                    Code::TooManyRequests,
                    format!(
                        "A connection may be tested ten times a minute; try again in {} s.",
                        wait.as_secs()
                    ),
                )
            },
            AppError::RefreshInProgress => Self::new(
                Code::RefreshInProgress,
                "A refresh of this tenant's connections runs already; wait for it to end.",
            ),
            AppError::NoConnectors => Self::new(
                Code::SourceUnavailable,
                "This deployment registers no connector, so no source can be reached.",
            ),
            AppError::HostNotAllowed => Self::invalid(
                Code::InvalidRequest,
                vec![Fault::hidden("body.host", HOST_NOT_ALLOWED)],
            ),
            AppError::AuthStaysBehind => Self::invalid(
                Code::InvalidRequest,
                vec![Fault::hidden("body.auth", AUTH_STAYS_BEHIND)],
            ),
            AppError::PasswordStaysBehind => Self::invalid(
                Code::InvalidRequest,
                vec![Fault::hidden(
                    "body.password",
                    "must be given again when the way to the database is less protected",
                )],
            ),
            AppError::SourceBarred(obstacle) => Self {
                cause: Some(Arc::new(obstacle)),
                ..Self::new(
                    Code::SourceUnavailable,
                    "The source of the connection can't be reached from here.",
                )
            },
            AppError::Unavailable(cause) => Self {
                cause: Some(Arc::new(cause)),
                ..Self::new(Code::Unavailable, "The database is not available now.")
            },
            AppError::Internal(cause) => Self::internal(cause),
        }
    }
}

impl IntoResponse for Problem {
    /// Carries the problem to the middleware, which writes it down.
    fn into_response(self) -> Response {
        let mut response = self.code.status().into_response();
        if let Some(after) = self.retry_after {
            response.headers_mut().insert(
                header::RETRY_AFTER,
                HeaderValue::from(after.as_secs().max(1)),
            );
        }
        response.extensions_mut().insert(self);
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn codes_are_unique_and_every_kind_of_error_has_the_right_class() {
        let codes: HashSet<&str> = Code::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(codes.len(), Code::ALL.len());
        for code in Code::ALL {
            assert!(code.status().is_client_error() || code.status().is_server_error());
            assert!(!code.title().is_empty() && code.advice().ends_with('.'));
        }
    }

    #[test]
    fn what_a_failure_of_ours_was_caused_by_stays_with_us() {
        let problem = Problem::internal("the secret cause");
        assert!(!problem.detail_for("some-id").contains("secret cause"));
        assert!(problem.detail_for("some-id").contains("some-id"));
    }

    #[test]
    fn one_fault_is_told_in_the_detail_and_several_are_counted() {
        let one = Fault::hidden("body.vendor", "is missing");
        let problem = Problem::invalid(Code::InvalidRequest, vec![one.clone()]);
        assert_eq!(problem.detail, "body.vendor is missing");
        let problem = Problem::invalid(Code::InvalidRequest, vec![one.clone(), one]);
        assert_eq!(problem.detail, "The request breaks 2 rules; see errors.");
    }
}
