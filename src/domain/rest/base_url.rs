//! Where a REST endpoint may be.
//!
//! It is a stranger's server, so any public one will do. What is private has to be listed by the operator of this
//! server; only there may it be spoken to in the clear.

use url::{Host, Url};

use crate::domain::{address::refusal, host_rule::HostOrNet};

/// The longest base URL, in bytes.
const MAX_LENGTH: usize = 512;

/// Why a base URL was not accepted, in words for the caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BaseUrlFault {
    /// Longer than a base URL may be.
    #[error("must be at most {MAX_LENGTH} bytes long")]
    TooLong,
    /// A character that has no place in a URL, or that readers of URLs disagree about.
    #[error(
        "must hold only plain ASCII without spaces, control characters or backslashes; \
         escape anything else in the path with %"
    )]
    Character,
    /// Not an absolute URL of the web.
    #[error("must be an absolute URL that begins with https://host")]
    Scheme,
    /// Not a URL.
    #[error("must be a URL such as https://host/path: {0}")]
    Malformed(url::ParseError),
    /// A user name or password before the host.
    #[error("must not carry a user name or password; the credential goes into auth")]
    UserInfo,
    /// A query.
    #[error("must not have a query (`?`); what a resource asks for goes into its path")]
    Query,
    /// A fragment.
    #[error("must not have a fragment (`#`)")]
    Fragment,
    /// In the clear to a host that is not listed.
    #[error(
        "must begin with https; http is only for the private hosts that the operator of this server lists"
    )]
    Clear,
    /// An address that is not public and not listed.
    #[error(
        "must name a public host; a private one has to be listed by the operator of this server"
    )]
    Private,
}

/// Reads a base URL, given the private hosts that may be named.
pub fn base_url(text: &str, listed: &[HostOrNet]) -> Result<Url, BaseUrlFault> {
    if text.len() > MAX_LENGTH {
        return Err(BaseUrlFault::TooLong);
    }
    if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('\\') {
        return Err(BaseUrlFault::Character);
    }
    // Looked at as written: a parser would take `https:host` and `https:///host` for what they are not.
    let authority = text
        .split_once("://")
        .filter(|(scheme, _)| {
            scheme.eq_ignore_ascii_case("https") || scheme.eq_ignore_ascii_case("http")
        })
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next())
        .filter(|authority| !authority.is_empty())
        .ok_or(BaseUrlFault::Scheme)?;
    if authority.contains('@') {
        return Err(BaseUrlFault::UserInfo);
    }
    let url = Url::parse(text).map_err(BaseUrlFault::Malformed)?;
    if url.query().is_some() {
        return Err(BaseUrlFault::Query);
    }
    if url.fragment().is_some() {
        return Err(BaseUrlFault::Fragment);
    }
    if url.as_str().len() > MAX_LENGTH {
        return Err(BaseUrlFault::TooLong);
    }
    check_host(&url, listed)?;
    Ok(url)
}

/// Whether a connection may name this host, as far as that can be told without resolving it. Where
/// a name leads is checked when it is dialled.
pub fn check_host(url: &Url, listed: &[HostOrNet]) -> Result<(), BaseUrlFault> {
    let (Some(host), Some(port)) = (url.host(), url.port_or_known_default()) else {
        return Err(BaseUrlFault::Scheme);
    };
    if listed.iter().any(|known| known.names(&host, port)) {
        return Ok(());
    }
    let private = match host {
        Host::Ipv4(address) => refusal(address.into()).is_some(),
        Host::Ipv6(address) => refusal(address.into()).is_some(),
        // A name that is listed is listed for its port alone.
        Host::Domain(name) => listed.iter().any(|known| known.is_named(name)),
    };
    if private {
        Err(BaseUrlFault::Private)
    } else if url.scheme() == "https" {
        Ok(())
    } else {
        Err(BaseUrlFault::Clear)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed() -> Vec<HostOrNet> {
        ["erp.internal:8080", "10.1.0.0/16", "127.0.0.1:9000"]
            .map(|one| one.parse().unwrap())
            .into()
    }

    fn read(text: &str) -> Result<String, BaseUrlFault> {
        base_url(text, &listed()).map(|url| url.to_string())
    }

    #[test]
    fn any_public_host_will_do() {
        for (text, url) in [
            ("https://api.example", "https://api.example/"),
            ("HTTPS://API.example:443/v2/", "https://api.example/v2/"),
            ("https://8.8.8.8:8443/a/../b", "https://8.8.8.8:8443/b"),
        ] {
            assert_eq!(read(text).as_deref(), Ok(url), "{text}");
        }
    }

    #[test]
    fn a_private_host_has_to_be_listed_and_may_then_be_spoken_to_in_the_clear() {
        for text in [
            "http://erp.internal:8080/api",
            "https://erp.internal:8080",
            "http://10.1.2.3/",
            "http://127.0.0.1:9000",
        ] {
            assert!(read(text).is_ok(), "{text}");
        }
        for text in [
            "https://erp.internal",
            "http://erp.internal:22",
            "https://10.2.0.1",
            "https://127.0.0.1:9001",
            "https://2130706433",
            "https://0x7f.1",
            "https://[::1]",
            "https://[::ffff:127.0.0.1]:9000",
            "https://[::ffff:10.1.2.3]",
            "https://169.254.169.254/latest/meta-data",
        ] {
            assert_eq!(read(text), Err(BaseUrlFault::Private), "{text}");
        }
        for text in ["http://api.example", "http://8.8.8.8", "http://localhost"] {
            assert_eq!(read(text), Err(BaseUrlFault::Clear), "{text}");
        }
    }

    #[test]
    fn what_is_no_plain_base_is_refused_by_its_reason() {
        for (text, fault) in [
            ("", BaseUrlFault::Scheme),
            ("api.example", BaseUrlFault::Scheme),
            ("//api.example", BaseUrlFault::Scheme),
            ("https:api.example", BaseUrlFault::Scheme),
            ("https:///api.example", BaseUrlFault::Scheme),
            ("ftp://api.example", BaseUrlFault::Scheme),
            ("file:///etc/passwd", BaseUrlFault::Scheme),
            ("https://user:pass@api.example", BaseUrlFault::UserInfo),
            ("https://@api.example", BaseUrlFault::UserInfo),
            ("https://api.example?a=b", BaseUrlFault::Query),
            ("https://api.example/?", BaseUrlFault::Query),
            ("https://api.example/#", BaseUrlFault::Fragment),
            (
                "https://api.example\\@evil.example",
                BaseUrlFault::Character,
            ),
            ("https://api.example/\n", BaseUrlFault::Character),
            ("https://\u{430}pi.example", BaseUrlFault::Character),
        ] {
            assert_eq!(read(text), Err(fault), "{text:?}");
        }
        for text in ["https://:443", "https://[::1", "https://h:99999"] {
            assert!(
                matches!(read(text), Err(BaseUrlFault::Malformed(_))),
                "{text}"
            );
        }
        let long = format!("https://api.example/{}", "a".repeat(MAX_LENGTH));
        assert_eq!(read(&long), Err(BaseUrlFault::TooLong));
        // Escaping makes three bytes of one.
        let grows = format!("https://api.example/{}", "<".repeat(400));
        assert_eq!(read(&grows), Err(BaseUrlFault::TooLong));
    }
}
