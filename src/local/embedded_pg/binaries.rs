//! Where the programs of Postgres come from.

use std::{
    ffi::{OsStr, OsString},
    fmt, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{
    bundle::{self, Pin},
    error::Error,
};

/// The oldest major version the schema is written for.
const OLDEST: u32 = 15;

/// Directories that packages of Postgres use; `*` stands for any one name, or the rest of one.
const WELL_KNOWN: [&[&str]; 5] = [
    &["usr", "lib", "postgresql", "*", "bin"],
    &["usr", "pgsql-*", "bin"],
    &["opt", "homebrew", "opt", "postgresql@*", "bin"],
    &["usr", "local", "opt", "postgresql@*", "bin"],
    &[
        "Applications",
        "Postgres.app",
        "Contents",
        "Versions",
        "*",
        "bin",
    ],
];

/// Where to look for the programs of Postgres, in this order.
#[derive(Clone, Debug)]
pub struct Search {
    /// The directory the operator named; then nothing else is looked at.
    pub explicit: Option<PathBuf>,
    /// The value of `PATH`; also where `npm` and `python3` are looked for.
    pub path: OsString,
    /// The root of the well-known directories: `/`.
    pub root: PathBuf,
    /// The per-user cache that holds fetched bundles.
    pub cache: PathBuf,
    /// Whether a bundle may be fetched if nothing else is found.
    pub download: bool,
}

/// A version of Postgres.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Version {
    /// Data is readable only by the major version that wrote it.
    pub major: u32,
    /// The bug-fix release.
    pub minor: u32,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl Version {
    /// Reads the answer of `postgres -V`. A release to come (`19beta1`) counts as minor version 0.
    fn parse(answer: &str) -> Option<Self> {
        let version = answer
            .strip_prefix("postgres (PostgreSQL) ")?
            .split_whitespace()
            .next()?;
        let digits = |text: &str| -> Option<u32> {
            let end = text
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(text.len());
            text[..end].parse().ok()
        };
        let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
        Some(Self {
            major: digits(major)?,
            minor: digits(minor).unwrap_or(0),
        })
    }
}

/// A usable Postgres.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Installation {
    bin: PathBuf,
    pub(super) version: Version,
}

impl Installation {
    /// Asks the programs in a directory who they are; the error says why they can't be used.
    pub(super) fn at(bin: &Path) -> Result<Self, String> {
        let found = Self {
            bin: bin.to_owned(),
            version: Version { major: 0, minor: 0 },
        };
        for program in [found.postgres(), found.initdb()] {
            if !program.is_file() {
                return Err(format!("{} is missing", program.display()));
            }
        }
        let answer = Command::new(found.postgres())
            .arg("-V")
            .env_clear()
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} does not run: {error}", found.postgres().display()))?;
        let version =
            Version::parse(&String::from_utf8_lossy(&answer.stdout)).ok_or_else(|| {
                format!(
                    "{} does not say its version: {}",
                    found.postgres().display(),
                    String::from_utf8_lossy(&answer.stderr).trim()
                )
            })?;
        if version.major < OLDEST {
            return Err(format!(
                "{} is version {version}, older than {OLDEST}",
                found.postgres().display()
            ));
        }
        Ok(Self { version, ..found })
    }

    pub(super) fn postgres(&self) -> PathBuf {
        self.bin.join("postgres")
    }

    pub(super) fn initdb(&self) -> PathBuf {
        self.bin.join("initdb")
    }
}

/// The data that is there already, if any: only its own major version can read it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Existing<'a> {
    pub(super) major: u32,
    pub(super) dir: &'a Path,
}

