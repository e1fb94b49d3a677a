//! The API's door: where it is, how the outside names it, whom it believes.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use ipnet::IpNet;
use url::Url;

use super::{
    reader::Reader,
    variables::{CORS_ORIGINS, LISTEN, PUBLIC_URL, TRUSTED_PROXIES},
};

/// The API's settings.
#[derive(Clone, Debug)]
pub struct Http {
    /// Where the API listens.
    pub listen: SocketAddr,
    /// How the outside names the API; `None` only where the profile lets it be missing.
    pub public_url: Option<PublicUrl>,
    /// Origins of browser callers, as browsers write them.
    pub cors_origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
}

impl Http {
    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let listen = reader.parsed(&LISTEN, |text| {
            text.parse().map_err(|_| "is not an address with a port")
        });
        let public_url = reader.required(&PUBLIC_URL, PublicUrl::parse);
        let cors_origins = reader.list(&CORS_ORIGINS, origin);
        let trusted_proxies = reader.networks(&TRUSTED_PROXIES);
        Some(Self {
            listen: listen?,
            public_url,
            cors_origins: cors_origins?,
            trusted_proxies: trusted_proxies?,
        })
    }

    /// The public URL: the configured one, else the address the API was bound to in the end.
    #[must_use]
    pub fn public_url(&self, bound: SocketAddr) -> PublicUrl {
        self.public_url
            .clone()
            .unwrap_or_else(|| PublicUrl::of(bound))
    }
}

/// An absolute http(s) URL without a slash at its end, to which paths are appended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PublicUrl(String);

impl PublicUrl {
    /// The URL of a socket on this machine.
    #[must_use]
    pub fn of(bound: SocketAddr) -> Self {
        // One can listen on "every address", but nobody can call it.
        let callable = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        Self(format!(
            "http://{}",
            SocketAddr::new(callable, bound.port())
        ))
    }

    /// The URL's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn parse(text: &str) -> Result<Self, &'static str> {
        let url = http_url(text)?;
        if url.query().is_some() || url.fragment().is_some() {
            return Err("has a query or a fragment");
        }
        Ok(Self(url.as_str().trim_end_matches('/').to_owned()))
    }
}

impl fmt::Display for PublicUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn http_url(text: &str) -> Result<Url, &'static str> {
    // The parser forgives `https:host` and `https:///host`; a person who writes that meant
    // something else.
    let authority = text
        .strip_prefix("https://")
        .or_else(|| text.strip_prefix("http://"))
        .ok_or("does not begin with `https://` or `http://`")?;
    if authority.starts_with(['/', '\\']) {
        return Err("has no host");
    }
    let url = Url::parse(text).map_err(|_| "is not a URL")?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err("has a user or a password");
    }
    Ok(url)
}

fn origin(text: &str) -> Result<String, &'static str> {
    if text == "*" {
        return Err("would let every web page call; name each origin");
    }
    let url = http_url(text)?;
    let origin = url.origin().ascii_serialization();
    if url.as_str().trim_end_matches('/') != origin {
        return Err("has more than a scheme, a host and a port");
    }
    Ok(origin)
}

#[cfg(test)]
mod tests {
    use super::{PublicUrl, origin};

    #[test]
    fn a_public_url_loses_its_final_slash_and_nothing_else() {
        for (text, kept) in [
            ("https://d.example.com", "https://d.example.com"),
            ("https://d.example.com/", "https://d.example.com"),
            ("https://D.example.com:443/", "https://d.example.com"),
            ("http://10.0.0.1:4018/base//", "http://10.0.0.1:4018/base"),
        ] {
            assert_eq!(PublicUrl::parse(text).unwrap().as_str(), kept);
        }
    }

    #[test]
    fn what_is_no_base_is_refused_as_public_url() {
        for text in [
            "d.example.com",
            "/v1",
            "ftp://d.example.com",
            "https:d.example.com",
            "https:///d.example.com",
            "https://",
            "https://user@d.example.com",
            "https://:secret@d.example.com",
            "https://d.example.com/?a=1",
            "https://d.example.com/?",
            "https://d.example.com/#",
        ] {
            assert!(PublicUrl::parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bound_address_becomes_a_url_that_can_be_called() {
        for (bound, url) in [
            ("127.0.0.1:4018", "http://127.0.0.1:4018"),
            ("0.0.0.0:80", "http://127.0.0.1:80"),
            ("[::]:4018", "http://[::1]:4018"),
            ("[2001:db8::1]:1", "http://[2001:db8::1]:1"),
        ] {
            assert_eq!(PublicUrl::of(bound.parse().unwrap()).as_str(), url);
        }
    }

    #[test]
    fn an_origin_is_kept_as_browsers_write_it() {
        assert_eq!(
            origin("https://Console.example.com:443/").unwrap(),
            "https://console.example.com"
        );
        assert_eq!(
            origin("http://localhost:3000").unwrap(),
            "http://localhost:3000"
        );
        for text in [
            "*",
            "null",
            "console.example.com",
            "https://a.example/path",
            "https://a.example?q",
            "https://u@a.example",
        ] {
            assert!(origin(text).is_err(), "{text}");
        }
    }
}
