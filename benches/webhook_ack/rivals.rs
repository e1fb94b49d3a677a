//! What the intake is compared with: the same stack of the same program around handlers that do
//! less, or do it one by one.

use std::{collections::HashMap, sync::Arc};

use axum::{
    Router,
    body::Bytes,
    extract::{Path, State},
    http::StatusCode,
    routing::{get, post},
};
use matcher_discovery::{
    cli::wiring::{self, Outside},
    config::{Config, Profile, Source},
    domain::{
        clock::{Clock as _, SystemClock},
        delivery::DeliveryId,
        event::{Hint, VendorEvent},
        ids::{ConnectionId, PullId},
        random::OsRandom,
        webhook_token::WebhookToken,
    },
    http::{self, ApiParts, server},
    shutdown::Shutdown,
    telemetry::{self, Lines},
    vault::{KeyRing, Vault},
    vendors::pluggy::webhook,
};
use sqlx::{
    PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::support::Failure;

const PATH: &str = "/v1/discovery/webhooks/{provider}/{webhookToken}";
/// The connections of a rival that asks the database for each webhook.
const POOL: u32 = 16;

/// Reads the body and answers at once: the limit of the stack.
pub(crate) const AT_ONCE: &str = "at-once";
/// BEGIN, the token, the pull, the delivery, COMMIT.
pub(crate) const STEPS: &str = "steps";
/// Tokens in memory; both writes in one statement, which is its own transaction.
pub(crate) const STATEMENT: &str = "statement";

/// Serves as one of them, until it is killed.
pub(crate) async fn serve(rival: &str) -> Result<(), Failure> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a rival is told by the environment what the program is told by it"
    )]
    let source = Source::new(std::env::vars_os());
    let config = Config::read(&source, Profile::Serve, wiring::CHECKS)?;
    telemetry::init(&config.log.filter, Lines::Json)?;
    let listener = TcpListener::bind(config.http.listen).await?;
    let receiver = match rival {
        AT_ONCE => post(at_once),
        STEPS => post(steps).with_state(pool(&config).await?),
        STATEMENT => {
            let known = Known::load(pool(&config).await?).await?;
            post(statement).with_state(Arc::new(known))
        }
        _ => return Err(format!("there is no rival {rival}").into()),
    };
    let routes = Router::new()
        .route(PATH, receiver)
        .route("/health", get(async || StatusCode::OK));
    let shutdown = Shutdown::new();
    let served = http::router_of(routes, parts(&config, &shutdown)?, &[]);
    shutdown.spawn("metrics", telemetry::metrics().keep(shutdown.token()));
    server::serve(listener, served, shutdown.token()).await;
    Ok(())
}

fn parts(config: &Config, shutdown: &Shutdown) -> Result<ApiParts, Failure> {
    let outside = Outside {
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom),
        connectors: Vec::new(),
        allow_http: false,
        shutdown: shutdown.clone(),
    };
    let service = wiring::assemble(config, outside)?;
    let ring = KeyRing::parse(config.keys.ring()?.expose())?;
    Ok(ApiParts {
        app: service.app,
        authenticator: service.authenticator,
        signer: Vault::new(ring, Arc::new(OsRandom)).signer(),
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom),
        public_url: "https://discovery.example".to_owned(),
        shutdown: shutdown.clone(),
        metrics: telemetry::metrics(),
    })
}

async fn pool(config: &Config) -> Result<PgPool, Failure> {
    let options: PgConnectOptions = config.database.url()?.expose().parse()?;
    let options = options.options([("role", "discovery_system"), ("synchronous_commit", "on")]);
    let pool = PgPoolOptions::new()
        .max_connections(POOL)
        .min_connections(POOL)
        .test_before_acquire(false);
    Ok(pool.connect_with(options).await?)
}

async fn at_once(_: Bytes) -> StatusCode {
    StatusCode::ACCEPTED
}

/// What a token is bound to: tenant, connection and its own identifier.
#[derive(Clone, Copy, sqlx::FromRow)]
struct Binding {
    tenant_id: Uuid,
    connection_id: Uuid,
    id: Uuid,
}

/// What to write of one webhook.
struct Writing {
    binding: Binding,
    event: VendorEvent,
    body: Bytes,
}

