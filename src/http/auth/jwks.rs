//! The issuer's public keys, kept fresh without ever making a caller's token the cause of a flood.
//!
//! Keys are loaded by the first token that needs one. After that a file is looked at once a second
//! and read when it changed; a URL is asked again every ten minutes, behind the request that
//! noticed. A key id that nobody knows asks the source at most once in 30 seconds, however many
//! tokens carry it. While the source is down, the keys of the last good answer stay in force.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::{Duration, SystemTime},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, TimeDelta, Utc};
use jsonwebtoken::{
    Algorithm, DecodingKey,
    jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{
    sync::{Mutex as Gate, OwnedMutexGuard, watch},
    task::JoinSet,
};

use super::KeySource;
use crate::{
    domain::clock::Clock,
    net::{Call, Client, NetError, Request, StatusCode},
};

/// How long a source is left in peace after it was asked.
const REST: TimeDelta = TimeDelta::seconds(30);

/// How old the answer of a URL may become before it is asked again.
const MAX_AGE: TimeDelta = TimeDelta::minutes(10);

/// How long a token may have to wait for the answer of a URL.
const PATIENCE: Duration = Duration::from_secs(5);

/// How many keys a token without a key id is tried against.
const MAX_TRIED: usize = 10;

/// The shortest RSA key that is worth trusting, in bits.
const MIN_RSA_BITS: usize = 2048;

/// Why the keys could not be loaded.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// The file is not there or can't be read.
    #[error("the JWKS file {} cannot be read", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The URL gave no answer.
    #[error("the JWKS URL cannot be fetched")]
    Fetch(#[from] NetError),
    /// The URL answered with something else.
    #[error("the JWKS URL answered with status {0} where 200 is expected")]
    Status(StatusCode),
    /// What was read is no key set.
    #[error("the JWKS is not a JSON object with a list `keys`")]
    Malformed(#[source] serde_json::Error),
}

/// A key, and the one algorithm it is for.
struct Key {
    id: Option<String>,
    algorithm: Algorithm,
    public: Arc<DecodingKey>,
}

/// The keys of the last good answer.
#[derive(Default)]
struct Loaded {
    keys: Vec<Key>,
    at: Option<DateTime<Utc>>,
    stamp: Option<Stamp>,
}

impl Loaded {
    /// The keys that may have signed a token; `None` if the source may know more than we do.
    fn fitting(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Vec<Arc<DecodingKey>>> {
        // A key id is looked up regardless of the algorithm: a key that we know but that is for
        // another algorithm is a wrong token, not a reason to ask for keys.
        if id.is_some() && !self.keys.iter().any(|key| key.id.as_deref() == id) {
            return None;
        }
        let fitting: Vec<_> = self
            .keys
            .iter()
            .filter(|key| key.algorithm == algorithm)
            .filter(|key| id.is_none() || key.id.as_deref() == id)
            .take(MAX_TRIED)
            .map(|key| Arc::clone(&key.public))
            .collect();
        (id.is_some() || !fitting.is_empty()).then_some(fitting)
    }
}

/// What tells that a file changed.
type Stamp = (SystemTime, u64);

/// When the source was asked last. Whoever holds the gate is asking it.
type LastAsked = Option<DateTime<Utc>>;

/// The keys of one source.
pub(super) struct KeyStore {
    shared: Arc<Shared>,
    /// Owns the loading under way, so that it outlives the request that began it but not the store.
    loading: Mutex<JoinSet<()>>,
}

struct Shared {
    source: KeySource,
    clock: Arc<dyn Clock>,
    client: Client,
    loaded: watch::Sender<Loaded>,
    gate: Arc<Gate<LastAsked>>,
    /// The second in which the file was looked at last.
    looked: AtomicI64,
}

impl KeyStore {
    pub(super) fn new(source: KeySource, clock: Arc<dyn Clock>, client: Client) -> Self {
        Self {
            shared: Arc::new(Shared {
                source,
                clock,
                client,
                loaded: watch::Sender::default(),
                gate: Arc::default(),
                looked: AtomicI64::new(i64::MIN),
            }),
            loading: Mutex::default(),
        }
    }

    /// Loads the keys now and says how many are usable.
    pub(super) async fn load(&self) -> Result<usize, KeySetError> {
        let mut last = self.shared.gate.lock().await;
        *last = Some(self.shared.clock.now());
        self.shared.load().await
    }

    /// The keys that may have signed a token of this algorithm and key id.
    pub(super) async fn find(
        &self,
        id: Option<&str>,
        algorithm: Algorithm,
    ) -> Vec<Arc<DecodingKey>> {
        match &self.shared.source {
            KeySource::File(path) => self.follow(path).await,
            KeySource::Url(_) => self.renew(),
        }
        let known = self.shared.loaded.borrow().fitting(id, algorithm);
        if let Some(keys) = known {
            return keys;
        }
        let gate = Arc::clone(&self.shared.gate).lock_owned().await;
        if self.shared.may_ask(&gate) {
            self.start(gate).await;
        }
        let known = self.shared.loaded.borrow().fitting(id, algorithm);
        known.unwrap_or_default()
    }

    /// Reads the file if it is not the one that was read last.
    async fn follow(&self, path: &Path) {
        let second = self.shared.clock.now().timestamp();
        if self.shared.looked.swap(second, Ordering::Relaxed) == second {
            return;
        }
        let stamp = stamp(path).await;
        if stamp.is_none() || self.shared.loaded.borrow().stamp == stamp {
            return;
        }
        let gate = Arc::clone(&self.shared.gate).lock_owned().await;
        let unread = self.shared.loaded.borrow().stamp != stamp;
        if unread {
            self.start(gate).await;
        }
    }

    /// Asks the URL again if its answer has become old, without waiting for it.
    fn renew(&self) {
        let loaded = self.shared.loaded.borrow().at;
        let old = loaded.is_some_and(|at| (self.shared.clock.now() - at).abs() >= MAX_AGE);
        if !old {
            return;
        }
        if let Ok(gate) = Arc::clone(&self.shared.gate).try_lock_owned()
            && self.shared.may_ask(&gate)
        {
            // The loading is under way; only waiting for its end is dropped.
            drop(self.start(gate));
        }
    }

    /// Starts loading. The future that is returned only waits for the end: a caller who hangs up
    /// must not take away what others wait for.
    fn start(&self, mut gate: OwnedMutexGuard<LastAsked>) -> impl Future<Output = ()> {
        *gate = Some(self.shared.clock.now());
        let shared = Arc::clone(&self.shared);
        let mut loading = self.loading.lock().unwrap_or_else(PoisonError::into_inner);
        while loading.try_join_next().is_some() {}
        loading.spawn(async move {
            match shared.load().await {
                Ok(keys) => tracing::info!(keys, "token keys loaded"),
                Err(error) => tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "token keys not loaded; those known before stay in force"
                ),
            }
            drop(gate);
        });
        let gate = Arc::clone(&self.shared.gate);
        async move { drop(gate.lock().await) }
    }

    /// Waits until no loading is under way.
    #[cfg(test)]
    pub(super) async fn settled(&self) {
        drop(self.shared.gate.lock().await);
    }
}

impl Shared {
    fn may_ask(&self, last: &LastAsked) -> bool {
        // A clock that was set back must not silence us until it has caught up.
        last.is_none_or(|at| (self.clock.now() - at).abs() >= REST)
    }

    async fn load(&self) -> Result<usize, KeySetError> {
        let stamp = match &self.source {
            // Taken before reading: a change in between is then seen next time.
            KeySource::File(path) => stamp(path).await,
            KeySource::Url(_) => None,
        };
        let keys = self.read().await.and_then(|bytes| parse(&bytes));
        self.loaded.send_modify(|loaded| loaded.stamp = stamp);
        let keys = keys?;
        let count = keys.len();
        self.loaded.send_replace(Loaded {
            keys,
            at: Some(self.clock.now()),
            stamp,
        });
        Ok(count)
    }

    async fn read(&self) -> Result<Vec<u8>, KeySetError> {
        match &self.source {
            KeySource::File(path) => {
                tokio::fs::read(path)
                    .await
                    .map_err(|source| KeySetError::File {
                        path: path.clone(),
                        source,
                    })
            }
            KeySource::Url(url) => {
                let call = Call {
                    peer: "token_issuer",
                    name: "fetch_keys",
                };
                let request = Request::get(call, url.clone()).timeout(PATIENCE);
                let answer = self.client.send(request).await?;
                if answer.status != StatusCode::OK {
                    return Err(KeySetError::Status(answer.status));
                }
                Ok(answer.body)
            }
        }
    }
}

async fn stamp(path: &Path) -> Option<Stamp> {
    let metadata = tokio::fs::metadata(path).await.ok()?;
    Some((metadata.modified().ok()?, metadata.len()))
}

/// Reads a key set. A key that is of no use here is passed over, so that an issuer may publish
/// others beside it.
fn parse(bytes: &[u8]) -> Result<Vec<Key>, KeySetError> {
    #[derive(Deserialize)]
    struct KeySet {
        keys: Vec<Value>,
    }

    let set: KeySet = serde_json::from_slice(bytes).map_err(KeySetError::Malformed)?;
    let read = |value| match read_key(value) {
        Ok(key) => Some(key),
        Err(reason) => {
            tracing::debug!(reason, "a key of the JWKS is not used");
            None
        }
    };
    Ok(set.keys.into_iter().filter_map(read).collect())
}

fn read_key(value: Value) -> Result<Key, &'static str> {
    let jwk: Jwk = serde_json::from_value(value).map_err(|_| "it is not understood")?;
    let common = &jwk.common;
    if !matches!(common.public_key_use, None | Some(PublicKeyUse::Signature)) {
        return Err("its `use` is not to verify signatures");
    }
    if let Some(operations) = &common.key_operations
        && !operations.contains(&KeyOperations::Verify)
    {
        return Err("its `key_ops` do not hold `verify`");
    }
    let algorithm = match (&jwk.algorithm, common.key_algorithm) {
        (AlgorithmParameters::RSA(rsa), declared) => {
            if bits(&rsa.n) < MIN_RSA_BITS {
                return Err("it is an RSA key of less than 2048 bits");
            }
            match declared {
                None | Some(KeyAlgorithm::RS256) => Algorithm::RS256,
                Some(KeyAlgorithm::PS256) => Algorithm::PS256,
                _ => return Err("its `alg` is not accepted for an RSA key"),
            }
        }
        (AlgorithmParameters::EllipticCurve(ec), None | Some(KeyAlgorithm::ES256))
            if ec.curve == EllipticCurve::P256 =>
        {
            Algorithm::ES256
        }
        (AlgorithmParameters::OctetKeyPair(okp), None | Some(KeyAlgorithm::EdDSA))
            if okp.curve == EllipticCurve::Ed25519 =>
        {
            Algorithm::EdDSA
        }
        _ => return Err("its type, curve or `alg` is not accepted"),
    };
    let key = DecodingKey::from_jwk(&jwk).map_err(|_| "its numbers are not readable")?;
    Ok(Key {
        id: jwk.common.key_id,
        algorithm,
        public: Arc::new(key),
    })
}

/// How many bits a base64url number has; none if it can't be read.
fn bits(number: &str) -> usize {
    let bytes = URL_SAFE_NO_PAD.decode(number).unwrap_or_default();
    let significant: Vec<u8> = bytes.into_iter().skip_while(|byte| *byte == 0).collect();
    significant.first().map_or(0, |first| {
        significant.len() * 8 - first.leading_zeros() as usize
    })
}
