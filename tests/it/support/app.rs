//! The server, put together as the program does it, over a database of its own and a clock that
//! stands still.

use std::{ops::Deref, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use matcher_discovery::{
    app::App,
    cli::wiring::{self, Outside, Service},
    config::{Config, Profile, Source},
    connectors::Connector,
    domain::{
        ids::TenantId,
        random::{OsRandom, Random},
    },
    shutdown::Shutdown,
    storage::Store,
    vault::{Binding, KeyRing, Sealed, Vault, WrappedKey},
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    client::Client,
    clock::ManualClock,
    cluster::{Template, TestDatabase},
    sources::Sources,
    tokens,
    vendors::Vendors,
};

const JWT_SECRET: &str = "the tests' own secret, which is long enough";
const TENANT: TenantId = TenantId(Uuid::from_u128(0x1111_1111_1111_1111_1111_1111_1111_1111));
const OTHER: TenantId = TenantId(Uuid::from_u128(0x2222_2222_2222_2222_2222_2222_2222_2222));

static TEMPLATE: Template = Template::new("migrated", |options| {
    Box::pin(async move {
        Store::migrate(&options).await?;
        Ok(())
    })
});

static BARE: Template = Template::new("bare", |_| Box::pin(async { Ok(()) }));

/// A database with nothing in it at all.
pub(crate) async fn empty() -> TestDatabase {
    TestDatabase::create(&BARE).await
}

/// A database with the present schema and nothing in it.
pub(crate) async fn migrated() -> TestDatabase {
    TestDatabase::create(&TEMPLATE).await
}

/// A running server. Also gives what [`TestDatabase`] gives.
pub(crate) struct TestApp {
    /// The tenant of [`TestApp::client`].
    pub(crate) tenant: TenantId,
    pub(crate) clock: Arc<ManualClock>,
    keyring: String,
    jwt_secret: &'static str,
    service: Service,
    shutdown: Shutdown,
    database: TestDatabase,
}

impl Deref for TestApp {
    type Target = TestDatabase;

    fn deref(&self) -> &TestDatabase {
        &self.database
    }
}

/// What a test's server is made of.
struct Setup<'a> {
    keyring: String,
    connectors: Vec<Arc<dyn Connector>>,
    variables: &'a [(&'static str, &'a str)],
    clock: Arc<ManualClock>,
    random: Arc<dyn Random>,
    allow_http: bool,
}

impl Default for Setup<'_> {
    fn default() -> Self {
        Self {
            keyring: new_keyring(),
            connectors: Vec::new(),
            variables: &[],
            clock: Arc::new(ManualClock::new()),
            random: Arc::new(OsRandom),
            allow_http: false,
        }
    }
}

impl TestApp {
    pub(crate) async fn start() -> Self {
        Self::build(Setup::default()).await
    }

    pub(crate) async fn with_keyring(keyring: &str) -> Self {
        Self::build(Setup {
            keyring: keyring.to_owned(),
            ..Setup::default()
        })
        .await
    }

