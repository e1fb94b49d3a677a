//! The check of addresses, at the one place where they are about to be dialled.
//!
//! A name is resolved once; what passes the check is exactly what the connector is given, so a name
//! server that changes its mind between check and use gains nothing. The connector doesn't ask for
//! hosts that are addresses already; those are checked with the URL.

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::error::NetError;
use crate::domain::{address::refusal, host_rule::HostOrNet};

/// All addresses of a name were refused; says why the first was.
#[derive(Debug, thiserror::Error)]
#[error("the name has no public address ({0})")]
pub(super) struct RefusedAddress(pub(super) &'static str);

/// Knows what may be dialled.
#[derive(Debug)]
pub(super) struct Guard {
    exemptions: Vec<HostOrNet>,
}

impl Guard {
    pub(super) fn new(exemptions: Vec<HostOrNet>) -> Self {
        Self { exemptions }
    }

    /// Checks all of a URL that can be checked without resolving, and returns its host.
    pub(super) fn check(&self, url: &Url) -> Result<String, NetError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(NetError::InvalidUrl("its scheme is neither https nor http"));
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(NetError::InvalidUrl("it carries a user name or password"));
        }
        let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
            return Err(NetError::InvalidUrl("it names no host"));
        };
        let reason = match host {
            Host::Ipv4(address) => self.refuses(address.into(), port),
            Host::Ipv6(address) => self.refuses(address.into(), port),
            Host::Domain(name) => self.refuses_port(name, port),
        };
        match reason {
            Some(reason) => Err(NetError::Refused {
                host: host.to_string(),
                reason,
            }),
            None => Ok(host.to_string()),
        }
    }

    fn refuses(&self, address: IpAddr, port: u16) -> Option<&'static str> {
        let exempt = |known: &HostOrNet| known.holds(address) && known.admits_port(port);
        refusal(address).filter(|_| !self.exemptions.iter().any(exempt))
    }

    /// The resolver isn't told the port. So a name that is exempt on some ports is refused on all
    /// others before it is resolved.
    fn refuses_port(&self, name: &str, port: u16) -> Option<&'static str> {
        let mut exemptions = self.exemptions.iter().filter(|known| known.is_named(name));
        let first = exemptions.next()?;
        let admitted = first.admits_port(port) || exemptions.any(|known| known.admits_port(port));
        (!admitted).then_some("its port is not listed")
    }

    /// Keeps the addresses of `name` that may be dialled.
    fn admit(
        &self,
        name: &str,
        found: impl IntoIterator<Item = SocketAddr>,
    ) -> Result<Vec<SocketAddr>, RefusedAddress> {
        let named = self.exemptions.iter().any(|known| known.is_named(name));
        let mut refused = None;
        let mut admitted = Vec::new();
        for socket in found {
            let address = socket.ip();
            let covered = || {
                self.exemptions
                    .iter()
                    .any(|known| matches!(known, HostOrNet::Net(_)) && known.holds(address))
            };
            match refusal(address) {
                Some(reason) if !named && !covered() => refused = refused.or(Some(reason)),
                _ => admitted.push(socket),
            }
        }
        match refused {
            Some(reason) if admitted.is_empty() => Err(RefusedAddress(reason)),
            _ => Ok(admitted),
        }
    }
}

/// Resolves names for the connector.
#[derive(Debug)]
pub(super) struct Resolver {
    guard: Arc<Guard>,
    /// The proxy's host: configured, so dialled wherever it is.
    proxy: Option<Box<str>>,
}

impl Resolver {
    pub(super) fn new(guard: Arc<Guard>, proxy: Option<&str>) -> Self {
        Self {
            guard,
            proxy: proxy.map(Into::into),
        }
    }
}

impl Resolve for Resolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = Arc::clone(&self.guard);
        let trusted = self.proxy.as_deref() == Some(name.as_str());
        Box::pin(async move {
            let found = tokio::net::lookup_host((name.as_str(), 0)).await?;
            let admitted = if trusted {
                found.collect()
            } else {
                guard.admit(name.as_str(), found)?
            };
            Ok(Box::new(admitted.into_iter()) as Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn guard(exemptions: &[&str]) -> Guard {
        let read = |text: &&str| text.parse().expect("an exemption");
        Guard::new(exemptions.iter().map(read).collect())
    }

    fn sockets(addresses: &[&str]) -> Vec<SocketAddr> {
        let read = |text: &&str| SocketAddr::new(text.parse().expect("an address"), 0);
        addresses.iter().map(read).collect()
    }

    fn check(guard: &Guard, url: &str) -> Result<String, String> {
        guard
            .check(&url.parse().expect("a URL"))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn of_mixed_addresses_only_the_public_ones_are_dialled() {
        let admitted = guard(&[])
            .admit(
                "rebind.example",
                sockets(&["127.0.0.1", "8.8.8.8", "::1", "::ffff:10.0.0.1"]),
            )
            .expect("one is public");
        assert_eq!(admitted, sockets(&["8.8.8.8"]));
    }

    #[test]
    fn a_name_without_a_public_address_is_refused_with_its_first_reason() {
        let RefusedAddress(reason) = guard(&[])
            .admit("inside.example", sockets(&["10.0.0.1", "127.0.0.1"]))
            .expect_err("none is public");
        assert_eq!(reason, "private");
    }

    #[test]
    fn a_listed_name_or_network_is_dialled_and_nothing_beside_it() {
        let listed = guard(&["erp.internal:8080", "10.1.0.0/16", "192.168.0.9"]);
        let private = sockets(&["10.9.0.1"]);
        assert_eq!(
            listed.admit("erp.internal", private.clone()).ok(),
            Some(private.clone())
        );
        assert!(listed.admit("other.internal", private).is_err());
        assert!(listed.admit("any.example", sockets(&["10.1.2.3"])).is_ok());
        // Listed as an address: a name that a stranger points there is still a stranger's.
        assert!(
            listed
                .admit("any.example", sockets(&["192.168.0.9"]))
                .is_err()
        );

        assert!(check(&listed, "http://192.168.0.9:81/").is_ok());
        assert!(check(&listed, "http://192.168.0.8/").is_err());
        assert!(check(&listed, "http://erp.internal:8080/").is_ok());
        assert_eq!(
            check(&listed, "http://erp.internal:22/"),
            Err("erp.internal is refused: its port is not listed; \
                 only public addresses and listed hosts are dialled"
                .to_owned())
        );
        assert!(check(&listed, "https://elsewhere.example:22/").is_ok());
    }

    #[test]
    fn urls_that_are_not_plain_web_addresses_are_refused() {
        for url in [
            "ftp://host.example/",
            "file:///etc/passwd",
            "data:,x",
            "https://user@host.example/",
            "https://:pass@host.example/",
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://[::ffff:127.0.0.1]/",
            "http://[64:ff9b::a00:1]/",
            "http://169.254.169.254/",
        ] {
            assert!(check(&guard(&[]), url).is_err(), "{url}");
        }
    }
}
