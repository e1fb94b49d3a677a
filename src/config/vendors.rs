//! The aggregators: where their APIs are, and how their webhooks prove whence they come.

use std::fmt;

use ipnet::IpNet;
use url::Url;

use super::{
    reader::Reader,
    variables::{
        BELVO_HOSTS, BELVO_RATE_LIMIT, BELVO_WEBHOOK_HEADER, BELVO_WEBHOOK_HMAC_SECRET,
        BELVO_WEBHOOK_IPS, EGRESS_GROUP, PLUGGY_HOSTS, PLUGGY_RATE_LIMIT, PLUGGY_WEBHOOK_HEADER,
        PLUGGY_WEBHOOK_HMAC_SECRET, PLUGGY_WEBHOOK_IPS, VENDOR_PROXY, Variable,
    },
};
use crate::domain::{host_rule::HostRule, secret::SecretText, vendor::Vendor};

/// The settings of every vendor.
#[derive(Clone, Debug)]
pub struct Vendors {
    /// Pluggy's.
    pub pluggy: VendorConfig,
    /// Belvo's.
    pub belvo: VendorConfig,
    /// Who shares the vendors' rate limits with this process.
    pub egress_group: String,
    /// The proxy through which the vendors are reached.
    pub proxy: Option<ProxyUrl>,
}

/// The URL of a proxy, which may hold a password.
#[derive(Clone)]
pub struct ProxyUrl(pub Url);

impl fmt::Debug for ProxyUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ProxyUrl").field(&self.0.host_str()).finish()
    }
}

/// The settings of one vendor.
#[derive(Clone, Debug)]
pub struct VendorConfig {
    /// Hosts that a base URL may name.
    pub hosts: Vec<HostRule>,
    /// How many requests the vendor allows in its window.
    pub rate_limit: u32,
    /// Source addresses from which webhooks are accepted.
    pub webhook_ips: Vec<IpNet>,
    /// The secret of the webhooks' signature.
    pub webhook_hmac_secret: Option<SecretText>,
    /// The header that webhooks carry.
    pub webhook_header: Option<WebhookHeader>,
}

/// A header whose value only the vendor and we know.
#[derive(Clone, Debug)]
pub struct WebhookHeader {
    /// The name, in lower case.
    pub name: String,
    /// The value.
    pub value: SecretText,
}

impl Vendors {
    /// The settings of a vendor.
    #[must_use]
    pub fn of(&self, vendor: Vendor) -> &VendorConfig {
        match vendor {
            Vendor::Pluggy => &self.pluggy,
            Vendor::Belvo => &self.belvo,
        }
    }

    /// The same, to be added to: `dev` lists its simulator.
    pub fn of_mut(&mut self, vendor: Vendor) -> &mut VendorConfig {
        match vendor {
            Vendor::Pluggy => &mut self.pluggy,
            Vendor::Belvo => &mut self.belvo,
        }
    }

    pub(super) fn read(reader: &mut Reader<'_>) -> Option<Self> {
        let pluggy = VendorConfig::read(
            reader,
            &PLUGGY_HOSTS,
            &PLUGGY_RATE_LIMIT,
            &PLUGGY_WEBHOOK_IPS,
            &PLUGGY_WEBHOOK_HMAC_SECRET,
            &PLUGGY_WEBHOOK_HEADER,
        );
        let belvo = VendorConfig::read(
            reader,
            &BELVO_HOSTS,
            &BELVO_RATE_LIMIT,
            &BELVO_WEBHOOK_IPS,
            &BELVO_WEBHOOK_HMAC_SECRET,
            &BELVO_WEBHOOK_HEADER,
        );
        let egress_group = reader.parsed(&EGRESS_GROUP, group);
        let proxy = reader.parsed(&VENDOR_PROXY, proxy);
        Some(Self {
            pluggy: pluggy?,
            belvo: belvo?,
            egress_group: egress_group?,
            proxy,
        })
    }
}

impl VendorConfig {
    fn read(
        reader: &mut Reader<'_>,
        hosts: &Variable,
        rate_limit: &Variable,
        webhook_ips: &Variable,
        webhook_hmac_secret: &Variable,
        webhook_header: &Variable,
    ) -> Option<Self> {
        let hosts = reader.list(hosts, str::parse::<HostRule>);
        let rate_limit = reader.parsed(rate_limit, rate);
        let webhook_ips = reader.networks(webhook_ips);
        let webhook_hmac_secret = reader.secret(webhook_hmac_secret);
        let webhook_header = reader.parsed(webhook_header, WebhookHeader::parse);
        Some(Self {
            hosts: hosts?,
            rate_limit: rate_limit?,
            webhook_ips: webhook_ips?,
            webhook_hmac_secret,
            webhook_header,
        })
    }
}

fn rate(text: &str) -> Result<u32, &'static str> {
    text.parse()
        .ok()
        .filter(|rate| (10..=1_000_000).contains(rate))
        .ok_or("is not a number from 10 to 1000000")
}

fn proxy(text: &str) -> Result<ProxyUrl, &'static str> {
    let url = Url::parse(text.trim()).map_err(|_| "is not a URL")?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("is not an http or https URL");
    }
    Ok(ProxyUrl(url))
}

fn group(text: &str) -> Result<String, &'static str> {
    let fits = (1..=100).contains(&text.chars().count()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
        .ok_or("is not a name of 1 to 100 characters")
}

impl WebhookHeader {
    fn parse(text: &str) -> Result<Self, &'static str> {
        let (name, value) = text.split_once(':').ok_or("has no colon after the name")?;
        let value = value.trim();
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err("does not begin with a header name");
        }
        if value.is_empty() {
            return Err("has nothing after the colon");
        }
        if !value.bytes().all(|byte| (b' '..=b'~').contains(&byte)) {
            return Err("has a character that no header can carry");
        }
        Ok(Self {
            name: name.to_ascii_lowercase(),
            value: SecretText::new(value.to_owned()),
        })
    }
}

/// RFC 9110 §5.6.2: the characters of a header's name.
fn is_token(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::WebhookHeader;

    #[test]
    fn a_header_line_is_split_at_its_first_colon() {
        let header = WebhookHeader::parse("Authorization:  Basic dTpw:x ").unwrap();
        assert_eq!(header.name, "authorization");
        assert_eq!(header.value.expose(), "Basic dTpw:x");
    }

    #[test]
    fn what_is_no_header_line_is_refused() {
        for text in [
            "no colon",
            ": value",
            "two words: value",
            "Name :value",
            "Name:",
            "Name:  ",
            "Name: a\nb",
            "Name: ação",
        ] {
            assert!(WebhookHeader::parse(text).is_err(), "{text}");
        }
    }
}
