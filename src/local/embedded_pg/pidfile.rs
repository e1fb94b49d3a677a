//! `postmaster.pid`: who works on a directory of database files, and whether it is ready.

use std::{
    fs,
    io::{self, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
};

use super::layout::NO_LINKS;

/// The line that holds the state, counted from zero. Postgres writes it last.
const STATE_LINE: usize = 7;

/// What Postgres wrote about itself.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct PidFile {
    /// The process that wrote the file.
    pub(super) pid: u32,
    /// Whether that process accepts connections.
    pub(super) ready: bool,
}

impl PidFile {
    /// Reads the file of a data directory; none if there is none, or none that makes sense yet.
    pub(super) fn read(data: &Path) -> io::Result<Option<Self>> {
        match fs::read_to_string(path(data)) {
            Ok(text) => Ok(Self::parse(&text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        // A single-user Postgres writes its number negated.
        let pid = lines
            .next()?
            .trim()
            .parse::<i32>()
            .ok()
            .filter(|pid| *pid != 0)?
            .unsigned_abs();
        let ready = lines
            .nth(STATE_LINE - 1)
            .is_some_and(|state| state.trim() == "ready");
        Some(Self { pid, ready })
    }

    /// Makes a file left by a dead server harmless.
    ///
    /// Postgres refuses to start while the number in the file belongs to any living process, its own parent
    /// excepted. So the file is not removed, which would also remove the memory segment named in it and with it
    /// Postgres's own check for surviving children; it is made to name us, the parent.
    pub(super) fn disarm(data: &Path) -> io::Result<()> {
        let path = path(data);
        let text = fs::read_to_string(&path)?;
        let rest = text.split_once('\n').map_or("", |(_, rest)| rest);
        let mut file = fs::OpenOptions::new()
            .write(true)
            .truncate(true)
            .custom_flags(NO_LINKS)
            .open(path)?;
        write!(file, "{}\n{rest}", std::process::id())
    }
}

fn path(data: &Path) -> PathBuf {
    data.join("postmaster.pid")
}

/// What a process number found in the file stands for now.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Occupant {
    /// A living Postgres that works on this very directory.
    Postmaster,
    /// No process, a dead one not yet collected, or one that has nothing to do with the directory.
    Stale,
}

impl Occupant {
    /// Looks at the process. A Postgres makes its data directory its working directory.
    #[cfg(target_os = "linux")]
    pub(super) fn of(pid: u32, data: &Path) -> Self {
        let dead =
            fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| is_dead(&stat));
        let here = fs::read_link(format!("/proc/{pid}/cwd")).is_ok_and(|cwd| cwd == data);
        if here && !dead {
            Self::Postmaster
        } else {
            Self::Stale
        }
    }

    /// Looks at the process. The launcher names the data directory on the command line.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn of(pid: u32, data: &Path) -> Self {
        let listing = std::process::Command::new("ps")
            .args(["-ww", "-o", "stat=", "-o", "command=", "-p"])
            .arg(pid.to_string())
            .output();
        let here = listing.is_ok_and(|listing| {
            let line = String::from_utf8_lossy(&listing.stdout);
            let line = line.trim();
            !line.is_empty()
                && !line.starts_with('Z')
                && line.contains("postgres")
                && line.contains(&*data.to_string_lossy())
        });
        if here { Self::Postmaster } else { Self::Stale }
    }
}

/// Reads the state out of `/proc/<pid>/stat`; the name before it may itself hold parentheses.
#[cfg(target_os = "linux")]
fn is_dead(stat: &str) -> bool {
    stat.rsplit_once(") ")
        .is_none_or(|(_, rest)| rest.starts_with(['Z', 'X']))
}

#[cfg(test)]
mod tests {
    use super::*;

    const READY: &str = "4711\n/data\n1700000000\n5432\n/sock\n\n  1234567         3\nready   \n";

    #[test]
    fn a_full_file_is_ready() {
        let file = PidFile::parse(READY);
        assert_eq!(
            file,
            Some(PidFile {
                pid: 4711,
                ready: true
            })
        );
    }

    #[test]
    fn a_file_in_the_making_is_not_ready() {
        let starting = READY.replace("ready   ", "starting");
        assert_eq!(
            PidFile::parse(&starting),
            Some(PidFile {
                pid: 4711,
                ready: false
            })
        );
        assert_eq!(
            PidFile::parse("4711\n/data\n"),
            Some(PidFile {
                pid: 4711,
                ready: false
            })
        );
    }

    #[test]
    fn ready_anywhere_else_does_not_count() {
        let odd = "4711\nready\n1\n5432\n/sock\n\n1 3\nstopping\n";
        assert_eq!(
            PidFile::parse(odd),
            Some(PidFile {
                pid: 4711,
                ready: false
            })
        );
    }

    #[test]
    fn nonsense_names_no_process() {
        for text in ["", "\n", "postgres\n", "0\n", "99999999999999\n"] {
            assert_eq!(PidFile::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_single_user_server_counts_as_its_process() {
        assert_eq!(
            PidFile::parse("-12\n"),
            Some(PidFile {
                pid: 12,
                ready: false
            })
        );
    }

    #[test]
    fn disarming_keeps_the_memory_segment() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(path(dir.path()), READY).unwrap();
        PidFile::disarm(dir.path()).unwrap();
        let text = fs::read_to_string(path(dir.path())).unwrap();
        assert_eq!(text.lines().next().unwrap(), std::process::id().to_string());
        assert_eq!(text.lines().nth(6), READY.lines().nth(6));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_name_with_parentheses_hides_no_zombie() {
        assert!(is_dead("12 (a) S) Z 1 1"));
        assert!(!is_dead("12 (a) Z) S 1 1"));
        assert!(is_dead("garbage"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_process_that_works_elsewhere_is_stale() {
        let here = std::env::current_dir().unwrap();
        let me = std::process::id();
        assert_eq!(Occupant::of(me, &here), Occupant::Postmaster);
        assert_eq!(Occupant::of(me, Path::new("/nowhere")), Occupant::Stale);
        assert_eq!(Occupant::of(u32::MAX, &here), Occupant::Stale);
    }
}