#[expect(
    clippy::disallowed_methods,
    reason = "what no program runs need not be checked against the schema"
)]
async fn steps(
    State(pool): State<PgPool>,
    Path((_, token)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, StatusCode> {
    let hash = hash(&token)?;
    let event = webhook::parse(&body).map_err(|_| StatusCode::BAD_REQUEST)?;
    let written = async {
        let mut tx = pool.begin().await?;
        let binding: Binding = sqlx::query_as(
            "SELECT t.tenant_id, t.connection_id, t.id FROM webhook_tokens t
             JOIN connections c ON c.tenant_id = t.tenant_id AND c.id = t.connection_id
             WHERE t.token_hash = $1 AND t.revoked_at IS NULL AND c.deleted_at IS NULL",
        )
        .bind(hash.as_slice())
        .fetch_one(&mut *tx)
        .await?;
        let pull: Uuid = sqlx::query_scalar(
            "WITH waiting AS (
                 SELECT id FROM pulls
                 WHERE tenant_id = $1 AND connection_id = $3 AND state IN ('queued', 'retrying')
                 FOR NO KEY UPDATE
             ),
             made AS (
                 INSERT INTO pulls AS p
                     (tenant_id, id, connection_id, state, reason, priority, due_at, created_at, asked_at)
                 SELECT $1, $2, $3, 'queued', 'webhook', 30, $4, $4, 'epoch'
                 WHERE NOT EXISTS (SELECT FROM waiting)
                 ON CONFLICT (tenant_id, connection_id) WHERE state IN ('queued', 'retrying')
                 DO UPDATE SET due_at = least(p.due_at, excluded.due_at)
                 RETURNING id
             )
             SELECT id FROM waiting UNION ALL SELECT id FROM made",
        )
        .bind(binding.tenant_id)
        .bind(PullId::new(&SystemClock, &OsRandom).0)
        .bind(binding.connection_id)
        .bind(SystemClock.now())
        .fetch_one(&mut *tx)
        .await?;
        let writing = Writing {
            binding,
            event,
            body,
        };
        let insert = sqlx::query(
            "INSERT INTO deliveries
                 (tenant_id, id, connection_id, token_id, event, event_key, key_expires, body,
                  outcome, hint, hint_account, hint_since, pull_id, received_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, 'queued', 'created', $9, $10, $12, $11)
             ON CONFLICT (tenant_id, id) DO NOTHING",
        );
        writing.bind(insert).bind(pull).execute(&mut *tx).await?;
        tx.commit().await
    };
    answer(written.await)
}

/// Every token there is.
struct Known {
    tokens: HashMap<[u8; 32], Binding>,
    pool: PgPool,
}

impl Known {
    #[expect(
        clippy::disallowed_methods,
        reason = "what no program runs need not be checked against the schema"
    )]
    async fn load(pool: PgPool) -> Result<Self, Failure> {
        let rows: Vec<(Vec<u8>, Uuid, Uuid, Uuid)> =
            sqlx::query_as("SELECT token_hash, tenant_id, connection_id, id FROM webhook_tokens")
                .fetch_all(&pool)
                .await?;
        let tokens = rows
            .into_iter()
            .map(|(hash, tenant_id, connection_id, id)| {
                let hash = <[u8; 32]>::try_from(hash).map_err(|_| "a hash of another length")?;
                let binding = Binding {
                    tenant_id,
                    connection_id,
                    id,
                };
                Ok((hash, binding))
            })
            .collect::<Result<_, Failure>>()?;
        Ok(Self { tokens, pool })
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "what no program runs need not be checked against the schema"
)]
async fn statement(
    State(known): State<Arc<Known>>,
    Path((_, token)): Path<(String, String)>,
    body: Bytes,
) -> Result<StatusCode, StatusCode> {
    let binding = known.tokens.get(&hash(&token)?).copied();
    let writing = Writing {
        binding: binding.ok_or(StatusCode::NOT_FOUND)?,
        event: webhook::parse(&body).map_err(|_| StatusCode::BAD_REQUEST)?,
        body,
    };
    let both = sqlx::query(
        "WITH waiting AS (
             SELECT id FROM pulls
             WHERE tenant_id = $1 AND connection_id = $3 AND state IN ('queued', 'retrying')
             FOR NO KEY UPDATE
         ),
         made AS (
             INSERT INTO pulls AS p
                 (tenant_id, id, connection_id, state, reason, priority, due_at, created_at, asked_at)
             SELECT $1, $12, $3, 'queued', 'webhook', 30, $11, $11, 'epoch'
             WHERE NOT EXISTS (SELECT FROM waiting)
             ON CONFLICT (tenant_id, connection_id) WHERE state IN ('queued', 'retrying')
             DO UPDATE SET due_at = least(p.due_at, excluded.due_at)
             RETURNING id
         ),
         pulled AS (SELECT id FROM waiting UNION ALL SELECT id FROM made)
         INSERT INTO deliveries
             (tenant_id, id, connection_id, token_id, event, event_key, key_expires, body,
              outcome, hint, hint_account, hint_since, pull_id, received_at)
         SELECT $1, $2, $3, $4, $5, $6, $7, $8, 'queued', 'created', $9, $10, pulled.id, $11
         FROM pulled
         ON CONFLICT (tenant_id, id) DO NOTHING",
    );
    let pull = PullId::new(&SystemClock, &OsRandom).0;
    let written = writing.bind(both).bind(pull).execute(&known.pool).await;
    answer(written.map(drop))
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

impl Writing {
    /// The first eleven values of either statement.
    fn bind<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        let Self {
            binding,
            event,
            body,
        } = self;
        let (account, since) = match &event.hint {
            Hint::Created { account, since } => (account.as_deref(), *since),
            _ => (None, None),
        };
        query
            .bind(binding.tenant_id)
            .bind(DeliveryId::of(ConnectionId(binding.connection_id), &event.key).0)
            .bind(binding.connection_id)
            .bind(binding.id)
            .bind(&*event.name)
            .bind(&*event.key)
            .bind(event.key_expires)
            .bind(&**body)
            .bind(account)
            .bind(since)
            .bind(SystemClock.now())
    }
}

fn hash(token: &str) -> Result<[u8; 32], StatusCode> {
    let token = WebhookToken::parse(token).map_err(|_| StatusCode::NOT_FOUND)?;
    Ok(token.hash())
}

fn answer(written: Result<(), sqlx::Error>) -> Result<StatusCode, StatusCode> {
    match written {
        Ok(()) => Ok(StatusCode::ACCEPTED),
        Err(error) => {
            tracing::error!(%error, "a webhook was not written");
            Err(StatusCode::SERVICE_UNAVAILABLE)
        }
    }
}
