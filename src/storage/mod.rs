//! Postgres, and nothing else.
//!
//! Tenant data is reached only through a [`TenantTx`], which is got only from [`Store::begin`]. Three
//! walls stand between tenants: the explicit `tenant_id = $1` of each query, row level security with
//! `FORCE`, and a role without login that every connection takes. What crosses tenants is in
//! `system`, behind a [`SystemTx`] on another role, or in `intake`.

mod accounts;
pub mod audit;
mod budgets;
mod connections;
mod cursors;
mod deliveries;
mod discovered_tables;
mod discovery_connections;
pub mod error;
mod extraction_queue;
mod extractions;
mod intake;
mod isolation;
mod migrate;
mod page;
mod pulls;
mod queue;
mod refreshes;
mod removals;
mod source_states;
mod system;
mod tenant_keys;
mod transactions;
mod webhook_tokens;

use std::time::Duration;

use sqlx::{
    AssertSqlSafe, Connection as _, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use self::{
    accounts::{StoredAccount, SupersededAccount},
    budgets::Pace,
    connections::{AccessToConnection, ConnectionChange, NewConnection},
    discovery_connections::{AccessToSource, Forget, Seen, SourceChange},
    error::{Constraint, StorageError},
    extraction_queue::ClaimedExtraction,
    extractions::{Chunk, ChunkPlace, ExtractionEnding, ExtractionLease},
    intake::{Accepted, Intake, NotTaken, TokenHash, WebhookBinding, WebhookNote},
    isolation::IsolationError,
    migrate::{DatabaseFacts, MigrationError, MigrationState},
    page::{Page, PageStart},
    pulls::{Ending, FailedPull, HandOver, Lease, NewPull, PullHistory},
    queue::{Claim, ClaimedPull, PullSignal, QueueDepth, Served},
    source_states::SourceVerdicts,
    system::{BrokenChain, StoredTenantKey},
    transactions::{
        Absence, Absent, AccountMerge, Applied, ChangeOp, Changes, FeedPosition, Gone, Known,
        PageWrite, TransactionFilter,
    },
    webhook_tokens::{LastWebhooks, NewWebhookToken},
};
use crate::domain::ids::TenantId;

/// The role of tenant work.
const APP_ROLE: &str = "discovery_app";
/// The role of the few jobs that cross tenants.
const SYSTEM_ROLE: &str = "discovery_system";
/// Work that crosses tenants is rare and short.
const SYSTEM_CONNECTIONS: u32 = 2;
/// Only one task of a process claims.
const CLAIM_CONNECTIONS: u32 = 1;
/// Those who draw from one bucket wait for each other, but only while the statement runs, and not
/// while its answer is on its way or the pool looks after the connection.
const BUDGET_CONNECTIONS: u32 = 4;
/// A connection that rested for longer is tried before it is used. Each is tried when it comes back
/// anyway, so a shorter rest is not worth a round trip.
const TRIED_AFTER: Duration = Duration::from_secs(1);

/// How long a connection may take to answer that it is well. Where the other machine is gone without a
/// word, the answer never comes; such a connection is closed, or the pool would run out of them.
const WELL_IN: Duration = Duration::from_secs(5);

/// How to reach the database.
#[derive(Clone, Debug)]
pub struct StoreOptions {
    /// Where it is and who logs in.
    pub connect: PgConnectOptions,
    /// The most connections of tenant work.
    pub max_connections: u32,
    /// How long a request waits for a connection before it is told to come back later.
    pub acquire_timeout: Duration,
}

/// When a session plans its statements.
#[derive(Clone, Copy)]
enum Plans {
    /// Each time. A plan that was made while a table was small, and is used on and on, reads all of a
    /// tenant once the table is large; to plan anew costs a tenth of a millisecond.
    Anew,
    /// Once, for the life of the session, which is short. For what is asked with every webhook, of tables
    /// of which it reads the same few rows however large they are; the largest of these statements takes
    /// ten times as long to plan as to run.
    Kept,
}

impl Plans {
    fn mode(self) -> &'static str {
        match self {
            Self::Anew => "force_custom_plan",
            Self::Kept => "force_generic_plan",
        }
    }

    /// How long they last.
    fn last(self) -> Duration {
        match self {
            Self::Anew => Duration::from_mins(30),
            Self::Kept => Duration::from_mins(1),
        }
    }
}

/// The database.
#[derive(Clone, Debug)]
pub struct Store {
    login: PgConnectOptions,
    app: PgPool,
    system: PgPool,
    claims: PgPool,
    budgets: PgPool,
    listeners: PgPool,
    bindings: PgPool,
    known_bindings: PgPool,
    webhook_notes: PgPool,
}

impl Store {
    /// How many tokens can be looked up at once; nothing else must wait for that.
    pub const BINDING_CONNECTIONS: u32 = 4;

