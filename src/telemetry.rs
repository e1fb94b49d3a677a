//! What the process tells of itself: log lines and metrics.

mod span_fields;

use std::{
    collections::BTreeMap,
    error::Error,
    fs, io,
    sync::{OnceLock, PoisonError, RwLock},
    time::Duration,
};

use metrics::{Counter, Histogram, Unit};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio_util::sync::CancellationToken;
use tracing::Subscriber;
use tracing_subscriber::{
    EnvFilter, Layer,
    filter::{Directive, LevelFilter},
    fmt::MakeWriter,
    layer::SubscriberExt as _,
    util::SubscriberInitExt as _,
};

use self::span_fields::SpanFields;

/// How log lines are written.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lines {
    /// One JSON object a line, for machines.
    Json,
    /// Words, for people.
    Text {
        /// With colours, which only a terminal understands.
        colour: bool,
    },
}

/// The log filter can't be understood.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "DISCOVERY_LOG is not valid: {0}; write a level such as `info`, or add targets as in `info,matcher_discovery=debug`"
)]
pub struct InvalidFilter(String);

/// Starts the log. Lines go to stderr in every command, so that stdout holds nothing but what was
/// asked for. A second call in one process changes nothing.
pub fn init(filter: &str, lines: Lines) -> Result<(), InvalidFilter> {
    // Whoever initialised first (an earlier call, a test) keeps the log; there is one a process.
    let _already = subscriber(filter, lines, io::stderr)?.try_init();
    Ok(())
}

/// Says what is wrong with a log filter, for the check of the configuration.
pub fn check_filter(filter: &str) -> Result<(), String> {
    parse_filter(filter).map(drop)
}

fn parse_filter(filter: &str) -> Result<EnvFilter, String> {
    // The parser takes any bare word for a target, so that `inof` would mean silence.
    for directive in filter.split(',').map(str::trim) {
        let bare = !directive.contains(['=', '[', ']', '{', '}']);
        if bare && !directive.is_empty() && directive.parse::<LevelFilter>().is_err() {
            return Err(format!(
                "`{}` is no level (off, error, warn, info, debug, trace)",
                directive.escape_debug()
            ));
        }
    }
    let filter = EnvFilter::try_new(filter).map_err(|error| error.to_string())?;
    // What the databases of tenants remark on the way is theirs, and holds names.
    let remarks = "sqlx::postgres::notice=off".parse::<Directive>();
    Ok(filter.add_directive(remarks.map_err(|error| error.to_string())?))
}

fn subscriber<W>(
    filter: &str,
    lines: Lines,
    writer: W,
) -> Result<impl Subscriber + Send + Sync, InvalidFilter>
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let filter = parse_filter(filter).map_err(InvalidFilter)?;
    let layer = tracing_subscriber::fmt::layer().with_writer(writer);
    let layer = match lines {
        // The spans around a line say whom it is about; the list has the innermost too.
        Lines::Json => layer
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(true)
            .fmt_fields(SpanFields)
            .boxed(),
        Lines::Text { colour } => layer.with_ansi(colour).boxed(),
    };
    Ok(tracing_subscriber::registry().with(filter).with(layer))
}

/// Requests answered, by operation, method and status.
const HTTP_REQUESTS: &str = "http_requests_total";
/// How long answers took, by operation.
const HTTP_DURATION: &str = "http_request_duration_seconds";
/// Webhooks, by vendor and what became of them.
const WEBHOOKS: &str = "webhooks_total";
const ODD_ROWS: &str = "odd_rows_total";
/// How many webhooks were taken up together.
const WEBHOOK_BATCH: &str = "webhook_batch_size";
/// Attempts at pulls that are over, by what became of them.
const PULL_ATTEMPTS: &str = "pull_attempts_total";
/// Pulls that wait and that run, of all processes.
const PULLS: &str = "pulls";
/// For how long the pull has been due that has been so for longest.
const PULLS_LONGEST_DUE: &str = "pulls_longest_due_seconds";
/// Constant 1, with the version as its label.
const BUILD_INFO: &str = "build_info";

/// From the fastest answer worth telling apart to the longest a caller waits.
const DURATION_BUCKETS: [Duration; 12] = [
    Duration::from_millis(1),
    Duration::from_micros(2_500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_secs(1),
    Duration::from_millis(2_500),
    Duration::from_secs(10),
];

/// Up to the most that are taken up together.
const BATCH_BUCKETS: [u32; 9] = [1, 2, 4, 8, 16, 32, 64, 128, 256];

/// What is counted for each request, by its labels: to ask the recorder for it takes longer than to count.
struct Instruments<K, I>(RwLock<BTreeMap<K, I>>);

impl<K: Copy + Ord, I: Clone> Instruments<K, I> {
    const fn new() -> Self {
        Self(RwLock::new(BTreeMap::new()))
    }

    fn get(&self, labels: K, ask: impl FnOnce() -> I) -> I {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&labels) {
            return known.clone();
        }
        drop(known);
        // Without the recorder it would be one that counts nothing, for good.
        let _installed = metrics();
        let asked = ask();
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(labels, asked.clone());
        asked
    }
}

