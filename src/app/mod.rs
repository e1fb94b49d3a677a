//! Use cases: what the service does, whichever door a request comes through.
//!
//! A use case takes the caller first, decides, and holds a transaction no longer than its own
//! statements.

mod accounts;
mod budgets;
mod connection_tests;
mod connections;
mod connectors;
mod credentials;
mod deliveries;
mod discovery;
mod extraction_run;
mod extractions;
mod keys;
mod pull_queue;
mod pull_run;
mod pulls;
mod readiness;
mod removals;
mod status;
mod transactions;
mod webhook_tokens;
mod webhooks;

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

pub use self::{
    budgets::{RateLimits, SharedBudget},
    connection_tests::TestOutcome,
    connections::{AggregatorChange, CredentialChange, NewAggregator},
    deliveries::PruningPlace,
    discovery::{
        DatabaseChange, DiscoveryStatus, NewDatabase, NewRest, Nullable, Obstacle, RestChange,
        RestConnection, SourceTest,
    },
    extractions::{ExtractedLines, ExtractionRefusal, ExtractionRules},
    keys::{KeyUse, RewrapProgress, list_keys, rewrap_keys},
    readiness::{Check, Readiness},
    transactions::ExportPlace,
    webhook_tokens::MintedToken,
    webhooks::{IncomingWebhook, WebhookProof, WebhookSources},
};
use chrono::{DateTime, Utc};
use tokio::sync::Semaphore;

use self::{readiness::LastAnswers, webhooks::bindings::Bindings};
use crate::{
    connectors::Registry,
    domain::{
        base_url::HostPolicy, clock::Clock, host_rule::HostOrNet, random::Random, vendor::Vendor,
    },
    shutdown::Shutdown,
    storage::{Constraint, Intake, StorageError, Store},
    vault::{Vault, VaultError},
    vendors::Aggregator,
};

/// How many pages of pulls are written at once. One more than the database has cores, since there is
/// always one that waits for the log or for its next statement; those beyond only wait for each other.
/// The database is taken to have about as many as this machine. Half of the connections are left to those
/// who only want to ask something.
fn page_writes(connections: usize) -> usize {
    let writers = std::thread::available_parallelism().map_or(3, |cores| cores.get().max(2) + 1);
    writers.min(connections / 2).max(1)
}

/// What the use cases work with.
pub struct Parts {
    /// The database.
    pub store: Store,
    /// What seals and opens.
    pub vault: Vault,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The connectors of this deployment.
    pub registry: Registry,
    /// The aggregators that there are clients for: one for each vendor.
    pub aggregators: BTreeMap<Vendor, Arc<dyn Aggregator>>,
    /// The hosts that each vendor's base URLs may name.
    pub hosts: BTreeMap<Vendor, HostPolicy>,
    /// The base of minted webhook URLs.
    pub public_url: String,
    /// What writes down the webhooks that come in.
    pub intake: Intake,
    /// Whence webhooks may come.
    pub webhook_sources: WebhookSources,
    /// How much an extraction may take, and how long its rows are kept.
    pub extraction_rules: ExtractionRules,
    /// The private hosts that REST connections may name beside every public one.
    pub rest_private_hosts: Vec<HostOrNet>,
    /// The tasks of the process.
    pub tasks: Shutdown,
}

impl fmt::Debug for Parts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").finish_non_exhaustive()
    }
}

/// The use cases.
#[derive(Clone, Debug)]
pub struct App(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    parts: Parts,
    last_answers: LastAnswers,
    bindings: Bindings,
    /// The bytes that may still be kept of webhooks whose signature is not judged yet.
    unjudged_webhooks: Arc<Semaphore>,
    /// The turns in which pages are written.
    page_writes: Semaphore,
    /// When the workers of this process were last at it.
    worker_seen: Mutex<Option<DateTime<Utc>>>,
}