    /// Prepares the pools; connections are opened when they are needed.
    #[must_use]
    pub fn new(options: StoreOptions) -> Self {
        let StoreOptions {
            connect,
            max_connections,
            acquire_timeout,
        } = options;
        let login = connect
            .application_name("matcher-discovery")
            // What a migration finds done already is no news.
            .options([("client_min_messages", "warning")]);
        let pool = |role: &'static str, most: u32, commit: &'static str, plans: Plans| {
            PgPoolOptions::new()
                .max_connections(most)
                .acquire_timeout(acquire_timeout)
                .max_lifetime(plans.last())
                .test_before_acquire(false)
                .before_acquire(|connection, meta| {
                    Box::pin(async move {
                        if meta.idle_for > TRIED_AFTER {
                            connection.ping().await?;
                        }
                        Ok(true)
                    })
                })
                // Whoever gives up waiting leaves an answer behind that is still to come.
                .after_release(|connection, _| {
                    Box::pin(async move {
                        tokio::time::timeout(WELL_IN, connection.ping())
                            .await
                            .map_err(|_| sqlx::Error::PoolTimedOut)??;
                        Ok(true)
                    })
                })
                .connect_lazy_with(login.clone().options([
                    // The role is part of the connection, so not even RESET ROLE leads out of it.
                    ("role", role),
                    ("statement_timeout", "15s"),
                    ("lock_timeout", "5s"),
                    ("idle_in_transaction_session_timeout", "30s"),
                    ("synchronous_commit", commit),
                    ("plan_cache_mode", plans.mode()),
                ]))
        };
        Self {
            app: pool(APP_ROLE, max_connections, "on", Plans::Anew),
            system: pool(SYSTEM_ROLE, SYSTEM_CONNECTIONS, "on", Plans::Anew),
            claims: pool(SYSTEM_ROLE, CLAIM_CONNECTIONS, "off", Plans::Kept),
            // What a crash of the database forgets here is a fraction of a second of calls.
            budgets: pool(SYSTEM_ROLE, BUDGET_CONNECTIONS, "off", Plans::Kept),
            listeners: pool(SYSTEM_ROLE, 1, "on", Plans::Anew),
            bindings: pool(SYSTEM_ROLE, Self::BINDING_CONNECTIONS, "off", Plans::Anew),
            // What is in use must not wait for what somebody made up, nor for what is written down of it.
            known_bindings: pool(SYSTEM_ROLE, 1, "off", Plans::Anew),
            webhook_notes: pool(SYSTEM_ROLE, 1, "off", Plans::Anew),
            login,
        }
    }

    /// How many transactions of tenants there may be at once.
    #[must_use]
    pub fn most_connections(&self) -> usize {
        self.app.options().get_max_connections() as usize
    }

    /// Begins a transaction that sees and writes the rows of `tenant` and no others.
    pub async fn begin(&self, tenant: TenantId) -> Result<TenantTx, StorageError> {
        self.begin_tenant(tenant, "").await
    }

    /// As [`begin`](Self::begin), for what may be forgotten: the commit does not wait for the disk,
    /// and a crash of the database within a fraction of a second undoes it.
    pub async fn begin_forgettable(&self, tenant: TenantId) -> Result<TenantTx, StorageError> {
        self.begin_tenant(tenant, "; SET LOCAL synchronous_commit = off")
            .await
    }

    /// As [`begin`](Self::begin), for several statements that have to see the rows as they were at one
    /// moment.
    pub async fn begin_snapshot(&self, tenant: TenantId) -> Result<TenantTx, StorageError> {
        self.begin_tenant(
            tenant,
            "; SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY",
        )
        .await
    }

    async fn begin_tenant(
        &self,
        tenant: TenantId,
        settings: &'static str,
    ) -> Result<TenantTx, StorageError> {
        // One round trip begins the transaction and names the tenant. A UUID prints as hexadecimal
        // digits and dashes, so nothing can be smuggled into the statement.
        let begin = AssertSqlSafe(format!(
            "BEGIN; SET LOCAL app.tenant_id = '{}'{settings}",
            tenant.0.as_hyphenated()
        ));
        Ok(TenantTx {
            // On the heap: what waits for a connection is large, and every use case would hold it.
            tx: Box::pin(self.app.begin_with(begin)).await?,
            tenant,
        })
    }

    /// Begins a transaction of work that crosses tenants.
    pub async fn begin_system(&self) -> Result<SystemTx, StorageError> {
        self.begin_crossing(&self.system).await
    }

    /// The same, to claim what is due. A claim that a crash of the database undoes was of a worker whose
    /// writes find their lease gone; so the commit need not wait for the disk.
    pub async fn begin_claim(&self) -> Result<SystemTx, StorageError> {
        self.begin_crossing(&self.claims).await
    }

    async fn begin_crossing(&self, pool: &PgPool) -> Result<SystemTx, StorageError> {
        let begin = AssertSqlSafe("BEGIN".to_owned());
        let tx = Box::pin(pool.begin_with(begin)).await?;
        Ok(SystemTx { tx })
    }

    /// Closes every connection, after the work that holds it is done.
    pub async fn close(&self) {
        self.app.close().await;
        self.system.close().await;
        self.claims.close().await;
        self.budgets.close().await;
        self.listeners.close().await;
        self.bindings.close().await;
        self.known_bindings.close().await;
        self.webhook_notes.close().await;
    }
}

/// What `work` comes to, if it does so in time. What is slow is cut short by the database itself; this is
/// for a database that is gone without a word, whose answer never comes.
pub async fn within<T, E: From<StorageError>>(
    limit: Duration,
    work: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => Err(StorageError::Unavailable(sqlx::Error::PoolTimedOut).into()),
    }
}

/// A transaction bound to one tenant.
#[derive(Debug)]
pub struct TenantTx {
    tx: Transaction<'static, Postgres>,
    tenant: TenantId,
}

impl TenantTx {
    /// Makes what was written last.
    pub async fn commit(self) -> Result<(), StorageError> {
        Ok(self.tx.commit().await?)
    }
}

/// A transaction of work that crosses tenants.
#[derive(Debug)]
pub struct SystemTx {
    tx: Transaction<'static, Postgres>,
}

impl SystemTx {
    /// Makes what was written last.
    pub async fn commit(self) -> Result<(), StorageError> {
        Ok(self.tx.commit().await?)
    }
}
