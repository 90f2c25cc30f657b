// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A server behind a door.

use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Arc;

use vfio_display_web::{Options, WebServer};

pub use super::door::{PASSWORD, TestDoor, Tls, USER};
use super::http::{Answer, connect, read, request};
use super::show::Show;

/// `anna:correct horse`, as a browser sends it.
pub const RIGHT: &str = "Basic YW5uYTpjb3JyZWN0IGhvcnNl";
/// `anna:guess`.
pub const WRONG: &str = "Basic YW5uYTpndWVzcw==";
/// A display that is served by TLS, through a door.
pub struct Guarded {
    pub web: WebServer,
    pub at: SocketAddr,
    pub show: Show,
    pub door: TestDoor,
}

impl Guarded {
    pub fn new(show: Show, password: bool, options: Options) -> Self {
        let door = TestDoor::new(password);
        let guard = Some(Arc::clone(&door.door) as _);
        let web = WebServer::start(Options { guard, ..options }).unwrap();
        let at = web.listen_tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        web.publish("vm1", "The first", show.handle.clone());
        Self { web, at, show, door }
    }

    pub fn dial(&self) -> Tls {
        self.door.tls(connect(self.at))
    }

    pub fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        let mut tls = self.dial();
        tls.write_all(request(&self.at.to_string(), target, headers).as_bytes()).unwrap();
        read(&mut tls).expect("an answer")
    }
}
