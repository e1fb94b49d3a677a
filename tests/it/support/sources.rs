//! Sources that do what a test tells them: they stand in for databases and REST endpoints.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{StreamExt as _, future::BoxFuture};
use matcher_discovery::{
    connectors::{Batch, Batches, Connector, ConnectorError, Limits, Source},
    domain::{
        connector::{ConnectorCategory, ConnectorType},
        table::{Column, Table, TableRead},
    },
};
use serde_json::Value;
use tokio::sync::{Semaphore, watch};

/// What a source does when it is asked.
#[derive(Clone, Debug)]
pub(crate) enum Behaviour {
    /// Lets us in, and offers these tables.
    Offers(Vec<Table>),
    /// Does not.
    Fails(ConnectorError),
}

/// How many sources of a host were asked so far, and how many are being asked.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(crate) struct Asked {
    pub(crate) ever: usize,
    pub(crate) now: usize,
    pub(crate) most: usize,
}

/// What comes of a table, batch after batch.
type Coming = Vec<Result<Batch, ConnectorError>>;

/// The sources there are, by host. A host that no test speaks of offers nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    behaviours: Mutex<HashMap<String, Behaviour>>,
    gates: Mutex<HashMap<String, Arc<Semaphore>>>,
    asked: watch::Sender<HashMap<String, Asked>>,
    /// What comes of a host's table, batch after batch.
    rows: Mutex<HashMap<(String, String), Coming>>,
    /// What was read so far.
    reads: Mutex<Vec<TableRead>>,
    /// How long each of those might take.
    totals: Mutex<Vec<Duration>>,
    /// Who logged in last, as `user` or `user:password`.
    logins: Mutex<Vec<String>>,
}

/// The one host that no connection may name.
pub(crate) const FORBIDDEN: &str = "forbidden.internal";

pub(crate) fn table(name: &str, columns: &[(&str, &str, bool)]) -> Table {
    Table {
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|(name, type_name, nullable)| Column {
                name: (*name).to_owned(),
                type_name: (*type_name).to_owned(),
                nullable: *nullable,
            })
            .collect(),
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap()
}

impl Sources {
    /// The connectors that reach these sources.
    pub(crate) fn connectors(&self, names: &[&'static str]) -> Vec<Arc<dyn Connector>> {
        let connector = |name: &&'static str| {
            Arc::new(Scripted {
                name,
                sources: self.clone(),
            }) as Arc<dyn Connector>
        };
        names.iter().map(connector).collect()
    }

    /// From now on this is what the sources of a host do.
    pub(crate) fn set(&self, host: &str, behaviour: Behaviour) {
        lock(&self.0.behaviours).insert(host.to_owned(), behaviour);
    }

    pub(crate) fn offers(&self, host: &str, tables: Vec<Table>) {
        self.set(host, Behaviour::Offers(tables));
    }

    pub(crate) fn fails(&self, host: &str, error: ConnectorError) {
        self.set(host, Behaviour::Fails(error));
    }

    /// From now on this comes of a host's table: batches of rows, and what ends them early.
    pub(crate) fn yields(
        &self,
        host: &str,
        table: &str,
        batches: &[Result<&[Value], ConnectorError>],
    ) {
        let batch = |one: &Result<&[Value], ConnectorError>| {
            one.clone().map(|rows| Batch {
                lines: rows
                    .iter()
                    .flat_map(|row| format!("{row}\n").into_bytes())
                    .collect(),
                rows: rows.len() as u64,
            })
        };
        let key = (host.to_owned(), table.to_owned());
        lock(&self.0.rows).insert(key, batches.iter().map(batch).collect());
    }

    /// What was read so far.
    pub(crate) fn reads(&self) -> Vec<TableRead> {
        lock(&self.0.reads).clone()
    }

    /// How long each of those reads might take.
    pub(crate) fn totals(&self) -> Vec<Duration> {
        lock(&self.0.totals).clone()
    }

    /// From now on the sources of a host don't answer until they are let go.
    pub(crate) fn hold(&self, host: &str) {
        lock(&self.0.gates).insert(host.to_owned(), Arc::new(Semaphore::new(0)));
    }

