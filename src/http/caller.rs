//! The caller of an operation. A handler that takes one of these runs for nobody else.

use axum::{
    extract::FromRequestParts,
    http::{HeaderValue, header, request::Parts},
    response::{IntoResponse, Response},
};

use super::{
    Api,
    auth::AuthError,
    problem::{Code, Problem},
};
use crate::domain::caller::{Caller, Scope};

/// A caller who may read.
#[derive(Debug)]
pub(super) struct Reader(pub(super) Caller);

/// A caller who may change.
#[derive(Debug)]
pub(super) struct Writer(pub(super) Caller);

/// Why somebody is not let in.
#[derive(Debug)]
pub(super) enum Refused {
    /// Who it is can't be told.
    Unknown(AuthError),
    /// Known, but without the right.
    Lacks(Scope),
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        match self {
            Self::Unknown(error) => {
                let detail = match error {
                    AuthError::MissingToken => "Send a token: Authorization: Bearer <token>.",
                    AuthError::InvalidToken => {
                        "The token is not valid, or no longer; get a new one."
                    }
                    AuthError::NoTenant => {
                        "The token names no tenant: it needs a claim tenant_id (or tenantId) that holds a UUID."
                    }
                };
                let mut response = Problem::new(Code::Unauthorized, detail).into_response();
                let challenge = match error {
                    AuthError::MissingToken => "Bearer",
                    AuthError::InvalidToken | AuthError::NoTenant => {
                        "Bearer error=\"invalid_token\""
                    }
                };
                response.headers_mut().insert(
                    header::WWW_AUTHENTICATE,
                    HeaderValue::from_static(challenge),
                );
                response
            }
            Self::Lacks(scope) => Problem::new(
                Code::Forbidden,
                format!("The token lacks the scope {}.", scope.as_str()),
            )
            .into_response(),
        }
    }
}

async fn admit(parts: &Parts, api: &Api, scope: Scope) -> Result<Caller, Refused> {
    let caller = api
        .authenticator()
        .authenticate(&parts.headers)
        .await
        .map_err(Refused::Unknown)?;
    if caller.scopes.contains(scope) {
        tracing::Span::current().record("tenant.id", tracing::field::display(caller.tenant));
        Ok(caller)
    } else {
        Err(Refused::Lacks(scope))
    }
}

impl FromRequestParts<Api> for Reader {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refused> {
        admit(parts, api, Scope::Read).await.map(Self)
    }
}

impl FromRequestParts<Api> for Writer {
    type Rejection = Refused;

    async fn from_request_parts(parts: &mut Parts, api: &Api) -> Result<Self, Refused> {
        admit(parts, api, Scope::Write).await.map(Self)
    }
}
