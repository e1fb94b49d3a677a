//! What is refused, and in which words.

use std::collections::BTreeMap;

use super::{SECRET, faults, least, read, serve, with};
use crate::config::{Check, Config, Profile, Source, VARIABLES, variables};

#[test]
fn what_dev_made_up_for_is_still_named_when_it_is_asked_for() {
    let config = read(&BTreeMap::new(), Profile::Dev).unwrap();
    let told = config.database.url().unwrap_err().to_string();
    assert!(
        told.starts_with("DISCOVERY_DATABASE_URL is not set; write a Postgres URL"),
        "{told}"
    );
    let told = config.keys.ring().unwrap_err().to_string();
    assert!(
        told.starts_with("DISCOVERY_KEYRING is not set; write "),
        "{told}"
    );
}

#[test]
fn serve_names_everything_it_misses() {
    let told = serve(&BTreeMap::new()).unwrap_err();
    assert_eq!(
        faults(&told),
        [
            "DISCOVERY_DATABASE_URL is not set; write a Postgres URL, for example \
             `postgres://user:password@host:5432/database`, or name a file that holds it in \
             DISCOVERY_DATABASE_URL_FILE",
            "DISCOVERY_PUBLIC_URL is not set; write the http(s) URL at which callers and vendors \
             reach this server, for example `https://discovery.example.com`",
            "DISCOVERY_KEYRING is not set; write what `matcher-discovery keys generate` prints, \
             or name a file that holds it in DISCOVERY_KEYRING_FILE",
            "DISCOVERY_JWT_HMAC_SECRET is not set, nor is DISCOVERY_JWT_JWKS, of which one is needed; write at least 32 \
             random bytes, as `openssl rand -hex 32` prints them, or name a file that holds it \
             in DISCOVERY_JWT_HMAC_SECRET_FILE",
        ]
    );
}

#[test]
fn faulty_public_keys_are_not_told_as_a_missing_secret() {
    let mut values = with("DISCOVERY_JWT_JWKS", "http://keys.example.com");
    values.remove("DISCOVERY_JWT_HMAC_SECRET");
    let told = serve(&values).unwrap_err();
    assert_eq!(told.faults.len(), 1, "{told}");
    assert_eq!(told.faults[0].variable, "DISCOVERY_JWT_JWKS");
}

/// A variable, values that will do, and values that won't, each with the reason told.
type Case = (
    &'static str,
    &'static [&'static str],
    &'static [(&'static str, &'static str)],
);

const NO_NET: &str = "is neither a network nor an address";

