//! The sections together: every variable, every default, every fault.

use std::collections::BTreeMap;

use super::{Config, ConfigFaults, Profile, Source};

mod faults;
mod files;
mod values;

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// What `serve` can't do without.
fn least() -> BTreeMap<&'static str, &'static str> {
    BTreeMap::from([
        ("DISCOVERY_DATABASE_URL", "postgres://u:p@db/discovery"),
        ("DISCOVERY_PUBLIC_URL", "https://discovery.example.com"),
        ("DISCOVERY_KEYRING", "k1:AAAA"),
        ("DISCOVERY_JWT_HMAC_SECRET", SECRET),
    ])
}

fn serve(values: &BTreeMap<&str, &str>) -> Result<Config, ConfigFaults> {
    read(values, Profile::Serve)
}

fn read(values: &BTreeMap<&str, &str>, profile: Profile<'_>) -> Result<Config, ConfigFaults> {
    Config::read(&Source::new(values.clone()), profile, &[])
}

fn with(name: &'static str, value: &'static str) -> BTreeMap<&'static str, &'static str> {
    let mut values = least();
    values.insert(name, value);
    values
}

fn texts<T: ToString>(list: &[T]) -> Vec<String> {
    list.iter().map(ToString::to_string).collect()
}

fn faults(faults: &ConfigFaults) -> Vec<String> {
    texts(&faults.faults)
}
