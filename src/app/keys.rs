//! Keeping data keys wrapped by the present key ring entry.

use super::AppError;
use crate::{
    domain::{clock::Clock, ids::TenantId},
    storage::Store,
    vault::Vault,
};

/// How many data keys are re-wrapped in one transaction: short enough to be killed at any moment.
const BATCH: u16 = 100;

/// How much a key ring entry is still needed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyUse {
    /// The entry.
    pub ring_key_id: String,
    /// Whether new data keys are wrapped by it.
    pub primary: bool,
    /// Whether the key ring lists it; without it the data keys it wraps can't be opened.
    pub listed: bool,
    /// How many data keys it wraps.
    pub data_keys: u64,
}

/// How far a re-wrap is.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct RewrapProgress {
    /// Data keys that this run re-wrapped.
    pub rewrapped: u64,
    /// Data keys that could not be opened, each with the reason.
    pub unopened: Vec<(TenantId, String)>,
    /// Data keys that are not wrapped by the primary entry yet.
    pub left: u64,
}

/// Every entry that the key ring lists or a data key needs.
pub async fn list_keys(store: &Store, vault: &Vault) -> Result<Vec<KeyUse>, AppError> {
    let mut tx = store.begin_system().await?;
    let counts = tx.count_tenant_keys().await?;
    let ring: Vec<&str> = vault.ring_key_ids().collect();
    let mut uses: Vec<KeyUse> = ring
        .iter()
        .enumerate()
        .map(|(at, id)| KeyUse {
            ring_key_id: (*id).to_owned(),
            primary: at == 0,
            listed: true,
            data_keys: counts
                .iter()
                .find_map(|(of, count)| (of == id).then_some(*count))
                .unwrap_or(0),
        })
        .collect();
    uses.extend(
        counts
            .into_iter()
            .filter(|(id, _)| !ring.contains(&id.as_str()))
            .map(|(ring_key_id, data_keys)| KeyUse {
                ring_key_id,
                primary: false,
                listed: false,
                data_keys,
            }),
    );
    Ok(uses)
}

/// Wraps every data key by the primary entry of the key ring. Safe to run while the server works,
/// safe to kill, and a second run goes on where the first one ended.
pub async fn rewrap_keys(
    store: &Store,
    vault: &Vault,
    clock: &dyn Clock,
) -> Result<RewrapProgress, AppError> {
    let mut progress = RewrapProgress::default();
    let mut after = TenantId(uuid::Uuid::nil());
    loop {
        let mut tx = store.begin_system().await?;
        let batch = tx
            .take_tenant_keys_to_rewrap(vault.primary_ring_key_id(), after, BATCH)
            .await?;
        let Some(last) = batch.last() else { break };
        after = last.tenant;
        for stored in &batch {
            match vault.rewrap(stored.tenant, &stored.key) {
                Ok(Some(key)) => {
                    tx.rewrap_tenant_key(stored.tenant, &key, clock.now())
                        .await?;
                    progress.rewrapped += 1;
                }
                Ok(None) => {}
                Err(error) => progress.unopened.push((stored.tenant, error.to_string())),
            }
        }
        tx.commit().await?;
    }
    progress.left = list_keys(store, vault)
        .await?
        .iter()
        .filter(|key| !key.primary)
        .map(|key| key.data_keys)
        .sum();
    Ok(progress)
}
