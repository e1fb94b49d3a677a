//! Which hosts an operator allows to be named, as written in the configuration.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    num::NonZeroU16,
    str::FromStr,
};

use ipnet::IpNet;
use url::Host;

/// One host of an allow list: `host` or `host:port`.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct HostRule {
    host: String,
    port: Option<u16>,
    address: Option<IpAddr>,
}

impl HostRule {
    /// The host, in lower case; an address without brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The only port that is allowed, if one was written.
    #[must_use]
    pub fn port(&self) -> Option<u16> {
        self.port
    }

    /// The address, when the host was listed by address instead of by name.
    ///
    /// Whoever writes a loopback or private address into a list means it, so such a host may be
    /// connected to; a listed *name* that resolves to one may not.
    #[must_use]
    pub fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// Whether a URL with this host and port is allowed. Without a port of its own, a rule allows
    /// the default port of the URL's scheme and no other.
    #[must_use]
    pub fn lists(&self, host: &Host<&str>, port: u16, default_port: u16) -> bool {
        self.is_host(host) && port == self.port.unwrap_or(default_port)
    }

    fn is_host(&self, host: &Host<&str>) -> bool {
        match host {
            Host::Domain(name) => self.address.is_none() && self.host.eq_ignore_ascii_case(name),
            Host::Ipv4(address) => self.address == Some(IpAddr::V4(*address)),
            Host::Ipv6(address) => self.address == Some(IpAddr::V6(*address)),
        }
    }

    fn from_address(address: IpAddr, port: Option<u16>) -> Self {
        Self {
            host: address.to_string(),
            port,
            address: Some(address),
        }
    }
}

impl From<SocketAddr> for HostRule {
    fn from(socket: SocketAddr) -> Self {
        Self::from_address(socket.ip(), Some(socket.port()))
    }
}

impl fmt::Display for HostRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.address {
            Some(IpAddr::V6(address)) => write!(f, "[{address}]")?,
            _ => f.write_str(&self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// Why a text is no [`HostRule`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidHostRule {
    /// A URL, or something with a path or user in it.
    #[error("must be a host alone, without scheme, user or path")]
    NotAlone,
    /// A pattern.
    #[error("must name one host; patterns with `*` are not supported")]
    Pattern,
    /// Not a host name.
    #[error("is not a host name in ASCII (write other scripts in punycode, without a final dot)")]
    Host,
    /// Not a port.
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
}

impl FromStr for HostRule {
    type Err = InvalidHostRule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains(['/', '@', '?', '#', '\\']) {
            return Err(InvalidHostRule::NotAlone);
        }
        if text.contains('*') {
            return Err(InvalidHostRule::Pattern);
        }
        // An IPv6 address without brackets has colons of its own, so it can't carry a port.
        if let Ok(address) = text.parse::<IpAddr>() {
            return Ok(Self::from_address(address, None));
        }
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !text.ends_with(']') => (host, Some(parse_port(port)?)),
            _ => (text, None),
        };
        match Host::parse(host).map_err(|_| InvalidHostRule::Host)? {
            Host::Domain(name) if host.is_ascii() && is_name(&name) => Ok(Self {
                host: name,
                port,
                address: None,
            }),
            Host::Domain(_) => Err(InvalidHostRule::Host),
            Host::Ipv4(address) => Ok(Self::from_address(IpAddr::V4(address), port)),
            Host::Ipv6(address) => Ok(Self::from_address(IpAddr::V6(address), port)),
        }
    }
}

fn parse_port(text: &str) -> Result<u16, InvalidHostRule> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(InvalidHostRule::Port);
    }
    text.parse::<NonZeroU16>()
        .map(NonZeroU16::get)
        .map_err(|_| InvalidHostRule::Port)
}

fn is_name(name: &str) -> bool {
    name.split('.').all(|label| {
        !label.is_empty()
            && label
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_')
    })
}

/// One entry of a list that takes networks beside hosts.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum HostOrNet {
    /// A host, with a port or with every port.
    Host(HostRule),
    /// Every address of a network.
    Net(IpNet),
}

