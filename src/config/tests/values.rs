//! What is read, and what holds when nothing is set.

use std::collections::{BTreeMap, BTreeSet};

use super::{SECRET, least, read, serve, texts, with};
use crate::{
    config::{
        Config, Jwks, LogFormat, Profile, ScopeRule, Source, Types, VARIABLES, reader::Reader,
        variables,
    },
    domain::vendor::Vendor,
};

#[test]
fn serve_has_the_documented_defaults() {
    let config = serve(&least()).unwrap();
    assert_eq!(
        config.database.url().unwrap().expose(),
        "postgres://u:p@db/discovery"
    );
    assert_eq!(config.database.pool_size, 16);
    assert_eq!(config.database.embedded_programs, None);
    assert!(config.database.embedded_download);
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:4018");
    assert_eq!(
        config.http.public_url(config.http.listen).as_str(),
        "https://discovery.example.com"
    );
    assert!(config.http.cors_origins.is_empty());
    assert!(config.http.trusted_proxies.is_empty());
    assert_eq!(config.keys.ring().unwrap().expose(), "k1:AAAA");
    assert_eq!(config.auth.hmac_secret.unwrap().expose(), SECRET);
    assert_eq!(config.auth.jwks, None);
    assert_eq!(config.auth.issuer, None);
    assert_eq!(config.auth.audience, None);
    assert_eq!(config.auth.scopes, ScopeRule::IfPresent);
    let pluggy = config.vendors.of(Vendor::Pluggy);
    assert_eq!(texts(&pluggy.hosts), ["api.pluggy.ai"]);
    assert_eq!(
        texts(&pluggy.webhook_ips),
        ["52.67.145.81/32", "177.71.238.212/32"]
    );
    assert!(pluggy.webhook_hmac_secret.is_none());
    assert!(pluggy.webhook_header.is_none());
    let belvo = config.vendors.of(Vendor::Belvo);
    assert_eq!(
        texts(&belvo.hosts),
        [
            "api.belvo.com",
            "sandbox.belvo.com",
            "development.belvo.com"
        ]
    );
    assert_eq!(
        texts(&belvo.webhook_ips),
        ["3.130.254.46/32", "18.220.61.186/32", "18.223.45.212/32"]
    );
    assert!(belvo.webhook_hmac_secret.is_none());
    assert!(belvo.webhook_header.is_none());
    assert_eq!(config.connectors.types, Types::All);
    assert!(config.connectors.database_hosts.is_empty());
    assert!(config.connectors.rest_private_hosts.is_empty());
    assert_eq!(config.log.filter, "info");
    assert_eq!(config.log.format, LogFormat::Json);
    assert!(config.warnings.is_empty());
}

