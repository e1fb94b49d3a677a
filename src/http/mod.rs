//! The operators' door.
//!
//! Routes read requests, call one use case each, and shape its answer. They see neither a pool, nor
//! a row, nor a key.

mod accept;
pub mod auth;
mod body;
mod caller;
mod export;
mod fields;
mod json;
mod middleware;
pub mod openapi;
mod page;
mod parts;
pub mod problem;
mod routes;
pub mod server;
#[cfg(test)]
mod tests;

use std::{fmt, sync::Arc};

use axum::Router;
use utoipa_axum::{router::OpenApiRouter, routes};

use self::{
    auth::Authenticator,
    problem::{Code, Problem},
};
use crate::{
    app::App,
    domain::{clock::Clock, random::Random},
    shutdown::{Phase, Shutdown},
    telemetry::MetricsHandle,
    vault::Signer,
};

/// What the routes work with.
pub struct ApiParts {
    /// The use cases.
    pub app: App,
    /// Who is calling.
    pub authenticator: Arc<Authenticator>,
    /// What keeps cursors honest.
    pub signer: Signer,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// How the outside names this server, without a slash at the end.
    pub public_url: String,
    /// Whether the process is about to end.
    pub shutdown: Shutdown,
    /// What was measured.
    pub metrics: MetricsHandle,
}

impl fmt::Debug for ApiParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ApiParts").finish_non_exhaustive()
    }
}

/// The state of every route. Clones share it.
#[derive(Clone, Debug)]
struct Api(Arc<ApiParts>);

impl Api {
    fn app(&self) -> &App {
        &self.0.app
    }

    fn authenticator(&self) -> &Authenticator {
        &self.0.authenticator
    }

    fn signer(&self) -> &Signer {
        &self.0.signer
    }

    fn clock(&self) -> &dyn Clock {
        &*self.0.clock
    }

    fn random(&self) -> &dyn Random {
        &*self.0.random
    }

    fn public_url(&self) -> &str {
        &self.0.public_url
    }

    fn phase(&self) -> Phase {
        self.0.shutdown.phase()
    }

    fn metrics(&self) -> &MetricsHandle {
        &self.0.metrics
    }
}

/// Every route with its description, each listed once.
fn routes() -> OpenApiRouter<Api> {
    use routes::{
        accounts, aggregator_connections, connection_health, connector_types, deliveries,
        discovery, discovery_connections, extractions, operations, pulls, rest_connections,
        transaction_changes, transactions, webhook_tokens, webhooks,
    };

    openapi::empty()
        .routes(routes!(
            aggregator_connections::create,
            aggregator_connections::list
        ))
        .routes(routes!(
            aggregator_connections::get,
            aggregator_connections::update,
            aggregator_connections::delete
        ))
        .routes(routes!(connection_health::test))
        .routes(routes!(connection_health::status))
        .routes(routes!(accounts::list))
        .routes(routes!(transactions::list_of_connection))
        .routes(routes!(transactions::list))
        .routes(routes!(transaction_changes::sync))
        .routes(routes!(transactions::get))
        .routes(routes!(transactions::versions))
        .routes(routes!(
            extractions::start_of_database,
            extractions::list_of_database
        ))
        .routes(routes!(
            extractions::start_of_rest,
            extractions::list_of_rest
        ))
        .routes(routes!(extractions::get))
        .routes(routes!(extractions::retry))
        .routes(routes!(extractions::cancel))
        .routes(routes!(extractions::rows, extractions::delete_rows))
        .routes(routes!(connector_types::list))
        .routes(routes!(
            discovery_connections::create,
            discovery_connections::list
        ))
        .routes(routes!(
            discovery_connections::get,
            discovery_connections::update,
            discovery_connections::delete
        ))
        .routes(routes!(discovery_connections::schema))
        .routes(routes!(discovery_connections::test))
        .routes(routes!(rest_connections::create, rest_connections::list))
        .routes(routes!(
            rest_connections::get,
            rest_connections::update,
            rest_connections::delete
        ))
        .routes(routes!(rest_connections::schema))
        .routes(routes!(rest_connections::test))
        .routes(routes!(discovery::refresh))
        .routes(routes!(discovery::status))
        .routes(routes!(webhook_tokens::mint, webhook_tokens::list))
        .routes(routes!(webhook_tokens::revoke))
        .routes(routes!(webhook_tokens::rotate))
        .routes(routes!(webhooks::receive))
        .routes(routes!(pulls::request, pulls::list))
        .routes(routes!(pulls::get))
        .routes(routes!(pulls::retry))
        .routes(routes!(pulls::cancel))
        .routes(routes!(deliveries::list))
        .routes(routes!(deliveries::replay))
        .merge(operations())
        .routes(routes!(operations::document))
        .routes(routes!(operations::error_page))
}

/// What tells how the process does.
fn operations() -> OpenApiRouter<Api> {
    use routes::operations;

    OpenApiRouter::new()
        .routes(routes!(operations::health))
        .routes(routes!(operations::ready))
        .routes(routes!(operations::metrics))
        .routes(routes!(operations::version))
}

/// The API, and what is left of it where only pulls are worked on: what tells how the process does.
pub fn routers(parts: ApiParts, cors_origins: &[String]) -> (Router, Router) {
    let api = Api(Arc::new(parts));
    let (all, _) = routes().split_for_parts();
    let (operations, _) = operations().split_for_parts();
    (
        complete(
            all.merge(routes::operations::reference()),
            &api,
            cors_origins,
        ),
        complete(operations, &api, cors_origins),
    )
}

/// Other routes in place of the API's, with everything around them that is around those: what a
/// benchmark compares the API with.
pub fn router_of(routes: Router, parts: ApiParts, cors_origins: &[String]) -> Router {
    let api = Api(Arc::new(parts));
    complete(routes.with_state(()), &api, cors_origins)
}

/// Routes with all that is around them.
fn complete(routes: Router<Api>, api: &Api, cors_origins: &[String]) -> Router {
    let routes = routes
        .fallback(nothing_here)
        .method_not_allowed_fallback(other_methods)
        .with_state(api.clone());
    middleware::wrap(routes, api, cors_origins, middleware::TIME_LIMIT)
}

async fn nothing_here() -> Problem {
    Problem::new(
        Code::NotFound,
        "There is nothing at this path; /docs lists every path there is.",
    )
}

async fn other_methods() -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        "This path knows other methods; the header Allow lists them.",
    )
}
