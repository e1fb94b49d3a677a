//! Sources besides the aggregators: code that reaches a database or a REST endpoint.
//!
//! What a deployment offers is decided once, at boot, by what is compiled in and registered;
//! everything else asks the [`Registry`]. A connector holds no login between two calls: each call
//! opens a connection, reads, and closes it; only where a connection knows nobody, as in HTTP, it may
//! be used again. A source is not trusted: whatever it sends is bounded in time and size, and becomes
//! lines of JSON or one [`ConnectorError`].

#[cfg(any(feature = "connector-postgres", feature = "connector-mysql"))]
mod batches;
mod error;
#[cfg(any(feature = "connector-postgres", feature = "connector-mysql"))]
mod hosts;
#[cfg(feature = "connector-mysql")]
mod lines;
#[cfg(feature = "connector-mysql")]
mod mysql;
#[cfg(feature = "connector-postgres")]
mod postgres;
#[cfg(feature = "connector-rest")]
mod rest;

use std::{collections::BTreeMap, fmt, sync::Arc, time::Duration};

use futures_util::{future::BoxFuture, stream::BoxStream};

pub use self::error::ConnectorError;
use crate::{
    domain::{
        connector::ConnectorType,
        database::{DatabaseLogin, DatabasePlace},
        host_rule::HostOrNet,
        rest::{RestAuth, RestPlace},
        table::{Table, TableRead},
    },
    net::NetError,
};

/// A source, and what it takes to reach it.
#[derive(Clone, Debug)]
pub enum Source {
    /// A database.
    Database {
        /// Where it is.
        place: DatabasePlace,
        /// Who logs in.
        login: DatabaseLogin,
    },
    /// A REST endpoint.
    Rest {
        /// Where it is.
        place: RestPlace,
        /// What proves who we are.
        auth: RestAuth,
    },
}

/// How long and how much.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// How long reaching the source may take, the login included.
    pub connect: Duration,
    /// How long everything may take.
    pub total: Duration,
    /// How many rows an extraction may have.
    pub rows: u64,
    /// How many bytes of lines an extraction may have.
    pub bytes: u64,
}

/// Rows, as lines of JSON.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Batch {
    /// One object a row, each ended by a line feed, with no other line feed in it.
    pub lines: Vec<u8>,
    /// How many rows that is.
    pub rows: u64,
}

/// How large a batch is made before it is handed on.
pub const BATCH_BYTES: usize = 256 * 1024;

/// How much a description of a database may be: enough for 10,000 tables of 100 columns.
#[cfg(any(feature = "connector-postgres", feature = "connector-mysql"))]
const MAX_DESCRIPTION_BYTES: usize = 128 * 1024 * 1024;

/// The rows of a table, a batch after the other.
///
/// An error ends it; what came before is good, but not all there is.
pub type Batches = BoxStream<'static, Result<Batch, ConnectorError>>;

/// Code that reaches one type of source.
///
/// A connector that is given another kind of source answers [`ConnectorError::Refused`].
pub trait Connector: fmt::Debug + Send + Sync {
    /// What it is called and which family it belongs to.
    fn connector_type(&self) -> ConnectorType;

    /// Whether the deployment lets a connection name this source, as far as that can be told
    /// without asking anybody. What can be told only by resolving a name is checked on the way.
    fn admits(&self, source: &Source) -> Result<(), ConnectorError>;

    /// Reaches the source and logs in.
    fn test<'a>(
        &'a self,
        source: &'a Source,
        limits: Limits,
    ) -> BoxFuture<'a, Result<(), ConnectorError>>;

    /// The tables that may be read there, ordered by name.
    fn describe<'a>(
        &'a self,
        source: &'a Source,
        limits: Limits,
    ) -> BoxFuture<'a, Result<Vec<Table>, ConnectorError>>;

    /// Reads a table as it is now. Nothing happens before the first batch is asked for; dropping the
    /// stream ends the reading.
    fn read(&self, source: Source, read: TableRead, limits: Limits) -> Batches;
}

/// Why a connector can't be registered.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum RegistryError {
    /// The configuration names a type that this program does not have.
    #[error("there is no connector type \"{name}\" in this program; it has {}", list(.known))]
    Unknown {
        /// What was asked for.
        name: String,
        /// What there is.
        known: Vec<&'static str>,
    },
    /// Two connectors claim one name.
    #[error("two connectors are called \"{0}\"")]
    Twice(&'static str),
}

fn list(known: &[&str]) -> String {
    if known.is_empty() {
        "none".to_owned()
    } else {
        known.join(", ")
    }
}

/// The connectors of this deployment, by type.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    connectors: BTreeMap<&'static str, Arc<dyn Connector>>,
}

