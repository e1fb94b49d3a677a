//! Looking at every source of a tenant.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::TimeDelta;
use tokio::{sync::Semaphore, task::JoinSet};
use tracing::Instrument as _;
use url::Url;
use uuid::Uuid;

use crate::{
    app::{App, AppError},
    domain::{
        caller::Caller,
        discovery::Health,
        ids::{self, TenantId},
    },
    storage::AccessToSource,
    vault::WrappedKey,
};

/// How many sources are looked at at once.
const AT_ONCE: usize = 64;
/// How many of them may be on one host: so that a host that never answers holds up only its own, and
/// one that does is not overrun.
const AT_ONCE_ON_A_HOST: usize = 8;
/// How long a refresh takes at most; less than a request may. What it did not come to is looked at
/// first by the next one.
const IN_ALL: Duration = Duration::from_secs(25);
/// When a refresh whose process is gone is given up.
const LEASE: TimeDelta = TimeDelta::seconds(60);

impl App {
    /// Looks at the source of every connection of the tenant and writes down what was found; answers
    /// how many sources let us in. One refresh of a tenant runs at a time.
    pub async fn refresh_discovery_connections(&self, caller: &Caller) -> Result<u64, AppError> {
        if self.0.parts.registry.types().next().is_none() {
            return Err(AppError::NoConnectors);
        }
        let tenant = caller.tenant;
        let lease = Lease::take(self, tenant).await?;
        let mut tx = self.0.parts.store.begin(tenant).await?;
        let stored = tx.accesses_to_sources().await?;
        let key = tx.tenant_key().await?;
        drop(tx);
        let all = stored.len();
        let mut looks = self.start_looks(tenant, stored, key);
        let (mut looked, mut synced) = (0, 0);
        let counting = async {
            while let Some(ended) = looks.join_next().await {
                match ended {
                    Ok(Ok(health)) => synced += u64::from(health == Health::Available),
                    // The next ones would fare no better.
                    Ok(Err(error @ AppError::Unavailable(_))) => return Err(error),
                    Ok(Err(error)) => tracing::error!(%error, "a source could not be looked at"),
                    Err(error) => tracing::error!(%error, "a look at a source panicked"),
                }
                looked += 1;
            }
            Ok(())
        };
        let complete = tokio::time::timeout(IN_ALL, counting).await;
        let finished = complete.is_ok();
        looks.shutdown().await;
        complete.unwrap_or(Ok(()))?;
        lease.release(finished).await?;
        tracing::info!(
            tenant.id = %tenant,
            connections = all,
            looked,
            synced,
            "the sources of a tenant were looked at"
        );
        Ok(synced)
    }

    /// Starts a look at each of these; all end when the set is dropped.
    fn start_looks(
        &self,
        tenant: TenantId,
        stored: Vec<AccessToSource>,
        key: Option<WrappedKey>,
    ) -> JoinSet<Result<Health, AppError>> {
        let key = Arc::new(key);
        let everywhere = Arc::new(Semaphore::new(AT_ONCE));
        let mut hosts: HashMap<String, Arc<Semaphore>> = HashMap::new();
        let mut looks = JoinSet::new();
        for one in stored {
            let on_the_host = hosts
                .entry(endpoint(&one))
                .or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE_ON_A_HOST)))
                .clone();
            let (app, key, everywhere) = (self.clone(), Arc::clone(&key), Arc::clone(&everywhere));
            let look = async move {
                // In this order, so that nobody holds a place here while waiting for one there.
                let _on_the_host = on_the_host.acquire().await;
                let _anywhere = everywhere.acquire().await;
                app.look_in_passing(tenant, &one, key.as_ref().as_ref())
                    .await
            };
            looks.spawn(look.in_current_span());
        }
        looks
    }

    async fn look_in_passing(
        &self,
        tenant: TenantId,
        stored: &AccessToSource,
        key: Option<&WrappedKey>,
    ) -> Result<Health, AppError> {
        let connection = &stored.connection;
        let opened = self.open_source(tenant, stored, key)?;
        let look = self
            .look(opened.as_ref().map_err(|obstacle| *obstacle))
            .await;
        self.record_look(tenant, connection.id, connection.version, &look)
            .await?;
        if let Some(trouble) = look.trouble() {
            tracing::info!(
                tenant.id = %tenant,
                connection.id = %connection.id,
                connector = connection.connector,
                health = look.health().as_str(),
                trouble,
                "a source was looked at and all is not well"
            );
        }
        Ok(look.health())
    }
}

/// What answers, or does not, for several connections: the host and port.
fn endpoint(stored: &AccessToSource) -> String {
    let host = &stored.place.host;
    match Url::parse(host) {
        Ok(base_url) => base_url.origin().ascii_serialization(),
        Err(_) => format!("{host} {}", stored.place.attributes["port"]),
    }
}

/// The right to refresh a tenant's connections. Given back however the refresh ends: also when
/// whoever asked for it is gone.
struct Lease {
    app: App,
    tenant: TenantId,
    id: Uuid,
    held: bool,
}

impl Lease {
    async fn take(app: &App, tenant: TenantId) -> Result<Self, AppError> {
        let parts = &app.0.parts;
        let now = parts.clock.now();
        let mut lease = Self {
            app: app.clone(),
            tenant,
            id: ids::new_uuid(&*parts.clock, &*parts.random),
            // From here on, because the commit below may be the last thing that is done.
            held: true,
        };
        let mut tx = parts.store.begin(tenant).await?;
        if !tx.take_refresh(lease.id, now, now + LEASE).await? {
            lease.held = false;
            return Err(AppError::RefreshInProgress);
        }
        tx.commit().await?;
        Ok(lease)
    }

    async fn release(mut self, finished: bool) -> Result<(), AppError> {
        give_back(&self.app, self.tenant, self.id, finished).await?;
        self.held = false;
        Ok(())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // Without a runtime there is nobody left to do it; then the lease runs out.
        if !self.held || tokio::runtime::Handle::try_current().is_err() {
            return;
        }
        let (app, tenant, id) = (self.app.clone(), self.tenant, self.id);
        self.app.0.parts.tasks.spawn("end of a refresh", async move {
            if let Err(error) = give_back(&app, tenant, id, false).await {
                tracing::warn!(%error, tenant.id = %tenant, "a refresh could not be given back; its lease runs out");
            }
        });
    }
}

async fn give_back(app: &App, tenant: TenantId, id: Uuid, finished: bool) -> Result<(), AppError> {
    let mut tx = app.0.parts.store.begin(tenant).await?;
    let at = finished.then(|| app.0.parts.clock.now());
    tx.release_refresh(id, at).await?;
    Ok(tx.commit().await?)
}