/// Finds the programs: the named ones; else the newest that are installed; else the newest in the cache; else the
/// bundle pinned for this platform.
pub(super) fn find(
    search: &Search,
    pins: &[Pin],
    existing: Option<Existing<'_>>,
) -> Result<Installation, Error> {
    let fits = |found: &Installation| existing.is_none_or(|e| e.major == found.version.major);

    if let Some(dir) = &search.explicit {
        let explicit = |cause| Error::Explicit {
            dir: dir.clone(),
            cause,
        };
        let dir = dir.canonicalize().map_err(|e| explicit(e.to_string()))?;
        let found = Installation::at(&dir).map_err(explicit)?;
        return match existing {
            Some(existing) if !fits(&found) => Err(wrong_major(existing, vec![found.version])),
            _ => Ok(found),
        };
    }

    let mut refused = Vec::new();
    let mut misfits = Vec::new();
    for places in [installed(search), bundle::cached(&search.cache)] {
        let mut newest: Option<Installation> = None;
        for bin in places.iter().filter(|bin| bin.join("postgres").is_file()) {
            match Installation::at(bin) {
                Ok(found) if !fits(&found) => misfits.push(found.version),
                Ok(found) => {
                    if newest.as_ref().is_none_or(|n| n.version < found.version) {
                        newest = Some(found);
                    }
                }
                Err(cause) => refused.push(cause),
            }
        }
        if let Some(found) = newest {
            return Ok(found);
        }
    }

    if let Some(existing) = existing
        && !pins.iter().any(|pin| pin.major() == existing.major)
    {
        return Err(wrong_major(existing, misfits));
    }
    let fetched = if search.download {
        bundle::fetch(pins, &search.path, &search.cache)
    } else {
        Err("downloads are switched off".to_owned())
    };
    fetched.map_err(|fetch| match existing {
        Some(existing) if !misfits.is_empty() => wrong_major(existing, misfits),
        _ => Error::NoBinaries { refused, fetch },
    })
}

fn wrong_major(existing: Existing<'_>, mut found: Vec<Version>) -> Error {
    found.sort_unstable();
    found.dedup();
    Error::WrongMajor {
        dir: existing.dir.to_owned(),
        wanted: existing.major,
        found,
    }
}

/// The directories of `PATH`, then the well-known ones.
fn installed(search: &Search) -> Vec<PathBuf> {
    let mut places: Vec<_> = on_path(&search.path).collect();
    for pattern in WELL_KNOWN {
        let mut level = vec![search.root.clone()];
        for name in pattern {
            level = level.iter().flat_map(|dir| children(dir, name)).collect();
        }
        places.extend(level);
    }
    places
}

