//! The step between this program and Postgres.
//!
//! Postgres must not run as root, and must die with the process that owns it. Both are properties a process has to
//! give itself just before it becomes Postgres, so this program starts itself once more with a hidden first argument,
//! arranges them while it has one thread, and then *becomes* `postgres` or `initdb`. The server therefore stays a
//! direct child of its owner. The step is internal: it is in no help text, and grants nothing its caller lacks.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    io::{self, Write as _},
    os::unix::process::CommandExt as _,
    path::Path,
    process::{Command, ExitCode, Stdio},
};

use nix::unistd::{self, Gid, Pid, Uid};

/// The hidden first argument.
const STEP: &str = "__postgres";
/// Asks only whether a user namespace can be had.
const PROBE: &str = "probe";
/// The user that Postgres believes to be inside its namespace: anyone but root.
const INSIDE: u32 = 1000;

/// As whom Postgres runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Identity {
    /// As the user who runs this program.
    Own,
    /// As root of the machine, seen from inside a user namespace as somebody else.
    Namespace,
    /// As another user, whom root becomes.
    User {
        /// The user's number.
        uid: u32,
        /// The number of the user's group.
        gid: u32,
    },
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Own => f.write_str("own"),
            Self::Namespace => f.write_str("namespace"),
            Self::User { uid, gid } => write!(f, "{uid}:{gid}"),
        }
    }
}

impl Identity {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "own" => Some(Self::Own),
            "namespace" => Some(Self::Namespace),
            _ => {
                let (uid, gid) = text.split_once(':')?;
                Some(Self::User {
                    uid: uid.parse().ok().filter(|uid| *uid != 0)?,
                    gid: gid.parse().ok()?,
                })
            }
        }
    }

    /// Turns this process into that user.
    fn assume(self) -> io::Result<()> {
        match self {
            Self::Own => Ok(()),
            Self::Namespace => enter_namespace(),
            Self::User { uid, gid } => {
                drop_groups()?;
                unistd::setgid(Gid::from_raw(gid))?;
                unistd::setuid(Uid::from_raw(uid))?;
                Ok(())
            }
        }
    }
}

/// Does the hidden step if the process arguments ask for it.
///
/// Must be the first thing the process does, while it has a single thread. Answers nothing for every other command
/// line; returns at all only if Postgres could not be started.
#[must_use]
pub fn run_if_asked() -> Option<ExitCode> {
    let mut args = std::env::args_os().skip(1);
    if args.next()? != STEP {
        return None;
    }
    let args: Vec<_> = args.collect();
    Some(match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if even this fails.
            let _ = writeln!(io::stderr(), "matcher-discovery {STEP}: {error}");
            ExitCode::FAILURE
        }
    })
}

fn run(args: &[OsString]) -> io::Result<()> {
    if let [only] = args
        && only == PROBE
    {
        return enter_namespace();
    }
    let [parent, identity, program, rest @ ..] = args else {
        return Err(malformed());
    };
    let parent: i32 = text(parent)?.parse().map_err(|_| malformed())?;
    let identity = Identity::parse(text(identity)?).ok_or_else(malformed)?;

    // A terminal sends its interrupt to the whole group: the owner decides when the server goes, after its own work.
    unistd::setsid()?;
    identity.assume()?;
    // Only now, because a change of user takes the arrangement back.
    die_with_parent()?;
    // The parent may have died before the arrangement stood; then nobody would ever end us.
    if unistd::getppid() != Pid::from_raw(parent) {
        return Err(io::Error::other("the process that wanted Postgres is gone"));
    }
    Err(Command::new(program).args(rest).exec())
}

fn text(argument: &OsStr) -> io::Result<&str> {
    argument.to_str().ok_or_else(malformed)
}

fn malformed() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidInput,
        "this is an internal step and takes no other arguments than the launcher's",
    )
}

#[cfg(target_os = "linux")]
fn die_with_parent() -> io::Result<()> {
    // For Postgres this is the immediate shutdown: no client is waited for, the next start recovers.
    nix::sys::prctl::set_pdeathsig(nix::sys::signal::Signal::SIGQUIT)?;
    Ok(())
}

/// Elsewhere a process can't ask for this; the next start ends a server that outlived its owner.
#[cfg(not(target_os = "linux"))]
#[expect(clippy::unnecessary_wraps, reason = "the Linux one can fail")]
fn die_with_parent() -> io::Result<()> {
    Ok(())
}

#[cfg(target_os = "linux")]
fn enter_namespace() -> io::Result<()> {
    use nix::sched::{CloneFlags, unshare};

    unshare(CloneFlags::CLONE_NEWUSER)?;
    let map = format!("{INSIDE} 0 1");
    std::fs::write("/proc/self/uid_map", &map)?;
    // Without this the kernel lets nobody but a privileged parent map groups.
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/gid_map", &map)
}

#[cfg(not(target_os = "linux"))]
fn enter_namespace() -> io::Result<()> {
    let _ = INSIDE;
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_vendor = "apple"))]
fn drop_groups() -> io::Result<()> {
    unistd::setgroups(&[])?;
    Ok(())
}

/// Apple's systems take group membership from the directory service; there is no list to empty.
#[cfg(target_vendor = "apple")]
#[expect(clippy::unnecessary_wraps, reason = "the other one can fail")]
fn drop_groups() -> io::Result<()> {
    Ok(())
}

/// A command that goes through the step. Nothing of our environment, secrets above all, goes with it.
pub(super) fn command(guard: &Path, identity: Identity, program: &Path) -> Command {
    let mut command = bare(guard);
    command
        .arg(std::process::id().to_string())
        .arg(identity.to_string())
        .arg(program);
    command
}

/// Whether this system lets root hide in a user namespace; containers often do not.
pub(super) fn namespace_works(guard: &Path) -> io::Result<bool> {
    let status = bare(guard).arg(PROBE).stderr(Stdio::null()).status()?;
    Ok(status.success())
}

fn bare(guard: &Path) -> Command {
    let mut command = Command::new(guard);
    command
        .arg(STEP)
        .env_clear()
        .envs([("LC_ALL", "C"), ("TZ", "UTC")])
        // Whoever Postgres runs as may not be allowed to look at ours.
        .current_dir("/")
        .stdin(Stdio::null());
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identity_survives_the_command_line() {
        for identity in [
            Identity::Own,
            Identity::Namespace,
            Identity::User {
                uid: 65_534,
                gid: 7,
            },
        ] {
            assert_eq!(Identity::parse(&identity.to_string()), Some(identity));
        }
    }

    #[test]
    fn nobody_becomes_root_or_nonsense() {
        for text in ["0:0", "0:7", "", "7", "a:b", "-1:7", "own "] {
            assert_eq!(Identity::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn an_incomplete_command_line_starts_nothing() {
        for args in [&[][..], &["1"], &["1", "own"], &["x", "own", "/bin/true"]] {
            let args: Vec<OsString> = args.iter().map(Into::into).collect();
            let error = run(&args).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{args:?}");
        }
    }
}
