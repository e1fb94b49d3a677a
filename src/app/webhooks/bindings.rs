//! What tokens are bound to, remembered for less than a second.
//!
//! A revocation has to be in effect on every node within a second, whatever fails. So nothing is
//! remembered for longer, counted from before the database was asked: no notification that gets
//! lost and no clock that is wrong can make a revoked token live on. What is in use is asked for
//! again ahead of its end, all of it in one query, so that a thousand busy tokens cost two queries
//! a second and none of their webhooks waits.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use moka::future::Cache;
use tokio::{
    sync::{Mutex, Semaphore},
    time::Instant,
};

use super::PATIENCE;
use crate::{
    app::AppError,
    domain::{
        ids::{ConnectionId, TenantId, WebhookTokenId},
        vendor::Vendor,
    },
    storage::{StorageError, Store, TokenHash, WebhookBinding, WebhookNote, within},
};

/// How long what was found may be believed.
const GOOD_FOR: Duration = Duration::from_secs(1);
/// How often what is in use is asked for again: often enough that one slow query lets nothing lapse.
pub(super) const REFRESH_EVERY: Duration = Duration::from_millis(400);
/// The most tokens that are remembered; far more than a node can serve in a second.
const MOST: u64 = 100_000;

/// How many tokens of refused webhooks are looked at in a round. Strangers may name more of them, which costs
/// no more, but then it may go unnoticed for a while that a vendor is refused as well.
const MOST_REFUSED: usize = 1000;

/// A binding that was just looked up.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) binding: WebhookBinding,
    /// When the database was asked.
    asked_at: Instant,
    /// Whether it was looked at since it was asked for.
    wanted: AtomicBool,
    /// What happened by the token.
    marks: Arc<Marks>,
}

impl Known {
    /// Whether the token is good for webhooks of a vendor.
    pub(super) fn is_good_for(&self, vendor: Vendor, now: DateTime<Utc>) -> bool {
        is_good_for(&self.binding, vendor, now)
    }

    /// Notes that it is looked at; most often it was before, and then nothing is written that other cores
    /// hold as well.
    fn want(&self) {
        if !self.wanted.load(Ordering::Relaxed) {
            self.wanted.store(true, Ordering::Relaxed);
        }
    }
}

fn is_good_for(binding: &WebhookBinding, vendor: Vendor, now: DateTime<Utc>) -> bool {
    binding.vendor == vendor && binding.expires_at.is_none_or(|end| now < end)
}

/// What happened by a token and is not written down yet.
#[derive(Debug)]
struct Marks {
    tenant: TenantId,
    token: WebhookTokenId,
    /// When a webhook by it was last accepted, in microseconds.
    accepted: AtomicI64,
    /// When one was last refused for its source, in microseconds.
    refused: AtomicI64,
    /// Whether it waits to be written.
    listed: AtomicBool,
}

/// Stands for no instant at all.
const NOT_YET: i64 = i64::MIN;

impl Marks {
    fn of(binding: &WebhookBinding) -> Arc<Self> {
        Arc::new(Self {
            tenant: binding.tenant,
            token: binding.token,
            accepted: AtomicI64::new(NOT_YET),
            refused: AtomicI64::new(NOT_YET),
            listed: AtomicBool::default(),
        })
    }

    /// What is to be written. What comes behind this is listed anew.
    fn take(&self) -> WebhookNote {
        self.listed.store(false, Ordering::SeqCst);
        let take = |mark: &AtomicI64| {
            DateTime::from_timestamp_micros(mark.swap(NOT_YET, Ordering::SeqCst))
        };
        WebhookNote {
            tenant: self.tenant,
            token: self.token,
            accepted_at: take(&self.accepted),
            refused_at: take(&self.refused),
        }
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
    /// What the last round of refreshing found of them. Nearly every webhook finds its token here, where looking
    /// is cheap: what makes room and shares questions takes longer than all else that is asked of a token.
    in_use: RwLock<HashMap<TokenHash, Arc<Known>>>,
    /// When connections were changed by this very process: what was asked before says nothing.
    changed: RwLock<HashMap<ConnectionId, Instant>>,
    /// Held while a token is looked up, as many times as there are connections for it.
    asking: Semaphore,
    /// When webhooks were last refused for their source, by what they named. Who sent them may have made the
    /// token up, so it is looked up in a round of writing and by nobody who waits.
    refused: std::sync::Mutex<BTreeMap<(TokenHash, Vendor), DateTime<Utc>>>,
    /// What is to be written down of the tokens, each once.
    marked: std::sync::Mutex<Vec<Arc<Marks>>>,
    /// Held for a round of refreshing, so that a round that is over has done what it says.
    refreshing: Mutex<()>,
    /// The same for what is written down.
    noting: Mutex<()>,
}

impl Default for Bindings {
    fn default() -> Self {
        let known = Cache::builder().max_capacity(MOST).time_to_live(GOOD_FOR);
        Self {
            known: known.build(),
            in_use: RwLock::default(),
            changed: RwLock::default(),
            asking: Semaphore::new(Store::BINDING_CONNECTIONS as usize),
            refused: std::sync::Mutex::default(),
            marked: std::sync::Mutex::default(),
            refreshing: Mutex::default(),
            noting: Mutex::default(),
        }
    }
}

impl Bindings {
    /// What the token of a webhook that comes from a vendor is bound to, if the last round of refreshing found it.
    pub(super) fn at_hand(&self, hash: &TokenHash) -> Option<Arc<Known>> {
        let in_use = self.in_use.read().unwrap_or_else(PoisonError::into_inner);
        let known = in_use.get(hash).filter(|known| self.is_good(known))?;
        known.want();
        Some(Arc::clone(known))
    }

