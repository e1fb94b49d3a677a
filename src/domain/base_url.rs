//! Where a vendor's API is, as a tenant may name it.
//!
//! A base URL decides where a credential is sent, so it is read narrowly: the host has to be written
//! exactly as it is listed. What a browser would forgive (backslashes, other notations of an
//! address, escapes in the host) is refused rather than repaired.

use std::fmt;

use url::{Host, Url};

use super::host_rule::HostRule;

/// The longest base URL, in bytes; it is part of an index row, which has to fit a third of a page.
const MAX_LENGTH: usize = 512;

/// Which hosts a base URL may name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HostPolicy {
    /// The listed hosts. One without a port admits the scheme's own port, and any port where
    /// `allow_http` holds.
    pub rules: Vec<HostRule>,
    /// Whether `http` is allowed beside `https`, for a laptop.
    pub allow_http: bool,
}

impl HostPolicy {
    fn admits(&self, url: &Url) -> bool {
        self.rules.iter().any(|rule| {
            let same_host = match url.host() {
                Some(Host::Domain(name)) => rule.address().is_none() && rule.host() == name,
                Some(Host::Ipv4(address)) => rule.address() == Some(address.into()),
                Some(Host::Ipv6(address)) => rule.address() == Some(address.into()),
                None => false,
            };
            let same_port = match rule.port() {
                Some(port) => url.port_or_known_default() == Some(port),
                // The parser drops a port that is the scheme's own.
                None => url.port().is_none() || (self.allow_http && url.port() != Some(0)),
            };
            same_host && same_port
        })
    }

    fn describe(&self) -> String {
        if self.rules.is_empty() {
            return "none; the operator of this server lists them".to_owned();
        }
        let rules: Vec<String> = self.rules.iter().map(ToString::to_string).collect();
        rules.join(", ")
    }
}

/// Why a base URL was not accepted, in words for the caller.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum BaseUrlError {
    /// Longer than a base URL may be.
    #[error("must be at most {MAX_LENGTH} bytes long")]
    TooLong,
    /// A character that has no place in a URL, or that readers of URLs disagree about.
    #[error(
        "must hold only plain ASCII without spaces, control characters or backslashes; \
         escape anything else in the path with %"
    )]
    Character,
    /// Not an absolute URL of an allowed scheme.
    #[error("must be an absolute URL that begins with {0}")]
    Scheme(&'static str),
    /// Not a URL.
    #[error("must be a URL such as https://host/path: {0}")]
    Malformed(url::ParseError),
    /// A user name or password before the host.
    #[error("must not carry a user name or password; the credential goes into clientId and secret")]
    UserInfo,
    /// A query.
    #[error("must not have a query (`?`)")]
    Query,
    /// A fragment.
    #[error("must not have a fragment (`#`)")]
    Fragment,
    /// A host that is listed only after a parser has rewritten it.
    #[error("must name its host plainly, as {0}")]
    Notation(String),
    /// A host or port that is not listed.
    #[error("must name an allowed host; {host} is not one of them: {allowed}")]
    Host {
        /// The host, with its port where one is written.
        host: String,
        /// The list of allowed hosts.
        allowed: String,
    },
}

/// A base URL that passed its vendor's policy: absolute, without user info, query, fragment,
/// default port, dot segments or trailing slash, its scheme and host in lower case.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct BaseUrl(String);

impl BaseUrl {
    /// Reads a base URL against a policy.
    pub fn parse(text: &str, policy: &HostPolicy) -> Result<Self, BaseUrlError> {
        if text.len() > MAX_LENGTH {
            return Err(BaseUrlError::TooLong);
        }
        if !text.bytes().all(|byte| byte.is_ascii_graphic()) || text.contains('\\') {
            return Err(BaseUrlError::Character);
        }
        let authority = written_authority(text, policy.allow_http)?;
        if authority.contains('@') {
            return Err(BaseUrlError::UserInfo);
        }
        let url = Url::parse(text).map_err(BaseUrlError::Malformed)?;
        if url.query().is_some() {
            return Err(BaseUrlError::Query);
        }
        if url.fragment().is_some() {
            return Err(BaseUrlError::Fragment);
        }
        if !policy.admits(&url) {
            return Err(BaseUrlError::Host {
                host: authority.to_owned(),
                allowed: policy.describe(),
            });
        }
        let host = url.host_str().unwrap_or_default();
        if !written_host(authority).eq_ignore_ascii_case(host) {
            return Err(BaseUrlError::Notation(host.to_owned()));
        }
        let base = url.as_str().trim_end_matches('/');
        if base.len() > MAX_LENGTH {
            return Err(BaseUrlError::TooLong);
        }
        Ok(Self(base.to_owned()))
    }

