//! `simulate`: both vendors on a laptop, to connect to instead of the real ones.

use std::{net::SocketAddr, process::ExitCode, sync::Arc, time::Duration};

use clap::Args;
use tokio::net::TcpListener;

use super::{Failure, configure, say};
use crate::{
    config::{Profile, Source},
    domain::clock::SystemClock,
    local::simulator::{
        BELVO_LINK, BELVO_PASSWORD, BELVO_SECRET_ID, Options, PLUGGY_CLIENT_ID, PLUGGY_ITEM,
        PLUGGY_SECRET, Simulator,
    },
    shutdown::{Shutdown, Signals},
};

/// How long calls in flight may take to finish.
const DRAIN: Duration = Duration::from_secs(5);

#[derive(Args, Debug)]
pub(super) struct SimulateArgs {
    /// Where to listen. Whoever can reach it can steer it
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:4019")]
    listen: SocketAddr,
    /// Decides all that varies: one seed, one world
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// Begins with nothing, not even credentials
    #[arg(long)]
    empty: bool,
}

pub(super) async fn run(args: SimulateArgs, source: &Source) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    configure(source, Profile::Dev)?;
    let simulator = Simulator::new(Options {
        seed: args.seed,
        clock: Arc::new(SystemClock),
        demo: !args.empty,
    })?;
    let wanted = args.listen;
    let listener = TcpListener::bind(wanted).await.map_err(|error| {
        format!(
            "can't listen on {wanted}: {error}; stop what listens there, or choose another \
             address with --listen"
        )
    })?;
    say(&welcome(listener.local_addr()?, args.empty))?;
    let shutdown = Shutdown::new();
    let serving = simulator.serve(listener, &shutdown);
    tokio::pin!(serving);
    tokio::select! {
        () = &mut serving => {}
        _ = signals.next() => {
            shutdown.trigger();
            serving.await;
        }
    }
    shutdown.drain(DRAIN).await?;
    Ok(ExitCode::SUCCESS)
}

fn welcome(listen: SocketAddr, empty: bool) -> String {
    let demo = if empty {
        "Both are empty: add clients and links through the control API.".to_owned()
    } else {
        format!(
            "Pluggy  baseUrl http://{listen}  clientId {PLUGGY_CLIENT_ID}  secret {PLUGGY_SECRET}  \
             accountRef {PLUGGY_ITEM}\n\
             Belvo   baseUrl http://{listen}  clientId {BELVO_SECRET_ID}  secret {BELVO_PASSWORD}  \
             accountRef {BELVO_LINK}"
        )
    };
    format!(
        "Pluggy and Belvo are simulated at http://{listen}\n\n{demo}\n\n\
         Steer them, for example:\n\n\
         curl http://{listen}/_control/state\n\
         curl -X POST http://{listen}/_control/pluggy/scenarios/daily-sync\n\n\
         CONTRIBUTING.md lists the controls. Ctrl-C ends it.\n"
    )
}
