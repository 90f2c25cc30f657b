// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Who the server is: its certificate and key.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::NoServerSessionStorage;

use crate::password::{private_beside, write_private};

/// The names of a self-signed certificate's files in the directory that they are kept in: what has
/// the key, and a copy without it, to be handed on.
const BOTH: &str = "tls.pem";
const PUBLIC: &str = "tls-cert.pem";

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file can't be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Everybody can read the key.
    #[error("{} can be read by everybody (mode {mode:04o}): chmod 600", path.display())]
    Readable {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// It has no certificate, or no key, or something that is broken.
    #[error("{}: {why}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The certificate and the key do not belong together, or are of a kind that is not known.
    #[error("the certificate can't be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// It can't be made.
    #[error("a certificate can't be made: {0}")]
    Make(#[from] rcgen::Error),
}

/// A certificate with its key.
#[derive(Clone)]
pub struct Identity {
    pub(crate) config: Arc<ServerConfig>,
    fingerprint: Fingerprint,
    public: PathBuf,
}

impl Identity {
    /// The certificate at `certificate`, with those that sign it after it, and the key at `key`, in
    /// PEM.
    ///
    /// # Errors
    ///
    /// A file can't be read; everybody can read the key; there is none in it, or one that does not
    /// go with the certificate.
    pub fn from_files(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let pem = |path: &Path, what: &str, error| match error {
            rustls::pki_types::pem::Error::Io(source) => {
                TlsError::File { path: path.into(), source }
            }
            rustls::pki_types::pem::Error::NoItemsFound => {
                TlsError::Pem { path: path.into(), why: format!("there is no {what} in it") }
            }
            error => TlsError::Pem { path: path.into(), why: error.to_string() },
        };
        let mode =
            fs::metadata(key).map_err(|source| TlsError::File { path: key.into(), source })?.mode();
        if mode & 0o007 != 0 {
            return Err(TlsError::Readable { path: key.into(), mode: mode & 0o7777 });
        }
        let key_der =
            PrivateKeyDer::from_pem_file(key).map_err(|error| pem(key, "private key", error))?;
        let chain = CertificateDer::pem_file_iter(certificate)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| pem(certificate, "certificate", error))?;
        let Some(leaf) = chain.first() else {
            let none = rustls::pki_types::pem::Error::NoItemsFound;
            return Err(pem(certificate, "certificate", none));
        };
        let fingerprint = Fingerprint::of(leaf);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key_der)?;
        // A viewer comes back seldom, and a ticket is a secret more.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Self { config: Arc::new(config), fingerprint, public: certificate.into() })
    }

    /// The certificate that is kept in a directory. If there is none, one is made that names `names`,
    /// host names or addresses, and signs itself. The directory is made as well, for its owner alone.
    ///
    /// Two that do so at a time end up with the same.
    ///
    /// # Errors
    ///
    /// As for [`from_files`](Self::from_files); it can't be made or kept.
    pub fn kept_in(directory: &Path, names: &[String]) -> Result<Self, TlsError> {
        let both = directory.join(BOTH);
        let failed = |path: &Path| {
            let path = path.to_owned();
            |source| TlsError::File { path, source }
        };
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed(directory))?;
        if !both.exists() {
            let made = rcgen::generate_simple_self_signed(names)?;
            let mut file = private_beside(&both).map_err(failed(&both))?;
            let written = file
                .write_all(made.cert.pem().as_bytes())
                .and_then(|()| file.write_all(made.signing_key.serialize_pem().as_bytes()))
                .and_then(|()| file.as_file().sync_all());
            written.map_err(failed(&both))?;
            match file.persist_noclobber(&both) {
                Err(error) if error.error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(failed(&both)(error.error));
                }
                _ => {}
            }
        }
        let mut identity = Self::from_files(&both, &both)?;
        identity.public = directory.join(PUBLIC);
        identity.publish(&both).map_err(failed(&identity.public))?;
        Ok(identity)
    }

    /// Puts the certificate where it can be handed on, if it is not there.
    fn publish(&self, both: &Path) -> io::Result<()> {
        let pem = fs::read_to_string(both)?;
        let end = "-----END CERTIFICATE-----\n";
        let certificate = pem.find(end).map_or("", |at| &pem[..at + end.len()]);
        if fs::read_to_string(&self.public).is_ok_and(|there| there == certificate) {
            return Ok(());
        }
        write_private(&self.public, certificate.as_bytes())?;
        let file = File::open(&self.public)?;
        Ok(rustix::fs::fchmod(file, rustix::fs::Mode::from_raw_mode(0o644))?)
    }

    /// What a viewer compares, to know that it is this one.
    pub const fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// The file with the certificate and without the key, for viewers that are given it.
    pub fn certificate_file(&self) -> &Path {
        &self.public
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.fingerprint)
    }
}

