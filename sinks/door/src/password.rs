// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Passwords in a file, hashed with argon2id.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use argon2::{ARGON2ID_IDENT, Argon2};
use ring::rand::{SecureRandom as _, SystemRandom};
use vfio_display_sinks::Credentials;

/// A file that is longer is none of passwords.
const LONGEST_FILE: u64 = 64 << 10;

/// A name, and a password, in bytes. Viewers are refused longer ones before anything is hashed.
pub const LONGEST: usize = 1024;

/// KiB that one check may take, and passes over them: a file that was made elsewhere may ask for
/// more than a server should give to somebody who has yet to be let in.
const MOST_MEMORY: u32 = 256 << 10;
const MOST_PASSES: u32 = 64;

/// Why passwords can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PasswordError {
    /// The file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Others may read it.
    #[error("{} can be read by others (mode {mode:04o}): chmod 600", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// What it says makes no sense.
    #[error("{} line {line}: {why}", path.display())]
    Line {
        /// The file.
        path: PathBuf,
        /// Counted from 1.
        line: usize,
        /// What is wrong.
        why: String,
    },
    /// There is no password in it.
    #[error("{} has no password in it", .0.display())]
    Empty(PathBuf),
    /// A name or a password that can't be had.
    #[error("{0}")]
    Refused(String),
}

/// A line of the file: `HASH`, which is for whatever name a viewer gives, or `NAME:HASH`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Line {
    name: Option<String>,
    hash: PasswordHash,
}

/// The passwords that let in.
#[derive(Clone, Debug)]
pub struct Passwords {
    lines: Vec<Line>,
}

impl Passwords {
    /// Reads the file at `path`, which must be its owner's alone.
    ///
    /// # Errors
    ///
    /// It can't be read, others can read it, or it has a line that is none of a password's.
    pub fn read(path: &Path) -> Result<Self, PasswordError> {
        let file = open(path)?;
        let mode = file.metadata().map_err(failed(path))?.mode() & 0o7777;
        if mode & 0o077 != 0 {
            return Err(PasswordError::Readable { path: path.into(), mode });
        }
        Self::parse(file, path)
    }

    /// Reads a credential that a service manager passes, whatever its mode: the directory it is in
    /// keeps others out, and access lists show as a group's right to read.
    ///
    /// # Errors
    ///
    /// As for [`read`](Self::read).
    pub fn read_credential(path: &Path) -> Result<Self, PasswordError> {
        Self::parse(open(path)?, path)
    }

    fn parse(file: File, path: &Path) -> Result<Self, PasswordError> {
        let mut text = String::new();
        file.take(LONGEST_FILE + 1).read_to_string(&mut text).map_err(failed(path))?;
        let wrong = |line, why: String| PasswordError::Line { path: path.into(), line, why };
        if text.len() as u64 > LONGEST_FILE {
            return Err(wrong(1, format!("a file of more than {LONGEST_FILE} bytes")));
        }
        let mut lines = Vec::<Line>::new();
        for (number, text) in (1..).zip(text.lines()) {
            let text = text.trim();
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            let line = Line::parse(text).map_err(|why| wrong(number, why))?;
            if lines.iter().any(|other| other.name == line.name) {
                let name = line.name.as_deref().unwrap_or("any name");
                return Err(wrong(number, format!("a second password for {name}")));
            }
            lines.push(line);
        }
        if lines.is_empty() {
            return Err(PasswordError::Empty(path.into()));
        }
        Ok(Self { lines })
    }

    /// Sets the password of `name`, or of any name, in the file at `path`; it is made if it is not
    /// there, and its other lines stay. Whoever reads it sees the old file or the new one.
    ///
    /// # Errors
    ///
    /// The name or the password can't be used; the file is none of passwords, or can't be written.
    pub fn set(path: &Path, name: Option<&str>, password: &[u8]) -> Result<(), PasswordError> {
        let line = Line::new(name, password)?;
        let mut passwords = match Self::read(path) {
            Ok(passwords) => passwords,
            Err(PasswordError::Empty(_)) => Self { lines: Vec::new() },
            Err(PasswordError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Self { lines: Vec::new() }
            }
            Err(error) => return Err(error),
        };
        match passwords.lines.iter_mut().find(|other| other.name == line.name) {
            Some(other) => *other = line,
            None => passwords.lines.push(line),
        }
        write_private(path, passwords.to_string().as_bytes()).map_err(failed(path))
    }

