//! Every environment variable there is, each declared once.
//!
//! The sections read through these declarations, `--help` and the README are made from or compared
//! with them, and faults take their words from them.

use std::fmt;

/// One environment variable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Variable {
    name: &'static str,
    alias: Option<&'static str>,
    secret: bool,
    meaning: &'static str,
    expects: &'static str,
    example: Option<&'static str>,
    fallback: Fallback,
}

/// What holds when a variable is not set.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fallback {
    /// A text, read exactly as if it had been set.
    Text {
        serve: &'static str,
        dev: &'static str,
    },
    /// Nothing that could be set; these words say what happens instead.
    Described(&'static str),
}

impl Variable {
    const fn new(name: &'static str, meaning: &'static str) -> Self {
        Self {
            name,
            alias: None,
            secret: false,
            meaning,
            expects: "",
            example: None,
            fallback: Fallback::Described("unset"),
        }
    }

    const fn or_alias(mut self, alias: &'static str) -> Self {
        self.alias = Some(alias);
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn expects(mut self, what: &'static str) -> Self {
        self.expects = what;
        self
    }

    const fn like(mut self, example: &'static str) -> Self {
        self.example = Some(example);
        self
    }

    const fn default(self, text: &'static str) -> Self {
        self.defaults(text, text)
    }

    const fn defaults(mut self, serve: &'static str, dev: &'static str) -> Self {
        self.fallback = Fallback::Text { serve, dev };
        self
    }

    const fn otherwise(mut self, words: &'static str) -> Self {
        self.fallback = Fallback::Described(words);
        self
    }

    /// The name, `DISCOVERY_…`.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        self.name
    }

    /// A second name, read when the first is not set.
    #[must_use]
    pub const fn alias(&self) -> Option<&'static str> {
        self.alias
    }

    /// Whether the value must never be shown.
    #[must_use]
    pub const fn is_secret(&self) -> bool {
        self.secret
    }

    /// The variable that names a file holding the value instead; secrets have one.
    #[must_use]
    pub fn file_name(&self) -> Option<String> {
        self.secret.then(|| format!("{}_FILE", self.name))
    }

    /// What it is for, in one sentence without a final stop.
    #[must_use]
    pub const fn meaning(&self) -> &'static str {
        self.meaning
    }

    /// What to write, with an example where that helps.
    #[must_use]
    pub fn expects_text(&self) -> String {
        match self.example {
            Some(example) => format!("{}, for example `{example}`", self.expects),
            None => self.expects.to_owned(),
        }
    }

    /// What holds when it is not set, in words.
    #[must_use]
    pub fn default_text(&self) -> String {
        match self.fallback {
            Fallback::Text { serve, dev } if serve == dev => format!("`{serve}`"),
            Fallback::Text { serve, dev } => format!("`{serve}`; in `dev` `{dev}`"),
            Fallback::Described(words) => words.to_owned(),
        }
    }

    pub(super) const fn fallback(&self) -> Fallback {
        self.fallback
    }

    #[cfg(test)]
    pub(super) const fn example(&self) -> Option<&'static str> {
        self.example
    }
}

/// Shows the name, and the ways to write it.
impl fmt::Display for Variable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        if self.secret {
            write!(f, " or {}_FILE", self.name)?;
        }
        self.alias.map_or(Ok(()), |alias| write!(f, " or {alias}"))
    }
}

