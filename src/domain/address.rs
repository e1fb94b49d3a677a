//! Which network addresses may be dialled on a tenant's behalf.
//!
//! A URL that a tenant names must lead to the public Internet, never into the network this process
//! runs in. Everything that is not plainly public is refused, and every form in which an IPv6
//! address carries an IPv4 one is unpacked first, so that no notation is a way round the table.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Says why `address` must not be dialled; `None` when it is a public one.
#[must_use]
pub fn refusal(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => refusal_v4(address),
        IpAddr::V6(address) => refusal_v6(address),
    }
}

/// A block of IPv4 addresses: its first address, its prefix length, and what it is for.
type BlockV4 = ([u8; 4], u32, &'static str);

/// The IPv4 blocks that are not public; a more particular one comes before the one around it.
const BLOCKS_V4: [BlockV4; 19] = [
    ([0, 0, 0, 0], 32, "unspecified"),
    ([0, 0, 0, 0], 8, "reserved"),
    ([10, 0, 0, 0], 8, "private"),
    ([100, 64, 0, 0], 10, "carrier-grade NAT"),
    ([127, 0, 0, 0], 8, "loopback"),
    // A virtual host's own platform answers here, although the block around it is public.
    ([168, 63, 129, 16], 32, "cloud platform"),
    ([169, 254, 0, 0], 16, "link-local"),
    ([172, 16, 0, 0], 12, "private"),
    ([192, 0, 0, 0], 24, "reserved"),
    ([192, 0, 2, 0], 24, "documentation"),
    ([192, 88, 99, 0], 24, "6to4 relay"),
    ([192, 168, 0, 0], 16, "private"),
    ([198, 18, 0, 0], 15, "benchmarking"),
    ([198, 51, 100, 0], 24, "documentation"),
    ([203, 0, 113, 0], 24, "documentation"),
    ([233, 252, 0, 0], 24, "documentation"),
    ([224, 0, 0, 0], 4, "multicast"),
    ([255, 255, 255, 255], 32, "broadcast"),
    ([240, 0, 0, 0], 4, "reserved"),
];

fn refusal_v4(address: Ipv4Addr) -> Option<&'static str> {
    BLOCKS_V4
        .iter()
        .find(|(first, length, _)| {
            let differing = address.to_bits() ^ Ipv4Addr::from(*first).to_bits();
            differing.leading_zeros() >= *length
        })
        .map(|(_, _, purpose)| *purpose)
}

/// A block of IPv6 addresses: its first segments, its prefix length, and what it is for.
type BlockV6 = ([u16; 3], u32, &'static str);

/// The IPv6 blocks that have a name, inside and outside the global unicast space.
const BLOCKS_V6: [BlockV6; 9] = [
    // Where the IPv4 address sits here depends on a prefix only its operator knows.
    ([0x64, 0xff9b, 0x1], 48, "local NAT64"),
    ([0x100, 0, 0], 64, "discard-only"),
    // The address of a Teredo client is that of a host behind a NAT, and of no vendor's server.
    ([0x2001, 0, 0], 32, "Teredo"),
    ([0x2001, 0xdb8, 0], 32, "documentation"),
    ([0x3fff, 0, 0], 20, "documentation"),
    ([0xfc00, 0, 0], 7, "unique local"),
    ([0xfe80, 0, 0], 10, "link-local"),
    ([0xfec0, 0, 0], 10, "site-local"),
    ([0xff00, 0, 0], 8, "multicast"),
];

/// Protocol assignments, Teredo among them: nothing there is an ordinary host.
const PROTOCOL_ASSIGNMENTS: BlockV6 = ([0x2001, 0, 0], 23, "reserved");

/// The only IPv6 space from which public addresses are handed out.
const GLOBAL_UNICAST: BlockV6 = ([0x2000, 0, 0], 3, "public");

fn refusal_v6(address: Ipv6Addr) -> Option<&'static str> {
    if address.is_unspecified() {
        return Some("unspecified");
    }
    if address.is_loopback() {
        return Some("loopback");
    }
    if let Some(embedded) = embedded_v4(address) {
        return refusal_v4(embedded);
    }
    BLOCKS_V6
        .iter()
        .chain([&PROTOCOL_ASSIGNMENTS])
        .find(|block| holds(block, address))
        .map(|(_, _, purpose)| *purpose)
        .or_else(|| (!holds(&GLOBAL_UNICAST, address)).then_some("reserved"))
}

/// The IPv4 address that packets to `address` end at, for the forms that carry one.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let join = |high: u16, low: u16| Ipv4Addr::from_bits((u32::from(high) << 16) | u32::from(low));
    match address.segments() {
        // IPv4-compatible, IPv4-mapped, NAT64: in the last four bytes.
        [0, 0, 0, 0, 0, 0 | 0xffff, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
            Some(join(high, low))
        }
        // 6to4: behind the first two bytes.
        [0x2002, high, low, ..] => Some(join(high, low)),
        _ => None,
    }
}

