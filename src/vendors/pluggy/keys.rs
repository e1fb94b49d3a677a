//! Pluggy's session keys: one per pair, in memory only, renewed early, asked for once however many
//! want it.

use std::{future::Future, sync::Arc, time::Duration};

use chrono::{DateTime, TimeDelta, Utc};
use moka::{future::Cache, ops::compute::Op};
use sha2::{Digest as _, Sha256};

use super::convert::ApiKey;
use crate::{
    domain::{base_url::BaseUrl, clock::Clock, credential::Credential, vendor::Vendor},
    vendors::{ErrorKind, VendorError},
};

/// A key is renewed this long before it ends, so that none ends on its way.
const RENEWED_EARLY: TimeDelta = TimeDelta::minutes(8);
/// How long a key lives that does not tell.
const LIFETIME: TimeDelta = TimeDelta::hours(2);
/// How long a pair that was refused is not tried again.
const REFUSED_FOR: TimeDelta = TimeDelta::minutes(5);
/// More pairs than one process serves at a time.
const MOST: u64 = 10_000;

#[derive(Clone, Debug)]
enum Known {
    Good {
        key: Arc<ApiKey>,
        until: DateTime<Utc>,
    },
    /// The vendor refused the pair; asking again and again only spends the rate limit of all.
    Refused {
        error: VendorError,
        until: DateTime<Utc>,
    },
}

impl Known {
    fn until(&self) -> DateTime<Utc> {
        match self {
            Self::Good { until, .. } | Self::Refused { until, .. } => *until,
        }
    }
}

/// Names a pair at a place without holding it.
type Pair = [u8; 32];

#[derive(Debug)]
pub(super) struct Keys {
    clock: Arc<dyn Clock>,
    known: Cache<Pair, Known>,
}

impl Keys {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        let known = Cache::builder()
            .max_capacity(MOST)
            // Long after any key is over; what counts is each key's own time.
            .time_to_live(Duration::from_hours(3))
            .build();
        Self { clock, known }
    }

    /// The key for a pair: the one that is known, else the one that `authenticate` brings. However
    /// many ask at once, `authenticate` runs once.
    pub(super) async fn get<F>(
        &self,
        base_url: &BaseUrl,
        credential: &Credential,
        authenticate: F,
    ) -> Result<Arc<ApiKey>, VendorError>
    where
        F: Future<Output = Result<ApiKey, VendorError>>,
    {
        let now = self.clock.now();
        let pair = pair(base_url, credential);
        let is_current = |known: &Known| known.until() > now;
        let known = match self.known.get(&pair).await.filter(is_current) {
            Some(known) => known,
            None => self
                .known
                .entry(pair)
                .and_try_compute_with(|entry| async {
                    // Somebody else may have been faster.
                    if entry.is_some_and(|entry| is_current(entry.value())) {
                        return Ok(Op::Nop);
                    }
                    learn(authenticate.await, now).map(Op::Put)
                })
                .await?
                .into_entry()
                .map(moka::Entry::into_value)
                .ok_or_else(|| VendorError::new(Vendor::Pluggy, ErrorKind::KeyExpired))?,
        };
        match known {
            Known::Good { key, .. } => Ok(key),
            Known::Refused { error, .. } => Err(error),
        }
    }

    /// Takes in what a fresh authentication brought, in place of whatever was known.
    pub(super) async fn put(
        &self,
        base_url: &BaseUrl,
        credential: &Credential,
        outcome: Result<ApiKey, VendorError>,
    ) -> Result<Arc<ApiKey>, VendorError> {
        let known = learn(outcome, self.clock.now())?;
        self.known
            .insert(pair(base_url, credential), known.clone())
            .await;
        match known {
            Known::Good { key, .. } => Ok(key),
            Known::Refused { error, .. } => Err(error),
        }
    }

    /// Forgets a key that the vendor no longer takes, unless another one has its place already.
    pub(super) async fn forget(
        &self,
        base_url: &BaseUrl,
        credential: &Credential,
        key: &Arc<ApiKey>,
    ) {
        self.known
            .entry(pair(base_url, credential))
            .and_compute_with(|entry| async {
                match entry.map(moka::Entry::into_value) {
                    Some(Known::Good { key: known, .. }) if Arc::ptr_eq(&known, key) => Op::Remove,
                    _ => Op::Nop,
                }
            })
            .await;
    }
}

/// What is worth remembering of an authentication: the key, or that the pair is no good. Any other
/// failure says nothing of the pair.
fn learn(outcome: Result<ApiKey, VendorError>, now: DateTime<Utc>) -> Result<Known, VendorError> {
    match outcome {
        Ok(key) => {
            let ends = key.expires_at.unwrap_or(now + LIFETIME);
            Ok(Known::Good {
                key: Arc::new(key),
                until: ends - RENEWED_EARLY,
            })
        }
        Err(error) if matches!(error.kind, ErrorKind::BadCredential | ErrorKind::Disabled) => {
            Ok(Known::Refused {
                error,
                until: now + REFUSED_FOR,
            })
        }
        Err(error) => Err(error),
    }
}

fn pair(base_url: &BaseUrl, credential: &Credential) -> Pair {
    let mut hash = Sha256::new();
    for part in [
        base_url.as_str(),
        credential.client_id(),
        credential.secret(),
    ] {
        hash.update(part.len().to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().into()
}