/// Declares each variable as a constant and lists them all, in the order of the documentation.
macro_rules! variables {
    ($($(#[$doc:meta])* $constant:ident = $variable:expr;)*) => {
        $($(#[$doc])* pub const $constant: Variable = $variable;)*

        /// Every variable, in the order in which documentation and faults name them.
        pub const VARIABLES: &[Variable] = &[$($constant),*];
    };
}

const HOSTS: &str = "a comma list of `host` or `host:port`, or `none`";
const NETWORKS: &str = "a comma list of networks or addresses, or `none`";
const HOSTS_AND_NETWORKS: &str = "a comma list of hosts, `host:port` or networks, or `none`";
const LOOPBACK: &str = "localhost,127.0.0.0/8,::1";
const RATE: &str = "a number from 10 to 1000000";
const HEADER: &str = "a header line as the vendor was told to send it";

variables! {
    /// The database.
    DATABASE_URL = Variable::new("DISCOVERY_DATABASE_URL", "Postgres URL of the login role")
        .or_alias("DATABASE_URL")
        .secret()
        .expects("a Postgres URL")
        .like("postgres://user:password@host:5432/database")
        .otherwise("required by `serve`; `dev` starts a Postgres of its own");
    /// The size of the connection pool.
    DATABASE_POOL = Variable::new("DISCOVERY_DATABASE_POOL", "database connections this process may hold for tenants' work; fifteen more serve the rest")
        .expects("a number from 4 to 1000")
        .default("16");
    /// The embedded Postgres' programs.
    PG_BIN = Variable::new("DISCOVERY_PG_BIN", "directory of the Postgres programs that `dev` starts")
        .expects("a directory that holds `postgres` and `initdb`")
        .like("/usr/lib/postgresql/17/bin")
        .otherwise("the newest one found on the machine");
    /// Whether the embedded Postgres may be fetched.
    PG_DOWNLOAD = Variable::new("DISCOVERY_PG_DOWNLOAD", "whether `dev` may fetch Postgres when none is installed")
        .expects("`on` or `off`")
        .default("on");
    /// The API's address.
    LISTEN = Variable::new("DISCOVERY_LISTEN", "address of the API")
        .expects("an address and a port")
        .defaults("0.0.0.0:4018", "127.0.0.1:4018");
    /// How the outside reaches the API.
    PUBLIC_URL = Variable::new("DISCOVERY_PUBLIC_URL", "base of minted webhook URLs and of error type URIs")
        .expects("the http(s) URL at which callers and vendors reach this server")
        .like("https://discovery.example.com")
        .otherwise("required by `serve`; in `dev` `http://` and the listen address");
    /// The key ring.
    KEYRING = Variable::new("DISCOVERY_KEYRING", "keys that seal the vendors' credentials; the first seals, all open")
        .secret()
        .expects("what `matcher-discovery keys generate` prints")
        .otherwise("required by `serve`; `dev` makes one");
    /// The shared secret of tokens.
    JWT_HMAC_SECRET = Variable::new("DISCOVERY_JWT_HMAC_SECRET", "secret that verifies HS256, HS384 and HS512 tokens")
        .secret()
        .expects("at least 32 random bytes, as `openssl rand -hex 32` prints them")
        .otherwise("this or `DISCOVERY_JWT_JWKS` is required by `serve`; `dev` makes one");
    /// The public keys of tokens.
    JWT_JWKS = Variable::new("DISCOVERY_JWT_JWKS", "public keys that verify RS256, PS256, ES256 and EdDSA tokens")
        .expects("the path or the https URL of a JWKS")
        .like("https://login.example.com/.well-known/jwks.json")
        .otherwise("this or `DISCOVERY_JWT_HMAC_SECRET` is required by `serve`");
    /// The issuer.
    JWT_ISSUER = Variable::new("DISCOVERY_JWT_ISSUER", "the `iss` a token must have")
        .expects("the issuer's name as tokens carry it")
        .like("https://login.example.com")
        .otherwise("not checked");
    /// The audience.
    JWT_AUDIENCE = Variable::new("DISCOVERY_JWT_AUDIENCE", "the `aud` a token must have")
        .expects("this server's name as tokens carry it")
        .like("matcher-discovery")
        .otherwise("not checked");
    /// What a token without scopes may do.
    JWT_SCOPES = Variable::new("DISCOVERY_JWT_SCOPES", "whether a token without any scope claim may do everything (`if-present`) or nothing (`required`)")
        .expects("`if-present` or `required`")
        .default("if-present");
    /// Pluggy's hosts.
    PLUGGY_HOSTS = Variable::new("DISCOVERY_PLUGGY_HOSTS", "hosts that the `baseUrl` of a Pluggy connection may name")
        .expects(HOSTS)
        .default("api.pluggy.ai");
    /// Belvo's hosts.
    BELVO_HOSTS = Variable::new("DISCOVERY_BELVO_HOSTS", "hosts that the `baseUrl` of a Belvo connection may name")
        .expects(HOSTS)
        .default("api.belvo.com,sandbox.belvo.com,development.belvo.com");
    /// Pluggy's senders: the address of its present documentation, and that of its older one.
    PLUGGY_WEBHOOK_IPS = Variable::new("DISCOVERY_PLUGGY_WEBHOOK_IPS", "source addresses from which Pluggy's webhooks are accepted")
        .expects(NETWORKS)
        .defaults("52.67.145.81,177.71.238.212", "52.67.145.81,177.71.238.212,127.0.0.0/8,::1");
    /// Belvo's senders, as its documentation lists them.
    BELVO_WEBHOOK_IPS = Variable::new("DISCOVERY_BELVO_WEBHOOK_IPS", "source addresses from which Belvo's webhooks are accepted")
        .expects(NETWORKS)
        .defaults(
            "3.130.254.46,18.220.61.186,18.223.45.212",
            "3.130.254.46,18.220.61.186,18.223.45.212,127.0.0.0/8,::1",
        );
    /// The signature of Pluggy's webhooks.
    PLUGGY_WEBHOOK_HMAC_SECRET = Variable::new("DISCOVERY_PLUGGY_WEBHOOK_HMAC_SECRET", "secret of `X-Webhook-Signature` on Pluggy's webhooks")
        .secret()
        .expects("the secret that Pluggy's webhooks are signed with");
    /// The signature of Belvo's webhooks.
    BELVO_WEBHOOK_HMAC_SECRET = Variable::new("DISCOVERY_BELVO_WEBHOOK_HMAC_SECRET", "secret of `X-Webhook-Signature` on Belvo's webhooks")
        .secret()
        .expects("the secret that Belvo's webhooks are signed with");
    /// The header of Pluggy's webhooks.
    PLUGGY_WEBHOOK_HEADER = Variable::new("DISCOVERY_PLUGGY_WEBHOOK_HEADER", "header that Pluggy was told to send with its webhooks")
        .secret()
        .expects(HEADER)
        .like("X-Webhook-Secret: a long random text");
    /// The header of Belvo's webhooks.
    BELVO_WEBHOOK_HEADER = Variable::new("DISCOVERY_BELVO_WEBHOOK_HEADER", "header that Belvo was told to send with its webhooks")
        .secret()
        .expects(HEADER)
        .like("Authorization: Bearer a-long-random-text");
    /// Pluggy's rate limit.
    PLUGGY_RATE_LIMIT = Variable::new("DISCOVERY_PLUGGY_RATE_LIMIT", "requests that Pluggy allows from one address in a minute, for each group of endpoints")
        .expects(RATE)
        .default("360");
    /// Belvo's rate limit.
    BELVO_RATE_LIMIT = Variable::new("DISCOVERY_BELVO_RATE_LIMIT", "requests that Belvo allows from one address in 30 seconds")
        .expects(RATE)
        .default("80");
    /// Who shares an address.
    EGRESS_GROUP = Variable::new("DISCOVERY_EGRESS_GROUP", "name of the address that the vendors see; processes with the same one share the vendors' rate limits")
        .expects("a name of 1 to 100 characters")
        .default("default");
    /// The proxy on the way out.
    VENDOR_PROXY = Variable::new("DISCOVERY_VENDOR_PROXY", "proxy through which the vendors are reached; it then resolves and judges their addresses")
        .secret()
        .expects("an http or https URL")
        .like("http://user:password@proxy.internal:3128");
    /// The proxies in front.
    TRUSTED_PROXIES = Variable::new("DISCOVERY_TRUSTED_PROXIES", "proxies whose `X-Forwarded-For` is believed")
        .expects(NETWORKS)
        .like("10.0.0.0/8")
        .default("none");
    /// The connectors.
    CONNECTORS = Variable::new("DISCOVERY_CONNECTORS", "connector types registered at start")
        .expects("`all`, `none`, or a comma list of types")
        .like("postgres,mysql")
        .default("all");
    /// The tenants' databases.
    DATABASE_HOSTS = Variable::new("DISCOVERY_DATABASE_HOSTS", "hosts that database connections may name")
        .expects(HOSTS_AND_NETWORKS)
        .like("db.internal:5432,10.0.0.0/8")
        .defaults("none", LOOPBACK);
    /// The tenants' private REST sources.
    REST_PRIVATE_HOSTS = Variable::new("DISCOVERY_REST_PRIVATE_HOSTS", "private hosts that REST connections may name")
        .expects(HOSTS_AND_NETWORKS)
        .like("erp.internal,10.0.0.0/8")
        .defaults("none", LOOPBACK);
    /// How long extracted rows are kept.
    EXTRACTION_RETENTION = Variable::new("DISCOVERY_EXTRACTION_RETENTION", "how long the rows of an extraction are kept")
        .expects("a duration from a minute to a year")
        .like("12h")
        .default("7d");
    /// How long an extraction may take.
    EXTRACTION_TIMEOUT = Variable::new("DISCOVERY_EXTRACTION_TIMEOUT", "how long an attempt at an extraction may take")
        .expects("a duration from a second to a day")
        .like("10m")
        .default("1h");
    /// How many rows an extraction may have.
    EXTRACTION_MAX_ROWS = Variable::new("DISCOVERY_EXTRACTION_MAX_ROWS", "rows that an extraction may have")
        .expects("a number from 1 to 1000000000")
        .default("10000000");
    /// How many bytes an extraction may have.
    EXTRACTION_MAX_BYTES = Variable::new("DISCOVERY_EXTRACTION_MAX_BYTES", "bytes of JSON that an extraction may have")
        .expects("a number from 1000 to 1000000000000")
        .default("4000000000");
    /// How many bytes of extracted rows a tenant may keep.
    EXTRACTION_TENANT_BYTES = Variable::new("DISCOVERY_EXTRACTION_TENANT_BYTES", "bytes of JSON that a tenant's extractions may keep before another is refused")
        .expects("a number from 1000 to 1000000000000000")
        .default("20000000000");
    /// The browsers' origins.
    CORS_ORIGINS = Variable::new("DISCOVERY_CORS_ORIGINS", "origins of browser callers")
        .expects("a comma list of origins, or `none`")
        .like("https://console.example.com")
        .default("none");
    /// What is logged.
    LOG = Variable::new("DISCOVERY_LOG", "which log lines are written")
        .expects("a level, or a level for each target")
        .like("info,matcher_discovery=debug")
        .default("info");
    /// How it is logged.
    LOG_FORMAT = Variable::new("DISCOVERY_LOG_FORMAT", "how log lines are written")
        .expects("`json` or `text`")
        .defaults("json", "text");
}

/// One sentence for each variable of our prefix that nobody reads: most often a slip of the pen.
pub(super) fn unknown<'a>(names: impl Iterator<Item = &'a str>) -> Vec<String> {
    let known: Vec<String> = VARIABLES
        .iter()
        .flat_map(|variable| [Some(variable.name.to_owned()), variable.file_name()])
        .flatten()
        .collect();
    names
        .filter(|name| name.starts_with(PREFIX) && !known.iter().any(|known| known == name))
        .map(|name| match nearest(name, &known) {
            Some(near) => format!("{name} is set but never read; did you mean {near}?"),
            None => format!(
                "{name} is set but never read; `matcher-discovery serve --help` lists what is"
            ),
        })
        .collect()
}

const PREFIX: &str = "DISCOVERY_";

/// Whether a variable of this name may be ours, known or misspelt.
pub(super) fn is_ours(name: &str) -> bool {
    name.starts_with(PREFIX)
        || VARIABLES
            .iter()
            .any(|variable| variable.alias == Some(name))
}

/// The known name that takes the fewest changes to reach, unless that is half of the name.
fn nearest<'a>(name: &str, known: &'a [String]) -> Option<&'a str> {
    let limit = (name.len() - PREFIX.len()) / 2;
    known
        .iter()
        .map(|candidate| (distance(name, candidate), candidate.as_str()))
        .min()
        .filter(|(distance, _)| *distance <= limit)
        .map(|(_, candidate)| candidate)
}

/// How many characters must be added, dropped or replaced to turn one text into the other.
fn distance(from: &str, to: &str) -> usize {
    let to: Vec<char> = to.chars().collect();
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (i, have) in from.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, want) in to.iter().enumerate() {
            let replaced = diagonal + usize::from(have != *want);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[to.len()]
}

#[cfg(test)]
mod tests {
    use super::{VARIABLES, distance, unknown};
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_carry_the_prefix() {
        let names: BTreeSet<_> = VARIABLES.iter().map(super::Variable::name).collect();
        assert_eq!(names.len(), VARIABLES.len());
        assert!(names.iter().all(|name| name.starts_with("DISCOVERY_")));
    }

    #[test]
    fn meanings_are_one_phrase() {
        for variable in VARIABLES {
            let meaning = variable.meaning();
            assert!(!meaning.is_empty(), "{variable}");
            assert!(!variable.expects.is_empty(), "{variable}");
            assert!(
                !meaning.ends_with('.') && !meaning.contains(". "),
                "{variable}"
            );
        }
    }

    #[test]
    fn defaults_are_told_for_both_profiles() {
        assert_eq!(
            super::LISTEN.default_text(),
            "`0.0.0.0:4018`; in `dev` `127.0.0.1:4018`"
        );
        assert_eq!(super::LOG.default_text(), "`info`");
        assert!(
            super::KEYRING
                .default_text()
                .contains("required by `serve`")
        );
        assert_eq!(
            super::DATABASE_URL.to_string(),
            "DISCOVERY_DATABASE_URL or DISCOVERY_DATABASE_URL_FILE or DATABASE_URL"
        );
    }

    #[test]
    fn an_unknown_name_is_told_with_the_nearest_known_one() {
        let told = unknown(
            [
                "DISCOVERY_KEYRNG",
                "DISCOVERY_LISTEN_FILE",
                "DISCOVERY_JWT_SECRET",
                "DISCOVERY_KEYRING_FILES",
                "DISCOVERY_PORT",
                "DISCOVERY_",
                "DISCOVERY_LOG",
                "DISCOVERY_KEYRING_FILE",
                "DATABASE_URL",
                "PATH",
            ]
            .into_iter(),
        );
        assert_eq!(
            told,
            [
                "DISCOVERY_KEYRNG is set but never read; did you mean DISCOVERY_KEYRING?",
                "DISCOVERY_LISTEN_FILE is set but never read; did you mean DISCOVERY_LISTEN?",
                "DISCOVERY_JWT_SECRET is set but never read; did you mean DISCOVERY_JWT_SCOPES?",
                "DISCOVERY_KEYRING_FILES is set but never read; did you mean DISCOVERY_KEYRING_FILE?",
                "DISCOVERY_PORT is set but never read; `matcher-discovery serve --help` lists what is",
                "DISCOVERY_ is set but never read; `matcher-discovery serve --help` lists what is",
            ]
        );
    }

    #[test]
    fn distance_counts_single_changes() {
        for (from, to, changes) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("flaw", "lawn", 2),
            ("same", "same", 0),
        ] {
            assert_eq!(distance(from, to), changes, "{from} {to}");
        }
    }
}
