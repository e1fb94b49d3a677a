//! The thread that owns the server.
//!
//! On Linux a child dies with the *thread* that started it, so the one thread that starts Postgres lives exactly as
//! long as Postgres should: it starts it, waits to be told to stop, and stops it.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Read as _, Seek as _, SeekFrom},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::sync::oneshot;

use super::{
    Durability, Options,
    binaries::{self, Existing, Installation, Version},
    bundle::PINS,
    error::{At as _, Error},
    guard::{self, Identity},
    layout::{Held, NO_LINKS, PORT, Place},
    pidfile::{Occupant, PidFile},
};

/// How long a server that died with its owner may take to leave the directory.
const LEAVING: Duration = Duration::from_secs(10);
/// How long a server may take until it is ready: recovery after a crash replays up to a checkpoint's distance.
const STARTING: Duration = Duration::from_mins(2);
/// How often a state that Postgres only writes to a file is looked at.
const GLANCE: Duration = Duration::from_millis(3);
/// How often the server is looked at while it runs.
const HEARTBEAT: Duration = Duration::from_secs(1);
/// How a server is asked to leave: politely to clients at first, then less so.
const FAREWELL: [(Signal, Duration); 3] = [
    (Signal::SIGINT, Duration::from_secs(10)),
    (Signal::SIGQUIT, Duration::from_secs(5)),
    (Signal::SIGKILL, Duration::from_secs(5)),
];
/// A log longer than this is set aside at start.
const LONGEST_LOG: u64 = 8 * 1024 * 1024;
/// The bootstrap superuser.
pub(super) const ADMIN: &str = "postgres";

/// What the owner of a running server has to know.
#[derive(Clone, Debug)]
pub(super) struct Running {
    pub(super) version: Version,
    pub(super) identity: Identity,
    pub(super) socket_dir: PathBuf,
    pub(super) pid: u32,
}

/// The whole life of one server; the body of its thread. Ends when `stop` is dropped.
pub(super) fn keep(
    options: &Options,
    started: oneshot::Sender<Result<Running, Error>>,
    stop: &mpsc::Receiver<()>,
) {
    let mut server = match Server::start(options) {
        Ok(server) => server,
        Err(error) => {
            // Whoever asked may have given up meanwhile; then nobody needs the answer.
            let _ = started.send(Err(error));
            return;
        }
    };
    // If whoever asked has given up, `stop` is gone too and the loop ends at once.
    let _ = started.send(Ok(server.running.clone()));
    while let Err(RecvTimeoutError::Timeout) = stop.recv_timeout(HEARTBEAT) {
        if let Ok(Some(status)) = server.child.try_wait() {
            tracing::error!(
                %status,
                log = %server.place.log().display(),
                "the private Postgres ended by itself; its log says why"
            );
            return;
        }
    }
    server.stop();
    server.tidy();
}

#[derive(Debug)]
struct Server {
    child: Child,
    place: Place,
    running: Running,
    /// Released last, when the server is gone.
    held: Held,
}

impl Server {
    fn start(options: &Options) -> Result<Self, Error> {
        let guard = options
            .guard
            .canonicalize()
            .at("can't find the program itself at", &options.guard)?;
        let held = Held::take(&options.data_dir)?;
        let existing = held.existing()?;
        let installation = binaries::find(
            &options.search,
            &PINS,
            existing
                .as_ref()
                .map(|(major, dir)| Existing { major: *major, dir }),
        )?;
        let identity = held.identity(&guard)?;
        let place = held.place(installation.version.major, identity)?;
        let launch = Launch {
            guard: &guard,
            installation: &installation,
            identity,
            place: &place,
            durability: options.durability,
        };
        if existing.is_none() {
            launch.create()?;
        }
        let socket_dir = held.socket_dir(&place, &options.temp_dir, identity)?;
        let child = launch.run(&socket_dir)?;
        let running = Running {
            version: installation.version,
            identity,
            socket_dir,
            pid: child.id(),
        };
        tracing::debug!(version = %running.version, pid = running.pid, "the private Postgres is ready");
        Ok(Self {
            child,
            place,
            running,
            held,
        })
    }