fn holds((first, length, _): &BlockV6, address: Ipv6Addr) -> bool {
    let [a, b, c] = *first;
    let differing = address.to_bits() ^ Ipv6Addr::new(a, b, c, 0, 0, 0, 0, 0).to_bits();
    differing.leading_zeros() >= *length
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str) -> Option<&'static str> {
        refusal(text.parse().expect("an address"))
    }

    /// First and last address of every refused block, and its neighbours on either side with what
    /// they are themselves.
    #[test]
    fn every_block_is_refused_from_its_first_to_its_last_address() {
        let public = None;
        #[rustfmt::skip]
        let table = [
            ("0.0.0.1", "0.255.255.255", "reserved", Some("0.0.0.0"), Some("unspecified"), "1.0.0.0", public),
            ("10.0.0.0", "10.255.255.255", "private", Some("9.255.255.255"), public, "11.0.0.0", public),
            ("100.64.0.0", "100.127.255.255", "carrier-grade NAT", Some("100.63.255.255"), public, "100.128.0.0", public),
            ("127.0.0.0", "127.255.255.255", "loopback", Some("126.255.255.255"), public, "128.0.0.0", public),
            ("168.63.129.16", "168.63.129.16", "cloud platform", Some("168.63.129.15"), public, "168.63.129.17", public),
            ("169.254.0.0", "169.254.255.255", "link-local", Some("169.253.255.255"), public, "169.255.0.0", public),
            ("172.16.0.0", "172.31.255.255", "private", Some("172.15.255.255"), public, "172.32.0.0", public),
            ("192.0.0.0", "192.0.0.255", "reserved", Some("191.255.255.255"), public, "192.0.1.0", public),
            ("192.0.2.0", "192.0.2.255", "documentation", Some("192.0.1.255"), public, "192.0.3.0", public),
            ("192.88.99.0", "192.88.99.255", "6to4 relay", Some("192.88.98.255"), public, "192.88.100.0", public),
            ("192.168.0.0", "192.168.255.255", "private", Some("192.167.255.255"), public, "192.169.0.0", public),
            ("198.18.0.0", "198.19.255.255", "benchmarking", Some("198.17.255.255"), public, "198.20.0.0", public),
            ("198.51.100.0", "198.51.100.255", "documentation", Some("198.51.99.255"), public, "198.51.101.0", public),
            ("203.0.113.0", "203.0.113.255", "documentation", Some("203.0.112.255"), public, "203.0.114.0", public),
            ("224.0.0.0", "233.251.255.255", "multicast", Some("223.255.255.255"), public, "233.252.0.0", Some("documentation")),
            ("233.252.1.0", "239.255.255.255", "multicast", Some("233.252.0.255"), Some("documentation"), "240.0.0.0", Some("reserved")),
            ("240.0.0.0", "255.255.255.254", "reserved", Some("239.255.255.255"), Some("multicast"), "255.255.255.255", Some("broadcast")),
            ("::1", "::1", "loopback", Some("::"), Some("unspecified"), "::0.0.0.2", Some("reserved")),
            ("64:ff9b:1::", "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", "local NAT64", Some("64:ff9b:0:ffff:ffff:ffff:ffff:ffff"), Some("reserved"), "64:ff9b:2::", Some("reserved")),
            ("100::", "100::ffff:ffff:ffff:ffff", "discard-only", Some("ff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Some("reserved"), "100:0:0:1::", Some("reserved")),
            ("2001::", "2001:0:ffff:ffff:ffff:ffff:ffff:ffff", "Teredo", Some("2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), public, "2001:1::", Some("reserved")),
            ("2001:1::", "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved", Some("2001:0:ffff:ffff:ffff:ffff:ffff:ffff"), Some("Teredo"), "2001:200::", public),
            ("2001:db8::", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", "documentation", Some("2001:db7:ffff:ffff:ffff:ffff:ffff:ffff"), public, "2001:db9::", public),
            ("3fff::", "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", "documentation", Some("3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), public, "3fff:1000::", public),
            ("4000::", "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "reserved", Some("3fff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), public, "fc00::", Some("unique local")),
            ("fc00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "unique local", Some("fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Some("reserved"), "fe00::", Some("reserved")),
            ("fe80::", "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "link-local", Some("fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Some("reserved"), "fec0::", Some("site-local")),
            ("fec0::", "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "site-local", Some("febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff"), Some("link-local"), "ff00::", Some("multicast")),
        ];
        for (first, last, purpose, before, before_is, after, after_is) in table {
            assert_eq!(check(first), Some(purpose), "{first}");
            assert_eq!(check(last), Some(purpose), "{last}");
            assert_eq!(before.and_then(check), before_is, "before {first}");
            assert_eq!(check(after), after_is, "after {last}");
        }
        assert_eq!(
            check("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
            Some("multicast")
        );
    }

    #[test]
    fn an_ipv4_address_is_found_in_every_form_that_carries_one() {
        for (refused, purpose) in [
            ("127.0.0.1", "loopback"),
            ("10.1.2.3", "private"),
            ("169.254.169.254", "link-local"),
            ("100.100.100.200", "carrier-grade NAT"),
            ("224.0.0.1", "multicast"),
            ("255.255.255.255", "broadcast"),
        ] {
            let inner: Ipv4Addr = refused.parse().expect("an address");
            let [a, b, c, d] = inner.octets();
            for form in [
                format!("::{refused}"),
                format!("::ffff:{refused}"),
                format!("64:ff9b::{refused}"),
                format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
            ] {
                assert_eq!(check(&form), Some(purpose), "{form}");
            }
        }
        // Not carried as such, refused as a whole.
        assert_eq!(check("2001:0:808:808:0:0:f7f7:f7f7"), Some("Teredo"));
        assert_eq!(check("64:ff9b:1::8.8.8.8"), Some("local NAT64"));
        assert_eq!(check("::ffff:0:127.0.0.1"), Some("reserved"));
    }

    #[test]
    fn public_addresses_pass_in_their_own_and_in_translated_form() {
        for public in [
            "1.1.1.1",
            "8.8.8.8",
            "104.18.0.1",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert_eq!(check(public), None, "{public}");
        }
    }
}
