//! `dev`: everything in one process, with nothing to install.

use std::{
    fs,
    io::{ErrorKind, Write as _},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::STANDARD};
use clap::Args;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{
    Failure, ListenArgs, demo, say, serve, start_log,
    wiring::{self, Service},
};
use crate::{
    config::{Config, Profile, Source},
    domain::{
        clock::SystemClock,
        host_rule::HostRule,
        ids::TenantId,
        random::{self, OsRandom},
        secret::SecretText,
        vendor::Vendor,
    },
    http::auth::mint::{Grant, mint},
    local::embedded_pg::{Cluster, Durability, Options, Search},
    shutdown::{Shutdown, Signals},
    storage::Store,
    vault::KeyRing,
    worker,
};

/// Long enough not to be in the way, short enough not to lie around for ever.
const TOKEN_TTL: Duration = Duration::from_hours(30 * 24);
const SCOPES: &str = "discovery:read discovery:write";

#[derive(Args, Debug)]
pub(super) struct DevArgs {
    #[command(flatten)]
    listen: ListenArgs,
    /// Where the database, the keys and the token are kept
    #[arg(long, value_name = "DIRECTORY", default_value = ".matcher-discovery")]
    data_dir: PathBuf,
    /// Keeps nothing: works in a temporary directory that is removed on exit
    #[arg(long, conflicts_with = "data_dir")]
    ephemeral: bool,
    /// The tenant that the printed token speaks for
    #[arg(
        long,
        value_name = "UUID",
        default_value = "11111111-1111-1111-1111-111111111111"
    )]
    tenant: TenantId,
    /// Address of the simulator of both vendors
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4019")]
    simulator_listen: SocketAddr,
    /// Makes no demo connections
    #[arg(long)]
    no_demo: bool,
    /// When ready, prints one line of JSON instead of the text
    #[arg(long)]
    json: bool,
}

/// What `--json` tells.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Ready<'a> {
    api_url: &'a str,
    simulator_url: &'a str,
    database_url: &'a str,
    tenant: TenantId,
    token: &'a str,
    jwt_secret_file: Option<&'a Path>,
    keyring_file: Option<&'a Path>,
}

/// The files that `dev` makes once and keeps.
struct Files {
    keyring: PathBuf,
    jwt_secret: PathBuf,
    token: PathBuf,
}

pub(super) async fn run(args: DevArgs, mut source: Source) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    args.listen.apply(&mut source);
    let mut config = Config::read(&source, Profile::Dev, wiring::CHECKS)?;
    start_log(&config);

    let directory = Directory::open(&args)?;
    let listener = serve::bind(&mut config).await?;
    let shutdown = Shutdown::new();
    let starting = Box::pin(start(&args, config, &directory.path, &shutdown));
    let Some(started) = serve::unless_told_to_end(&mut signals, starting).await? else {
        return Ok(ExitCode::SUCCESS);
    };
    worker::start(&started.service.app, &shutdown);
    say(&started.greeting)?;
    serve::serve(
        listener,
        &started.service,
        &shutdown,
        signals,
        Duration::ZERO,
    )
    .await;
    // Last, because everything else needs it.
    if let Some(cluster) = started.cluster {
        cluster.stop().await;
    }
    Ok(ExitCode::SUCCESS)
}

/// What runs once everything is up.
struct Started {
    service: Service,
    cluster: Option<Cluster>,
    greeting: String,
}

async fn start(
    args: &DevArgs,
    mut config: Config,
    directory: &Path,
    shutdown: &Shutdown,
) -> Result<Started, Failure> {
    let cluster = start_database(&mut config, directory).await?;
    let files = Files {
        keyring: directory.join("keyring"),
        jwt_secret: directory.join("jwt-secret"),
        token: directory.join("token"),
    };
    let secret = fill_in_secrets(&mut config, &files)?;
    list_loopback(&mut config)?;
    Store::migrate(&wiring::login(&config)?).await?;
    let vendors = demo::start_simulator(&mut config, args.simulator_listen, shutdown).await?;
    let service = serve::start(&config, shutdown, true).await?;
    serve::announce(&config);
    if !args.no_demo {
        demo::seed(&service.app, args.tenant, &vendors.url).await?;
        demo::bring_to_life(&service.app, args.tenant, &vendors, directory, shutdown).await?;
    }

    let token = match &secret {
        Some(secret) => mint(
            secret.expose().as_bytes(),
            &Grant {
                tenant: args.tenant,
                scopes: SCOPES,
                ttl: TOKEN_TTL,
                issuer: config.auth.issuer.as_deref(),
                audience: config.auth.audience.as_deref(),
            },
            &SystemClock,
        ),
        None => String::new(),
    };
    write_private(&files.token, &token)?;
    Ok(Started {
        greeting: greeting(args, &config, &files, &token, &vendors.url)?,
        service,
        cluster,
    })
}

