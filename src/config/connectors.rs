//! The connectors, and where they may go.

use std::time::Duration;

use super::{
    reader::Reader,
    variables::{
        CONNECTORS, DATABASE_HOSTS, EXTRACTION_MAX_BYTES, EXTRACTION_MAX_ROWS,
        EXTRACTION_RETENTION, EXTRACTION_TENANT_BYTES, EXTRACTION_TIMEOUT, REST_PRIVATE_HOSTS,
    },
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
    /// How much an extraction may take.
    pub extractions: Extractions,
}

/// How much an extraction may take, and how long its rows are kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Extractions {
    /// How long its rows are kept.
    pub retention: Duration,
    /// How long an attempt may take.
    pub timeout: Duration,
    /// How many rows it may have.
    pub rows: u64,
    /// How many bytes of JSON it may have.
    pub bytes: u64,
    /// How many bytes of JSON a tenant may keep before another one is refused.
    pub tenant_bytes: u64,
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
        let extractions = Extractions::read(reader);
        Some(Self {
            types: Types::of(types?),
            database_hosts: database_hosts?,
            rest_private_hosts: rest_private_hosts?,
            extractions: extractions?,
        })
    }
}

impl Extractions {
    fn read(reader: &mut Reader<'_>) -> Option<Self> {
        const DAY: Duration = Duration::from_hours(24);
        let retention = reader.parsed(&EXTRACTION_RETENTION, |text| {
            duration(text, Duration::from_mins(1), 365 * DAY)
        });
        let timeout = reader.parsed(&EXTRACTION_TIMEOUT, |text| {
            duration(text, Duration::from_secs(1), DAY)
        });
        let rows = reader.parsed(&EXTRACTION_MAX_ROWS, |text| number(text, 1, 1_000_000_000));
        let bytes = reader.parsed(&EXTRACTION_MAX_BYTES, |text| {
            number(text, 1_000, 1_000_000_000_000)
        });
        let tenant_bytes = reader.parsed(&EXTRACTION_TENANT_BYTES, |text| {
            number(text, 1_000, 1_000_000_000_000_000)
        });
        Some(Self {
            retention: retention?,
            timeout: timeout?,
            rows: rows?,
            bytes: bytes?,
            tenant_bytes: tenant_bytes?,
        })
    }
}

fn duration(text: &str, least: Duration, most: Duration) -> Result<Duration, &'static str> {
    humantime::parse_duration(text)
        .ok()
        .filter(|duration| (least..=most).contains(duration))
        .ok_or("is not a duration in this range")
}

fn number(text: &str, least: u64, most: u64) -> Result<u64, &'static str> {
    text.parse()
        .ok()
        .filter(|number| (least..=most).contains(number))
        .ok_or("is not a number in this range")
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
