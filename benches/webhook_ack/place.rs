//! Where it is measured: a Postgres, a thousand connections in it, and servers to post to.

use std::{
    fs::File,
    io::Read as _,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    process::Stdio,
    sync::Arc,
    time::Duration,
};

use hyper::{Method, StatusCode, header};
use matcher_discovery::{
    domain::{clock::SystemClock, ids::TenantId, random::OsRandom},
    http::auth::mint::{Grant, mint},
    local::embedded_pg::{Cluster, Durability, Options, Search},
    storage::Store,
    vault::KeyRing,
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tokio::process::{Child, Command};

use super::support::{
    Failure,
    line::{Line, Step},
    posts::{EVENT_ID, Post, Posts},
};

const TENANTS: usize = 100;
const CONNECTIONS_EACH: usize = 10;
/// Deliveries that are there before anything is measured.
const DELIVERIES: usize = 100_000;
/// How long a body is.
const BODY: usize = 1024;
const JWT_SECRET: &str = "the secret of a benchmark, long enough";
const ITEM: &str = "a1b2c3d4-5678-40ab-8def-1234567890ab";
const ACCOUNT: &str = "0d5a3c1e-7f60-4c5e-9a41-5c1f2a7d9b10";
/// What a Postgres that takes webhooks in would be given; without it, the log is full every few
/// seconds, and a measurement is one of checkpoints.
const SETTINGS: [(&str, &str); 2] = [("shared_buffers", "1GB"), ("max_wal_size", "8GB")];
/// How long a server may take until it answers.
const START: Duration = Duration::from_secs(30);

/// A Postgres of its own.
pub(crate) struct Place {
    cluster: Cluster,
    pub(crate) admin: PgConnection,
    keyring: String,
}

impl Place {
    /// Starts it in an empty directory, with the present schema.
    pub(crate) async fn make(directory: PathBuf) -> Result<Self, Failure> {
        // Settings of memory are read at the start only.
        let cluster = start(&directory).await?;
        let mut admin = PgConnection::connect_with(&cluster.admin_options()).await?;
        for (name, value) in SETTINGS {
            execute(&mut admin, format!("ALTER SYSTEM SET {name} = '{value}'")).await?;
        }
        admin.close().await?;
        cluster.stop().await;
        let cluster = start(&directory).await?;
        Store::migrate(&cluster.connect_options()).await?;
        let database = cluster.connect_options().get_database().map(str::to_owned);
        let options = cluster.admin_options();
        let options = options.database(&database.ok_or("the database has no name")?);
        Ok(Self {
            admin: PgConnection::connect_with(&options).await?,
            cluster,
            keyring: KeyRing::generate_entry("bench", &OsRandom)?.to_string(),
        })
    }

    pub(crate) async fn stop(self) {
        self.cluster.stop().await;
    }

    /// The number of Postgres' first process.
    pub(crate) fn postgres(&self) -> u32 {
        self.cluster.pid()
    }

    pub(crate) fn version(&self) -> String {
        self.cluster.version().to_string()
    }

    /// Starts a candidate: the program itself, or this one as a rival of it.
    pub(crate) async fn serve(&self, candidate: &str) -> Result<Server, Failure> {
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = if candidate == super::INTAKE {
            let mut command = Command::new(env!("CARGO_BIN_EXE_matcher-discovery"));
            command.args(["serve", "--role", "api"]);
            command
        } else {
            let mut command = Command::new(std::env::current_exe()?);
            command.args([super::RIVAL, candidate]);
            command
        };
        // It logs as in production. A file takes it.
        let log = tempfile::NamedTempFile::new()?;
        let child = command
            .env("DISCOVERY_DATABASE_URL", self.cluster.url())
            .env("DISCOVERY_LISTEN", address.to_string())
            .env("DISCOVERY_PUBLIC_URL", "https://discovery.example")
            .env("DISCOVERY_KEYRING", &self.keyring)
            .env("DISCOVERY_JWT_HMAC_SECRET", JWT_SECRET)
            .env("DISCOVERY_PLUGGY_WEBHOOK_IPS", "127.0.0.1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.reopen()?)
            .kill_on_drop(true)
            .spawn()?;
        let mut server = Server {
            child,
            address,
            log,
        };
        server.wait_until_it_answers().await?;
        Ok(server)
    }

    /// Makes the connections and a token for each, as operators do.
    pub(crate) async fn fill(&self, server: &Server) -> Result<Arc<Posts>, Failure> {
        let mut posts = Vec::new();
        let mut line = Line::open(server.address).await?;
        for _ in 0..TENANTS {
            let grant = Grant {
                tenant: TenantId::new(&SystemClock, &OsRandom),
                scopes: "discovery:read discovery:write",
                ttl: Duration::from_hours(1),
                issuer: None,
                audience: None,
            };
            let token = mint(JWT_SECRET.as_bytes(), &grant, &SystemClock);
            for number in 0..CONNECTIONS_EACH {
                posts.push(connect(&mut line, &token, number).await?);
            }
        }
        Ok(Posts::new(posts))
    }

    /// Makes the inbox what it was at first, whatever was written into it since, and leaves nothing of
    /// that to be done while it is measured.
    pub(crate) async fn settle(&mut self) -> Result<(), Failure> {
        // As old as can be, so that no measurement has to do with them but by their being there.
        let fill = format!(
            "TRUNCATE deliveries;
             INSERT INTO deliveries (tenant_id, id, connection_id, token_id, event, event_key,
                 key_expires, body, outcome, hint, received_at)
             SELECT c.tenant_id, gen_random_uuid(), c.id, gen_random_uuid(), 'transactions/created',
                    gen_random_uuid()::text, false, convert_to(repeat('x', {BODY}), 'UTF8'),
                    'ignored', 'nothing', now() - interval '20 days'
             FROM connections c, generate_series(1, {DELIVERIES} / (SELECT count(*) FROM connections))"
        );
        execute(&mut self.admin, fill).await?;
        execute(&mut self.admin, "VACUUM ANALYZE".to_owned()).await?;
        execute(&mut self.admin, "CHECKPOINT".to_owned()).await
    }

    /// How many deliveries there are.
    #[expect(
        clippy::disallowed_methods,
        reason = "no other statement of the program needs this"
    )]
    pub(crate) async fn deliveries(&mut self) -> Result<u64, Failure> {
        let count: i64 = sqlx::query_scalar("SELECT count(*) FROM deliveries")
            .fetch_one(&mut self.admin)
            .await?;
        Ok(count.try_into()?)
    }
}

