//! What lies where in the data directory, and who holds it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io::{self, Read as _, Write as _},
    os::unix::fs::{
        DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, lchown,
    },
    path::{Path, PathBuf},
};

use nix::{
    fcntl::OFlag,
    unistd::{User, geteuid},
};
use sha2::{Digest as _, Sha256};

use super::{
    bundle::hex,
    error::{At as _, Error},
    guard::{self, Identity},
};

/// For files in directories that another user may own: root must not be led to a file elsewhere.
pub(super) const NO_LINKS: i32 = OFlag::O_NOFOLLOW.bits();
/// The port only names the socket file; nothing listens on the network.
pub(super) const PORT: u16 = 5432;
/// The address of a Unix socket holds about a hundred bytes, this file name included.
const LONGEST_SOCKET_PATH: usize = 99;
const SOCKET_FILE: &str = ".s.PGSQL.5432";
const PREFIX: &str = "postgres-";

/// A data directory that this process holds; letting go of it releases the lock.
#[derive(Debug)]
pub(super) struct Held {
    root: PathBuf,
    lock: File,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Closing the file is not enough: a process being started at this moment has a copy of the descriptor, and
        // with it the lock, until it becomes another program.
        let _ = self.lock.unlock();
    }
}

impl Held {
    /// Makes the directory if needed, and takes it for this process alone.
    pub(super) fn take(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).at("can't make the data directory", dir)?;
        let root = dir
            .canonicalize()
            .at("can't resolve the data directory", dir)?;
        let path = root.join("postgres.lock");
        let mut lock = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .custom_flags(NO_LINKS)
            .open(&path)
            .at("can't open the lock file", &path)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                // Who it is is a courtesy; that somebody holds it is the message.
                let _ = lock.read_to_string(&mut holder);
                return Err(Error::Locked {
                    dir: root,
                    holder: holder.trim().parse().ok(),
                });
            }
            Err(TryLockError::Error(source)) => {
                return Err(source).at("can't lock", &path);
            }
        }
        lock.set_len(0)
            .and_then(|()| writeln!(lock, "{}", std::process::id()))
            .at("can't write the lock file", &path)?;
        Ok(Self { root, lock })
    }

    /// Whether a path lies in the directory.
    pub(super) fn contains(&self, path: &Path) -> bool {
        path.starts_with(&self.root)
    }

    /// The newest major version with data here, and its directory.
    pub(super) fn existing(&self) -> Result<Option<(u32, PathBuf)>, Error> {
        let mut newest = None;
        let entries = fs::read_dir(&self.root).at("can't read", &self.root)?;
        for entry in entries {
            let entry = entry.at("can't read", &self.root)?;
            let name = entry.file_name();
            let major = name.to_str().and_then(|n| n.strip_prefix(PREFIX));
            if let Some(major) = major.and_then(|n| n.parse::<u32>().ok())
                && entry.path().join("data/PG_VERSION").is_file()
            {
                newest = newest.max(Some((major, entry.path())));
            }
        }
        Ok(newest)
    }

    /// Decides as whom Postgres works on this directory.
    ///
    /// Root is never an answer. A directory that root holds for somebody else stays with that somebody.
    pub(super) fn identity(&self, guard: &Path) -> Result<Identity, Error> {
        if !geteuid().is_root() {
            return Ok(Identity::Own);
        }
        let owner = fs::metadata(&self.root).at("can't look at", &self.root)?;
        if owner.uid() != 0 {
            return Ok(Identity::User {
                uid: owner.uid(),
                gid: owner.gid(),
            });
        }
        if guard::namespace_works(guard).at("can't start", guard)? {
            return Ok(Identity::Namespace);
        }
        ["postgres", "nobody"]
            .into_iter()
            .find_map(|name| User::from_name(name).ok().flatten())
            .map(|user| Identity::User {
                uid: user.uid.as_raw(),
                gid: user.gid.as_raw(),
            })
            .ok_or(Error::NoUnprivilegedUser)
    }

    /// The place of one major version, made if needed and owned by whom Postgres runs as.
    pub(super) fn place(&self, major: u32, identity: Identity) -> Result<Place, Error> {
        let dir = self.root.join(format!("{PREFIX}{major}"));
        private_dir(&dir).at("can't make", &dir)?;
        match identity {
            Identity::Own => {}
            Identity::Namespace => own(&dir, 0, 0).at("can't take over", &dir)?,
            Identity::User { uid, gid } => own(&dir, uid, gid).at("can't hand over", &dir)?,
        }
        Ok(Place { dir })
    }

    /// A private directory for the socket, short enough for an address.
    ///
    /// In the place itself where that fits, else below the directory for temporary files under a name that belongs to
    /// this data directory.
    pub(super) fn socket_dir(
        &self,
        place: &Place,
        temp: &Path,
        identity: Identity,
    ) -> Result<PathBuf, Error> {
        let digest = Sha256::digest(self.root.as_os_str().as_encoded_bytes());
        let name = format!("matcher-discovery-{}", hex(&digest[..8]));
        let near = place.dir.join("socket");
        let mut cause = String::new();
        for dir in [near, temp.join(&name), Path::new("/tmp").join(&name)] {
            match prepare_socket_dir(&dir, identity) {
                Ok(()) => return Ok(dir),
                Err(error) => cause = format!("{}: {error}", dir.display()),
            }
        }
        Err(Error::Socket { cause })
    }
}

