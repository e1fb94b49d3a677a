//! The tasks of the process, and how they end.
//!
//! Every task is started here, so that none is forgotten: ending means to tell all of them through
//! one token, then to wait for them up to a limit.

use std::{
    any::Any,
    collections::BTreeMap,
    future::Future,
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use futures_util::FutureExt as _;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::Instrument as _;

/// Whether the process serves, or is about to end.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Phase {
    /// All is well.
    Running,
    /// No new work is taken; what was begun is finished.
    Draining,
}

/// Owns the tasks of the process. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    announced: CancellationToken,
    tasks: TaskTracker,
    names: Names,
}

/// Tasks that had not ended when the time was up.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("gave up waiting for: {}", names.join(", "))]
pub struct Stragglers {
    /// Their names; one that ran several times is named once.
    pub names: Vec<&'static str>,
}

impl Shutdown {
    /// A process that runs, without tasks yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts a task. It should end soon after [`token`](Self::token) is cancelled. If it panics,
    /// the log says so by its name, and the others go on.
    pub fn spawn(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let listed = self.names.enter(name);
        let span = tracing::info_span!("task", task.name = name);
        let watched = async move {
            // Nothing of the task outlives its panic, so nothing broken can be seen.
            if let Err(panic) = AssertUnwindSafe(task).catch_unwind().await {
                tracing::error!(panic = message(&*panic), "the task {name} panicked");
            }
            drop(listed);
        };
        self.tasks.spawn(watched.instrument(span));
    }

    /// Cancelled when the process is to end. For one's own part of the work, take a child.
    #[must_use]
    pub fn token(&self) -> CancellationToken {
        self.token.clone()
    }

    /// Cancelled as soon as it is announced that the process is about to end: for work that another
    /// process may go on with, and that nobody here waits for.
    #[must_use]
    pub fn announced(&self) -> CancellationToken {
        self.announced.clone()
    }

    /// Whether the process serves or drains.
    #[must_use]
    pub fn phase(&self) -> Phase {
        if self.announced.is_cancelled() {
            Phase::Draining
        } else {
            Phase::Running
        }
    }

    /// Tells whoever asks that the process is about to end, before any task is told to.
    pub fn announce(&self) {
        self.announced.cancel();
    }

    /// Tells every task to end.
    pub fn trigger(&self) {
        self.announced.cancel();
        self.token.cancel();
    }

    /// Tells every task to end, and waits until all have, or until `limit` has passed. Tasks may
    /// still start others meanwhile; these are waited for too.
    pub async fn drain(&self, limit: Duration) -> Result<(), Stragglers> {
        self.trigger();
        self.tasks.close();
        tokio::time::timeout(limit, self.tasks.wait())
            .await
            .map_err(|_| Stragglers {
                names: self.names.list(),
            })
    }
}