/// How often samples are folded into buckets when nobody scrapes.
const UPKEEP_EVERY: Duration = Duration::from_secs(5);

/// An error with everything that led to it, each cause once: some errors repeat theirs.
#[must_use]
pub fn with_causes(error: &(dyn Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let words = error.to_string();
        if !text.contains(&words) {
            text.push_str(": ");
            text.push_str(&words);
        }
        cause = error.source();
    }
    text
}

/// Counts an answer.
///
/// `operation` and `method` are names out of the program, never out of a request: a label that a
/// caller could write would hold tokens and tenants, and grow without end.
pub fn record_request(
    operation: &'static str,
    method: &'static str,
    status: u16,
    elapsed: Duration,
) {
    static ANSWERS: Instruments<(&str, &str, u16), Counter> = Instruments::new();
    static DURATIONS: Instruments<&str, Histogram> = Instruments::new();
    let answers = ANSWERS.get((operation, method, status), || {
        metrics::counter!(
            HTTP_REQUESTS,
            "operation" => operation,
            "method" => method,
            "status" => status.to_string(),
        )
    });
    answers.increment(1);
    let durations = DURATIONS.get(
        operation,
        || metrics::histogram!(HTTP_DURATION, "operation" => operation),
    );
    durations.record(elapsed);
}

/// Counts a webhook. Both labels are names out of the program.
pub fn record_webhook(vendor: &'static str, outcome: &'static str) {
    static WEBHOOKS_OF: Instruments<(&str, &str), Counter> = Instruments::new();
    let webhooks = WEBHOOKS_OF.get(
        (vendor, outcome),
        || metrics::counter!(WEBHOOKS, "vendor" => vendor, "outcome" => outcome),
    );
    webhooks.increment(1);
}

/// Counts rows of a vendor that could not be read, or that contradict themselves. Both labels are names
/// out of the program.
pub fn record_odd_rows(vendor: &'static str, reason: &'static str, rows: u64) {
    metrics::counter!(ODD_ROWS, "vendor" => vendor, "reason" => reason).increment(rows);
}

/// Notes how many webhooks were taken up together.
pub fn record_webhook_batch(size: usize) {
    let size = u32::try_from(size).unwrap_or(u32::MAX);
    metrics::histogram!(WEBHOOK_BATCH).record(size);
}

/// Counts an attempt at a pull that is over. The label is a name out of the program.
pub fn record_pull_attempt(outcome: &'static str) {
    metrics::counter!(PULL_ATTEMPTS, "outcome" => outcome).increment(1);
}

/// Notes how many pulls wait and run, and for how long one of them has been due.
pub fn record_queue(waiting: u64, running: u64, longest_due: Duration) {
    let whole = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    metrics::gauge!(PULLS, "state" => "waiting").set(whole(waiting));
    metrics::gauge!(PULLS, "state" => "running").set(whole(running));
    metrics::gauge!(PULLS_LONGEST_DUE).set(whole(longest_due.as_secs()));
}

/// The process' metrics.
#[derive(Clone, Debug)]
pub struct MetricsHandle(PrometheusHandle);

/// The metrics of this process. The first call installs the recorder, later ones find it.
#[must_use]
pub fn metrics() -> MetricsHandle {
    static HANDLE: OnceLock<MetricsHandle> = OnceLock::new();
    HANDLE.get_or_init(install).clone()
}

impl MetricsHandle {
    /// Everything measured so far, in Prometheus' text format.
    #[must_use]
    pub fn render(&self) -> String {
        [
            self.0.render(),
            gauge(
                "process_resident_memory_bytes",
                "Memory the process holds, apart from swap.",
                resident_bytes(),
            ),
            gauge(
                "process_open_fds",
                "Files and sockets the process holds open.",
                open_files(),
            ),
        ]
        .concat()
    }

    /// Folds samples into buckets until `stop`. Without it they would pile up while nobody
    /// scrapes.
    pub async fn keep(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(UPKEEP_EVERY);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            self.0.run_upkeep();
        }
    }
}