const CASES: &[Case] = &[
    (
        "DISCOVERY_DATABASE_URL",
        &["postgres://h/d", "postgresql://h/d"],
        &[("mysql://h/d", "does not begin with `postgres://`")],
    ),
    (
        "DISCOVERY_DATABASE_POOL",
        &["4", "1000", " 20 "],
        &[
            ("3", "from 4 to 1000"),
            ("1001", "from 4"),
            ("many", "from 4"),
        ],
    ),
    ("DISCOVERY_PG_BIN", &["/usr/lib/postgresql/17/bin"], &[]),
    (
        "DISCOVERY_PG_DOWNLOAD",
        &["on", "off"],
        &[("yes", "neither `on` nor `off`")],
    ),
    (
        "DISCOVERY_LISTEN",
        &["127.0.0.1:0", "[::]:4018"],
        &[
            ("4018", "is not an address with a port"),
            ("localhost:4018", "is not an address"),
        ],
    ),
    (
        "DISCOVERY_PUBLIC_URL",
        &["https://d.example.com/base/", "http://10.0.0.1:4018"],
        &[
            ("d.example.com", "does not begin with `https://`"),
            ("https://d.example.com?a", "has a query"),
            ("https://u:p@d.example.com", "has a user or a password"),
        ],
    ),
    ("DISCOVERY_KEYRING", &["anything"], &[]),
    (
        "DISCOVERY_JWT_HMAC_SECRET",
        &[SECRET],
        &[("0123456789abcdef0123456789abcde", "is only 31 bytes long")],
    ),
    (
        "DISCOVERY_JWT_JWKS",
        &["/keys.json", "https://login.example.com/jwks"],
        &[
            ("http://login.example.com/jwks", "is not an https URL"),
            ("https://", "is not a URL"),
            ("https://u:p@login.example.com/", "has a user or a password"),
        ],
    ),
    ("DISCOVERY_JWT_ISSUER", &["https://login.example.com"], &[]),
    ("DISCOVERY_JWT_AUDIENCE", &["matcher"], &[]),
    (
        "DISCOVERY_JWT_SCOPES",
        &["if-present", "required"],
        &[("Required", "neither `if-present` nor `required`")],
    ),
    (
        "DISCOVERY_PLUGGY_HOSTS",
        &["none", "api.pluggy.ai, 127.0.0.1:4019,"],
        &[
            ("https://api.pluggy.ai", "must be a host alone"),
            ("*.pluggy.ai", "patterns"),
        ],
    ),
    (
        "DISCOVERY_BELVO_HOSTS",
        &["none", "sandbox.belvo.com"],
        &[("belvo.com:0", "has a port that")],
    ),
    (
        "DISCOVERY_PLUGGY_WEBHOOK_IPS",
        &["none", "10.0.0.0/8, 1.2.3.4, ::1"],
        &[("10.0.0.0/33", NO_NET)],
    ),
    (
        "DISCOVERY_BELVO_WEBHOOK_IPS",
        &["none", "10.0.0.0/8"],
        &[("belvo.com", NO_NET)],
    ),
    ("DISCOVERY_PLUGGY_WEBHOOK_HMAC_SECRET", &["s"], &[]),
    ("DISCOVERY_BELVO_WEBHOOK_HMAC_SECRET", &["s"], &[]),
    (
        "DISCOVERY_PLUGGY_WEBHOOK_HEADER",
        &["X-Secret: s"],
        &[("X-Secret s", "has no colon")],
    ),
    (
        "DISCOVERY_BELVO_WEBHOOK_HEADER",
        &["Authorization: s"],
        &[("A:", "has nothing after")],
    ),
    (
        "DISCOVERY_PLUGGY_RATE_LIMIT",
        &["10", " 360 ", "1000000"],
        &[("9", "from 10"), ("1000001", "from 10"), ("-1", "from 10")],
    ),
    (
        "DISCOVERY_BELVO_RATE_LIMIT",
        &["80"],
        &[("eighty", "is not a number from 10")],
    ),
    (
        "DISCOVERY_EGRESS_GROUP",
        &["default", "são-paulo 1"],
        &[("a\nb", "is not a name")],
    ),
    (
        "DISCOVERY_VENDOR_PROXY",
        &["http://proxy.internal:3128", "https://u:p@proxy.internal"],
        &[
            ("proxy.internal:3128", "is not an http or https URL"),
            ("not a url", "is not a URL"),
        ],
    ),
    (
        "DISCOVERY_TRUSTED_PROXIES",
        &["none", "10.0.0.0/8"],
        &[("proxy", NO_NET)],
    ),
    (
        "DISCOVERY_CONNECTORS",
        &["all", "none", "postgres,rest-generic"],
        &[("Postgres", "is not a connector type")],
    ),
    (
        "DISCOVERY_DATABASE_HOSTS",
        &["none", "db.internal:5432,10.0.0.0/8"],
        &[("10.0.0.0/33", "is neither a host nor a network")],
    ),
    (
        "DISCOVERY_REST_PRIVATE_HOSTS",
        &["none", "erp.internal"],
        &[("two words", "is not a host name")],
    ),
    (
        "DISCOVERY_EXTRACTION_RETENTION",
        &["7d", "1m", "365d"],
        &[("59s", "not a duration"), ("a week", "not a duration")],
    ),
    (
        "DISCOVERY_EXTRACTION_TIMEOUT",
        &["1h", "1s", "1day"],
        &[("0s", "not a duration"), ("25h", "not a duration")],
    ),
    (
        "DISCOVERY_EXTRACTION_MAX_ROWS",
        &["1", "1000000000"],
        &[("0", "not a number"), ("many", "not a number")],
    ),
    (
        "DISCOVERY_EXTRACTION_MAX_BYTES",
        &["1000", "1000000000000"],
        &[("999", "not a number"), ("4GB", "not a number")],
    ),
    (
        "DISCOVERY_EXTRACTION_TENANT_BYTES",
        &["1000", "1000000000000000"],
        &[("999", "not a number"), ("-1", "not a number")],
    ),
    (
        "DISCOVERY_CORS_ORIGINS",
        &["none", "https://a.example,http://localhost:3000"],
        &[
            ("*", "name each origin"),
            ("https://a.example/x", "has more than a scheme"),
        ],
    ),
    ("DISCOVERY_LOG", &["debug"], &[]),
    (
        "DISCOVERY_LOG_FORMAT",
        &["json", "text"],
        &[("xml", "neither `json` nor `text`")],
    ),
];