/// The SHA-256 of a certificate. It prints as OpenSSL and browsers do: `AB:CD:…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    fn of(certificate: &CertificateDer<'_>) -> Self {
        let digest = ring::digest::digest(&ring::digest::SHA256, certificate);
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest.as_ref());
        Self(bytes)
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, byte)| {
            let colon = if i > 0 { ":" } else { "" };
            write!(f, "{colon}{byte:02X}")
        })
    }
}

fn provider() -> Arc<rustls::crypto::CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::process::Command;

    use super::*;

    fn names() -> [String; 2] {
        ["localhost".into(), "127.0.0.1".into()]
    }

    #[test]
    fn is_made_once_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join("a/b");
        // As many as may start at a time: all have the same.
        let made: Vec<_> = std::thread::scope(|scope| {
            let start = || scope.spawn(|| Identity::kept_in(&directory, &names()).unwrap());
            let threads: Vec<_> = (0..4).map(|_| start()).collect();
            threads.into_iter().map(|thread| *thread.join().unwrap().fingerprint()).collect()
        });
        assert!(made.iter().all(|one| *one == made[0]), "{made:?}");
        let mode = |name: &str| directory.join(name).metadata().unwrap().mode() & 0o7777;
        assert_eq!((mode("."), mode(BOTH), mode(PUBLIC)), (0o700, 0o600, 0o644));
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 2, "nothing is left over");
        let identity = Identity::kept_in(&directory, &names()).unwrap();
        assert_eq!(*identity.fingerprint(), made[0]);
        let public = fs::read_to_string(identity.certificate_file()).unwrap();
        assert!(public.starts_with("-----BEGIN CERTIFICATE") && !public.contains("KEY"));
        let told = identity.fingerprint().to_string();
        assert_eq!((told.len(), told.split(':').count()), (95, 32), "{told}");
        // The copy is made again where it is lost; the key is not.
        fs::remove_file(identity.certificate_file()).unwrap();
        Identity::kept_in(&directory, &names()).unwrap();
        assert_eq!(fs::read_to_string(identity.certificate_file()).unwrap(), public);
    }

    #[test]
    #[ignore = "needs openssl: cargo xtask test installs it"]
    fn openssl_has_the_same_fingerprint() {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::kept_in(directory.path(), &names()).unwrap();
        let output = Command::new("openssl")
            .args(["x509", "-noout", "-fingerprint", "-sha256", "-in"])
            .arg(identity.certificate_file())
            .output()
            .expect("openssl is not installed");
        let told = String::from_utf8(output.stdout).unwrap();
        assert_eq!(told.trim().split_once('=').unwrap().1, identity.fingerprint().to_string());
    }

    #[test]
    fn files_that_do_not_go_together() {
        let directory = tempfile::tempdir().unwrap();
        let of = |name: &str| {
            let directory = directory.path().join(name);
            Identity::kept_in(&directory, &names()).unwrap();
            (directory.join(PUBLIC), directory.join(BOTH))
        };
        let ((cert, key), (_, other)) = (of("one"), of("two"));
        Identity::from_files(&cert, &key).unwrap();
        let empty = directory.path().join("empty");
        fs::write(&empty, "").unwrap();
        fs::set_permissions(&empty, fs::Permissions::from_mode(0o600)).unwrap();
        let none = directory.path().join("none");
        for (cert, key, why) in [
            (&cert, &other, "can't be used"),
            (&empty, &key, "there is no certificate in it"),
            (&cert, &empty, "there is no private key in it"),
            (&none, &key, "No such file"),
            (&cert, &none, "No such file"),
            (&cert, &cert, "can be read by everybody (mode 0644)"),
        ] {
            let error = Identity::from_files(cert, key).expect_err(why).to_string();
            assert!(error.contains(why), "{why}: {error}");
        }
        fs::set_permissions(&key, fs::Permissions::from_mode(0o604)).unwrap();
        let error = Identity::from_files(&cert, &key).unwrap_err().to_string();
        assert!(error.contains("mode 0604"), "{error}");
        // As distributions have them, for the group of those who serve.
        fs::set_permissions(&key, fs::Permissions::from_mode(0o640)).unwrap();
        Identity::from_files(&cert, &key).unwrap();
    }
}