fn install() -> MetricsHandle {
    let buckets = DURATION_BUCKETS.map(|bucket| bucket.as_secs_f64());
    let batches = BATCH_BUCKETS.map(f64::from);
    let builder = PrometheusBuilder::new();
    #[expect(
        clippy::expect_used,
        reason = "the only error is an empty list, and these are constants"
    )]
    let recorder = builder
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), &buckets)
        .expect("there are buckets")
        .set_buckets_for_metric(Matcher::Full(WEBHOOK_BATCH.to_owned()), &batches)
        .expect("there are buckets")
        .build_recorder();
    let handle = MetricsHandle(recorder.handle());
    if metrics::set_global_recorder(recorder).is_err() {
        tracing::error!("another metrics recorder is installed; /metrics will stay empty");
    }
    metrics::describe_counter!(HTTP_REQUESTS, Unit::Count, "Requests answered.");
    metrics::describe_histogram!(HTTP_DURATION, Unit::Seconds, "Time to answer a request.");
    metrics::describe_counter!(WEBHOOKS, Unit::Count, "Webhooks received.");
    metrics::describe_histogram!(WEBHOOK_BATCH, Unit::Count, "Webhooks taken up together.");
    metrics::describe_counter!(
        PULL_ATTEMPTS,
        Unit::Count,
        "Attempts at pulls that are over."
    );
    metrics::describe_gauge!(
        PULLS,
        Unit::Count,
        "Pulls that wait or run, whichever process works on them."
    );
    metrics::describe_gauge!(
        PULLS_LONGEST_DUE,
        Unit::Seconds,
        "How long the pull that waited longest has been due."
    );
    metrics::describe_counter!(
        ODD_ROWS,
        Unit::Count,
        "Rows of vendors that could not be read, or that contradict themselves."
    );
    metrics::describe_gauge!(BUILD_INFO, "Always 1; the label says which version runs.");
    metrics::gauge!(BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1);
    handle
}

/// Written by hand, since the recorder's gauges are floats and these are whole numbers. What the
/// system does not tell is left out.
fn gauge(name: &str, help: &str, value: Option<u64>) -> String {
    value.map_or_else(String::new, |value| {
        format!("# HELP {name} {help}\n# TYPE {name} gauge\n{name} {value}\n\n")
    })
}

/// Linux tells it in a file.
fn resident_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024)
}

fn open_files() -> Option<u64> {
    let entries = fs::read_dir("/proc/self/fd").ok()?;
    // One of them is the directory that is being read.
    u64::try_from(entries.count()).ok()?.checked_sub(1)
}

#[cfg(test)]
mod tests {
    use super::{Lines, check_filter, init, metrics, record_request, subscriber, with_causes};
    use std::{
        io::{self, Write},
        sync::{Arc, Mutex, PoisonError},
        time::Duration,
    };
    use tokio_util::sync::CancellationToken;

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Page(Arc<Mutex<Vec<u8>>>);

    impl Write for Page {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(filter: &str, lines: Lines, log: impl FnOnce()) -> String {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = subscriber(filter, lines, move || writer.clone()).unwrap();
        tracing::subscriber::with_default(subscriber, log);
        let bytes = page.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn an_error_is_told_with_each_cause_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("outer")]
        struct Outer(#[source] Middle);
        #[derive(Debug, thiserror::Error)]
        #[error("middle: {0}")]
        struct Middle(#[source] io::Error);
        let error = Outer(Middle(io::Error::other("root")));
        assert_eq!(with_causes(&error), "outer: middle: root");
    }

    #[test]
    fn a_json_line_is_flat_carries_its_spans_and_tells_utc() {
        let text = logged("info", Lines::Json, || {
            let outer = tracing::info_span!("request", tenant.id = "t1");
            let _outer = outer.enter();
            let inner = tracing::info_span!("query");
            let _inner = inner.enter();
            tracing::info!(connection.id = 7, "a line\nwith a break");
            tracing::debug!("not wanted");
        });
        assert_eq!(text.matches('\n').count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["message"], "a line\nwith a break");
        assert_eq!(line["connection.id"], 7);
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["spans"][0]["tenant.id"], "t1");
        let told = line["timestamp"].as_str().unwrap();
        assert!(told.ends_with('Z'), "{told}");
        assert!(chrono::DateTime::parse_from_rfc3339(told).is_ok(), "{told}");
    }