    fn stop(&mut self) {
        for (signal, patience) in FAREWELL {
            // The child is not collected yet, so its number can't belong to anyone else.
            if let Ok(pid) = i32::try_from(self.child.id()) {
                let _ = kill(Pid::from_raw(pid), signal);
            }
            let deadline = Instant::now() + patience;
            while Instant::now() < deadline {
                if !matches!(self.child.try_wait(), Ok(None)) {
                    return;
                }
                thread::sleep(GLANCE);
            }
            tracing::warn!(%signal, "the private Postgres did not stop in time");
        }
    }

    /// Removes a socket directory that lies outside the data directory.
    fn tidy(&self) {
        if !self.held.contains(&self.running.socket_dir) {
            // It is empty once the server is gone; should it not be, the next start clears it.
            let _ = fs::remove_dir(&self.running.socket_dir);
        }
    }
}

/// Everything that starting a server needs to know.
struct Launch<'a> {
    guard: &'a Path,
    installation: &'a Installation,
    identity: Identity,
    place: &'a Place,
    durability: Durability,
}

/// Why a server that was started is not there.
enum Failure {
    /// Something of the server before is still around; it will go away.
    Early(String),
    Final(String),
}

impl Launch<'_> {
    /// Creates the database files, under another name until they are complete.
    fn create(&self) -> Result<(), Error> {
        let (data, draft) = (self.place.data(), self.place.draft());
        if draft.exists() {
            fs::remove_dir_all(&draft)
                .at("can't remove what an interrupted start left in", &draft)?;
        }
        let mut command = self.command(&self.installation.initdb());
        command
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C"])
            .args(["--data-checksums", "--no-instructions", "--username", ADMIN])
            .arg("--pgdata")
            .arg(&draft);
        if self.durability == Durability::Off {
            command.arg("--no-sync");
        }
        let output = command.output().at("can't run", self.guard)?;
        if !output.status.success() {
            return Err(Error::Init {
                dir: data,
                output: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
                hint: self.hint(),
            });
        }
        fs::rename(&draft, &data).at("can't put in place", &data)
    }

    /// Starts the server and waits until it accepts connections.
    fn run(&self, socket_dir: &Path) -> Result<Child, Error> {
        let (data, log) = (self.place.data(), self.place.log());
        let not_ready = |cause| Error::NotReady {
            dir: data.clone(),
            cause,
            log: log.clone(),
            hint: self.hint(),
        };
        let patience = Instant::now() + LEAVING;
        loop {
            vacate(&data, patience)?;
            match self.attempt(socket_dir)? {
                Ok(child) => return Ok(child),
                Err(Failure::Early(_)) if Instant::now() < patience => {
                    thread::sleep(GLANCE * 30);
                }
                Err(Failure::Early(cause) | Failure::Final(cause)) => return Err(not_ready(cause)),
            }
        }
    }

    fn attempt(&self, socket_dir: &Path) -> Result<Result<Child, Failure>, Error> {
        let (data, path) = (self.place.data(), self.place.log());
        let (log, before) = open_log(&path).at("can't open the log file", &path)?;
        let mut child = self
            .command(&self.installation.postgres())
            .arg("-D")
            .arg(&data)
            .args(self.settings(socket_dir))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .at("can't run", self.guard)?;

        let deadline = Instant::now() + STARTING;
        let ended: Option<ExitStatus> = loop {
            if let Some(status) = child.try_wait().at("can't watch Postgres on", &data)? {
                break Some(status);
            }
            // An earlier server's file names another process; one in the making does not say ready.
            let file = PidFile::read(&data).at("can't read postmaster.pid in", &data)?;
            if file.is_some_and(|file| file.ready && file.pid == child.id()) {
                return Ok(Ok(child));
            }
            if Instant::now() >= deadline {
                break None;
            }
            thread::sleep(GLANCE);
        };

        let Some(status) = ended else {
            // Best effort: it also dies with this thread.
            let _ = child.kill().and_then(|()| child.wait());
            let cause = format!("it was not ready within {} s", STARTING.as_secs());
            return Ok(Err(Failure::Final(cause)));
        };
        let said = log_since(&path, before).at("can't read the log file", &path)?;
        let cause = format!("{status}; it said: {}", last_lines(&said));
        // Children that outlived a killed server keep its memory for a moment, and a dead one keeps its number.
        let early = [
            "is still in use",
            "lock file \"postmaster.pid\" already exists",
        ]
        .iter()
        .any(|sign| said.contains(sign));
        Ok(Err(if early {
            Failure::Early(cause)
        } else {
            Failure::Final(cause)
        }))
    }

    fn command(&self, program: &Path) -> Command {
        guard::command(self.guard, self.identity, program)
    }

    fn settings(&self, socket_dir: &Path) -> Vec<String> {
        let mut settings = vec![
            // Everyone who can open the socket is trusted, so there is no other door.
            "listen_addresses=".to_owned(),
            format!("port={PORT}"),
            format!("unix_socket_directories={}", socket_dir.display()),
            "unix_socket_permissions=0700".to_owned(),
            "max_connections=200".to_owned(),
            // Our statements are short; compiling them costs more than it gains, and bundles lack the compiler.
            "jit=off".to_owned(),
            // The log holds neither statements nor the values in them.
            "log_min_error_statement=panic".to_owned(),
            "log_error_verbosity=terse".to_owned(),
        ];
        if self.durability == Durability::Off {
            let off = ["fsync", "synchronous_commit", "full_page_writes"];
            settings.extend(off.map(|name| format!("{name}=off")));
        }
        settings
            .into_iter()
            .flat_map(|setting| ["-c".to_owned(), setting])
            .collect()
    }

    /// What to look at when another user can't get at the files.
    fn hint(&self) -> String {
        match self.identity {
            Identity::User { uid, .. } => format!(
                " (started as root, so Postgres runs as user {uid}, who must be able to enter every directory above \
                 the data and the programs)"
            ),
            Identity::Own | Identity::Namespace => String::new(),
        }
    }
}