    pub(crate) async fn with_connectors(types: &[&'static str]) -> Self {
        Self::build(Setup {
            connectors: Sources::default().connectors(types),
            ..Setup::default()
        })
        .await
    }

    /// A server with a connector to each kind of source, all of which do what the test tells them.
    pub(crate) async fn with_sources() -> (Self, Sources) {
        Self::with_sources_of(&["mysql", "postgres", "rest-generic"]).await
    }

    /// The same, of these types alone.
    pub(crate) async fn with_sources_of(types: &[&'static str]) -> (Self, Sources) {
        let sources = Sources::default();
        let app = Self::build(Setup {
            connectors: sources.connectors(types),
            ..Setup::default()
        })
        .await;
        (app, sources)
    }

    /// A server that may call the simulated vendors, which live by the same clock.
    pub(crate) async fn with_vendors() -> (Self, Vendors) {
        Self::with_vendors_and(&[]).await
    }

    /// The same, configured further.
    pub(crate) async fn with_vendors_and(more: &[(&'static str, &str)]) -> (Self, Vendors) {
        Self::with_vendors_and_random(more, Arc::new(OsRandom)).await
    }

    /// The same, where nothing is left to chance that `random` does not decide.
    pub(crate) async fn with_vendors_and_random(
        more: &[(&'static str, &str)],
        random: Arc<dyn Random>,
    ) -> (Self, Vendors) {
        let clock = Arc::new(ManualClock::new());
        let vendors = Vendors::start(clock.clone()).await;
        let host = vendors.host();
        let variables: Vec<(&'static str, &str)> = [
            ("DISCOVERY_PLUGGY_HOSTS", host.as_str()),
            ("DISCOVERY_BELVO_HOSTS", host.as_str()),
            ("DISCOVERY_PLUGGY_RATE_LIMIT", "1000000"),
            ("DISCOVERY_BELVO_RATE_LIMIT", "1000000"),
        ]
        .into_iter()
        .chain(more.iter().copied())
        .collect();
        let app = Self::build(Setup {
            variables: &variables,
            clock,
            random,
            allow_http: true,
            ..Setup::default()
        })
        .await;
        (app, vendors)
    }

    async fn build(setup: Setup<'_>) -> Self {
        let Setup {
            keyring,
            connectors,
            variables: more,
            clock,
            random,
            allow_http,
        } = setup;
        let database = migrated().await;
        let more = more
            .iter()
            .map(|(name, value)| (*name, (*value).to_owned()));
        let variables = [
            ("DISCOVERY_DATABASE_URL", database.url()),
            ("DISCOVERY_PUBLIC_URL", "http://discovery.test".to_owned()),
            ("DISCOVERY_KEYRING", keyring.clone()),
            ("DISCOVERY_JWT_HMAC_SECRET", JWT_SECRET.to_owned()),
        ];
        let source = Source::new(variables.into_iter().chain(more));
        let config = Config::read(&source, Profile::Serve, wiring::CHECKS).unwrap();
        let shutdown = Shutdown::new();
        let service = wiring::assemble(
            &config,
            Outside {
                clock: clock.clone(),
                random,
                connectors,
                allow_http,
                shutdown: shutdown.clone(),
            },
        )
        .unwrap();
        Self {
            tenant: TENANT,
            clock,
            keyring,
            jwt_secret: JWT_SECRET,
            service,
            shutdown,
            database,
        }
    }

    /// A caller of the tenant, with both scopes.
    pub(crate) fn client(&self) -> Client {
        self.caller_of(TENANT)
    }

    /// A caller of another tenant.
    pub(crate) fn other_tenant(&self) -> Client {
        self.caller_of(OTHER)
    }

    /// Somebody without a token.
    pub(crate) fn anonymous(&self) -> Client {
        self.with_token(None)
    }

    pub(crate) fn with_token(&self, token: Option<&str>) -> Client {
        Client::new(self.service.router.clone(), token)
    }

    /// A token with these claims, signed with the right key.
    pub(crate) fn token(&self, claims: &Value) -> String {
        tokens::sign(self.jwt_secret.as_bytes(), claims)
    }

    fn caller_of(&self, tenant: TenantId) -> Client {
        let claims = json!({"tenant_id": tenant, "sub": "tester", "exp": 4_000_000_000_u64});
        self.with_token(Some(&self.token(&claims)))
    }

    /// The use cases, for what no request asks for.
    pub(crate) fn app(&self) -> &App {
        &self.service.app
    }

    pub(crate) fn store(&self) -> Store {
        self.service.store.clone()
    }

    pub(crate) fn database_url(&self) -> String {
        self.database.url()
    }

    /// Starts a server over the migrated schema that is configured further.
    pub(crate) async fn configured(variables: &[(&'static str, &str)]) -> Self {
        Self::build(Setup {
            variables,
            ..Setup::default()
        })
        .await
    }

    /// Lets the server look again at the webhook tokens in use, as it does all the time.
    pub(crate) async fn refresh_webhook_bindings(&self) {
        self.service.app.refresh_webhook_bindings().await;
    }

    /// Tells the tasks of the server to end, and waits for them. Requests are still answered.
    pub(crate) async fn end_tasks(&self) {
        self.shutdown.drain(Duration::from_secs(30)).await.unwrap();
    }

    /// Takes the database away.
    pub(crate) async fn close_database(&self) {
        self.service.store.close().await;
    }

    /// What is stored of the credential of the connection at `path`.
    pub(crate) async fn sealed_credential(&self, path: &str) -> Option<Vec<u8>> {
        let id = path.rsplit('/').next().unwrap();
        let query = format!("SELECT credential FROM connections WHERE id = '{id}'");
        self.column(&query).await.remove(0)
    }

    /// The credential of the connection at `path`, opened with the server's own key ring.
    pub(crate) async fn open_credential(&self, path: &str) -> (String, String) {
        let vault = Vault::new(KeyRing::parse(&self.keyring).unwrap(), Arc::new(OsRandom));
        self.open_credential_with(&vault, path).await.unwrap()
    }

    /// The same, with another vault.
    pub(crate) async fn open_credential_with(
        &self,
        vault: &Vault,
        path: &str,
    ) -> Result<(String, String), String> {
        let (key, binding, sealed) = self.sealed_with_key(path).await;
        let credential = Sealed::from_stored(sealed)
            .and_then(|sealed| vault.open_credential(&key, &binding, &sealed))
            .map_err(|error| error.to_string())?;
        Ok((
            credential.client_id().to_owned(),
            credential.secret().to_owned(),
        ))
    }

    /// Who logs in to the database of the connection at `path`.
    pub(crate) async fn open_login(&self, path: &str) -> (String, Option<String>) {
        let vault = Vault::new(KeyRing::parse(&self.keyring).unwrap(), Arc::new(OsRandom));
        let (key, binding, sealed) = self.sealed_with_key(path).await;
        let sealed = Sealed::from_stored(sealed).unwrap();
        let login = vault.open_database_login(&key, &binding, &sealed).unwrap();
        let password = login.password.map(|text| text.expose().to_owned());
        (login.user.expose().to_owned(), password)
    }

    /// What is stored of the credential of the connection at `path`, and what it takes to open it.
    async fn sealed_with_key(&self, path: &str) -> (WrappedKey, Binding, Vec<u8>) {
        let id = path.rsplit('/').next().unwrap();
        let tenant = self.tenant;
        // Both at once: a re-wrap may be going on.
        let key: String = self
            .column(&format!(
                "SELECT ring_key_id || ' ' || encode(wrapped_key, 'base64')
                 FROM tenant_keys WHERE tenant_id = '{tenant}'"
            ))
            .await
            .remove(0);
        let (ring_key, wrapped) = key.split_once(' ').unwrap();
        let wrapped = STANDARD.decode(wrapped.replace('\n', "")).unwrap();
        let binding = Binding {
            tenant,
            table: "connections",
            row: id.parse().unwrap(),
            column: "credential",
        };
        (
            WrappedKey::from_stored(ring_key.to_owned(), wrapped),
            binding,
            self.sealed_credential(path).await.unwrap(),
        )
    }

    /// What the audit log's own check says: entries that hold, and where chains break.
    pub(crate) async fn verify_audit_log(&self) -> (u64, Vec<(TenantId, i64)>) {
        let mut tx = self.service.store.begin_system().await.unwrap();
        let (checked, broken) = tx.verify_audit_log().await.unwrap();
        let broken = broken.iter().map(|one| (one.tenant, one.sequence));
        (checked, broken.collect())
    }
}

fn new_keyring() -> String {
    let mut key = [0; 32];
    OsRandom.fill(&mut key);
    format!("test:{}", STANDARD.encode(key))
}