#[test]
fn every_variable_takes_what_is_right_and_names_what_is_wrong() {
    let cases: Vec<_> = CASES.iter().map(|(name, ..)| *name).collect();
    let declared: Vec<_> = VARIABLES.iter().map(variables::Variable::name).collect();
    assert_eq!(cases, declared, "there is a case for each variable");

    for (name, right, wrong) in CASES {
        for value in *right {
            let read = serve(&with(name, value));
            assert!(read.is_ok(), "{name}={value}: {}", read.unwrap_err());
        }
        for (value, reason) in *wrong {
            let told = serve(&with(name, value)).unwrap_err();
            assert_eq!(told.faults.len(), 1, "{name}={value}: {told}");
            assert_eq!(told.faults[0].variable, *name);
            assert!(told.faults[0].message.contains(reason), "{told}");
            assert!(told.faults[0].message.contains("; write "), "{told}");
        }
    }
}

#[test]
fn all_faults_are_told_at_once_in_the_order_of_the_documentation() {
    let mut values = BTreeMap::new();
    let mut expected = Vec::new();
    for (name, _, wrong) in CASES {
        if let Some((value, _)) = wrong.first() {
            values.insert(*name, *value);
            expected.push(*name);
        } else if *name == "DISCOVERY_KEYRING" {
            expected.push(name);
        }
    }
    let told = serve(&values).unwrap_err();
    let names: Vec<_> = told.faults.iter().map(|fault| fault.variable).collect();
    assert_eq!(names, expected);
}

#[test]
fn every_wrong_entry_of_a_list_is_told() {
    let told = serve(&with("DISCOVERY_TRUSTED_PROXIES", "a,10.0.0.0/8,b")).unwrap_err();
    let told = faults(&told);
    assert_eq!(told.len(), 2);
    assert!(told[0].contains("has `a`, which is neither"), "{told:?}");
    assert!(told[1].contains("has `b`, which is neither"), "{told:?}");
}

#[test]
fn a_long_or_odd_value_is_shown_short_and_on_one_line() {
    let long: &'static str = "x".repeat(200).leak();
    let told = serve(&with("DISCOVERY_LISTEN", long))
        .unwrap_err()
        .to_string();
    assert!(told.contains(&format!("`{}…`", "x".repeat(80))), "{told}");
    let told = serve(&with("DISCOVERY_LISTEN", "a\u{1b}[31m\nb")).unwrap_err();
    assert!(
        told.faults[0].message.contains(r"`a\u{1b}[31m\nb`"),
        "{told}"
    );
}

#[cfg(unix)]
#[test]
fn a_value_that_is_no_text_is_a_fault() {
    use std::{ffi::OsString, os::unix::ffi::OsStringExt as _};
    let name = |name: &str| OsString::from(name);
    let source = Source::new([
        (name("DISCOVERY_LISTEN"), OsString::from_vec(vec![0xff])),
        (
            name("DISCOVERY_KEYRING_FILE"),
            OsString::from_vec(vec![0xff]),
        ),
    ]);
    let told = Config::read(&source, Profile::Dev, &[]).unwrap_err();
    let told = faults(&told);
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].starts_with("DISCOVERY_LISTEN can't be read: DISCOVERY_LISTEN is not UTF-8"));
    assert!(told[1].contains("DISCOVERY_KEYRING_FILE is not UTF-8"));
}

