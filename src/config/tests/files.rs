//! Secrets that come from files.

use std::{collections::BTreeMap, io};

use super::{SECRET, with};
use crate::config::{Config, ConfigFaults, Profile, Source, VARIABLES};

/// A disk with a few files.
fn disk(path: &std::path::Path) -> io::Result<String> {
    match path.to_str() {
        Some("/good") => Ok(format!("{SECRET}\n")),
        Some("/empty") => Ok("\n".to_owned()),
        Some("/short") => Ok("canary".to_owned()),
        _ => Err(io::ErrorKind::NotFound.into()),
    }
}

fn serve_with_disk(values: &BTreeMap<&str, &str>) -> Result<Config, ConfigFaults> {
    let source = Source::new(values.clone()).reading_files_by(disk);
    Config::read(&source, Profile::Serve, &[])
}

#[test]
fn every_secret_can_come_from_a_file() {
    for variable in VARIABLES.iter().filter(|variable| variable.is_secret()) {
        let name: &'static str = variable.file_name().unwrap().leak();
        let mut values = with(name, "/nowhere");
        values.remove(variable.name());
        let told = serve_with_disk(&values).unwrap_err();
        assert_eq!(told.faults.len(), 1, "{told}");
        assert_eq!(told.faults[0].variable, variable.name());
        assert!(
            told.faults[0]
                .message
                .contains(&format!("the file that {name} names")),
            "{told}"
        );
    }
    for variable in VARIABLES.iter().filter(|variable| !variable.is_secret()) {
        assert_eq!(variable.file_name(), None);
    }
    let mut values = with("DISCOVERY_JWT_HMAC_SECRET_FILE", "/good");
    values.remove("DISCOVERY_JWT_HMAC_SECRET");
    let config = serve_with_disk(&values).unwrap();
    assert_eq!(config.auth.hmac_secret.unwrap().expose(), SECRET);
}

#[test]
fn a_file_is_held_to_the_same_rules() {
    let mut values = with("DISCOVERY_JWT_HMAC_SECRET_FILE", "/short");
    values.remove("DISCOVERY_JWT_HMAC_SECRET");
    let told = serve_with_disk(&values).unwrap_err().to_string();
    assert!(
        told.contains("has a value (from DISCOVERY_JWT_HMAC_SECRET_FILE) which is only 6 bytes"),
        "{told}"
    );
    values.insert("DISCOVERY_JWT_HMAC_SECRET_FILE", "/empty");
    let told = serve_with_disk(&values).unwrap_err().to_string();
    assert!(
        told.contains("DISCOVERY_JWT_HMAC_SECRET is empty"),
        "{told}"
    );
}

#[test]
fn a_value_and_a_file_together_are_a_fault() {
    let told = serve_with_disk(&with("DISCOVERY_KEYRING_FILE", "/good")).unwrap_err();
    assert_eq!(told.faults.len(), 1, "{told}");
    assert!(
        told.faults[0]
            .to_string()
            .starts_with("DISCOVERY_KEYRING and DISCOVERY_KEYRING_FILE are both set; unset one"),
        "{told}"
    );
}