async fn execute(admin: &mut PgConnection, statement: String) -> Result<(), Failure> {
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(admin)
        .await?;
    Ok(())
}

#[expect(
    clippy::disallowed_methods,
    reason = "where programs are is told by the environment"
)]
async fn start(directory: &std::path::Path) -> Result<Cluster, Failure> {
    Ok(Cluster::start(Options {
        data_dir: directory.to_owned(),
        temp_dir: std::env::temp_dir(),
        guard: std::env::current_exe()?,
        search: Search {
            explicit: std::env::var_os("DISCOVERY_PG_BIN").map(PathBuf::from),
            path: std::env::var_os("PATH").unwrap_or_default(),
            root: "/".into(),
            cache: std::env::temp_dir(),
            download: false,
        },
        durability: Durability::Full,
    })
    .await?)
}

/// Makes a connection and a token for it; answers what the vendor would post.
async fn connect(line: &mut Line, bearer: &str, number: usize) -> Result<Post, Failure> {
    let bearer = format!("Bearer {bearer}");
    let name = format!("pluggy-{number}");
    let connection = json!({
        "vendor": "pluggy", "configName": name, "baseUrl": "https://api.pluggy.ai",
        "accountRef": ITEM, "clientId": "client", "secret": "secret",
    });
    let create = Step::send(
        Method::POST,
        "/v1/discovery/aggregator-connections",
        &connection,
    );
    let create = create.header(header::AUTHORIZATION, &bearer)?;
    line.ask(&create.expect(StatusCode::CREATED, "")).await?;
    let token = json!({ "vendor": "pluggy", "connection_config_name": name });
    let mint = Step::send(Method::POST, "/v1/discovery/webhooks/tokens", &token);
    let mint = mint.header(header::AUTHORIZATION, &bearer)?;
    let minted = line.ask(&mint.expect(StatusCode::CREATED, "")).await?;
    let minted: Value = serde_json::from_slice(&minted)?;
    let token = minted["token"].as_str().ok_or("the token is no text")?;
    let mut event = json!({
        "event": "transactions/created", "eventId": EVENT_ID, "itemId": ITEM, "accountId": ACCOUNT,
        "triggeredBy": "SYNC", "clientUserId": "", "transactionsCount": 3,
        "transactionsCreatedAtFrom": "2026-05-04T10:00:00.000Z",
        "createdTransactionsLink": format!("https://api.pluggy.ai/transactions?accountId={ACCOUNT}\
                                            &createdAtFrom=2026-05-04T10:00:00.000Z"),
    });
    let length = event.to_string().len();
    event["clientUserId"] = "u".repeat(BODY.saturating_sub(length)).into();
    Post::new(&format!("/v1/discovery/webhooks/pluggy/{token}"), &event)
}

/// A running server.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    log: tempfile::NamedTempFile,
}

impl Server {
    /// The number of its process.
    pub(crate) fn id(&self) -> Result<u32, Failure> {
        Ok(self.child.id().ok_or("the server has ended")?)
    }

    pub(crate) async fn stop(mut self) -> Result<(), Failure> {
        Ok(self.child.kill().await?)
    }

    async fn wait_until_it_answers(&mut self) -> Result<(), Failure> {
        let answers = async {
            while tokio::net::TcpStream::connect(self.address).await.is_err() {
                if self.child.try_wait()?.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            // It listens before it is put together; whoever is answered is answered by all of it.
            let mut line = Line::open(self.address).await?;
            line.ask(&Step::get("/health")).await
        };
        match tokio::time::timeout(START, answers).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(self.did_not_start(&error.to_string())),
            Err(_) => Err(self.did_not_start("it took too long")),
        }
    }

    fn did_not_start(&self, why: &str) -> Failure {
        let said = self.said();
        format!("a server did not start: {why}; it said:\n{said}").into()
    }

    /// What it logged.
    pub(crate) fn said(&self) -> String {
        let said = self.log.reopen().and_then(|mut log: File| {
            let mut said = String::new();
            log.read_to_string(&mut said).map(|_| said)
        });
        said.unwrap_or_else(|error| format!("its log is lost: {error}"))
    }
}