/// The names of the tasks that run, each with how many of it there are.
#[derive(Clone, Debug, Default)]
struct Names(Arc<Mutex<BTreeMap<&'static str, usize>>>);

/// Strikes a name off the list when its task ends, or is dropped before it began.
struct Listed {
    names: Names,
    name: &'static str,
}

impl Names {
    fn enter(&self, name: &'static str) -> Listed {
        *self.lock().entry(name).or_default() += 1;
        Listed {
            names: self.clone(),
            name,
        }
    }

    fn list(&self) -> Vec<&'static str> {
        self.lock().keys().copied().collect()
    }

    /// A count can't be left half changed, so a poisoned lock is as good as any.
    fn lock(&self) -> MutexGuard<'_, BTreeMap<&'static str, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Listed {
    fn drop(&mut self) {
        let mut names = self.names.lock();
        if let Some(count) = names.get_mut(self.name) {
            *count -= 1;
            if *count == 0 {
                names.remove(self.name);
            }
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// The signals that ask the process to end.
///
/// They are caught from the moment this is made, so make it before anything that must be ended
/// in order.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
}

impl Signals {
    /// Begins to catch the signals. Must be called within the runtime.
    #[cfg(unix)]
    pub fn listen() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Waits for the next signal and answers its name. Call it again to hear of a second one,
    /// from somebody who has lost patience.
    #[cfg(unix)]
    pub async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }

    /// Begins to catch the signals. Must be called within the runtime.
    #[cfg(not(unix))]
    pub fn listen() -> io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next signal and answers its name.
    #[cfg(not(unix))]
    pub async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "ctrl-C"
    }
}

#[cfg(test)]
mod tests {
    use super::{Phase, Shutdown, Stragglers};
    use std::{
        future::pending,
        sync::{
            Arc,
            atomic::{AtomicBool, Ordering},
        },
        time::Duration,
    };

    /// Long enough never to pass in a test that works.
    const LONG: Duration = Duration::from_mins(1);

    #[tokio::test]
    async fn draining_tells_the_tasks_and_waits_for_them() {
        let shutdown = Shutdown::new();
        let finished = Arc::new(AtomicBool::new(false));
        let (token, flag) = (shutdown.token(), Arc::clone(&finished));
        shutdown.spawn("worker", async move {
            token.cancelled().await;
            tokio::task::yield_now().await;
            flag.store(true, Ordering::SeqCst);
        });
        assert_eq!(shutdown.phase(), Phase::Running);
        assert_eq!(shutdown.drain(LONG).await, Ok(()));
        assert_eq!(shutdown.phase(), Phase::Draining);
        assert!(finished.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn triggering_drains_in_every_clone() {
        let shutdown = Shutdown::new();
        let clone = shutdown.clone();
        shutdown.trigger();
        assert_eq!(clone.phase(), Phase::Draining);
        clone.token().cancelled().await;
    }

    #[tokio::test]
    async fn an_announcement_is_heard_before_anybody_is_told_to_end() {
        let shutdown = Shutdown::new();
        shutdown.announce();
        shutdown.announced().cancelled().await;
        assert_eq!(shutdown.phase(), Phase::Draining);
        assert!(!shutdown.token().is_cancelled());
        // Whoever ends without a word before ends all the same.
        let shutdown = Shutdown::new();
        shutdown.trigger();
        shutdown.announced().cancelled().await;
    }

    #[tokio::test]
    async fn those_who_do_not_end_are_named_once() {
        let shutdown = Shutdown::new();
        shutdown.spawn("stuck", pending());
        shutdown.spawn("stuck", pending());
        shutdown.spawn("also stuck", pending());
        shutdown.spawn("quick", async {});
        tokio::task::yield_now().await;
        let stragglers = shutdown.drain(Duration::ZERO).await.unwrap_err();
        assert_eq!(
            stragglers,
            Stragglers {
                names: vec!["also stuck", "stuck"]
            }
        );
        assert_eq!(
            stragglers.to_string(),
            "gave up waiting for: also stuck, stuck"
        );
    }

    #[tokio::test]
    async fn one_of_two_tasks_of_a_name_that_ends_leaves_the_other_named() {
        let shutdown = Shutdown::new();
        shutdown.spawn("worker", pending());
        shutdown.spawn("worker", async {});
        tokio::task::yield_now().await;
        let stragglers = shutdown.drain(Duration::ZERO).await.unwrap_err();
        assert_eq!(stragglers.names, ["worker"]);
    }

    #[tokio::test]
    async fn a_task_started_while_draining_is_waited_for() {
        let shutdown = Shutdown::new();
        let finished = Arc::new(AtomicBool::new(false));
        let (inner, flag) = (shutdown.clone(), Arc::clone(&finished));
        shutdown.spawn("parent", async move {
            inner.token().cancelled().await;
            inner.spawn("child", async move {
                tokio::task::yield_now().await;
                flag.store(true, Ordering::SeqCst);
            });
        });
        assert_eq!(shutdown.drain(LONG).await, Ok(()));
        assert!(finished.load(Ordering::SeqCst));
    }

    #[tokio::test]
    async fn a_panic_is_logged_by_the_tasks_name_and_ends_only_that_task() {
        let page = Page::default();
        let writer = page.clone();
        let subscriber = tracing_subscriber::fmt()
            .json()
            .with_writer(move || writer.clone())
            .finish();
        // While there is only one subscriber, a test on another thread may settle for good that nobody
        // listens to an event. A second one that listens to nothing prevents that.
        let _deaf = tracing::Dispatch::new(tracing::subscriber::NoSubscriber::new());
        let guard = tracing::subscriber::set_default(subscriber);
        let shutdown = Shutdown::new();
        shutdown.spawn("fragile", async { panic!("broke {}", "down") });
        assert_eq!(shutdown.drain(LONG).await, Ok(()));
        drop(guard);
        let text = page.text();
        assert!(text.contains("the task fragile panicked"), "{text}");
        assert!(text.contains(r#""panic":"broke down""#), "{text}");
    }

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Page(Arc<std::sync::Mutex<Vec<u8>>>);

    impl Page {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
        }
    }

    impl std::io::Write for Page {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[cfg(unix)]
    #[tokio::test]
    async fn signals_are_heard_one_after_the_other() {
        use super::Signals;
        use nix::sys::signal::{Signal, raise};
        let mut signals = Signals::listen().unwrap();
        raise(Signal::SIGTERM).unwrap();
        assert_eq!(signals.next().await, "SIGTERM");
        raise(Signal::SIGINT).unwrap();
        assert_eq!(signals.next().await, "SIGINT");
    }
}