fn children(dir: &Path, name: &str) -> Vec<PathBuf> {
    let Some(prefix) = name.strip_suffix('*') else {
        return vec![dir.join(name)];
    };
    // A directory that is not there, or not ours to read, simply holds no Postgres.
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries
        .filter(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
        .map(|entry| entry.path())
        .collect()
}

/// The absolute directories of a `PATH` value. A relative one would depend on where we happen to be.
fn on_path(path: &OsStr) -> impl Iterator<Item = PathBuf> {
    std::env::split_paths(path).filter(|dir| dir.is_absolute())
}

/// The first program of that name on a `PATH` value.
pub(super) fn program(path: &OsStr, name: &str) -> Option<PathBuf> {
    on_path(path)
        .map(|dir| dir.join(name))
        .find(|file| file.is_file())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Puts a script in place.
    ///
    /// Another process writes it: a copy of the descriptor, inherited by whatever another test starts at that moment,
    /// would make the system refuse to run the script as busy.
    pub(in super::super) fn script(file: &Path, text: &str) {
        let status = Command::new("sh")
            .args([
                "-c",
                "printf '#!/bin/sh\n%s\n' \"$1\" >\"$2\" && chmod 755 \"$2\"",
                "sh",
                text,
            ])
            .arg(file)
            .status();
        assert!(status.unwrap().success());
    }

    /// Puts programs in place that say they are this version.
    pub(in super::super) fn pretend(bin: &Path, version: &str) {
        fs::create_dir_all(bin).unwrap();
        for name in ["postgres", "initdb"] {
            script(
                &bin.join(name),
                &format!("echo '{name} (PostgreSQL) {version}'"),
            );
        }
    }

    fn search(root: &Path) -> Search {
        Search {
            explicit: None,
            path: OsString::new(),
            root: root.to_owned(),
            cache: root.join("cache"),
            download: false,
        }
    }

    fn version(search: &Search, wanted: Option<u32>) -> Result<Version, Error> {
        let dir = PathBuf::from("/data/postgres-x");
        let existing = wanted.map(|major| Existing { major, dir: &dir });
        find(search, &[], existing).map(|found| found.version)
    }

    #[test]
    fn versions_are_read_as_postgres_writes_them() {
        for (answer, major, minor) in [
            (
                "postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)\n",
                15,
                18,
            ),
            ("postgres (PostgreSQL) 18.4\n", 18, 4),
            ("postgres (PostgreSQL) 19beta2\n", 19, 0),
            ("postgres (PostgreSQL) 20devel\n", 20, 0),
        ] {
            assert_eq!(Version::parse(answer), Some(Version { major, minor }));
        }
        for answer in [
            "",
            "psql (PostgreSQL) 15.1",
            "postgres (PostgreSQL) ",
            "postgres (PostgreSQL) x",
        ] {
            assert_eq!(Version::parse(answer), None, "{answer:?}");
        }
    }

    #[test]
    fn the_newest_installed_one_wins_over_the_cache() {
        let dir = tempfile::tempdir().unwrap();
        pretend(&dir.path().join("usr/lib/postgresql/15/bin"), "15.3");
        pretend(&dir.path().join("usr/pgsql-16/bin"), "16.1");
        pretend(&dir.path().join("cache/postgres/18.4-here/bin"), "18.4");
        let found = version(&search(dir.path()), None).unwrap();
        assert_eq!(
            found,
            Version {
                major: 16,
                minor: 1
            }
        );
    }

    #[test]
    fn existing_data_chooses_its_own_version() {
        let dir = tempfile::tempdir().unwrap();
        pretend(&dir.path().join("usr/lib/postgresql/15/bin"), "15.3");
        pretend(
            &dir.path().join("opt/homebrew/opt/postgresql@17/bin"),
            "17.1",
        );
        pretend(&dir.path().join("cache/postgres/18.4-here/bin"), "18.4");
        let search = search(dir.path());
        for major in [15, 17, 18] {
            assert_eq!(version(&search, Some(major)).unwrap().major, major);
        }
        let error = version(&search, Some(16)).unwrap_err().to_string();
        assert!(error.contains("written by Postgres 16"), "{error}");
        assert!(error.contains("found here: 15.3, 17.1, 18.4."), "{error}");
    }

    #[test]
    fn path_is_searched_and_relative_entries_are_not() {
        let dir = tempfile::tempdir().unwrap();
        pretend(&dir.path().join("tools"), "15.9");
        let mut search = search(&dir.path().join("empty"));
        search.path = std::env::join_paths([Path::new("tools"), Path::new("")]).unwrap();
        assert!(version(&search, None).is_err());
        search.path = dir.path().join("tools").into();
        assert_eq!(version(&search, None).unwrap().minor, 9);
    }

    #[test]
    fn a_named_directory_is_the_only_one_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        pretend(&dir.path().join("usr/lib/postgresql/17/bin"), "17.1");
        pretend(&dir.path().join("mine"), "15.1");
        pretend(&dir.path().join("old"), "14.9");
        let mut search = search(dir.path());
        search.explicit = Some(dir.path().join("mine"));
        assert_eq!(version(&search, None).unwrap().major, 15);
        assert!(matches!(
            version(&search, Some(17)),
            Err(Error::WrongMajor { wanted: 17, .. })
        ));
        for (name, cause) in [("old", "older than 15"), ("absent", "No such file")] {
            search.explicit = Some(dir.path().join(name));
            let error = version(&search, None).unwrap_err().to_string();
            assert!(
                error.contains("DISCOVERY_PG_BIN") && error.contains(cause),
                "{error}"
            );
        }
    }

    #[test]
    fn nothing_found_names_every_way_out() {
        let dir = tempfile::tempdir().unwrap();
        pretend(&dir.path().join("usr/lib/postgresql/13/bin"), "13.2");
        let error = version(&search(dir.path()), None).unwrap_err().to_string();
        for part in [
            "13.2, older than 15",
            "downloads are switched off",
            "DISCOVERY_DATABASE_URL",
            "apt install postgresql",
            "dnf install",
            "brew install",
            "DISCOVERY_PG_BIN",
            "npm or pip",
        ] {
            assert!(error.contains(part), "{part:?} is missing in: {error}");
        }
    }
}