/// What is printed when everything is up: words, or the one line of JSON.
fn greeting(
    args: &DevArgs,
    config: &Config,
    files: &Files,
    token: &str,
    simulator_url: &str,
) -> Result<String, Failure> {
    let api_url = config.http.public_url(config.http.listen).to_string();
    if !args.json {
        return Ok(welcome(&Welcome {
            api_url: &api_url,
            simulator_url,
            token,
            token_file: &files.token,
            demo: !args.no_demo,
        }));
    }
    // A secret that came from the environment is in no file.
    Ok(serde_json::to_string(&Ready {
        api_url: &api_url,
        simulator_url,
        database_url: config.database.url()?.expose(),
        tenant: args.tenant,
        token,
        jwt_secret_file: Some(&*files.jwt_secret).filter(|file| file.exists()),
        keyring_file: Some(&*files.keyring).filter(|file| file.exists()),
    })?)
}

/// Where this run keeps its things; a temporary one goes with it.
struct Directory {
    path: PathBuf,
    temporary: bool,
}

impl Directory {
    fn open(args: &DevArgs) -> Result<Self, Failure> {
        let path = if args.ephemeral {
            let name = crate::domain::ids::new_uuid(&SystemClock, &OsRandom);
            std::env::temp_dir().join(format!("matcher-discovery-{}", name.simple()))
        } else {
            args.data_dir.clone()
        };
        fs::create_dir_all(&path)
            .and_then(|()| path.canonicalize())
            .map(|path| Self {
                path,
                temporary: args.ephemeral,
            })
            .map_err(|error| {
                format!(
                    "can't use the data directory {}: {error}; choose another one with --data-dir",
                    path.display()
                )
                .into()
            })
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        if self.temporary
            && let Err(error) = fs::remove_dir_all(&self.path)
        {
            tracing::warn!(%error, "could not remove {}", self.path.display());
        }
    }
}

/// Starts the private Postgres, unless the configuration names a database.
async fn start_database(config: &mut Config, directory: &Path) -> Result<Option<Cluster>, Failure> {
    if config.database.url.is_some() {
        let login = wiring::login(config)?;
        tracing::info!(
            "using the database \"{}\" at {}, as DISCOVERY_DATABASE_URL or DATABASE_URL says",
            login.get_database().unwrap_or_default(),
            login.get_host()
        );
        return Ok(None);
    }
    let cluster = Cluster::start(Options {
        data_dir: directory.to_owned(),
        temp_dir: std::env::temp_dir(),
        guard: std::env::current_exe()?,
        search: search(config),
        durability: Durability::Full,
    })
    .await?;
    tracing::info!(
        "Postgres {} runs in {}",
        cluster.version(),
        directory.display()
    );
    config.database.url = Some(SecretText::new(cluster.url()));
    Ok(Some(cluster))
}

#[expect(
    clippy::disallowed_methods,
    reason = "where programs and caches are is told by the environment, which is read in this room"
)]
fn search(config: &Config) -> Search {
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| home.map(|home| home.join(".cache")))
        .unwrap_or_else(std::env::temp_dir);
    Search {
        explicit: config.database.embedded_programs.clone(),
        path: std::env::var_os("PATH").unwrap_or_default(),
        root: "/".into(),
        cache: cache.join("matcher-discovery"),
        download: config.database.embedded_download,
    }
}