impl HostOrNet {
    /// Whether a connection may name this host and port. Without a port of its own, an entry
    /// allows every port.
    #[must_use]
    pub fn names(&self, host: &Host<&str>, port: u16) -> bool {
        match (self, host) {
            (Self::Host(rule), host) => {
                rule.is_host(host) && rule.port.is_none_or(|only| only == port)
            }
            (Self::Net(net), Host::Ipv4(address)) => net.contains(&IpAddr::V4(*address)),
            (Self::Net(net), Host::Ipv6(address)) => net.contains(&IpAddr::V6(*address)),
            (Self::Net(_), Host::Domain(_)) => false,
        }
    }

    /// Whether the entry is the host of this name or literal address.
    #[must_use]
    pub fn is_named(&self, host: &str) -> bool {
        match self {
            Self::Host(rule) => rule.host == host,
            Self::Net(_) => false,
        }
    }

    /// Whether the entry reaches this port.
    #[must_use]
    pub fn admits_port(&self, port: u16) -> bool {
        match self {
            Self::Host(rule) => rule.port.is_none_or(|only| only == port),
            Self::Net(_) => true,
        }
    }

    /// Whether the operator listed this very address: alone, or in a network.
    #[must_use]
    pub fn holds(&self, address: IpAddr) -> bool {
        // A mapped address is dialled as the IPv4 address that it holds.
        let address = address.to_canonical();
        match self {
            Self::Host(rule) => rule.address == Some(address),
            Self::Net(net) => net.contains(&address),
        }
    }
}

impl fmt::Display for HostOrNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Host(rule) => rule.fmt(f),
            Self::Net(net) => net.fmt(f),
        }
    }
}

/// Why a text is no [`HostOrNet`].
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum InvalidHostOrNet {
    /// It has no slash, and is no host either.
    #[error(transparent)]
    Host(#[from] InvalidHostRule),
    /// It has a slash, and is no network.
    #[error("is neither a host nor a network like `10.0.0.0/8`")]
    Net,
}

impl FromStr for HostOrNet {
    type Err = InvalidHostOrNet;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.contains('/') {
            return text
                .parse::<IpNet>()
                .map(|net| Self::Net(net.trunc()))
                .map_err(|_| InvalidHostOrNet::Net);
        }
        Ok(Self::Host(text.parse()?))
    }
}

#[cfg(test)]
mod tests {
    use super::{HostOrNet, HostRule, InvalidHostOrNet, InvalidHostRule};
    use url::Host;

    fn rule(text: &str) -> HostRule {
        text.parse().unwrap()
    }

    #[test]
    fn a_host_is_read_in_lower_case_with_and_without_a_port() {
        let plain = rule("API.Pluggy.AI");
        assert_eq!((plain.host(), plain.port()), ("api.pluggy.ai", None));
        assert_eq!(plain.address(), None);
        let ported = rule("localhost:4019");
        assert_eq!((ported.host(), ported.port()), ("localhost", Some(4019)));
        assert_eq!(
            ported.address(),
            None,
            "a name has no address, loopback included"
        );
    }

    #[test]
    fn an_address_is_known_as_one_in_every_notation() {
        for (text, address, port, shown) in [
            ("127.0.0.1", "127.0.0.1", None, "127.0.0.1"),
            ("127.0.0.1:4019", "127.0.0.1", Some(4019), "127.0.0.1:4019"),
            ("::1", "::1", None, "[::1]"),
            ("[::1]", "::1", None, "[::1]"),
            ("[::1]:4019", "::1", Some(4019), "[::1]:4019"),
            ("0x7f.1", "127.0.0.1", None, "127.0.0.1"),
        ] {
            let rule = rule(text);
            assert_eq!(rule.address(), Some(address.parse().unwrap()), "{text}");
            assert_eq!(rule.port(), port, "{text}");
            assert_eq!(rule.to_string(), shown);
        }
        let socket: std::net::SocketAddr = "[::1]:9".parse().unwrap();
        assert_eq!(HostRule::from(socket), rule("[::1]:9"));
    }