impl Registry {
    /// Registers, of the connectors there are, those that `wanted` names; all of them when it
    /// names none. Everything that is wrong is reported.
    pub fn boot(
        available: Vec<Arc<dyn Connector>>,
        wanted: Option<&[String]>,
    ) -> Result<Self, Vec<RegistryError>> {
        let known: Vec<&'static str> = available
            .iter()
            .map(|connector| connector.connector_type().name)
            .collect();
        let mut faults: Vec<RegistryError> = wanted
            .unwrap_or_default()
            .iter()
            .filter(|name| !known.contains(&name.as_str()))
            .map(|name| RegistryError::Unknown {
                name: name.clone(),
                known: known.clone(),
            })
            .collect();
        let mut registry = Self::default();
        for connector in available {
            let name = connector.connector_type().name;
            if wanted.is_some_and(|wanted| !wanted.iter().any(|one| one == name)) {
                continue;
            }
            if registry.connectors.insert(name, connector).is_some() {
                faults.push(RegistryError::Twice(name));
            }
        }
        if faults.is_empty() {
            Ok(registry)
        } else {
            Err(faults)
        }
    }

    /// The registered types, by name.
    pub fn types(&self) -> impl Iterator<Item = ConnectorType> + '_ {
        self.connectors
            .values()
            .map(|connector| connector.connector_type())
    }

    /// The connector of that type, if it was registered.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Arc<dyn Connector>> {
        self.connectors.get(name)
    }
}

/// Where the connectors of a deployment may go.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Hosts and networks that database connections may name.
    pub database_hosts: Vec<HostOrNet>,
    /// Private hosts and networks that REST connections may name beside every public host.
    pub rest_private_hosts: Vec<HostOrNet>,
}

/// The connectors compiled into this program. Fails when one of them can't be set up here.
#[cfg_attr(
    not(any(
        feature = "connector-mysql",
        feature = "connector-postgres",
        feature = "connector-rest"
    )),
    expect(
        unused_variables,
        reason = "no connector is compiled in that goes anywhere"
    )
)]
pub fn compiled_in(reach: &Reach) -> Result<Vec<Arc<dyn Connector>>, NetError> {
    Ok(vec![
        #[cfg(feature = "connector-mysql")]
        Arc::new(mysql::Mysql::new(reach)),
        #[cfg(feature = "connector-postgres")]
        Arc::new(postgres::Postgres::new(reach)),
        #[cfg(feature = "connector-rest")]
        Arc::new(rest::RestGeneric::new(&reach.rest_private_hosts)?),
    ])
}

/// What takes longer than it may has failed.
#[cfg(any(feature = "connector-postgres", feature = "connector-mysql"))]
async fn timed<T>(
    limit: Duration,
    work: impl Future<Output = Result<T, ConnectorError>>,
) -> Result<T, ConnectorError> {
    let done = tokio::time::timeout(limit, work).await;
    done.unwrap_or(Err(ConnectorError::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::connector::ConnectorCategory;

    #[derive(Debug)]
    struct Named(&'static str);

    impl Connector for Named {
        fn connector_type(&self) -> ConnectorType {
            ConnectorType {
                name: self.0,
                category: ConnectorCategory::Database,
            }
        }

        fn admits(&self, _: &Source) -> Result<(), ConnectorError> {
            Ok(())
        }

        fn test<'a>(
            &'a self,
            _: &'a Source,
            _: Limits,
        ) -> BoxFuture<'a, Result<(), ConnectorError>> {
            Box::pin(async { Ok(()) })
        }

        fn describe<'a>(
            &'a self,
            _: &'a Source,
            _: Limits,
        ) -> BoxFuture<'a, Result<Vec<Table>, ConnectorError>> {
            Box::pin(async { Ok(Vec::new()) })
        }

        fn read(&self, _: Source, _: TableRead, _: Limits) -> Batches {
            Box::pin(futures_util::stream::empty())
        }
    }

    fn available() -> Vec<Arc<dyn Connector>> {
        vec![Arc::new(Named("postgres")), Arc::new(Named("mysql"))]
    }

    fn names(registry: &Registry) -> Vec<&'static str> {
        registry.types().map(|one| one.name).collect()
    }

    #[test]
    fn everything_is_registered_unless_the_deployment_chooses() {
        let all = Registry::boot(available(), None).unwrap();
        assert_eq!(names(&all), ["mysql", "postgres"]);
        let one = Registry::boot(available(), Some(&["postgres".to_owned()])).unwrap();
        assert_eq!(names(&one), ["postgres"]);
        assert!(one.get("postgres").is_some());
        assert!(one.get("mysql").is_none());
    }

    #[test]
    fn a_deployment_may_choose_none() {
        assert_eq!(
            names(&Registry::boot(available(), Some(&[])).unwrap()),
            [""; 0]
        );
    }

    #[test]
    fn every_fault_of_the_choice_is_named() {
        let wanted = ["oracle".to_owned(), "postgres".to_owned(), "db2".to_owned()];
        let faults = Registry::boot(available(), Some(&wanted)).unwrap_err();
        assert_eq!(faults.len(), 2);
        assert_eq!(
            faults[0].to_string(),
            "there is no connector type \"oracle\" in this program; it has postgres, mysql"
        );
        let twice = vec![
            Arc::new(Named("a")) as Arc<dyn Connector>,
            Arc::new(Named("a")),
        ];
        assert_eq!(
            Registry::boot(twice, None).unwrap_err(),
            [RegistryError::Twice("a")]
        );
    }
}