    /// Whether the password is right. It takes as long for a name that is unknown: something is
    /// hashed all the same. The comparison of hashes takes the same time wherever they differ.
    pub fn verify(&self, credentials: &Credentials) -> bool {
        let Credentials { user, password } = credentials;
        let of = |name: Option<&[u8]>| {
            self.lines.iter().find(|line| line.name.as_deref().map(str::as_bytes) == name)
        };
        let known = of(Some(user)).or_else(|| of(None));
        let Some(line) = known.or(self.lines.first()) else {
            return false;
        };
        let right = Argon2::default().verify_password(password, &line.hash).is_ok();
        right && known.is_some()
    }
}

impl std::fmt::Display for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.lines.iter().try_for_each(|Line { name, hash }| match name {
            Some(name) => writeln!(f, "{name}:{hash}"),
            None => writeln!(f, "{hash}"),
        })
    }
}

impl Line {
    fn new(name: Option<&str>, password: &[u8]) -> Result<Self, PasswordError> {
        let refused = |why: &str| PasswordError::Refused(why.to_owned());
        if password.is_empty() || password.len() > LONGEST {
            return Err(refused(&format!("a password has 1 to {LONGEST} bytes")));
        }
        if let Some(name) = name {
            check_name(name).map_err(|why| refused(&why))?;
        }
        let mut salt = [0; 16];
        SystemRandom::new().fill(&mut salt).map_err(|_| refused("no random numbers"))?;
        let hash: Result<PasswordHash, _> =
            Argon2::default().hash_password_with_salt(password, &salt);
        let hash = hash.map_err(|error| refused(&error.to_string()))?;
        Ok(Self { name: name.map(str::to_owned), hash })
    }

    fn parse(text: &str) -> Result<Self, String> {
        let (name, hash) = match text.split_once(':') {
            Some((name, hash)) => (Some(name), hash),
            None => (None, text),
        };
        if let Some(name) = name {
            check_name(name)?;
        }
        let hash = PasswordHash::new(hash).map_err(|error| {
            format!("not an argon2id hash, as `vfio-display passwd` makes them ({error})")
        })?;
        if hash.algorithm != ARGON2ID_IDENT || hash.hash.is_none() {
            return Err(format!("a hash of {}; argon2id is wanted", hash.algorithm));
        }
        let cost = |name| hash.params.get_decimal(name).unwrap_or(u32::MAX);
        let (memory, passes) = (cost("m"), cost("t"));
        if memory > MOST_MEMORY || passes > MOST_PASSES {
            return Err(format!(
                "a check takes {memory} KiB and {passes} passes; {MOST_MEMORY} KiB and \
                 {MOST_PASSES} are the limit"
            ));
        }
        argon2::Params::try_from(&hash).map_err(|error| error.to_string())?;
        Ok(Self { name: name.map(str::to_owned), hash })
    }
}

fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-@".contains(c);
    if name.is_empty() || name.len() > 255 || !name.chars().all(plain) {
        return Err("a name has 1 to 255 letters, digits and ._-@".into());
    }
    Ok(())
}

/// Not a pipe that never ends, and no wait for one that is never written.
fn open(path: &Path) -> Result<File, PasswordError> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
    let file = rustix::fs::open(path, flags, Mode::empty());
    file.map(File::from).map_err(|errno| failed(path)(errno.into()))
}

fn failed(path: &Path) -> impl Fn(io::Error) -> PasswordError + '_ {
    |source| PasswordError::File { path: path.into(), source }
}

/// Replaces or makes a file that only its owner can read, whole or not at all.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = private_beside(path)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    // A link is followed, so that the file behind it is replaced and not the link.
    let path = path.canonicalize().unwrap_or_else(|_| path.into());
    file.persist(path)?;
    Ok(())
}

