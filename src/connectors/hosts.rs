//! Which hosts a database connection may name, and what is dialled for a name.
//!
//! Databases usually have private addresses, so they are allowed by list and by nothing else.

use std::{net::IpAddr, time::Duration};

use url::Host;

use super::ConnectorError;
use crate::domain::host_rule::HostOrNet;

/// The hosts and networks that database connections may name; without any, none.
#[derive(Clone, Debug)]
pub(super) struct DatabaseHosts(Vec<HostOrNet>);

impl DatabaseHosts {
    pub(super) fn new(listed: Vec<HostOrNet>) -> Self {
        Self(listed)
    }

    /// Whether a connection may name this host, as far as that can be told without resolving it: a
    /// name that is not listed itself may still lead into a network that is.
    ///
    /// Where the name has to be proven (`proves_name`), the driver needs the name and resolves it
    /// itself. Such a name is listed, since it could lead elsewhere each time it is asked for.
    pub(super) fn admits(
        &self,
        host: &str,
        port: u16,
        proves_name: bool,
    ) -> Result<(), ConnectorError> {
        let host = parse(host)?;
        let may_lead = matches!(host, Host::Domain(_)) && !proves_name;
        let leads = |listed: &HostOrNet| may_lead && matches!(listed, HostOrNet::Net(_));
        let admitted = self
            .0
            .iter()
            .any(|listed| listed.names(&host, port) || leads(listed));
        admitted.then_some(()).ok_or(ConnectorError::HostNotAllowed)
    }

    /// What to dial for this host. A name that is listed is dialled as it is: whoever listed it
    /// answers for where it leads. Any other name is resolved here and dialled by an address that
    /// is in a listed network, so that it can't lead elsewhere a moment later; a name that has to be
    /// proven is none of those.
    pub(super) async fn dial(
        &self,
        host: &str,
        port: u16,
        proves_name: bool,
        patience: Duration,
    ) -> Result<String, ConnectorError> {
        self.admits(host, port, proves_name)?;
        let parsed = parse(host)?;
        if self.0.iter().any(|listed| listed.names(&parsed, port)) {
            return Ok(host.to_owned());
        }
        let found = tokio::time::timeout(patience, tokio::net::lookup_host((host, port)))
            .await
            .map_err(|_| ConnectorError::TimedOut)?
            .map_err(|_| ConnectorError::Unreachable)?;
        found
            .map(|socket| socket.ip())
            .find(|address| self.holds(*address))
            .map(|inside| inside.to_string())
            .ok_or(ConnectorError::HostNotAllowed)
    }

    fn holds(&self, address: IpAddr) -> bool {
        self.0
            .iter()
            .any(|listed| matches!(listed, HostOrNet::Net(_)) && listed.holds(address))
    }
}

/// Reads a host. What is none would be taken for the path of a socket, or worse, by a driver.
fn parse(host: &str) -> Result<Host<&str>, ConnectorError> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return Ok(match address.to_canonical() {
            IpAddr::V4(address) => Host::Ipv4(address),
            IpAddr::V6(address) => Host::Ipv6(address),
        });
    }
    let plain = !host.is_empty()
        && host.len() <= 253
        && host
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
        // The old spellings of addresses (a number, a hexadecimal one) are read by resolvers.
        && host.bytes().any(|byte| byte.is_ascii_alphabetic())
        && !host.starts_with("0x");
    plain
        .then_some(Host::Domain(host))
        .ok_or(ConnectorError::HostNotAllowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    fn hosts(listed: &[&str]) -> DatabaseHosts {
        DatabaseHosts::new(listed.iter().map(|one| one.parse().unwrap()).collect())
    }

    #[test]
    fn without_a_list_nothing_may_be_named() {
        for host in ["127.0.0.1", "localhost", "8.8.8.8", "db.example"] {
            let refused = hosts(&[]).admits(host, 5432, false);
            assert_eq!(refused, Err(ConnectorError::HostNotAllowed), "{host}");
        }
    }

    #[test]
    fn what_is_no_host_is_refused_whatever_is_listed() {
        let all = hosts(&["0.0.0.0/0", "::/0"]);
        for host in [
            "",
            "/var/run/postgresql",
            "@abstract",
            "a b",
            "db.example:5432",
            "user@db",
            "2130706433",
            "0x7f000001",
            "[::1]",
        ] {
            let refused = all.admits(host, 5432, false);
            assert_eq!(refused, Err(ConnectorError::HostNotAllowed), "{host}");
        }
    }

    #[tokio::test]
    async fn a_listed_name_is_dialled_as_it_is_and_on_its_port_alone() {
        let listed = hosts(&["db.internal:5432", "10.0.0.0/8"]);
        let dialled = listed.dial("db.internal", 5432, false, PATIENCE).await;
        assert_eq!(dialled.unwrap(), "db.internal");
        let address = listed.dial("10.1.2.3", 5433, true, PATIENCE).await;
        assert_eq!(address.unwrap(), "10.1.2.3");
        let outside = listed.dial("11.1.2.3", 5432, false, PATIENCE).await;
        assert_eq!(outside, Err(ConnectorError::HostNotAllowed));
    }

    #[tokio::test]
    async fn another_name_is_dialled_by_its_address_in_a_listed_network() {
        let listed = hosts(&["127.0.0.0/8", "::1/128"]);
        let dialled = listed.dial("localhost", 5432, false, PATIENCE).await;
        assert!(dialled.unwrap().parse::<IpAddr>().unwrap().is_loopback());
        let elsewhere = hosts(&["10.0.0.0/8"]);
        assert_eq!(
            elsewhere.dial("localhost", 5432, false, PATIENCE).await,
            Err(ConnectorError::HostNotAllowed)
        );
    }

    #[tokio::test]
    async fn a_name_that_has_to_be_proven_is_listed_itself() {
        let networks = hosts(&["127.0.0.0/8", "::1/128"]);
        assert_eq!(networks.admits("localhost", 5432, false), Ok(()));
        let refused = Err(ConnectorError::HostNotAllowed);
        assert_eq!(networks.admits("localhost", 5432, true), refused);
        let dialled = networks.dial("localhost", 5432, true, PATIENCE).await;
        assert_eq!(dialled.map(drop), refused);
        let address = networks.dial("127.0.0.1", 5432, true, PATIENCE).await;
        assert_eq!(address.unwrap(), "127.0.0.1");
        let listed = hosts(&["localhost:5432"]);
        let named = listed.dial("localhost", 5432, true, PATIENCE).await;
        assert_eq!(named.unwrap(), "localhost");
    }
}