    /// What a token is bound to that is not at hand; `None` if it is not good for anything. That is never
    /// remembered: there is no end of tokens that do not exist. What is not known waits for room to be looked up,
    /// beside no stranger.
    pub(super) async fn look_up(
        &self,
        store: &Store,
        hash: TokenHash,
    ) -> Result<Option<Arc<Known>>, AppError> {
        loop {
            let look_up = async {
                // It is never closed.
                let _room = self.asking.acquire().await.ok();
                let asked_at = Instant::now();
                let found = store.webhook_binding(hash).await;
                let found = found.map_err(|error| NotFound::Failed(Arc::new(error)))?;
                let binding = found.ok_or(NotFound::Unknown)?;
                Ok(Arc::new(Known {
                    marks: Marks::of(&binding),
                    binding,
                    asked_at,
                    wanted: AtomicBool::default(),
                }))
            };
            // Everybody who asks for one token meanwhile shares one query.
            match self.known.try_get_with(hash, look_up).await {
                Ok(known) if self.is_good(&known) => {
                    known.want();
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

    fn is_good(&self, known: &Known) -> bool {
        let changed = self.changed.read().unwrap_or_else(PoisonError::into_inner);
        let changed = changed.get(&known.binding.connection);
        known.asked_at.elapsed() < GOOD_FOR && changed.is_none_or(|at| known.asked_at > *at)
    }

    /// Forgets what is bound to a connection that was just changed here.
    pub(in crate::app) fn forget(&self, connection: ConnectionId) {
        let mut changed = self.changed.write().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        // What was asked before those is no longer good anyway.
        changed.retain(|_, at| now.duration_since(*at) < GOOD_FOR);
        changed.insert(connection, now);
    }

    /// Notes that a webhook was accepted.
    pub(super) fn note_accepted(&self, known: &Known, at: DateTime<Utc>) {
        self.note(&known.marks, &known.marks.accepted, at);
    }

    /// Notes that a webhook was refused for its source. That takes as long whatever the token is.
    pub(super) fn note_refused(&self, vendor: Vendor, token: TokenHash, at: DateTime<Utc>) {
        let mut refused = self.refused();
        if refused.len() < MOST_REFUSED || refused.contains_key(&(token, vendor)) {
            refused.insert((token, vendor), at);
        }
    }

    /// The same of a list here.
    fn refused(&self) -> std::sync::MutexGuard<'_, BTreeMap<(TokenHash, Vendor), DateTime<Utc>>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, marks: &Arc<Marks>, mark: &AtomicI64, at: DateTime<Utc>) {
        mark.fetch_max(at.timestamp_micros(), Ordering::SeqCst);
        if !marks.listed.swap(true, Ordering::SeqCst) {
            self.marked().push(Arc::clone(marks));
        }
    }

    /// A list can't be left half changed, so a poisoned lock is as good as any.
    fn marked(&self) -> std::sync::MutexGuard<'_, Vec<Arc<Marks>>> {
        self.marked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes down what happened by the tokens. What could not be written waits for the next round.
    pub(super) async fn write_notes(&self, store: &Store) -> Result<(), StorageError> {
        let _round = self.noting.lock().await;
        let recognised = within(PATIENCE, self.recognise_refused(store)).await;
        let marked = std::mem::take(&mut *self.marked());
        if marked.is_empty() {
            return recognised;
        }
        let notes: Vec<WebhookNote> = marked.iter().map(|marks| marks.take()).collect();
        let written = within(PATIENCE, store.note_webhooks(&notes)).await;
        let left = |note: &WebhookNote| {
            let left = written.as_ref().map(|left| left.contains(&note.token));
            left.unwrap_or(true)
        };
        for (marks, note) in marked.iter().zip(&notes).filter(|(_, note)| left(note)) {
            for (mark, at) in [
                (&marks.accepted, note.accepted_at),
                (&marks.refused, note.refused_at),
            ] {
                if let Some(at) = at {
                    self.note(marks, mark, at);
                }
            }
        }
        written.map(drop).and(recognised)
    }

    /// Marks the tokens by which webhooks were refused, as far as they are any.
    async fn recognise_refused(&self, store: &Store) -> Result<(), StorageError> {
        let refused = self.refused().clone();
        if refused.is_empty() {
            return Ok(());
        }
        let hashes: Vec<TokenHash> = refused.keys().map(|(hash, _)| *hash).collect();
        let found = store.webhook_bindings_of_refused(&hashes).await?;
        let found: HashMap<_, _> = found.into_iter().collect();
        for ((hash, vendor), at) in refused {
            if let Some(binding) = found.get(&hash)
                && is_good_for(binding, vendor, at)
            {
                tracing::debug!(
                    webhook_token.id = %binding.token,
                    "the source of a webhook was not accepted"
                );
                let marks = Marks::of(binding);
                self.note(&marks, &marks.refused, at);
            }
            let mut left = self.refused();
            // Unless it was refused again meanwhile.
            if left.get(&(hash, vendor)) == Some(&at) {
                left.remove(&(hash, vendor));
            }
        }
        Ok(())
    }

    /// Asks again for everything that is in use.
    pub(super) async fn refresh(&self, store: &Store) -> Result<(), StorageError> {
        let _round = self.refreshing.lock().await;
        let wanted: HashMap<TokenHash, Arc<Known>> = self
            .known
            .iter()
            .filter(|(_, known)| known.wanted.load(Ordering::Relaxed))
            .map(|(hash, known)| (*hash, known))
            .collect();
        let asked_at = Instant::now();
        let mut found = HashMap::new();
        if !wanted.is_empty() {
            let hashes: Vec<TokenHash> = wanted.keys().copied().collect();
            found.extend(store.webhook_bindings_again(&hashes).await?);
        }
        let mut in_use = HashMap::with_capacity(found.len());
        for (hash, known) in wanted {
            let Some(binding) = found.remove(&hash) else {
                self.known.invalidate(&hash).await;
                continue;
            };
            let renewed = Arc::new(Known {
                binding,
                asked_at,
                wanted: AtomicBool::default(),
                marks: Arc::clone(&known.marks),
            });
            self.known.insert(hash, Arc::clone(&renewed)).await;
            in_use.insert(hash, renewed);
        }
        let before = std::mem::replace(
            &mut *self.in_use.write().unwrap_or_else(PoisonError::into_inner),
            in_use,
        );
        // Not while webhooks wait to look: there may be many.
        drop(before);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::connection::AccountRef;

    /// What was found for a token of a connection, so long ago.
    fn known(connection: u128, ago: Duration) -> Known {
        let binding = WebhookBinding {
            token: WebhookTokenId(Uuid::nil()),
            tenant: TenantId(Uuid::nil()),
            connection: ConnectionId(Uuid::from_u128(connection)),
            vendor: Vendor::Pluggy,
            account_ref: AccountRef::from_stored("item".to_owned()),
            expires_at: None,
        };
        Known {
            marks: Marks::of(&binding),
            binding,
            asked_at: Instant::now().checked_sub(ago).unwrap(),
            wanted: AtomicBool::default(),
        }
    }

    #[test]
    fn what_was_found_is_good_for_a_second() {
        let bindings = Bindings::default();
        assert!(bindings.is_good(&known(1, Duration::ZERO)));
        assert!(!bindings.is_good(&known(1, GOOD_FOR)));
    }

    #[test]
    fn what_the_last_round_found_is_at_hand_and_wanted_until_a_change() {
        let bindings = Bindings::default();
        let (hash, other): (TokenHash, TokenHash) = ([1; 32], [2; 32]);
        let one = Arc::new(known(1, Duration::ZERO));
        let mut in_use = bindings.in_use.write().unwrap();
        in_use.insert(hash, Arc::clone(&one));
        drop(in_use);
        assert!(bindings.at_hand(&other).is_none());
        assert!(!one.wanted.load(Ordering::Relaxed));
        assert!(bindings.at_hand(&hash).is_some());
        assert!(one.wanted.load(Ordering::Relaxed));
        bindings.forget(one.binding.connection);
        assert!(bindings.at_hand(&hash).is_none());
    }

    #[test]
    fn what_was_found_before_a_change_is_not_good_and_what_is_found_after_it_is() {
        let bindings = Bindings::default();
        let before = [1, 2, 3].map(|connection| known(connection, Duration::ZERO));
        bindings.forget(before[0].binding.connection);
        bindings.forget(before[1].binding.connection);
        assert_eq!(
            before.each_ref().map(|known| bindings.is_good(known)),
            [false, false, true]
        );
        while Instant::now() <= bindings.changed.read().unwrap()[&before[1].binding.connection] {}
        assert!(bindings.is_good(&known(2, Duration::ZERO)));
    }
}