/// A file of mode 0600 that takes the place of `path` when it is complete.
pub(crate) fn private_beside(path: &Path) -> io::Result<tempfile::NamedTempFile> {
    let path = path.canonicalize().unwrap_or_else(|_| path.into());
    let directory = path.parent().filter(|parent| *parent != Path::new(""));
    tempfile::Builder::new()
        .prefix(".vfio-display-")
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(directory.unwrap_or(Path::new(".")))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A check of it takes no time worth speaking of.
    const CHEAP: &str = "$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$";

    fn says(user: &[u8], password: &[u8]) -> Credentials {
        Credentials { user: user.into(), password: password.to_vec().into() }
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let mut file = private_beside(&std::env::temp_dir().join("x")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file
    }

    #[test]
    fn what_is_set_is_what_lets_in() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("passwords");
        Passwords::set(&path, Some("anna"), b"correct horse").unwrap();
        Passwords::set(&path, Some("bert"), b"battery").unwrap();
        Passwords::set(&path, Some("anna"), b"staple").unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o7777, 0o600);
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text.lines().count(), 2);
        assert!(text.starts_with("anna:$argon2id$v=19$m=19456,t=2,p=1$"), "{text}");
        let passwords = Passwords::read(&path).unwrap();
        for (user, password, right) in [
            ("anna", "staple", true),
            ("anna", "correct horse", false),
            ("anna", "battery", false),
            ("bert", "battery", true),
            ("", "battery", false),
            ("Anna", "staple", false),
            ("carl", "staple", false),
            ("anna", "", false),
            ("anna", "staple\0", false),
        ] {
            let says = says(user.as_bytes(), password.as_bytes());
            assert_eq!(passwords.verify(&says), right, "{user} {password}");
        }
        // A password for whatever name, beside those with one.
        Passwords::set(&path, None, b"all").unwrap();
        let passwords = Passwords::read(&path).unwrap();
        assert!(passwords.verify(&says(b"carl", b"all")) && passwords.verify(&says(b"", b"all")));
        assert!(!passwords.verify(&says(b"anna", b"all")), "a name of its own has its own");
        assert!(!format!("{:?}", says(b"anna", b"staple")).contains("staple"));
    }

    #[test]
    fn files_that_are_none() {
        let (salt, hash) = ("$c29tZXNhbHQ$", "5f3ZXEphUPl0C5bV7ZnHDA");
        let argon = |what: &str| format!("$argon2id$v=19${what}{salt}{hash}");
        let good = argon("m=8,t=1,p=1");
        let long = "a".repeat(256);
        for (text, why) in [
            (String::new(), "has no password"),
            ("# nothing yet\n\n".into(), "has no password"),
            ("secret\n".into(), "line 1: not an argon2id hash"),
            (format!("{good}\nanna:\n"), "line 2: not an argon2id hash"),
            (format!("$argon2i$v=19$m=8,t=1,p=1{salt}{hash}"), "a hash of argon2i;"),
            (format!("$5$rounds=5000{salt}{hash}"), "argon2id"),
            ("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ".into(), "argon2id"),
            (argon("m=4194304,t=1,p=1"), "4194304 KiB and 1 passes; 262144 KiB"),
            (argon("m=8,t=100000,p=1"), "100000 passes"),
            (argon("m=8,p=1"), "passes"),
            (argon("m=8,t=1,p=8"), "line 1: "),
            (format!("{good}\n{good}"), "line 2: a second password for any name"),
            (format!("anna:{good}\nanna:{good}"), "a second password for anna"),
            (format!("an na:{good}"), "letters, digits"),
            (format!("{long}:{good}"), "1 to 255"),
            (format!("{good}\n{}", "#".repeat(70_000)), "more than 65536"),
        ] {
            let error = Passwords::read(file(&text).path()).expect_err(why).to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
        Passwords::read(file(&good).path()).unwrap();
        assert!(matches!(Passwords::read(Path::new("/no/such")), Err(PasswordError::File { .. })));
    }

    #[test]
    fn others_may_not_read_it() {
        let file = file(&format!("{CHEAP}5f3ZXEphUPl0C5bV7ZnHDA"));
        for mode in [0o640, 0o604, 0o644, 0o620] {
            std::fs::set_permissions(&file, std::fs::Permissions::from_mode(mode)).unwrap();
            let error = Passwords::read(file.path()).unwrap_err().to_string();
            assert!(error.contains(&format!("mode {mode:04o}")), "{error}");
            Passwords::read_credential(file.path()).unwrap();
        }
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o400)).unwrap();
        Passwords::read(file.path()).unwrap();
    }

    #[test]
    fn what_can_not_be_set_changes_nothing() {
        let file = file("something else\n");
        for (name, password) in [
            (None, &b""[..]),
            (None, &[b'x'; LONGEST + 1]),
            (Some("a:b"), b"x"),
            (Some(""), b"x"),
            // It is no file of passwords: not ours to replace.
            (None, b"x"),
        ] {
            assert!(Passwords::set(file.path(), name, password).is_err(), "{name:?}");
        }
        assert_eq!(std::fs::read(file.path()).unwrap(), b"something else\n");
        let link = file.path().with_extension("link");
        std::os::unix::fs::symlink(file.path(), &link).unwrap();
        std::fs::write(file.path(), "").unwrap();
        Passwords::set(&link, None, b"x").unwrap();
        assert!(link.symlink_metadata().unwrap().is_symlink(), "the file behind it is replaced");
        Passwords::read(file.path()).unwrap();
        std::fs::remove_file(link).unwrap();
    }
}
