//! What this thread logs while a test looks.

use std::{
    io,
    sync::{Arc, Mutex},
};

use tracing::{
    Dispatch, Level,
    subscriber::{DefaultGuard, NoSubscriber},
};

/// Keeps what is logged until it is asked for.
pub(crate) struct Log {
    written: Written,
    // While there is only one subscriber, a test on another thread may settle for good that nobody listens
    // to an event. A second one that listens to nothing prevents that.
    _deaf: Dispatch,
    _keeping: DefaultGuard,
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Log {
    pub(crate) fn keep(up_to: Level) -> Self {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(up_to)
            .with_writer(move || writer.clone())
            .finish();
        Self {
            written,
            _deaf: Dispatch::new(NoSubscriber::new()),
            _keeping: tracing::subscriber::set_default(subscriber),
        }
    }

    /// Everything that was logged, and looks no further.
    pub(crate) fn text(self) -> String {
        String::from_utf8(self.written.0.lock().unwrap().clone()).unwrap()
    }
}
