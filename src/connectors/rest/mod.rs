//! A REST endpoint whose lists an operator declared: `rest-generic`.
//!
//! Every request goes to the declared server and to no other. Values are handed on as they were written: no number is ever
//! read as one. Filters are applied here, since nobody knows what the server would make of them:
//!
//! - Equality compares the text of a member: what a string holds, and a number, `true`, `false` or
//!   `null` as it is written; `1.0` is not `1`. A member that is not there is null. Lists and objects equal nothing.
//! - A day is the beginning `YYYY-MM-DD` of a string. With a time and an offset it is an instant and counts by
//!   its day in UTC. A record without such a day is in no bounded period.

mod asking;
mod columns;
mod json;
mod link;
mod paging;
mod reading;
mod records;

use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use self::{asking::Asker, paging::Walk, records::Records};
use super::{Batches, Connector, ConnectorError, Limits, Source};
use crate::{
    domain::{
        connector::{ConnectorCategory, ConnectorType},
        host_rule::HostOrNet,
        rest::{Resource, RestAuth, RestPlace, check_host},
        table::{Table, TableRead},
    },
    net::{Client, NetConfig, NetError},
};

/// How large an answer may be; one is held at a time.
const PAGE_BYTES: usize = 32 * 1024 * 1024;

/// How long one answer may take, whatever the whole may take.
const PAGE_PATIENCE: Duration = Duration::from_mins(1);

/// How long a connection may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);

/// The connector.
#[derive(Clone, Debug)]
pub(super) struct RestGeneric {
    client: Client,
    private_hosts: Vec<HostOrNet>,
}

impl RestGeneric {
    /// Builds a client that dials public addresses, and these private hosts.
    pub(super) fn new(private_hosts: &[HostOrNet]) -> Result<Self, NetError> {
        let client = Client::new(NetConfig {
            connect_timeout: CONNECT_PATIENCE,
            total_timeout: PAGE_PATIENCE,
            body_cap: PAGE_BYTES,
            exemptions: private_hosts.to_vec(),
            proxy: None,
        })?;
        Ok(Self {
            client,
            private_hosts: private_hosts.to_vec(),
        })
    }

    fn parts<'a>(
        &self,
        source: &'a Source,
    ) -> Result<(&'a RestPlace, &'a RestAuth), ConnectorError> {
        let Source::Rest { place, auth } = source else {
            return Err(ConnectorError::Refused);
        };
        check_host(&place.base_url, &self.private_hosts)
            .map_err(|_| ConnectorError::HostNotAllowed)?;
        Ok((place, auth))
    }

    fn asker(&self, auth: &RestAuth, limits: Limits) -> Asker {
        Asker {
            client: self.client.clone(),
            auth: auth.clone(),
            deadline: Instant::now() + limits.total,
        }
    }
}

impl Connector for RestGeneric {
    fn connector_type(&self) -> ConnectorType {
        ConnectorType {
            name: "rest-generic",
            category: ConnectorCategory::Rest,
        }
    }

    fn admits(&self, source: &Source) -> Result<(), ConnectorError> {
        self.parts(source).map(drop)
    }

    /// Reads the first page of the first resource; without any, whatever is at the base URL.
    fn test<'a>(
        &'a self,
        source: &'a Source,
        limits: Limits,
    ) -> BoxFuture<'a, Result<(), ConnectorError>> {
        Box::pin(async move {
            let (place, auth) = self.parts(source)?;
            let asker = self.asker(auth, limits);
            match place.resources.first() {
                Some(resource) => first_page(&asker, place, resource).await.map(drop),
                None => asker.send(&place.base_url).await.map(drop),
            }
        })
    }

    /// Judges each resource by its first page; one that can't be read fails the whole.
    fn describe<'a>(
        &'a self,
        source: &'a Source,
        limits: Limits,
    ) -> BoxFuture<'a, Result<Vec<Table>, ConnectorError>> {
        Box::pin(async move {
            let (place, auth) = self.parts(source)?;
            let asker = self.asker(auth, limits);
            let mut tables = Vec::with_capacity(place.resources.len());
            for resource in &place.resources {
                let mut records = first_page(&asker, place, resource).await?;
                tables.push(Table {
                    name: resource.name.clone(),
                    columns: columns::infer(&mut records)?,
                });
            }
            tables.sort_by(|one, other| one.name.cmp(&other.name));
            Ok(tables)
        })
    }

    fn read(&self, source: Source, read: TableRead, limits: Limits) -> Batches {
        reading::batches(self.clone(), source, read, limits)
    }
}

/// Reads the first page of a resource.
async fn first_page(
    asker: &Asker,
    place: &RestPlace,
    resource: &Resource,
) -> Result<Records, ConnectorError> {
    let walk = Walk::of(place, resource)?;
    match asker.ask(&walk.first()).await {
        Ok(answer) => Records::of(answer.document, &resource.record_path),
        Err(error) => Err(named(error, resource)),
    }
}

/// What is not there, by the name it is extracted by.
fn named(error: ConnectorError, resource: &Resource) -> ConnectorError {
    match error {
        ConnectorError::NoSuchPlace => ConnectorError::NoSuchTable {
            table: resource.name.clone(),
        },
        other => other,
    }
}