impl App {
    /// Puts the use cases together.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let page_writes = page_writes(parts.store.most_connections());
        Self(Arc::new(Inner {
            parts,
            last_answers: LastAnswers::default(),
            bindings: Bindings::default(),
            unjudged_webhooks: webhooks::room_for_unjudged(),
            page_writes: Semaphore::new(page_writes),
            worker_seen: Mutex::default(),
        }))
    }

    /// The hosts that a base URL of `vendor` may name.
    #[must_use]
    pub fn host_policy(&self, vendor: Vendor) -> &HostPolicy {
        // A vendor without a policy has no hosts: nothing passes.
        const NONE: &HostPolicy = &HostPolicy {
            rules: Vec::new(),
            allow_http: false,
        };
        self.0.parts.hosts.get(&vendor).unwrap_or(NONE)
    }

    /// How the outside names this server, without a slash at the end.
    #[must_use]
    pub fn public_url(&self) -> &str {
        &self.0.parts.public_url
    }

    /// The client for a vendor.
    fn aggregator(&self, vendor: Vendor) -> Result<&Arc<dyn Aggregator>, AppError> {
        self.0
            .parts
            .aggregators
            .get(&vendor)
            .ok_or_else(|| AppError::Internal(format!("there is no client for {vendor}").into()))
    }

    /// The hosts that a base URL may name when it is not known which vendor it is for.
    #[must_use]
    pub fn host_policy_of_all(&self) -> HostPolicy {
        let policies = self.0.parts.hosts.values();
        HostPolicy {
            allow_http: policies.clone().any(|policy| policy.allow_http),
            rules: policies.flat_map(|policy| policy.rules.clone()).collect(),
        }
    }
}

/// Why a use case did not do as asked, named by what the caller can do.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// No such connection in this tenant, or none of this kind.
    #[error("no such connection")]
    ConnectionNotFound,
    /// No such webhook token in this tenant.
    #[error("no such webhook token")]
    WebhookTokenNotFound,
    /// No such transaction in this tenant.
    #[error("no such transaction")]
    TransactionNotFound,
    /// A living connection of the tenant has that name.
    #[error("a connection with that config name exists")]
    ConfigNameTaken,
    /// The connection changed since the caller read it.
    #[error("the connection changed since it was read")]
    ConnectionChanged,
    /// The token is revoked or over, so it can't have a successor.
    #[error("the webhook token no longer lives")]
    WebhookTokenEnded,
    /// The connection was tested as often as it may be for now.
    #[error("the connection was tested too often")]
    TestedTooOften(Duration),
    /// The webhook's token, vendor or source is not good; which of them is nobody's business.
    #[error("the webhook was not accepted")]
    WebhookRefused,
    /// The webhook could not be judged or written down; the vendor has to send it again.
    #[error("the webhook was not taken")]
    WebhookNotTaken(#[source] Arc<dyn std::error::Error + Send + Sync>),
    /// No such delivery in this tenant.
    #[error("no such delivery")]
    DeliveryNotFound,
    /// The delivery asked for no pull, so there is nothing to replay.
    #[error("the delivery asked for no pull")]
    DeliveryAsksForNothing,
    /// No such pull in this tenant.
    #[error("no such pull")]
    PullNotFound,
    /// The pull is queued or runs, so there is nothing to retry.
    #[error("the pull is not over")]
    PullNotOver,
    /// The pull succeeded or was called off, so there is nothing to call off.
    #[error("the pull succeeded or was called off already")]
    PullOver,
    /// An extraction does not allow it.
    #[error(transparent)]
    Extraction(#[from] ExtractionRefusal),
    /// A refresh of the tenant's connections runs already.
    #[error("a refresh is in progress")]
    RefreshInProgress,
    /// The deployment registers no connector at all.
    #[error("no connector is registered")]
    NoConnectors,
    /// The deployment does not let connections name this host.
    #[error("the host may not be named")]
    HostNotAllowed,
    /// The stored proof was given for another origin than the base URL's from now on.
    #[error("the stored auth is not sent to another origin")]
    AuthStaysBehind,
    /// The stored password was given for a way that was more protected than the one from now on.
    #[error("the stored password is not sent over a less protected way")]
    PasswordStaysBehind,
    /// Something on our side stands between the connection and its source.
    #[error("the source can't be reached from here")]
    SourceBarred(#[source] Obstacle),
    /// The same request may succeed in a moment.
    #[error("not available now")]
    Unavailable(#[source] StorageError),
    /// A defect, of ours or of the deployment.
    #[error("internal error")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<StorageError> for AppError {
    fn from(error: StorageError) -> Self {
        match error {
            StorageError::Violates(Constraint::ConnectionConfigName, _) => Self::ConfigNameTaken,
            // Somebody was faster; the same request finds the pull that waits.
            StorageError::Violates(
                Constraint::WaitingPull | Constraint::RunningPull | Constraint::RunningExtraction,
                _,
            )
            | StorageError::Unavailable(_) => Self::Unavailable(error),
            StorageError::Inconsistent { .. } | StorageError::Refused(_) => {
                Self::Internal(error.into())
            }
        }
    }
}

impl From<VaultError> for AppError {
    fn from(error: VaultError) -> Self {
        Self::Internal(error.into())
    }
}