/// Makes sure that no earlier server works on the files.
///
/// The lock is ours, so such a server has lost its owner: it is on its way out, or (where nothing ends it with its
/// owner) it is ended here.
fn vacate(data: &Path, patience: Instant) -> Result<(), Error> {
    let mut asked = false;
    loop {
        let file = PidFile::read(data).at("can't read postmaster.pid in", data)?;
        let Some(PidFile { pid, .. }) = file else {
            return Ok(());
        };
        match Occupant::of(pid, data) {
            Occupant::Stale => {
                return PidFile::disarm(data).at("can't update postmaster.pid in", data);
            }
            Occupant::Postmaster if Instant::now() >= patience => {
                return Err(Error::Occupied {
                    dir: data.to_owned(),
                    pid,
                });
            }
            Occupant::Postmaster => {
                if !asked && let Ok(number) = i32::try_from(pid) {
                    tracing::warn!(pid, "ending a Postgres that lost its owner");
                    // It may be gone already, or not ours to end; the next look tells.
                    let _ = kill(Pid::from_raw(number), Signal::SIGINT);
                    asked = true;
                }
                thread::sleep(GLANCE);
            }
        }
    }
}

fn open_log(path: &Path) -> io::Result<(File, u64)> {
    if fs::metadata(path).is_ok_and(|found| found.len() > LONGEST_LOG) {
        fs::rename(path, path.with_extension("log.old"))?;
    }
    let log = OpenOptions::new()
        .append(true)
        .create(true)
        .custom_flags(NO_LINKS)
        .open(path)?;
    let length = log.metadata()?.len();
    Ok((log, length))
}

fn log_since(path: &Path, start: u64) -> io::Result<String> {
    let mut log = File::open(path)?;
    log.seek(SeekFrom::Start(start))?;
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn last_lines(said: &str) -> String {
    let lines: Vec<_> = said
        .lines()
        .filter(|line| !line.trim().is_empty())
        .collect();
    if lines.is_empty() {
        return "nothing".to_owned();
    }
    lines[lines.len().saturating_sub(6)..].join(" | ")
}