#[test]
fn rules_of_other_rooms_are_asked_about_what_is_set() {
    fn refuse(_: &str) -> Result<(), String> {
        Err("nobody likes it".to_owned())
    }
    let checks: &[Check] = &[(variables::KEYRING, refuse), (variables::LOG, refuse)];
    let told = Config::read(&Source::new(least()), Profile::Serve, checks).unwrap_err();
    let told = faults(&told);
    assert_eq!(
        told.len(),
        1,
        "the default of the log is not asked about: {told:?}"
    );
    assert!(told[0].starts_with("DISCOVERY_KEYRING is not valid: nobody likes it; write what"));

    let values = with("DISCOVERY_LOG", "loud");
    let told = Config::read(&Source::new(values), Profile::Serve, checks).unwrap_err();
    assert_eq!(told.faults.len(), 2, "{told}");
}

#[test]
fn a_misspelt_name_is_a_warning_and_stands_below_the_faults() {
    let values = with("DISCOVERY_TRUSTED_PROXY", "canary");
    let warning = "DISCOVERY_TRUSTED_PROXY is set but never read; did you mean \
                   DISCOVERY_TRUSTED_PROXIES?";
    assert_eq!(serve(&values).unwrap().warnings, [warning]);
    let mut values = values;
    values.remove("DISCOVERY_KEYRING");
    let told = serve(&values).unwrap_err();
    assert_eq!(told.warnings, [warning]);
    assert!(told.to_string().ends_with(warning));
}

#[test]
fn no_secret_is_ever_shown() {
    // Right values, in what is read and where it is read from.
    let mut right = least();
    right.extend([
        ("DISCOVERY_DATABASE_URL", "postgres://u:canary@h/d"),
        ("DISCOVERY_KEYRING", "k1:canary"),
        (
            "DISCOVERY_JWT_HMAC_SECRET",
            "canary-canary-canary-canary-canary",
        ),
        ("DISCOVERY_PLUGGY_WEBHOOK_HMAC_SECRET", "canary"),
        ("DISCOVERY_BELVO_WEBHOOK_HMAC_SECRET", "canary"),
        ("DISCOVERY_PLUGGY_WEBHOOK_HEADER", "Name: canary"),
        ("DISCOVERY_BELVO_WEBHOOK_HEADER", "Name: canary"),
        ("DISCOVERY_VENDOR_PROXY", "http://u:canary@proxy.internal"),
    ]);
    let secrets = VARIABLES.iter().filter(|variable| variable.is_secret());
    assert!(
        secrets
            .clone()
            .all(|variable| right.contains_key(variable.name()))
    );
    let source = Source::new(right.clone());
    let config = Config::read(&source, Profile::Serve, &[]).unwrap();
    assert_eq!(
        config.keys.ring().unwrap().expose(),
        "k1:canary",
        "it was read"
    );
    for shown in [format!("{source:?}"), format!("{config:?}")] {
        assert!(!shown.contains("canary"), "{shown}");
    }

    // Wrong values: of the wrong form, in the variable for a path, or in one that is no secret.
    let mut wrong = BTreeMap::from([
        ("DISCOVERY_PUBLIC_URL", "https://u:canary@h"),
        ("DISCOVERY_JWT_JWKS", "https://u:canary@h"),
        ("DISCOVERY_PLUGGY_HOSTS", "u:canary@h"),
        ("DISCOVERY_CORS_ORIGINS", "https://u:canary@h"),
        ("DISCOVERY_SECRET", "canary"),
    ]);
    for (number, variable) in secrets.enumerate() {
        if number % 2 == 0 {
            wrong.insert(variable.name(), "canary");
        } else {
            wrong.insert(variable.file_name().unwrap().leak(), "canary");
        }
    }
    let told = Config::read(&Source::new(wrong), Profile::Serve, &[]).unwrap_err();
    assert!(told.faults.len() > 8, "{told}");
    for shown in [told.to_string(), format!("{told:?}")] {
        assert!(!shown.contains("canary"), "{shown}");
    }
}