/// Makes the secrets that the configuration does not name; they are kept for the next run. Answers
/// the secret that tokens are signed with, if this server has one.
fn fill_in_secrets(config: &mut Config, files: &Files) -> Result<Option<SecretText>, Failure> {
    if config.keys.ring.is_none() {
        let fresh = KeyRing::generate_entry("dev", &OsRandom)?;
        config.keys.ring = Some(keep(&files.keyring, &fresh)?);
    }
    if config.auth.hmac_secret.is_none() && config.auth.jwks.is_none() {
        let fresh = Zeroizing::new(STANDARD.encode(random::draw::<32>(&OsRandom)));
        config.auth.hmac_secret = Some(keep(&files.jwt_secret, &fresh)?);
    }
    Ok(config.auth.hmac_secret.clone())
}

/// The secret kept in a file; `fresh` is put there first if there is none.
fn keep(file: &Path, fresh: &str) -> Result<SecretText, Failure> {
    let kept = match create_private(file) {
        Ok(mut new) => new.write_all(fresh.as_bytes()).map(|()| fresh.to_owned()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => fs::read_to_string(file),
        Err(error) => Err(error),
    };
    kept.map(|text| SecretText::new(text.trim_end().to_owned()))
        .map_err(|error| format!("can't keep a secret in {}: {error}", file.display()).into())
}

/// Writes a secret that replaces the one of the last run.
pub(super) fn write_private(file: &Path, text: &str) -> Result<(), Failure> {
    let replaced = match fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => create_private(file).and_then(|mut new| new.write_all(text.as_bytes())),
    };
    replaced.map_err(|error| format!("can't write {}: {error}", file.display()).into())
}

/// A new file that only its owner may read, from the first moment.
fn create_private(file: &Path) -> std::io::Result<fs::File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(file)
}

/// Lets base URLs name this machine, where a stand-in for a vendor may run.
fn list_loopback(config: &mut Config) -> Result<(), Failure> {
    for vendor in Vendor::ALL {
        for host in ["localhost", "127.0.0.1", "[::1]"] {
            let rule: HostRule = host.parse()?;
            let hosts = &mut config.vendors.of_mut(vendor).hosts;
            if !hosts.contains(&rule) {
                hosts.push(rule);
            }
        }
    }
    Ok(())
}

/// What a newcomer is told.
struct Welcome<'a> {
    api_url: &'a str,
    simulator_url: &'a str,
    token: &'a str,
    token_file: &'a Path,
    demo: bool,
}

/// What a newcomer sees; every line that looks like a command works as pasted.
fn welcome(told: &Welcome<'_>) -> String {
    let Welcome {
        api_url,
        simulator_url,
        token,
        ..
    } = told;
    let connections = format!("{api_url}/v1/discovery/aggregator-connections");
    let token_file = told.token_file.display();
    if token.is_empty() {
        return format!(
            "\nmatcher-discovery is ready at {api_url}, the vendors' simulator at {simulator_url}\n\n\
             Tokens are verified by the configured key set; get one from its issuer.\n\
             The API reference is at {api_url}/docs\n"
        );
    }
    let demo = if told.demo {
        format!(
            r#"
Two demo connections read the simulator; test them live:

curl {connections}/test -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"vendor": "pluggy", "configName": "demo-pluggy"}}'

curl {connections}/test -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"vendor": "belvo", "configName": "demo-belvo"}}'

Every few seconds something happens there, and a webhook tells of it; look at the rows, and at what changed:

curl '{api_url}/v1/discovery/transactions?limit=3' -H "Authorization: Bearer $TOKEN"

curl '{api_url}/v1/discovery/transactions/changes?limit=3' -H "Authorization: Bearer $TOKEN"
"#
        )
    } else {
        String::new()
    };
    format!(
        r#"
matcher-discovery is ready at {api_url}, the vendors' simulator at {simulator_url}

A token for you (also in {token_file}):

export TOKEN='{token}'
{demo}
Create a connection of your own, list them all, mint a webhook token:

curl -i {connections} -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"vendor": "pluggy", "configName": "pluggy-main", "baseUrl": "https://api.pluggy.ai", "accountRef": "a1b2c3d4-5678-90ab-cdef-1234567890ab", "clientId": "my-client-id", "secret": "my-secret"}}'

curl {connections} -H "Authorization: Bearer $TOKEN"

curl {api_url}/v1/discovery/webhooks/tokens -H "Authorization: Bearer $TOKEN" -H 'Content-Type: application/json' -d '{{"vendor": "pluggy", "connection_config_name": "pluggy-main"}}'

The API reference is at {api_url}/docs
Ctrl-C stops everything this started.
"#
    )
}
