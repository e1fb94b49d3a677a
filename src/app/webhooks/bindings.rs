//! What tokens are bound to, remembered for less than a second.
//!
//! A revocation has to be in effect on every node within a second, whatever fails. So nothing is
//! remembered for longer, counted from before the database was asked: no notification that gets
//! lost and no clock that is wrong can make a revoked token live on. What is in use is asked for
//! again ahead of its end, all of it in one query, so that a thousand busy tokens cost two queries
//! a second and none of their webhooks waits.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use moka::future::Cache;
use tokio::{
    sync::{Mutex, MutexGuard},
    time::Instant,
};

use crate::{
    app::AppError,
    domain::ids::ConnectionId,
    storage::{StorageError, Store, TokenHash, WebhookBinding},
};

/// How long what was found may be believed.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// How often what is in use is asked for again: often enough that one slow query lets nothing lapse.
pub(super) const REFRESH_EVERY: Duration = Duration::from_millis(400);
/// The most tokens that are remembered; far more than a node can serve in a second.
const MOST: u64 = 100_000;

/// A binding that was just looked up.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) binding: WebhookBinding,
    /// When the database was asked.
    asked_at: Instant,
    /// Whether it was looked at since it was asked for.
    wanted: AtomicBool,
    /// Whether a webhook was accepted by the token, and nobody has noted it yet.
    used: Arc<AtomicBool>,
    /// Whether a webhook by the token was refused for its source, and nobody has noted it yet.
    refused: Arc<AtomicBool>,
}

/// What happened by the tokens since the last time.
#[derive(Debug, Default)]
pub(super) struct Happened {
    /// Those by which webhooks were accepted.
    pub(super) used: Vec<WebhookBinding>,
    /// Those by which webhooks were refused for their source.
    pub(super) refused: Vec<WebhookBinding>,
}

impl Known {
    pub(super) fn note_used(&self) {
        self.used.store(true, Ordering::Relaxed);
    }

    pub(super) fn note_refused(&self) {
        self.refused.store(true, Ordering::Relaxed);
    }

    fn is_in_use(&self) -> bool {
        [&self.wanted, &*self.used, &*self.refused]
            .into_iter()
            .any(|flag| flag.load(Ordering::Relaxed))
    }
}

/// Why a token leads nowhere.
#[derive(Debug, thiserror::Error)]
enum NotFound {
    #[error("no such token")]
    Unknown,
    #[error(transparent)]
    Failed(Arc<StorageError>),
}

/// The bindings in use.
#[derive(Debug)]
pub(in crate::app) struct Bindings {
    known: Cache<TokenHash, Arc<Known>>,
    /// When connections were changed by this very process: what was asked before says nothing.
    changed: Cache<ConnectionId, Instant>,
    /// Held for a round of refreshing, so that a round that is over has done what it says.
    round: Mutex<()>,
}

impl Default for Bindings {
    fn default() -> Self {
        let known = Cache::builder().max_capacity(MOST).time_to_live(GOOD_FOR);
        let changed = Cache::builder()
            .max_capacity(MOST)
            .time_to_live(GOOD_FOR * 2);
        Self {
            known: known.build(),
            changed: changed.build(),
            round: Mutex::default(),
        }
    }
}

impl Bindings {
    /// What a token is bound to; `None` if it is not good for anything. That is never remembered:
    /// there is no end of tokens that do not exist.
    pub(super) async fn find(
        &self,
        store: &Store,
        hash: TokenHash,
    ) -> Result<Option<Arc<Known>>, AppError> {
        loop {
            let look_up = async {
                let asked_at = Instant::now();
                let found = store.webhook_bindings(&[hash]).await;
                let found = found.map_err(|error| NotFound::Failed(Arc::new(error)))?;
                let (_, binding) = found.into_iter().next().ok_or(NotFound::Unknown)?;
                Ok(Arc::new(Known {
                    binding,
                    asked_at,
                    wanted: AtomicBool::default(),
                    used: Arc::default(),
                    refused: Arc::default(),
                }))
            };
            // Everybody who asks for one token meanwhile shares one query.
            match self.known.try_get_with(hash, look_up).await {
                Ok(known) if self.is_good(&known).await => {
                    known.wanted.store(true, Ordering::Relaxed);
                    return Ok(Some(known));
                }
                Ok(_) => self.known.invalidate(&hash).await,
                Err(error) => match &*error {
                    NotFound::Unknown => return Ok(None),
                    NotFound::Failed(error) => {
                        return Err(AppError::WebhookNotTaken(Arc::<StorageError>::clone(error)));
                    }
                },
            }
        }
    }

    async fn is_good(&self, known: &Known) -> bool {
        let changed = self.changed.get(&known.binding.connection).await;
        known.asked_at.elapsed() < GOOD_FOR && changed.is_none_or(|at| known.asked_at > at)
    }

    /// Forgets what is bound to a connection that was just changed here.
    pub(in crate::app) async fn forget(&self, connection: ConnectionId) {
        self.changed.insert(connection, Instant::now()).await;
    }

    /// Begins a round of refreshing, after the one that goes on.
    pub(super) async fn begin_round(&self) -> MutexGuard<'_, ()> {
        self.round.lock().await
    }

    /// Asks again for everything that is in use; answers what happened since the last time.
    pub(super) async fn refresh(&self, store: &Store) -> Result<Happened, StorageError> {
        let in_use: HashMap<TokenHash, Arc<Known>> = self
            .known
            .iter()
            .filter(|(_, known)| known.is_in_use())
            .map(|(hash, known)| (*hash, known))
            .collect();
        if in_use.is_empty() {
            return Ok(Happened::default());
        }
        let hashes: Vec<TokenHash> = in_use.keys().copied().collect();
        let asked_at = Instant::now();
        let mut found: HashMap<_, _> = store.webhook_bindings(&hashes).await?.into_iter().collect();
        let mut happened = Happened::default();
        for (hash, known) in in_use {
            if known.used.swap(false, Ordering::Relaxed) {
                happened.used.push(known.binding.clone());
            }
            if known.refused.swap(false, Ordering::Relaxed) {
                happened.refused.push(known.binding.clone());
            }
            let Some(binding) = found.remove(&hash) else {
                self.known.invalidate(&hash).await;
                continue;
            };
            let renewed = Known {
                binding,
                asked_at,
                wanted: AtomicBool::default(),
                used: Arc::clone(&known.used),
                refused: Arc::clone(&known.refused),
            };
            self.known.insert(hash, Arc::new(renewed)).await;
        }
        Ok(happened)
    }
}