    pub(crate) fn let_go(&self, host: &str) {
        if let Some(gate) = lock(&self.0.gates).remove(host) {
            gate.close();
        }
    }

    /// How often a host was asked.
    pub(crate) fn asked(&self, host: &str) -> Asked {
        self.0.asked.borrow().get(host).copied().unwrap_or_default()
    }

    /// Waits until this holds of how often a host was asked.
    pub(crate) async fn until(&self, host: &str, holds: impl Fn(Asked) -> bool) {
        let mut asked = self.0.asked.subscribe();
        asked
            .wait_for(|all| holds(all.get(host).copied().unwrap_or_default()))
            .await
            .unwrap();
    }

    /// Who logged in so far.
    pub(crate) fn logins(&self) -> Vec<String> {
        lock(&self.0.logins).clone()
    }

    async fn ask(&self, source: &Source) -> Result<Vec<Table>, ConnectorError> {
        let host = host(source);
        self.count(&host, |asked| {
            asked.ever += 1;
            asked.now += 1;
            asked.most = asked.most.max(asked.now);
        });
        let _asking = Asking(self, host.clone());
        if let Source::Database { login, .. } = source {
            let mut text = login.user.expose().to_owned();
            if let Some(password) = &login.password {
                text = format!("{text}:{}", password.expose());
            }
            lock(&self.0.logins).push(text);
        }
        let gate = lock(&self.0.gates).get(&host).cloned();
        if let Some(gate) = gate {
            // It is only ever closed.
            let _ = gate.acquire().await;
        }
        match lock(&self.0.behaviours).get(&host).cloned() {
            Some(Behaviour::Offers(tables)) => Ok(tables),
            Some(Behaviour::Fails(error)) => Err(error),
            None => Ok(Vec::new()),
        }
    }

    fn count(&self, host: &str, change: impl FnOnce(&mut Asked)) {
        self.0
            .asked
            .send_modify(|all| change(all.entry(host.to_owned()).or_default()));
    }
}

/// Ends, whatever else ends it.
struct Asking<'a>(&'a Sources, String);

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.0.count(&self.1, |asked| asked.now -= 1);
    }
}

fn host(source: &Source) -> String {
    match source {
        Source::Database { place, .. } => place.host.clone(),
        Source::Rest { place, .. } => place.base_url.host_str().unwrap().to_owned(),
    }
}

#[derive(Debug)]
struct Scripted {
    name: &'static str,
    sources: Sources,
}

impl Connector for Scripted {
    fn connector_type(&self) -> ConnectorType {
        ConnectorType {
            name: self.name,
            category: if self.name.starts_with("rest") {
                ConnectorCategory::Rest
            } else {
                ConnectorCategory::Database
            },
        }
    }

    fn admits(&self, source: &Source) -> Result<(), ConnectorError> {
        if host(source) == FORBIDDEN {
            return Err(ConnectorError::HostNotAllowed);
        }
        Ok(())
    }

    fn test<'a>(
        &'a self,
        source: &'a Source,
        _: Limits,
    ) -> BoxFuture<'a, Result<(), ConnectorError>> {
        Box::pin(async { self.sources.ask(source).await.map(drop) })
    }

    fn describe<'a>(
        &'a self,
        source: &'a Source,
        _: Limits,
    ) -> BoxFuture<'a, Result<Vec<Table>, ConnectorError>> {
        Box::pin(self.sources.ask(source))
    }

    fn read(&self, source: Source, read: TableRead, limits: Limits) -> Batches {
        let sources = self.sources.clone();
        Box::pin(
            futures_util::stream::once(async move {
                lock(&sources.0.reads).push(read.clone());
                lock(&sources.0.totals).push(limits.total);
                let asked = sources.ask(&source).await.map(drop);
                let (host, table) = (host(&source), read.table);
                let batches = lock(&sources.0.rows).get(&(host, table)).cloned();
                let batches = match asked {
                    Ok(()) => batches.unwrap_or_default(),
                    Err(error) => vec![Err(error)],
                };
                futures_util::stream::iter(batches)
            })
            .flatten(),
        )
    }
}
