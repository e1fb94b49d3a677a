//! What a webhook costs until it is answered: event and pull on disk.
//!
//! ```text
//! cargo bench --bench webhook_ack
//! ```
//!
//! README.md beside this directory tells how to read the table.

mod place;
mod rivals;
#[expect(dead_code, reason = "each benchmark uses a part of it")]
#[path = "../support/mod.rs"]
mod support;

use std::{
    collections::{BTreeMap, btree_map::Entry},
    fmt,
    io::Write as _,
    process::ExitCode,
    sync::Arc,
    time::{Duration, Instant},
};

use matcher_discovery::local::embedded_pg::guard;
use mimalloc::MiMalloc;

use place::{Place, Server};
use support::{
    Failure,
    figures::{hundredths, millis},
    machine::{self, OthersAtWork},
    posts::Posts,
    usage::{Taken, Usage},
};

/// That of the program, for the rivals.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// With this argument the program is one of the rivals.
const RIVAL: &str = "rival";
const CLIENTS: [usize; 4] = [1, 16, 64, 256];
const WARM_UP: Duration = Duration::from_secs(2);
const MEASURED: Duration = Duration::from_secs(4);
/// How often each is measured, in turn with the others, and the best of it counts: on a shared machine
/// a neighbour can make one of them twice as slow for a while, and never any faster.
const ROUNDS: usize = 3;

/// Who is measured, in this order, and what the table calls them.
const CANDIDATES: [(&str, &str); 4] = [
    (rivals::AT_ONCE, "A  at once"),
    (rivals::STEPS, "B  five steps"),
    (rivals::STATEMENT, "B' one statement"),
    (INTAKE, "the intake"),
];
const INTAKE: &str = "intake";

fn main() -> ExitCode {
    // First, while the process has one thread: the step on the way to becoming Postgres.
    if let Some(code) = guard::run_if_asked() {
        return code;
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let outcome = match &arguments[..] {
        [what, rival] if what == RIVAL => tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(Failure::from)
            .and_then(|runtime| runtime.block_on(rivals::serve(rival))),
        // What runs everything once, as `cargo test --all-targets` does, can't want this.
        _ if !arguments.iter().any(|argument| argument == "--bench") => Ok(()),
        _ => tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(Failure::from)
            .and_then(|runtime| runtime.block_on(run(&chosen(&arguments)))),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "webhook_ack: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What is measured: what the arguments name, or all.
struct Chosen {
    clients: Vec<usize>,
    candidates: Vec<(&'static str, &'static str)>,
}

fn chosen(arguments: &[String]) -> Chosen {
    let named = |name: &str| arguments.iter().any(|argument| argument == name);
    let mut clients = CLIENTS.to_vec();
    if CLIENTS.iter().any(|clients| named(&clients.to_string())) {
        clients.retain(|clients| named(&clients.to_string()));
    }
    let mut candidates = CANDIDATES.to_vec();
    if CANDIDATES.iter().any(|(candidate, _)| named(candidate)) {
        candidates.retain(|(candidate, _)| named(candidate));
    }
    Chosen {
        clients,
        candidates,
    }
}

async fn run(chosen: &Chosen) -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let mut place = Place::make(directory.path().to_owned()).await?;
    let outcome = measure_all(&mut place, chosen).await;
    place.stop().await;
    outcome
}

async fn measure_all(place: &mut Place, chosen: &Chosen) -> Result<(), Failure> {
    let server = place.serve(INTAKE).await?;
    let posts = place.fill(&server).await?;
    server.stop().await?;
    say(&format!(
        "{}; Postgres {}; a sync of 8 KiB takes {} ms\n\n\
         clients  what              webhooks/s   p50 ms   p99 ms   us: server  Postgres  client   others   it/this",
        machine::processor(),
        place.version(),
        millis(machine::time_of_a_sync(&std::env::temp_dir())?),
    ))?;
    let mut samples = BTreeMap::new();
    for &clients in &chosen.clients {
        for _ in 0..ROUNDS {
            for &(candidate, _) in &chosen.candidates {
                let server = place.serve(candidate).await?;
                let measured = measure(place, &server, &posts, clients, candidate).await;
                let sample = measured.map_err(|error| {
                    let said = server.said();
                    format!("{error}\nthe server said:\n{said}")
                })?;
                server.stop().await?;
                match samples.entry((clients, candidate)) {
                    Entry::Vacant(place) => drop(place.insert(sample)),
                    Entry::Occupied(mut best) if sample.is_better_than(best.get()) => {
                        best.insert(sample);
                    }
                    Entry::Occupied(_) => {}
                }
            }
        }
        for &(candidate, name) in &chosen.candidates {
            let this = &samples[&(clients, candidate)];
            let ratio = match samples.get(&(clients, INTAKE)) {
                Some(intake) if candidate != INTAKE => ratio(intake, this),
                _ => String::new(),
            };
            say(&format!("{clients:>7}  {name:<16}  {this}  {ratio:>8}"))?;
        }
    }
    say(&format!("\n{}", verdict(&samples).join("\n")))
}

/// Measures one candidate once.
async fn measure(
    place: &mut Place,
    server: &Server,
    posts: &Arc<Posts>,
    clients: usize,
    candidate: &str,
) -> Result<Sample, Failure> {
    place.settle().await?;
    posts.run(server.address, clients, WARM_UP)?;
    let before = place.deliveries().await?;
    let usage = Usage::begin([server.id()?, place.postgres()]);
    let others = OthersAtWork::begin();
    let start = Instant::now();
    let latencies = posts.run(server.address, clients, MEASURED)?;
    let elapsed = start.elapsed();
    let sample = Sample {
        latencies,
        elapsed,
        others: others.end(elapsed),
        taken: usage.end(),
    };
    let written = place.deliveries().await? - before;
    if candidate != rivals::AT_ONCE && written < sample.count() {
        let told = sample.count();
        return Err(format!("{told} were answered 202, {written} are written down").into());
    }
    Ok(sample)
}

/// What a run came to.
struct Sample {
    /// From the shortest to the longest.
    latencies: Vec<Duration>,
    elapsed: Duration,
    /// What others took, in hundredths of a core; `None` where it can't be told.
    others: Option<u128>,
    /// What the server and Postgres took, and this process.
    taken: Option<Taken<2>>,
}

impl Sample {
    fn count(&self) -> u64 {
        self.latencies.len() as u64
    }

    fn rate(&self) -> u128 {
        u128::from(self.count()) * 1_000_000 / self.elapsed.as_micros().max(1)
    }

    /// The latency that this many thousandths of the webhooks stay within.
    fn within(&self, thousandths: usize) -> Duration {
        let rank = (self.latencies.len() * thousandths).div_ceil(1000);
        let found = self.latencies.get(rank.saturating_sub(1));
        found.copied().unwrap_or_default()
    }

    fn is_quiet(&self) -> bool {
        /// A tenth of a core.
        const MOST: u128 = 10;
        self.others.is_none_or(|others| others <= MOST)
    }

    /// A quiet one is, and of two such the faster.
    fn is_better_than(&self, other: &Self) -> bool {
        (self.is_quiet(), self.rate()) > (other.is_quiet(), other.rate())
    }

    /// So many microseconds, for each webhook, in tenths.
    fn each(&self, micros: u128) -> u128 {
        micros * 10 / u128::from(self.count()).max(1)
    }
}

impl fmt::Display for Sample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (rate, p50, p99) = (self.rate(), self.within(500), self.within(990));
        write!(f, "{rate:>10} {:>8} {:>8}", millis(p50), millis(p99))?;
        match self.taken {
            Some(Taken {
                each: [server, postgres],
                own,
            }) => {
                let [server, postgres, own] = [server, postgres, own].map(|all| self.each(all));
                let [server, postgres, own] = [server, postgres, own].map(tenths);
                write!(f, "   {server:>10}  {postgres:>8}  {own:>6}")?;
            }
            None => write!(f, "   {:>10}  {:>8}  {:>6}", "?", "?", "?")?,
        }
        let others = self.others.map_or_else(|| "?".to_owned(), hundredths);
        write!(f, "  {others:>7}")
    }
}