#[test]
fn dev_needs_nothing_and_trusts_its_own_machine() {
    let config = read(&BTreeMap::new(), Profile::Dev).unwrap();
    assert!(config.database.url.is_none());
    assert!(config.keys.ring.is_none());
    assert!(config.auth.hmac_secret.is_none());
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:4018");
    assert_eq!(
        config
            .http
            .public_url("127.0.0.1:5000".parse().unwrap())
            .as_str(),
        "http://127.0.0.1:5000"
    );
    let loopback = ["localhost", "127.0.0.0/8", "[::1]"];
    assert_eq!(texts(&config.connectors.database_hosts), loopback);
    assert_eq!(texts(&config.connectors.rest_private_hosts), loopback);
    for vendor in Vendor::ALL {
        let ips = texts(&config.vendors.of(vendor).webhook_ips);
        assert!(ips.contains(&"127.0.0.0/8".to_owned()), "{ips:?}");
        assert!(ips.contains(&"::1/128".to_owned()), "{ips:?}");
    }
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn public_keys_alone_will_do() {
    let mut values = with("DISCOVERY_JWT_JWKS", "/etc/keys.json");
    values.remove("DISCOVERY_JWT_HMAC_SECRET");
    let auth = serve(&values).unwrap().auth;
    assert!(auth.hmac_secret.is_none());
    assert_eq!(auth.jwks, Some(Jwks::File("/etc/keys.json".into())));
}

#[test]
fn a_small_command_asks_only_for_what_it_needs() {
    let none = BTreeMap::new();
    assert!(read(&none, Profile::Tool(&[])).is_ok());
    let told = read(&none, Profile::Tool(&[variables::DATABASE_URL])).unwrap_err();
    assert_eq!(told.faults.len(), 1, "{told}");
    assert_eq!(told.faults[0].variable, "DISCOVERY_DATABASE_URL");
    // Minting takes the secret; public keys are of no use for it.
    let keys = BTreeMap::from([("DISCOVERY_JWT_JWKS", "/keys.json")]);
    let told = read(&keys, Profile::Tool(&[variables::JWT_HMAC_SECRET])).unwrap_err();
    assert_eq!(told.faults[0].variable, "DISCOVERY_JWT_HMAC_SECRET");
    let config = read(&none, Profile::Tool(&[])).unwrap();
    assert_eq!(config.http.listen.to_string(), "0.0.0.0:4018");
}

#[test]
fn the_examples_and_the_defaults_of_the_documentation_are_right() {
    for variable in VARIABLES {
        let Some(example) = variable.example() else {
            continue;
        };
        let read = serve(&with(variable.name(), example));
        assert!(read.is_ok(), "{variable}: {}", read.unwrap_err());
    }
    for profile in [Profile::Dev, Profile::Tool(&[])] {
        assert!(read(&BTreeMap::new(), profile).is_ok());
    }
}

#[test]
fn values_reach_the_section_they_belong_to() {
    let mut values = least();
    values.extend([
        ("DISCOVERY_DATABASE_POOL", "7"),
        ("DISCOVERY_PG_BIN", "/pg"),
        ("DISCOVERY_PG_DOWNLOAD", "off"),
        ("DISCOVERY_LISTEN", "127.0.0.1:1"),
        ("DISCOVERY_JWT_JWKS", "https://login.example.com/jwks"),
        ("DISCOVERY_JWT_ISSUER", "iss"),
        ("DISCOVERY_JWT_AUDIENCE", "aud"),
        ("DISCOVERY_JWT_SCOPES", "required"),
        ("DISCOVERY_PLUGGY_HOSTS", "p.example"),
        ("DISCOVERY_BELVO_HOSTS", "b.example"),
        ("DISCOVERY_PLUGGY_WEBHOOK_IPS", "10.1.1.1/8"),
        ("DISCOVERY_BELVO_WEBHOOK_IPS", "::1"),
        ("DISCOVERY_PLUGGY_WEBHOOK_HMAC_SECRET", "p-hmac"),
        ("DISCOVERY_BELVO_WEBHOOK_HMAC_SECRET", "b-hmac"),
        ("DISCOVERY_PLUGGY_WEBHOOK_HEADER", "P-Name: p"),
        ("DISCOVERY_BELVO_WEBHOOK_HEADER", "B-Name: b"),
        ("DISCOVERY_TRUSTED_PROXIES", "10.2.0.0/16"),
        ("DISCOVERY_CONNECTORS", "postgres, mysql"),
        ("DISCOVERY_DATABASE_HOSTS", "d.example"),
        ("DISCOVERY_REST_PRIVATE_HOSTS", "r.example"),
        ("DISCOVERY_CORS_ORIGINS", "https://c.example/"),
        ("DISCOVERY_LOG", "debug"),
        ("DISCOVERY_LOG_FORMAT", "text"),
    ]);
    let config = serve(&values).unwrap();
    assert_eq!(config.database.pool_size, 7);
    assert_eq!(config.database.embedded_programs, Some("/pg".into()));
    assert!(!config.database.embedded_download);
    assert_eq!(config.http.listen.to_string(), "127.0.0.1:1");
    assert_eq!(
        config.auth.jwks,
        Some(Jwks::Url("https://login.example.com/jwks".parse().unwrap()))
    );
    assert_eq!(config.auth.issuer.as_deref(), Some("iss"));
    assert_eq!(config.auth.audience.as_deref(), Some("aud"));
    assert_eq!(config.auth.scopes, ScopeRule::Required);
    for (vendor, host, ips, hmac, header, value) in [
        (
            Vendor::Pluggy,
            "p.example",
            "10.0.0.0/8",
            "p-hmac",
            "p-name",
            "p",
        ),
        (
            Vendor::Belvo,
            "b.example",
            "::1/128",
            "b-hmac",
            "b-name",
            "b",
        ),
    ] {
        let vendor = config.vendors.of(vendor);
        assert_eq!(texts(&vendor.hosts), [host]);
        assert_eq!(texts(&vendor.webhook_ips), [ips]);
        assert_eq!(vendor.webhook_hmac_secret.as_ref().unwrap().expose(), hmac);
        let line = vendor.webhook_header.as_ref().unwrap();
        assert_eq!((line.name.as_str(), line.value.expose()), (header, value));
    }
    assert_eq!(texts(&config.http.trusted_proxies), ["10.2.0.0/16"]);
    assert_eq!(
        config.connectors.types,
        Types::Only(vec!["postgres".to_owned(), "mysql".to_owned()])
    );
    assert_eq!(texts(&config.connectors.database_hosts), ["d.example"]);
    assert_eq!(texts(&config.connectors.rest_private_hosts), ["r.example"]);
    assert_eq!(config.http.cors_origins, ["https://c.example"]);
    assert_eq!(config.log.filter, "debug");
    assert_eq!(config.log.format, LogFormat::Text);
}

#[test]
fn an_empty_value_is_unset() {
    let mut values = with("DISCOVERY_LISTEN", "");
    values.insert("DISCOVERY_KEYRING", " ");
    let told = serve(&values).unwrap_err();
    assert_eq!(told.faults.len(), 1, "{told}");
    assert!(
        told.faults[0]
            .to_string()
            .starts_with("DISCOVERY_KEYRING is not set")
    );
}

#[test]
fn the_alias_is_read_when_the_name_is_unset() {
    let mut values = with("DATABASE_URL", "postgres://alias/d");
    let config = serve(&values).unwrap();
    assert_eq!(
        config.database.url().unwrap().expose(),
        "postgres://u:p@db/discovery"
    );
    values.remove("DISCOVERY_DATABASE_URL");
    let config = serve(&values).unwrap();
    assert_eq!(
        config.database.url().unwrap().expose(),
        "postgres://alias/d"
    );
    values.insert("DATABASE_URL", "sqlite://canary");
    let told = serve(&values).unwrap_err().to_string();
    assert!(
        told.contains("has a value (from DATABASE_URL) which does not begin"),
        "{told}"
    );
}

#[test]
fn what_is_declared_is_what_is_read() {
    let source = Source::new(BTreeMap::<&str, &str>::new());
    let mut reader = Reader::new(&source, Profile::Dev, &[]);
    assert!(Config::from_reader(&mut reader).is_some());
    let declared: BTreeSet<_> = VARIABLES.iter().map(variables::Variable::name).collect();
    assert_eq!(*reader.read(), declared);
}