fn prepare_socket_dir(dir: &Path, identity: Identity) -> io::Result<()> {
    let file = dir.join(SOCKET_FILE);
    let bytes = file.as_os_str().as_encoded_bytes();
    // Postgres reads a list of directories here, and the URL quotes what is not plain: stay with the plain ones.
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-@+".contains(byte);
    if bytes.len() > LONGEST_SOCKET_PATH || !bytes.iter().all(plain) {
        return Err(io::Error::other(
            "too long, or not plain enough, for a socket",
        ));
    }
    private_dir(dir)?;
    let owner = match identity {
        Identity::Own => geteuid().as_raw(),
        Identity::Namespace => 0,
        Identity::User { uid, .. } => uid,
    };
    let found = fs::symlink_metadata(dir)?;
    if let Identity::User { uid, gid } = identity
        && found.uid() == 0
    {
        lchown(dir, Some(uid), Some(gid))?;
    } else if found.uid() != owner {
        return Err(io::Error::other("it belongs to another user"));
    }
    fs::set_permissions(dir, Permissions::from_mode(0o700))?;
    // Left by a server that is gone: the lock on the data directory says that nobody uses them.
    for name in [SOCKET_FILE.to_owned(), format!("{SOCKET_FILE}.lock")] {
        match fs::remove_file(dir.join(name)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

/// Makes a directory for nobody else; one that is there must be a real one.
fn private_dir(dir: &Path) -> io::Result<()> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            if fs::symlink_metadata(dir)?.is_dir() {
                Ok(())
            } else {
                Err(io::Error::other("it is not a directory"))
            }
        }
        made => made,
    }
}

/// Gives a tree to a user. The top comes last, so that an interrupted change is taken up again.
fn own(tree: &Path, uid: u32, gid: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(tree)?;
    if found.uid() == uid {
        return Ok(());
    }
    if found.is_dir() {
        for entry in fs::read_dir(tree)? {
            own(&entry?.path(), uid, gid)?;
        }
    }
    lchown(tree, Some(uid), Some(gid))
}

/// The files of one major version.
#[derive(Clone, Debug)]
pub(super) struct Place {
    dir: PathBuf,
}

impl Place {
    /// The database files.
    pub(super) fn data(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Database files in the making.
    pub(super) fn draft(&self) -> PathBuf {
        self.dir.join("data.new")
    }

    /// What Postgres logs.
    pub(super) fn log(&self) -> PathBuf {
        self.dir.join("postgres.log")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_data_counts_and_half_made_data_does_not() {
        let dir = tempfile::tempdir().unwrap();
        for major in ["15", "9", "x"] {
            let data = dir.path().join(format!("{PREFIX}{major}/data"));
            fs::create_dir_all(&data).unwrap();
            fs::write(data.join("PG_VERSION"), major).unwrap();
        }
        fs::create_dir_all(dir.path().join("postgres-17/data.new")).unwrap();
        let held = Held::take(dir.path()).unwrap();
        assert_eq!(held.existing().unwrap().unwrap().0, 15);
    }

    #[test]
    fn a_held_directory_names_its_holder_until_it_is_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let held = Held::take(dir.path()).unwrap();
        let error = Held::take(dir.path()).unwrap_err().to_string();
        let me = format!("in use by process {};", std::process::id());
        assert!(error.contains(&me), "{error}");
        assert!(error.contains(&*dir.path().to_string_lossy()), "{error}");
        drop(held);
        Held::take(dir.path()).unwrap();
    }

    #[test]
    fn a_socket_directory_is_short_plain_private_and_ours() {
        let dir = tempfile::tempdir().unwrap();
        let me = if geteuid().is_root() {
            Identity::Namespace
        } else {
            Identity::Own
        };

        let good = dir.path().join("s");
        prepare_socket_dir(&good, me).unwrap();
        assert_eq!(fs::metadata(&good).unwrap().mode() & 0o777, 0o700);

        let long = dir.path().join("s".repeat(100));
        assert!(prepare_socket_dir(&long, me).is_err());
        assert!(prepare_socket_dir(&dir.path().join("a,b"), me).is_err());

        let planted = dir.path().join("planted");
        std::os::unix::fs::symlink(&good, &planted).unwrap();
        assert!(prepare_socket_dir(&planted, me).is_err());
    }
}
