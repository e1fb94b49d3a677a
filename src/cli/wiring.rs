//! Puts the parts together: the same for `serve`, `dev` and the tests.

use std::{collections::BTreeMap, str::FromStr as _, sync::Arc, time::Duration};

use axum::Router;
use sqlx::postgres::PgConnectOptions;
use zeroize::Zeroizing;

use super::Failure;
use crate::{
    app::{App, ExtractionRules, Parts, SharedBudget, WebhookSources},
    config::{Auth, Check, Config, ConfigFault, Jwks, ScopeRule, Types, variables},
    connectors::{self, Connector, Limits, Reach, Registry, RegistryError},
    domain::{
        base_url::HostPolicy, clock::Clock, host_rule::HostOrNet, random::Random, vendor::Vendor,
    },
    http::{
        self, ApiParts,
        auth::{Authenticator, KeySource, TokenRules},
    },
    net::{Client, NetConfig},
    shutdown::Shutdown,
    storage::{Intake, Store, StoreOptions},
    telemetry,
    vault::{KeyRing, Vault},
    vendors::{Aggregator, belvo::Belvo, budget::Budget, pluggy::Pluggy},
};

/// The rules of the configuration that other rooms know.
pub const CHECKS: &[Check] = &[
    (variables::KEYRING, |text| {
        KeyRing::parse(text)
            .map(drop)
            .map_err(|error| error.to_string())
    }),
    (variables::DATABASE_URL, |text| {
        // The driver's own message may repeat the URL, and with it the password.
        PgConnectOptions::from_str(text)
            .map(drop)
            .map_err(|_| "the database driver can't read it".to_owned())
    }),
    (variables::JWT_HMAC_SECRET, |text| {
        http::auth::check_secret(text.as_bytes()).map_err(|error| error.to_string())
    }),
    (variables::CONNECTORS, check_connectors),
    (variables::LOG, telemetry::check_filter),
];

/// Whether every type that is asked for is compiled in.
fn check_connectors(text: &str) -> Result<(), String> {
    if matches!(text.trim(), "all" | "none") {
        return Ok(());
    }
    let wanted: Vec<String> = text
        .split(',')
        .map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .collect();
    let available =
        connectors::compiled_in(&Reach::default()).map_err(|error| error.to_string())?;
    Registry::boot(available, Some(&wanted))
        .map(drop)
        .map_err(|faults| told(&faults))
}

fn told(faults: &[RegistryError]) -> String {
    let messages: Vec<String> = faults.iter().map(RegistryError::to_string).collect();
    messages.join("; ")
}

/// What comes from outside the process, or from a test.
#[derive(Debug)]
pub struct Outside {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// The connectors there are; the configuration chooses among them.
    pub connectors: Vec<Arc<dyn Connector>>,
    /// Whether base URLs may be plain http: on a laptop only.
    pub allow_http: bool,
    /// The tasks of the process.
    pub shutdown: Shutdown,
}

/// A server, ready to be given a socket.
#[derive(Debug)]
pub struct Service {
    /// Who is calling.
    pub authenticator: Arc<Authenticator>,
    /// The database.
    pub store: Store,
    /// The use cases.
    pub app: App,
    /// The API.
    pub router: Router,
    /// What is left of it where only pulls are worked on.
    operations: Router,
}

impl Service {
    /// The same server, of which only the state can be asked.
    #[must_use]
    pub fn without_api(self) -> Self {
        Self {
            router: self.operations.clone(),
            ..self
        }
    }
}

/// Puts a server together, and starts the tasks that it stands on.
pub fn assemble(config: &Config, outside: Outside) -> Result<Service, Failure> {
    let vault = vault(config, &outside.random)?;
    let signer = vault.signer();
    let store = store(config)?;
    let public_url = config.http.public_url(config.http.listen).to_string();
    let hosts = Vendor::ALL.map(|vendor| {
        let policy = HostPolicy {
            rules: config.vendors.of(vendor).hosts.clone(),
            allow_http: outside.allow_http,
        };
        (vendor, policy)
    });
    let app = App::new(Parts {
        store: store.clone(),
        vault,
        clock: Arc::clone(&outside.clock),
        random: Arc::clone(&outside.random),
        registry: registry(config, outside.connectors)?,
        aggregators: aggregators(config, &store, &outside.clock)?,
        hosts: hosts.into(),
        public_url: public_url.clone(),
        intake: Intake::start(&store, Arc::clone(&outside.random), &outside.shutdown),
        webhook_sources: WebhookSources::new(&config.vendors, config.http.trusted_proxies.clone()),
        extraction_rules: extraction_rules(config),
        rest_private_hosts: config.connectors.rest_private_hosts.clone(),
        tasks: outside.shutdown.clone(),
    });
    let keeping = app.clone().keep_webhook_bindings(outside.shutdown.token());
    outside.shutdown.spawn("webhook bindings", keeping);
    let authenticator = Arc::new(authenticator(config, &outside.clock)?);
    let (router, operations) = http::routers(
        ApiParts {
            app: app.clone(),
            authenticator: Arc::clone(&authenticator),
            signer,
            clock: outside.clock,
            random: outside.random,
            public_url,
            shutdown: outside.shutdown,
            metrics: telemetry::metrics(),
        },
        &config.http.cors_origins,
    );
    Ok(Service {
        authenticator,
        store,
        app,
        router,
        operations,
    })
}