    /// Takes back a base URL that was checked before it was stored.
    #[must_use]
    pub fn from_stored(text: String) -> Self {
        Self(text)
    }

    /// The normalised text, without a trailing slash.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What stands between `scheme://` and the path, before any parser has rewritten it.
fn written_authority(text: &str, allow_http: bool) -> Result<&str, BaseUrlError> {
    let schemes: &[&str] = if allow_http {
        &["https", "http"]
    } else {
        &["https"]
    };
    text.split_once("://")
        .filter(|(scheme, _)| {
            schemes
                .iter()
                .any(|known| scheme.eq_ignore_ascii_case(known))
        })
        .and_then(|(_, rest)| rest.split(['/', '?', '#']).next())
        .filter(|authority| !authority.is_empty())
        .ok_or(BaseUrlError::Scheme(if allow_http {
            "https://host or http://host"
        } else {
            "https://host"
        }))
}

/// The authority without its port.
fn written_host(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => host,
        _ => authority,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn policy(rules: &[&str], allow_http: bool) -> HostPolicy {
        HostPolicy {
            rules: rules
                .iter()
                .map(|rule| rule.parse().expect("a rule"))
                .collect(),
            allow_http,
        }
    }

    fn production() -> HostPolicy {
        policy(
            &[
                "api.pluggy.ai",
                "gateway.example:8443",
                "127.0.0.1",
                "[::1]:9443",
            ],
            false,
        )
    }

    fn parse(text: &str) -> Result<String, BaseUrlError> {
        BaseUrl::parse(text, &production()).map(|base| base.as_str().to_owned())
    }

    #[test]
    fn an_accepted_url_is_normalised() {
        for (given, kept) in [
            ("https://api.pluggy.ai", "https://api.pluggy.ai"),
            ("https://api.pluggy.ai/", "https://api.pluggy.ai"),
            ("https://api.pluggy.ai//", "https://api.pluggy.ai"),
            ("HTTPS://API.Pluggy.AI:443/", "https://api.pluggy.ai"),
            ("https://api.pluggy.ai:/v1", "https://api.pluggy.ai/v1"),
            ("https://api.pluggy.ai/V1/x/", "https://api.pluggy.ai/V1/x"),
            (
                "https://api.pluggy.ai/a/../b/./c",
                "https://api.pluggy.ai/b/c",
            ),
            (
                "https://api.pluggy.ai/a/%2E%2e/../../b",
                "https://api.pluggy.ai/b",
            ),
            ("https://api.pluggy.ai/%20x", "https://api.pluggy.ai/%20x"),
            ("https://api.pluggy.ai/@me", "https://api.pluggy.ai/@me"),
            (
                "https://gateway.example:8443/p",
                "https://gateway.example:8443/p",
            ),
            ("https://127.0.0.1/x", "https://127.0.0.1/x"),
            ("https://[::1]:9443", "https://[::1]:9443"),
        ] {
            assert_eq!(parse(given).as_deref(), Ok(kept), "{given}");
        }
    }

    #[test]
    fn user_information_is_refused_wherever_it_hides() {
        for url in [
            "https://user@api.pluggy.ai",
            "https://user:pass@api.pluggy.ai/",
            "https://@api.pluggy.ai",
            "https://:@api.pluggy.ai",
            "https://api.pluggy.ai@evil.example",
            "https://api.pluggy.ai:443@evil.example/",
            "https://evil.example:x@api.pluggy.ai",
            "https://a@b@api.pluggy.ai",
        ] {
            assert_eq!(parse(url), Err(BaseUrlError::UserInfo), "{url}");
        }
    }

    #[test]
    fn a_query_or_fragment_is_refused_even_when_empty() {
        for url in [
            "https://api.pluggy.ai?a=b",
            "https://api.pluggy.ai/?",
            "https://api.pluggy.ai?",
        ] {
            assert_eq!(parse(url), Err(BaseUrlError::Query), "{url}");
        }
        for url in [
            "https://api.pluggy.ai#a",
            "https://api.pluggy.ai/#",
            "https://api.pluggy.ai#@evil.example",
        ] {
            assert_eq!(parse(url), Err(BaseUrlError::Fragment), "{url}");
        }
    }

    #[test]
    fn a_look_alike_of_a_listed_host_is_another_host() {
        for url in [
            "https://evil.example",
            "https://api.pluggy.ai.evil.example",
            "https://evil-api.pluggy.ai",
            "https://x.api.pluggy.ai",
            "https://pluggy.ai",
            "https://api.pluggy.a",
            "https://api.pluggy.aii",
            "https://api-pluggy.ai",
            "https://apipluggy.ai",
            "https://api.pluggy.ai.",
            "https://api.pluggy.ai.:443/",
            "https://xn--pi-6kc.pluggy.ai",
            "https://xn--80ak6aa92e.com",
            "https://localhost",
            "https://evil.example/api.pluggy.ai",
            "https://evil.example/https://api.pluggy.ai",
            "https://evil.example/@api.pluggy.ai",
        ] {
            let error = parse(url).expect_err(url);
            assert!(matches!(error, BaseUrlError::Host { .. }), "{url}: {error}");
        }
    }

    #[test]
    fn a_listed_host_admits_its_own_port_and_no_other() {
        for url in [
            "https://api.pluggy.ai:8443",
            "https://api.pluggy.ai:80",
            "https://api.pluggy.ai:0",
            "https://gateway.example",
            "https://gateway.example:443",
            "https://gateway.example:84433",
            "https://127.0.0.1:8443",
            "https://[::1]",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn an_address_that_is_not_listed_is_refused_in_every_notation() {
        for url in [
            "https://10.0.0.1",
            "https://169.254.169.254/latest/meta-data",
            "https://2852039166",
            "https://0xa9fea9fe",
            "https://0251.0376.0251.0376",
            "https://0.0.0.0",
            "https://0",
            "https://[::]",
            "https://[fe80::1]",
            "https://[fe80::1%25eth0]",
            "https://[fe80::1%eth0]",
            "https://[::ffff:127.0.0.1]",
            "https://[::ffff:7f00:1]",
            "https://[::127.0.0.1]",
            "https://[64:ff9b::7f00:1]",
            "https://[2002:7f00:1::]",
        ] {
            assert!(parse(url).is_err(), "{url}");
        }
    }

    #[test]
    fn a_listed_address_is_refused_in_every_notation_but_its_own() {
        for url in [
            "https://127.1",
            "https://127.0.1",
            "https://2130706433",
            "https://0x7f000001",
            "https://0x7f.0.0.1",
            "https://0177.0.0.1",
            "https://127.0.0.01",
            "https://127.0.0.1.",
            "https://%31%32%37.0.0.1",
            "https://%61pi.pluggy.ai",
            "https://api%2Epluggy.ai",
            "https://[0:0::1]:9443",
            "https://[0000:0000:0000:0000:0000:0000:0000:0001]:9443",
        ] {
            let error = parse(url).expect_err(url);
            assert!(
                matches!(error, BaseUrlError::Notation(_)),
                "{url}: {error:?}"
            );
        }
    }

    #[test]
    fn characters_that_parsers_disagree_about_are_refused() {
        for url in [
            "https://api.pluggy.ai\\@evil.example",
            "https:\\\\api.pluggy.ai",
            "https://api.pluggy.ai/a\\b",
            "https://api.plu\tggy.ai",
            "https://api.pluggy.ai\n",
            "\nhttps://api.pluggy.ai",
            " https://api.pluggy.ai",
            "https://api.pluggy.ai ",
            "https://api.pluggy.ai/\r\nHost: evil.example",
            "https://api.pluggy.ai/\0",
            "https://api.pluggy.ai/\u{7f}",
            "https://api.pluggy.ai/é",
            // Cyrillic а, full-width letters and digits, an ideographic full stop, a soft hyphen.
            "https://\u{430}pi.pluggy.ai",
            "https://\u{ff41}pi.pluggy.ai",
            "https://\u{ff11}\u{ff12}\u{ff17}.0.0.1",
            "https://api\u{3002}pluggy.ai",
            "https://api.plu\u{ad}ggy.ai",
        ] {
            assert_eq!(parse(url), Err(BaseUrlError::Character), "{url:?}");
        }
    }

    #[test]
    fn only_an_absolute_https_url_will_do() {
        for url in [
            "",
            "api.pluggy.ai",
            "//api.pluggy.ai",
            "/v1",
            "https:api.pluggy.ai",
            "https:/api.pluggy.ai",
            "https://",
            "https:///api.pluggy.ai",
            "https://?",
            "http://api.pluggy.ai",
            "ftp://api.pluggy.ai",
            "file:///etc/passwd",
            "gopher://api.pluggy.ai",
            "javascript://api.pluggy.ai",
            "data:text/plain,https://api.pluggy.ai",
            "httpss://api.pluggy.ai",
            "view-source:https://api.pluggy.ai",
        ] {
            assert_eq!(
                parse(url),
                Err(BaseUrlError::Scheme("https://host")),
                "{url}"
            );
        }
        for url in [
            "https://:443",
            "https://api.pluggy.ai:x",
            "https://api.pluggy.ai:65536",
            "https://api.pluggy.ai:-1",
            "https://[::1",
            "https://1.2.3.4.5",
            "https://256.0.0.1",
            "https://api.pluggy.ai%00",
        ] {
            let error = parse(url).expect_err(url);
            assert!(
                matches!(error, BaseUrlError::Malformed(_)),
                "{url}: {error:?}"
            );
        }
    }

    #[test]
    fn a_laptop_may_use_http_and_any_port_of_a_listed_host() {
        let laptop = policy(&["api.pluggy.ai", "127.0.0.1:4019", "localhost"], true);
        for url in [
            "http://api.pluggy.ai",
            "http://127.0.0.1:4019/pluggy",
            "https://127.0.0.1:4019",
            "http://localhost:5000",
        ] {
            assert!(BaseUrl::parse(url, &laptop).is_ok(), "{url}");
        }
        for url in [
            "http://127.0.0.1:4020",
            "http://localhost:0",
            "http://evil.example",
            "ftp://localhost",
            "ws://localhost",
        ] {
            assert!(BaseUrl::parse(url, &laptop).is_err(), "{url}");
        }
    }

    #[test]
    fn the_length_is_bounded_before_and_after_normalising() {
        let longest = format!("https://api.pluggy.ai/{}", "a".repeat(MAX_LENGTH - 22));
        assert_eq!(parse(&longest), Ok(longest.clone()));
        assert_eq!(parse(&format!("{longest}a")), Err(BaseUrlError::TooLong));
        // Escaping makes three bytes of one.
        let grows = format!("https://api.pluggy.ai/{}", "<".repeat(1000));
        assert_eq!(parse(&grows), Err(BaseUrlError::TooLong));
    }

    #[test]
    fn a_refusal_names_what_was_given_and_what_is_allowed() {
        assert_eq!(
            parse("https://evil.example:8443/x")
                .expect_err("not listed")
                .to_string(),
            "must name an allowed host; evil.example:8443 is not one of them: \
             api.pluggy.ai, gateway.example:8443, 127.0.0.1, [::1]:9443"
        );
        let nothing = policy(&[], false);
        let error = BaseUrl::parse("https://api.pluggy.ai", &nothing).expect_err("nothing listed");
        assert!(error.to_string().contains("none; the operator"), "{error}");
    }

    proptest! {
        #[test]
        fn any_text_is_refused_or_read_to_a_fixed_point(
            text in r"(?i)https://[\PC]{0,3}(api\.pluggy\.ai|127\.0\.0\.1)[\PC]{0,40}"
        ) {
            if let Ok(base) = BaseUrl::parse(&text, &production()) {
                let again = BaseUrl::parse(base.as_str(), &production());
                prop_assert_eq!(again.as_ref(), Ok(&base));
                let host = Url::parse(base.as_str()).expect("a URL").host_str().map(str::to_owned);
                prop_assert!(matches!(host.as_deref(), Some("api.pluggy.ai" | "127.0.0.1")));
            }
        }
    }
}
