//! `serve`: the server, for production.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use tokio::{net::TcpListener, time::Instant};

use clap::{Args, ValueEnum};

use super::{
    Failure, ListenArgs, configure, timekeeping,
    wiring::{self, Outside, Service},
};
use crate::{
    config::{Config, Profile, Source},
    connectors,
    domain::{
        clock::{SetClock, SystemClock},
        ids::TenantId,
        random::{OsRandom, Random},
    },
    http::server,
    shutdown::{Shutdown, Signals},
    telemetry, worker,
};

/// How long `/ready` tells that this server is about to go before it takes no more connections.
const NOTICE: Duration = Duration::from_secs(1);
/// How long ending may take in all: requests in flight, tasks, connections to the database.
const IN_ALL: Duration = Duration::from_secs(30);
/// How much of that is kept for the tasks and the connections, whatever the requests do.
const LAST: Duration = Duration::from_secs(6);
/// How much of that is kept for the connections.
const CLOSING: Duration = Duration::from_secs(1);

/// What a process does of the work.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq, ValueEnum)]
pub(super) enum Role {
    /// Everything
    #[default]
    All,
    /// Answers requests and webhooks; pulls are left to others
    Api,
    /// Works on pulls; of the API only health, readiness and metrics are there
    Worker,
}

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    #[command(flatten)]
    pub(super) listen: ListenArgs,
    /// What this process does of the work
    #[arg(long, value_enum, default_value_t)]
    pub(super) role: Role,
}

pub(super) async fn run(role: Role, source: &Source) -> Result<ExitCode, Failure> {
    // Caught from here on, so that an early SIGTERM is not lost.
    let mut signals = Signals::listen()?;
    let mut config = configure(source, Profile::Serve)?;
    let listener = bind(&mut config).await?;
    let shutdown = Shutdown::new();
    let Some(service) = unless_told_to_end(&mut signals, start(&config, &shutdown, false)).await?
    else {
        return Ok(ExitCode::SUCCESS);
    };
    announce(&config);
    if role != Role::Api {
        worker::start(&service.app, &shutdown);
    }
    let service = match role {
        Role::Worker => service.without_api(),
        Role::All | Role::Api => service,
    };
    serve(listener, &service, &shutdown, signals, NOTICE).await;
    Ok(ExitCode::SUCCESS)
}

/// What `starting` comes to; nothing if the process is told to end before. Then it is dropped where
/// it is, and with it whatever it had started.
pub(super) async fn unless_told_to_end<T>(
    signals: &mut Signals,
    starting: impl Future<Output = Result<T, Failure>>,
) -> Result<Option<T>, Failure> {
    tokio::select! {
        started = starting => started.map(Some),
        signal = signals.next() => {
            tracing::info!(signal, "ending before the start was complete");
            Ok(None)
        }
    }
}

/// Binds the configured address, and notes which one it became.
pub(super) async fn bind(config: &mut Config) -> Result<TcpListener, Failure> {
    let wanted = config.http.listen;
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        format!(
            "can't listen on {wanted}: {error}; stop what listens there, or choose another address \
             with --listen or DISCOVERY_LISTEN"
        )
    })?;
    config.http.listen = listener.local_addr()?;
    Ok(listener)
}

/// Puts the server together and makes sure that it may serve.
pub(super) async fn start(
    config: &Config,
    shutdown: &Shutdown,
    allow_http: bool,
) -> Result<Service, Failure> {
    let random: Arc<dyn Random> = Arc::new(OsRandom);
    let clock = SetClock::new(Arc::new(SystemClock));
    let service = wiring::assemble(
        config,
        Outside {
            clock: Arc::new(clock.clone()),
            random: Arc::clone(&random),
            connectors: connectors::compiled_in(&wiring::reach(config))?,
            allow_http,
            shutdown: shutdown.clone(),
        },
    )?;
    let state = service.store.migration_state().await?;
    if !state.is_current() {
        return Err(format!(
            "the database's schema is at {:04} and this program needs {:04}; \
             run `matcher-discovery migrate` first",
            state.applied, state.known
        )
        .into());
    }
    timekeeping::set(&clock, &service.store).await?;
    let keeping = timekeeping::keep(clock, service.store.clone(), shutdown.token());
    shutdown.spawn("clock", keeping);
    if let Err(error) = service.authenticator.load_keys().await {
        // An issuer that is down now may be up when the first token comes.
        tracing::warn!(%error, "the key set of the token issuer could not be loaded; will try again");
    }
    shutdown.spawn("metrics", telemetry::metrics().keep(shutdown.token()));
    let strangers = [(); 2].map(|()| TenantId::new(&SystemClock, &*random));
    service
        .store
        .prove_isolation(strangers[0], strangers[1])
        .await?;
    Ok(service)
}

/// Says that the server can be called, and where.
pub(super) fn announce(config: &Config) {
    let bound: SocketAddr = config.http.listen;
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        public_url = %config.http.public_url(bound),
        "listening on http://{bound}"
    );
}

/// Serves until a signal comes, then finishes what was begun.
pub(super) async fn serve(
    listener: TcpListener,
    service: &Service,
    shutdown: &Shutdown,
    mut signals: Signals,
    notice: Duration,
) {
    let closing = shutdown.token().child_token();
    let accepting = closing.clone();
    let connections = server::serve(listener, service.router.clone(), closing.clone());
    tokio::pin!(connections);
    tokio::select! {
        () = &mut connections => {}
        signal = signals.next() => {
            // `/ready` tells before the door closes, so that nobody is sent here in vain. Pulls that run
            // stop at their next page from now on.
            shutdown.announce();
            tracing::info!(signal, "ending: finishing what was begun");
        }
    }
    let deadline = Instant::now() + IN_ALL;
    let ended = async {
        tokio::select! {
            () = &mut connections => return,
            () = tokio::time::sleep(notice) => accepting.cancel(),
        }
        connections.await;
    };
    let mut tasks_until = deadline - CLOSING;
    tokio::select! {
        done = tokio::time::timeout_at(deadline - LAST, ended) => {
            if done.is_err() {
                tracing::warn!("some requests did not finish in time and were cut off");
            }
        }
        signal = signals.next() => {
            tracing::warn!(signal, "ending at once: asked a second time");
            tasks_until = tasks_until.min(Instant::now() + LAST);
        }
    }
    let limit = tasks_until.saturating_duration_since(Instant::now());
    if let Err(stragglers) = shutdown.drain(limit).await {
        tracing::warn!("{stragglers}");
    }
    if tokio::time::timeout_at(deadline, service.store.close())
        .await
        .is_err()
    {
        tracing::warn!("some connections to the database did not close in time");
    }
    tracing::info!("ended");
}
