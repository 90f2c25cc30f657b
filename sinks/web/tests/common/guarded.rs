// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A server behind a door, and a client's TLS.

use std::io::Write as _;
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use vfio_display_door::{Door, Identity, Passwords};
use vfio_display_web::{Options, WebServer};

use super::http::{Answer, connect, read, request};
use super::show::Show;

/// `anna:correct horse`, as a browser sends it.
pub const RIGHT: &str = "Basic YW5uYTpjb3JyZWN0IGhvcnNl";
/// `anna:guess`.
pub const WRONG: &str = "Basic YW5uYTpndWVzcw==";
pub const USER: &str = "anna";
pub const PASSWORD: &str = "correct horse";

pub type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A display that is served by TLS, through a door whose clock is the test's.
pub struct Guarded {
    pub web: WebServer,
    pub at: SocketAddr,
    pub show: Show,
    /// What was written down.
    pub lines: Arc<Mutex<Vec<String>>>,
    /// The time, as the door sees it.
    pub clock: Arc<Mutex<Instant>>,
    door: Arc<Door>,
    _directory: tempfile::TempDir,
}

impl Guarded {
    pub fn new(show: Show, password: bool, options: Options) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let identity = Identity::kept_in(directory.path(), &["127.0.0.1".into()]).unwrap();
        let mut door = vfio_display_door::Options::new(identity);
        if password {
            let file = directory.path().join("passwords");
            Passwords::set(&file, Some(USER), PASSWORD.as_bytes()).unwrap();
            door.passwords = Some(Passwords::read(&file).unwrap());
        }
        let clock = Arc::new(Mutex::new(Instant::now()));
        let lines = Arc::<Mutex<Vec<String>>>::default();
        door.clock = {
            let clock = Arc::clone(&clock);
            Arc::new(move || *clock.lock().unwrap())
        };
        door.on_entry = {
            let lines = Arc::clone(&lines);
            Some(Arc::new(move |entry| lines.lock().unwrap().push(entry.to_string())))
        };
        let door = Arc::new(Door::start(door).unwrap());
        let guard = Some(Arc::clone(&door) as _);
        let web = WebServer::start(Options { guard, ..options }).unwrap();
        let at = web.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        web.publish("vm1", "The first", show.handle.clone());
        Self { web, at, show, lines, clock, door, _directory: directory }
    }

    /// A client that trusts the server's certificate and no other.
    pub fn dial(&self) -> Tls {
        let file = self.door.identity().certificate_file();
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(file).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let tls = ClientConnection::new(Arc::new(config), name).unwrap();
        StreamOwned::new(tls, connect(self.at))
    }

    pub fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut tls = self.dial();
        tls.write_all(request(&self.at.to_string(), target, headers).as_bytes()).unwrap();
        read(&mut tls).expect("an answer")
    }

    pub fn lines(&self) -> Vec<String> {
        self.lines.lock().unwrap().clone()
    }
}
