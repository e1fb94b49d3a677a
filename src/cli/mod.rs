//! The composition root: the only place where concrete parts meet.

mod demo;
mod dev;
mod doctor;
mod healthcheck;
mod keys;
mod migrate;
mod openapi;
mod serve;
mod simulate;
pub mod timekeeping;
mod token;
pub mod wiring;

use std::{
    error::Error,
    fmt::Write as _,
    io::{self, Write as _},
    process::ExitCode,
};

use clap::{Args, CommandFactory as _, FromArgMatches as _, Parser, Subcommand};

use crate::{
    config::{Config, ConfigFaults, LogFormat, Profile, Source, VARIABLES, Variable, variables},
    local::embedded_pg::guard,
    telemetry::{self, Lines},
};

/// Where a tenant's Open-Finance aggregator connections live.
#[derive(Debug, Parser)]
#[command(name = "matcher-discovery", version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Everything in one process, with nothing to install: for a laptop
    Dev(dev::DevArgs),
    /// The server, for production
    Serve(serve::ServeArgs),
    /// Brings the database up to date and exits
    Migrate,
    /// Mints a token for an operator, signed with the configured HMAC secret
    Token(token::TokenArgs),
    /// The life of the key ring
    #[command(subcommand)]
    Keys(keys::KeysCommand),
    /// Simulates both vendors, with a control API to steer them: for a laptop and for tests
    Simulate(simulate::SimulateArgs),
    /// Prints the OpenAPI document
    Openapi(openapi::OpenapiArgs),
    /// Checks configuration, keys, database, clock and vendors, one line each
    Doctor,
    /// Asks the local server whether it is ready; for containers
    Healthcheck(ListenArgs),
}

/// Where the API is.
#[derive(Args, Debug)]
struct ListenArgs {
    /// Address of the API
    #[arg(long, value_name = "ADDRESS", env = variables::LISTEN.name())]
    listen: Option<String>,
}

impl ListenArgs {
    fn apply(&self, source: &mut Source) {
        if let Some(listen) = &self.listen {
            source.set(&variables::LISTEN, listen);
        }
    }
}

/// What ends a command before it did its work.
type Failure = Box<dyn Error + Send + Sync>;

/// Runs the command named by the process arguments.
#[must_use]
pub fn main() -> ExitCode {
    // First, while the process has one thread: the step on the way to becoming Postgres.
    if let Some(code) = guard::run_if_asked() {
        return code;
    }
    let parsed = documented()
        .try_get_matches()
        .and_then(|matches| Cli::from_arg_matches(&matches));
    let cli = match parsed {
        Ok(cli) => cli,
        Err(error) => error.exit(),
    };
    let outcome = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(cli.command, environment())));
    match outcome {
        Ok(code) => code,
        Err(failure) => {
            complain(&*failure);
            ExitCode::FAILURE
        }
    }
}

async fn run(command: Command, mut source: Source) -> Result<ExitCode, Failure> {
    match command {
        Command::Dev(args) => Box::pin(dev::run(args, source)).await,
        Command::Serve(args) => {
            args.listen.apply(&mut source);
            serve::run(args.role, &source).await
        }
        Command::Migrate => migrate::run(&source).await,
        Command::Token(args) => token::run(&args, &source),
        Command::Keys(command) => keys::run(command, &source).await,
        Command::Simulate(args) => simulate::run(args, &source).await,
        Command::Openapi(args) => openapi::run(&args),
        Command::Doctor => doctor::run(&source).await,
        Command::Healthcheck(args) => {
            args.apply(&mut source);
            healthcheck::run(&source).await
        }
    }
}

/// The commands, each with the variables that it reads.
fn documented() -> clap::Command {
    let all: Vec<&Variable> = VARIABLES.iter().collect();
    let documented: [(&str, &[&Variable]); 7] = [
        ("dev", &all),
        ("serve", &all),
        ("doctor", &all),
        ("migrate", &[&variables::DATABASE_URL]),
        ("token", &[&variables::JWT_HMAC_SECRET]),
        ("keys", &[&variables::KEYRING, &variables::DATABASE_URL]),
        ("healthcheck", &[&variables::LISTEN]),
    ];
    documented
        .into_iter()
        .fold(Cli::command(), |cli, (name, variables)| {
            cli.mut_subcommand(name, |command| {
                command.after_help(environment_help(variables))
            })
        })
}

fn environment_help(variables: &[&Variable]) -> String {
    let mut help = String::from("Environment:\n");
    for variable in variables {
        // Writing to a String can't fail.
        let _ = writeln!(
            help,
            "  {variable}\n          {} [default: {}]",
            variable.meaning(),
            variable.default_text()
        );
    }
    help
}

#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the environment is read"
)]
fn environment() -> Source {
    Source::new(std::env::vars_os())
}

/// Reads the configuration and starts the log as it says.
fn configure(source: &Source, profile: Profile<'_>) -> Result<Config, ConfigFaults> {
    let config = Config::read(source, profile, wiring::CHECKS)?;
    start_log(&config);
    Ok(config)
}

fn start_log(config: &Config) {
    let lines = match config.log.format {
        LogFormat::Json => Lines::Json,
        LogFormat::Text => Lines::Text {
            colour: io::IsTerminal::is_terminal(&io::stderr()),
        },
    };
    // The filter was checked with the rest of the configuration.
    if let Err(error) = telemetry::init(&config.log.filter, lines) {
        complain(&error);
    }
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
}

/// Writes what a command was asked for.
fn say(text: &str) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    if !text.ends_with('\n') {
        out.write_all(b"\n")?;
    }
    out.flush()
}

/// Writes why a command failed, down to the cause.
fn complain(failure: &(dyn Error + 'static)) {
    // If standard error is gone there is nobody to tell.
    let _ = writeln!(io::stderr(), "error: {}", telemetry::with_causes(failure));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_well_formed() {
        documented().debug_assert();
    }

    #[test]
    fn every_variable_is_documented_with_the_server_and_no_value_is_shown() {
        let mut command = documented();
        let serve = command.find_subcommand_mut("serve").unwrap();
        let help = serve.render_long_help().to_string();
        for variable in VARIABLES {
            assert!(help.contains(&variable.to_string()), "{variable}");
        }
    }
}
