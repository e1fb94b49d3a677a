//! The connectors, and where they may go.

use super::{
    reader::Reader,
    variables::{CONNECTORS, DATABASE_HOSTS, REST_PRIVATE_HOSTS},
};
use crate::domain::host_rule::HostOrNet;

/// The connectors' settings.
#[derive(Clone, Debug)]
pub struct Connectors {
    /// Which types are registered.
    pub types: Types,
    /// Hosts that database connections may name.
    pub database_hosts: Vec<HostOrNet>,
    /// Private hosts that REST connections may name.
    pub rest_private_hosts: Vec<HostOrNet>,
}

/// Which connector types are registered at start.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Types {
    /// Every type that is compiled in.
    All,
    /// These; the registry knows which exist.
    Only(Vec<String>),
}

impl Connectors {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let types = reader.list(&CONNECTORS, connector_type);
        let database_hosts = reader.list(&DATABASE_HOSTS, str::parse);
        let rest_private_hosts = reader.list(&REST_PRIVATE_HOSTS, str::parse);
        Some(Self {
            types: Types::of(types?),
            database_hosts: database_hosts?,
            rest_private_hosts: rest_private_hosts?,
        })
    }
}

impl Types {
    fn of(names: Vec<String>) -> Self {
        if names.iter().any(|name| name == "all") {
            Self::All
        } else {
            Self::Only(names)
        }
    }
}

fn connector_type(text: &str) -> Result<String, &'static str> {
    text.bytes()
        .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
        .then(|| text.to_owned())
        .ok_or("is not a connector type (lower case letters, digits and hyphens)")
}