    #[test]
    fn what_is_not_one_host_is_refused_by_its_reason() {
        for (text, reason) in [
            ("https://api.pluggy.ai", InvalidHostRule::NotAlone),
            ("api.pluggy.ai/v2", InvalidHostRule::NotAlone),
            ("user@api.pluggy.ai", InvalidHostRule::NotAlone),
            ("*.belvo.com", InvalidHostRule::Pattern),
            ("", InvalidHostRule::Host),
            ("api.pluggy.ai.", InvalidHostRule::Host),
            ("api..ai", InvalidHostRule::Host),
            ("two words", InvalidHostRule::Host),
            ("api.plüggy.ai", InvalidHostRule::Host),
            ("[::1", InvalidHostRule::Host),
            ("::1:x", InvalidHostRule::Port),
            ("host:0", InvalidHostRule::Port),
            ("host:65536", InvalidHostRule::Port),
            ("host:", InvalidHostRule::Port),
            ("host:+1", InvalidHostRule::Port),
        ] {
            assert_eq!(text.parse::<HostRule>(), Err(reason), "{text}");
        }
    }

    #[test]
    fn a_rule_without_a_port_lists_the_default_port_only() {
        let host = Host::Domain("api.pluggy.ai");
        let plain = rule("api.pluggy.ai");
        assert!(plain.lists(&host, 443, 443));
        assert!(!plain.lists(&host, 8443, 443));
        let ported = rule("api.pluggy.ai:8443");
        assert!(ported.lists(&host, 8443, 443));
        assert!(!ported.lists(&host, 443, 443));
    }

    #[test]
    fn a_rule_lists_neither_look_alikes_nor_subdomains() {
        let plain = rule("belvo.com");
        for name in [
            "api.belvo.com",
            "belvo.com.evil.example",
            "elvo.com",
            "belvo.com.",
        ] {
            assert!(!plain.lists(&Host::Domain(name), 443, 443), "{name}");
        }
    }

    #[test]
    fn a_name_and_an_address_never_match_each_other() {
        let loopback = Host::<&str>::Ipv4(std::net::Ipv4Addr::LOCALHOST);
        assert!(rule("127.0.0.1").lists(&loopback, 80, 80));
        assert!(!rule("localhost").lists(&loopback, 80, 80));
        assert!(!rule("127.0.0.1").lists(&Host::Domain("127.0.0.1"), 80, 80));
        let mapped = Host::<&str>::Ipv6("::ffff:127.0.0.1".parse().unwrap());
        assert!(!rule("127.0.0.1").lists(&mapped, 80, 80));
    }

    #[test]
    fn an_entry_is_a_host_or_a_network() {
        let net: HostOrNet = "10.1.2.3/8".parse().unwrap();
        assert_eq!(net.to_string(), "10.0.0.0/8", "host bits are dropped");
        assert!(net.names(&Host::Ipv4("10.9.9.9".parse().unwrap()), 5432));
        assert!(!net.names(&Host::Ipv4("11.0.0.1".parse().unwrap()), 5432));
        assert!(!net.names(&Host::Domain("10.9.9.9"), 5432));
        assert!(net.holds("10.9.9.9".parse().unwrap()));

        let host: HostOrNet = "db.internal:5432".parse().unwrap();
        assert!(host.names(&Host::Domain("db.internal"), 5432));
        assert!(!host.names(&Host::Domain("db.internal"), 5433));
        assert!(!host.holds("10.9.9.9".parse().unwrap()));

        let address: HostOrNet = "::1".parse().unwrap();
        assert!(address.names(&Host::Ipv6("::1".parse().unwrap()), 1));
        assert!(address.holds("::1".parse().unwrap()));

        assert_eq!(
            "10.0.0.0/33".parse::<HostOrNet>(),
            Err(InvalidHostOrNet::Net)
        );
        assert_eq!(
            "a b".parse::<HostOrNet>(),
            Err(InvalidHostOrNet::Host(InvalidHostRule::Host))
        );
    }
}
