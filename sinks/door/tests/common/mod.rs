// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A door whose clock is the test's, and a client's TLS: for the tests of all who have a door.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use std::net::TcpStream;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{
    ALL_VERSIONS, ClientConfig, ClientConnection, RootCertStore, StreamOwned,
    SupportedProtocolVersion,
};
use vfio_display_door::{Door, Identity, Options, Passwords};

/// Who may come in, where anybody has to say who he is.
pub const USER: &str = "anna";
pub const PASSWORD: &str = "correct horse";

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A client of `localhost` that trusts the certificate in this file, and no other.
pub fn client(
    certificate: &Path,
    versions: &[&'static SupportedProtocolVersion],
) -> ClientConnection {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).expect("a certificate")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    ClientConnection::new(Arc::new(config), name).unwrap()
}

/// A door for `localhost` and 127.0.0.1, and what it did.
pub struct TestDoor {
    pub door: Arc<Door>,
    /// What was written down.
    pub lines: Arc<Mutex<Vec<String>>>,
    /// The time, as the door sees it.
    pub clock: Arc<Mutex<Instant>>,
    /// Has the certificate, and room for more.
    pub directory: tempfile::TempDir,
}

impl TestDoor {
    /// One that asks for [`PASSWORD`], or lets in whoever has TLS.
    pub fn new(password: bool) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let names = ["localhost".into(), "127.0.0.1".into()];
        let mut options = Options::new(Identity::kept_in(directory.path(), &names).unwrap());
        if password {
            let file = directory.path().join("passwords");
            Passwords::set(&file, Some(USER), PASSWORD.as_bytes()).unwrap();
            options.passwords = Some(Passwords::read(&file).unwrap());
        }
        let clock = Arc::new(Mutex::new(Instant::now()));
        let lines = Arc::<Mutex<Vec<String>>>::default();
        options.clock = {
            let clock = Arc::clone(&clock);
            Arc::new(move || *clock.lock().unwrap())
        };
        options.on_entry = {
            let lines = Arc::clone(&lines);
            Some(Arc::new(move |entry| lines.lock().unwrap().push(entry.to_string())))
        };
        Self { door: Arc::new(Door::start(options).unwrap()), lines, clock, directory }
    }

    /// TLS over a connection to what is behind it, by any version.
    pub fn tls(&self, stream: TcpStream) -> Tls {
        self.tls_of(stream, ALL_VERSIONS)
    }

    pub fn tls_of(&self, stream: TcpStream, versions: &[&'static SupportedProtocolVersion]) -> Tls {
        let certificate = self.door.identity().certificate_file();
        StreamOwned::new(client(certificate, versions), stream)
    }

    /// What was written down so far.
    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }

    /// Time passes.
    pub fn pass(&self, time: Duration) {
        *self.clock.lock().unwrap() += time;
    }
}