    #[test]
    fn the_fields_of_a_span_are_json_whatever_they_hold() {
        let text = logged("info", Lines::Json, || {
            let span = tracing::info_span!(
                "request",
                number = -7,
                large = u64::MAX,
                good = true,
                odd = "a \"quote\",\n\u{7}\\ and more",
                shown = ?Some("it"),
                later = tracing::field::Empty,
                twice = "first",
            );
            span.record("later", tracing::field::display("since \"then\""));
            span.record("twice", "second");
            let _span = span.enter();
            let nothing = tracing::info_span!("nothing", later = tracing::field::Empty);
            nothing.record("later", 1);
            let _nothing = nothing.enter();
            tracing::info!("a line");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(
            line["spans"],
            serde_json::json!([
                {
                    "name": "request", "number": -7, "large": u64::MAX, "good": true,
                    "odd": "a \"quote\",\n\u{7}\\ and more", "shown": "Some(\"it\")",
                    "later": "since \"then\"", "twice": "second",
                },
                { "name": "nothing", "later": 1 },
            ])
        );
    }

    #[test]
    fn text_is_coloured_only_when_asked() {
        let log = || tracing::warn!(answer = 42, "words");
        let plain = logged("info", Lines::Text { colour: false }, log);
        assert!(plain.contains("words answer=42"), "{plain}");
        assert!(!plain.contains('\u{1b}'), "{plain}");
        let coloured = logged("info", Lines::Text { colour: true }, log);
        assert!(coloured.contains('\u{1b}'), "{coloured}");
    }

    #[test]
    fn the_filter_chooses_by_level_and_target() {
        let text = logged("warn,loud=debug", Lines::Json, || {
            tracing::info!("quiet");
            tracing::debug!(target: "loud", "heard");
        });
        assert!(text.contains("heard") && !text.contains("quiet"), "{text}");
    }

    #[test]
    fn what_a_database_remarks_is_never_written() {
        let text = logged("trace,sqlx::postgres=trace", Lines::Json, || {
            tracing::warn!(target: "sqlx::postgres::notice", "canary");
            tracing::warn!(target: "sqlx::postgres", "heard");
        });
        assert!(text.contains("heard") && !text.contains("canary"), "{text}");
    }

    #[test]
    fn a_bad_filter_is_told_by_the_variables_name() {
        for filter in ["inof", "info,matcher_discovery", "a=loud", "a=b=c", "[span"] {
            let told = init(filter, Lines::Json).unwrap_err().to_string();
            assert!(told.starts_with("DISCOVERY_LOG is not valid: "), "{told}");
            assert!(check_filter(filter).is_err(), "{filter}");
        }
        for filter in [
            "info",
            "OFF",
            "warn,matcher_discovery=debug,",
            "[span{id=1}]=trace",
        ] {
            assert_eq!(check_filter(filter), Ok(()), "{filter}");
        }
    }

    #[test]
    fn the_log_can_be_started_twice() {
        assert_eq!(init("off", Lines::Json), Ok(()));
        assert_eq!(init("off", Lines::Text { colour: false }), Ok(()));
    }

    #[test]
    fn requests_are_counted_and_timed_wherever_the_handle_is_taken() {
        let early = metrics();
        record_request("countedOnce", "GET", 200, Duration::from_millis(7));
        record_request("countedApart", "GET", 200, Duration::from_millis(7));
        record_request("countedApart", "POST", 200, Duration::from_millis(7));
        record_request("countedApart", "POST", 503, Duration::from_millis(7));
        record_request("countedApart", "POST", 503, Duration::from_millis(7));
        for handle in [early, metrics()] {
            let text = handle.render();
            for line in [
                r#"http_requests_total{operation="countedOnce",method="GET",status="200"} 1"#,
                r#"http_requests_total{operation="countedApart",method="GET",status="200"} 1"#,
                r#"http_requests_total{operation="countedApart",method="POST",status="200"} 1"#,
                r#"http_requests_total{operation="countedApart",method="POST",status="503"} 2"#,
                r#"http_request_duration_seconds_count{operation="countedApart"} 4"#,
                r#"http_request_duration_seconds_bucket{operation="countedOnce",le="0.005"} 0"#,
                r#"http_request_duration_seconds_bucket{operation="countedOnce",le="0.01"} 1"#,
                r#"http_request_duration_seconds_count{operation="countedOnce"} 1"#,
                "# HELP http_requests_total Requests answered.",
                concat!(
                    r#"build_info{version=""#,
                    env!("CARGO_PKG_VERSION"),
                    r#""} 1"#
                ),
            ] {
                assert!(text.lines().any(|found| found == line), "{line}\n{text}");
            }
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_process_tells_its_memory_and_its_files() {
        let text = metrics().render();
        for name in ["process_resident_memory_bytes ", "process_open_fds "] {
            let value = text.lines().find_map(|line| line.strip_prefix(name));
            let value: u64 = value.unwrap().parse().unwrap();
            assert!(value > 0, "{name}{value}");
        }
    }

    #[tokio::test]
    async fn upkeep_ends_when_it_is_told_to() {
        let stop = CancellationToken::new();
        stop.cancel();
        metrics().keep(stop).await;
    }
}