/// What verifies tokens, as the configuration says; no key is fetched yet.
pub(super) fn authenticator(
    config: &Config,
    clock: &Arc<dyn Clock>,
) -> Result<Authenticator, Failure> {
    let rules = token_rules(&config.auth);
    Ok(Authenticator::new(rules, Arc::clone(clock), key_client()?)?)
}

/// The database, as the configuration says; no connection is opened yet.
pub(super) fn store(config: &Config) -> Result<Store, Failure> {
    Ok(Store::new(StoreOptions {
        connect: login(config)?,
        max_connections: config.database.pool_size,
        acquire_timeout: Duration::from_secs(2),
    }))
}

/// Who logs in to the database, and where.
pub(super) fn login(config: &Config) -> Result<PgConnectOptions, Failure> {
    let url = config.database.url()?;
    // Checked with the rest of the configuration; the driver's message may hold the password.
    PgConnectOptions::from_str(url.expose())
        .map_err(|_| "the database driver can't read DISCOVERY_DATABASE_URL".into())
}

/// What seals and opens, as the configuration says.
pub(super) fn vault(config: &Config, random: &Arc<dyn Random>) -> Result<Vault, Failure> {
    let ring = KeyRing::parse(config.keys.ring()?.expose())?;
    Ok(Vault::new(ring, Arc::clone(random)))
}

/// A client for each vendor, all of them under one budget.
fn aggregators(
    config: &Config,
    store: &Store,
    clock: &Arc<dyn Clock>,
) -> Result<BTreeMap<Vendor, Arc<dyn Aggregator>>, Failure> {
    let limits = Vendor::ALL.map(|vendor| (vendor, config.vendors.of(vendor).rate_limit));
    let budget: Arc<dyn Budget> = Arc::new(SharedBudget::new(
        store.clone(),
        config.vendors.egress_group.clone(),
        limits.into(),
    ));
    let pluggy = Pluggy::new(
        vendor_client(config, Vendor::Pluggy)?,
        Arc::clone(clock),
        Arc::clone(&budget),
    );
    let belvo = Belvo::new(vendor_client(config, Vendor::Belvo)?, budget);
    let clients: [Arc<dyn Aggregator>; 2] = [Arc::new(pluggy), Arc::new(belvo)];
    Ok(clients.map(|client| (client.vendor(), client)).into())
}

/// The client for a vendor's hosts. A host that was listed by its address may be dialled there,
/// whatever address that is.
pub(super) fn vendor_client(config: &Config, vendor: Vendor) -> Result<Client, Failure> {
    let listed = config.vendors.of(vendor).hosts.iter();
    Ok(Client::new(NetConfig {
        connect_timeout: Duration::from_secs(3),
        total_timeout: Duration::from_mins(2),
        body_cap: 32 * 1024 * 1024,
        exemptions: listed
            .filter(|rule| rule.address().is_some())
            .cloned()
            .map(HostOrNet::Host)
            .collect(),
        proxy: config.vendors.proxy.clone().map(|proxy| proxy.0),
    })?)
}

/// Where the connectors may go, as the configuration says.
pub(super) fn reach(config: &Config) -> Reach {
    Reach {
        database_hosts: config.connectors.database_hosts.clone(),
        rest_private_hosts: config.connectors.rest_private_hosts.clone(),
    }
}

/// How much an extraction may take, as the configuration says.
fn extraction_rules(config: &Config) -> ExtractionRules {
    let extractions = &config.connectors.extractions;
    ExtractionRules {
        limits: Limits {
            connect: Duration::from_secs(10),
            total: extractions.timeout,
            rows: extractions.rows,
            bytes: extractions.bytes,
        },
        retention: extractions.retention,
        tenant_bytes: extractions.tenant_bytes,
    }
}

/// The connectors that the configuration chooses.
pub(super) fn registry(
    config: &Config,
    available: Vec<Arc<dyn Connector>>,
) -> Result<Registry, ConfigFault> {
    let wanted = match &config.connectors.types {
        Types::All => None,
        Types::Only(names) => Some(names.as_slice()),
    };
    Registry::boot(available, wanted).map_err(|faults| ConfigFault {
        variable: variables::CONNECTORS.name(),
        message: format!("can't be followed: {}", told(&faults)),
    })
}

fn token_rules(auth: &Auth) -> TokenRules {
    TokenRules {
        hmac_secret: auth
            .hmac_secret
            .as_ref()
            .map(|secret| Zeroizing::new(secret.expose().as_bytes().to_vec())),
        jwks: auth.jwks.as_ref().map(|jwks| match jwks {
            Jwks::File(path) => KeySource::File(path.clone()),
            Jwks::Url(url) => KeySource::Url(url.clone()),
        }),
        jwks_over_loopback_http: false,
        issuer: auth.issuer.clone(),
        audience: auth.audience.clone(),
        scopes: match auth.scopes {
            ScopeRule::IfPresent => http::auth::ScopeRule::IfPresent,
            ScopeRule::Required => http::auth::ScopeRule::Required,
        },
    }
}

/// The client that fetches key sets. Who runs the token issuer is the deployment's choice, so its
/// address may be a private one.
fn key_client() -> Result<Client, Failure> {
    let everywhere = ["0.0.0.0/0", "::/0"].map(str::parse);
    Ok(Client::new(NetConfig {
        connect_timeout: Duration::from_secs(3),
        total_timeout: Duration::from_secs(5),
        body_cap: 256 * 1024,
        exemptions: everywhere.into_iter().collect::<Result<_, _>>()?,
        proxy: None,
    })?)
}
