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

/// A key is renewed this long before it ends, so that none ends on its way; one that lives shortly,
/// in the last quarter of its life.
const RENEWED_EARLY: TimeDelta = TimeDelta::minutes(8);
/// How long a key lives that does not tell, or does not tell the truth.
const LIFETIME: TimeDelta = TimeDelta::hours(2);
/// Longer than any key is believed to live.
const LONGEST_LIFETIME: TimeDelta = TimeDelta::hours(24);
/// How long those who wait share a failure, so that they do not fail one after the other.
const FAILED_FOR: TimeDelta = TimeDelta::seconds(1);
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
    /// There is no key for now: the vendor refused the pair, and asking again and again only spends
    /// the rate limit of all; or it could not be asked just now.
    Failed {
        error: VendorError,
        until: DateTime<Utc>,
    },
}

impl Known {
    fn until(&self) -> DateTime<Utc> {
        match self {
            Self::Good { until, .. } | Self::Failed { until, .. } => *until,
        }
    }

    fn into_key(self) -> Result<Arc<ApiKey>, VendorError> {
        match self {
            Self::Good { key, .. } => Ok(key),
            Self::Failed { error, .. } => Err(error),
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
                    // A failure counts from when it is known, or those who wait would not share it.
                    let outcome = authenticate.await;
                    Ok::<_, VendorError>(Op::Put(learn(outcome, self.clock.now())))
                })
                .await?
                .into_entry()
                .map(moka::Entry::into_value)
                .ok_or_else(|| VendorError::new(Vendor::Pluggy, ErrorKind::KeyExpired))?,
        };
        known.into_key()
    }

    /// Takes in what a fresh authentication brought, in place of what was known.
    pub(super) async fn put(
        &self,
        base_url: &BaseUrl,
        credential: &Credential,
        outcome: Result<ApiKey, VendorError>,
    ) -> Result<Arc<ApiKey>, VendorError> {
        // That the vendor could not be asked says nothing of the key that there is.
        if let Err(error) = &outcome
            && !is_verdict(error)
        {
            return Err(error.clone());
        }
        let known = learn(outcome, self.clock.now());
        self.known
            .insert(pair(base_url, credential), known.clone())
            .await;
        known.into_key()
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

/// Whether the vendor judged the pair, rather than failed to.
fn is_verdict(error: &VendorError) -> bool {
    matches!(error.kind, ErrorKind::BadCredential | ErrorKind::Disabled)
}

/// What is remembered of an authentication: the key, or for how long there is none.
fn learn(outcome: Result<ApiKey, VendorError>, now: DateTime<Utc>) -> Known {
    match outcome {
        Ok(key) => {
            let believable = now..=now + LONGEST_LIFETIME;
            let ends = key
                .expires_at
                .filter(|ends| believable.contains(ends))
                .unwrap_or(now + LIFETIME);
            let early = RENEWED_EARLY.min((ends - now) / 4);
            Known::Good {
                key: Arc::new(key),
                until: ends - early,
            }
        }
        Err(error) => {
            let lasts = if is_verdict(&error) {
                REFUSED_FOR
            } else {
                FAILED_FOR
            };
            Known::Failed {
                error,
                until: now + lasts,
            }
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::secret::SecretText;

    #[test]
    fn a_key_is_used_for_as_long_as_it_is_believable() {
        let now: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let until = |expires_at| {
            let secret = SecretText::new("k".to_owned());
            learn(Ok(ApiKey { secret, expires_at }), now).until() - now
        };
        let whole = LIFETIME - RENEWED_EARLY;
        for (expires_at, lasts) in [
            (Some(now + LIFETIME), whole),
            (None, whole),
            // A key of four minutes is good for three.
            (Some(now + TimeDelta::minutes(4)), TimeDelta::minutes(3)),
            // Whatever else it says is not believed; the vendor will tell when it is over.
            (Some(now - TimeDelta::hours(1)), whole),
            (Some(now + TimeDelta::days(400)), whole),
            (Some(DateTime::<Utc>::MIN_UTC), whole),
            (Some(DateTime::<Utc>::MAX_UTC), whole),
        ] {
            assert_eq!(until(expires_at), lasts, "{expires_at:?}");
        }
    }
}