/// How many times as many webhooks as another; nothing if strangers were at work.
fn ratio(intake: &Sample, other: &Sample) -> String {
    if intake.is_quiet() && other.is_quiet() {
        hundredths(intake.rate() * 100 / other.rate().max(1))
    } else {
        "busy".to_owned()
    }
}

/// What the figures are compared with.
fn verdict(samples: &BTreeMap<(usize, &str), Sample>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut kept = |what: &str, figure: String, is_kept: bool, is_quiet: bool| {
        let word = match (is_quiet, is_kept) {
            (false, _) => "busy, so that it proves nothing",
            (true, true) => "kept",
            (true, false) => "missed",
        };
        lines.push(format!("{what}: {figure} ({word})"));
    };
    for (candidate, name, least) in [
        (rivals::AT_ONCE, "of A at 64, at least 0.25", 25),
        (rivals::STEPS, "times B at 64, at least 5", 500),
        (rivals::STATEMENT, "times B' at 64, at least 3", 300),
    ] {
        if let (Some(intake), Some(other)) =
            (samples.get(&(64, INTAKE)), samples.get(&(64, candidate)))
        {
            let figure = ratio(intake, other);
            let enough = intake.rate() * 100 >= other.rate() * least;
            let is_quiet = intake.is_quiet() && other.is_quiet();
            kept(name, figure, enough, is_quiet);
        }
    }
    if let Some(sample) = samples.get(&(64, INTAKE))
        && let Some(taken) = sample.taken
    {
        let spent = sample.each(taken.each.iter().sum());
        let name = "us of server and Postgres at 64, at most 40";
        kept(name, tenths(spent), spent <= 400, sample.is_quiet());
    }
    for (clients, thousandths, limit) in [
        (64, 990, Duration::from_millis(8)),
        (256, 990, Duration::from_millis(20)),
        (1, 500, Duration::from_micros(500)),
    ] {
        if let Some(sample) = samples.get(&(clients, INTAKE)) {
            let found = sample.within(thousandths);
            let name = format!(
                "ms p{} at {clients}, under {}",
                thousandths / 10,
                millis(limit)
            );
            kept(&name, millis(found), found < limit, sample.is_quiet());
        }
    }
    lines
}

/// A number of tenths, as a decimal.
fn tenths(number: u128) -> String {
    format!("{}.{}", number / 10, number % 10)
}

fn say(text: &str) -> Result<(), Failure> {
    Ok(writeln!(std::io::stdout(), "{text}")?)
}
