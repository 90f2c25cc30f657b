// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The seam between a server and what stands before its viewers.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use zeroize::Zeroizing;

use crate::stream::Stream;

/// What stands before the viewers of a server that can be reached from other machines: TLS, and
/// who may come in. `vfio-display-door` is one; an embedder may have one of its own.
///
/// A server calls it from the thread that serves all viewers, so nothing here blocks.
pub trait Guard: Send + Sync {
    /// Puts TLS over a connection, whose first bytes from now on are a ClientHello. The handshake
    /// is part of the first reads and writes.
    ///
    /// # Errors
    ///
    /// TLS can't be set up.
    fn secure(&self, stream: Box<dyn Stream>) -> io::Result<Box<dyn Stream>>;

    /// Whether a viewer has to name itself and a password.
    fn wants_password(&self) -> bool;

    /// Begins to check a password, which takes a while: `done` is called with the outcome, from a
    /// thread of the guard's.
    ///
    /// # Errors
    ///
    /// What is refused without a look at the password. `done` is not called then.
    fn check(&self, from: IpAddr, credentials: Credentials, done: Done) -> Result<(), Denied>;

    /// Hears of each connection, for a record of who came.
    fn audit(&self, entry: &Entry<'_>);
}

/// Hears the outcome of [`Guard::check`].
pub type Done = Box<dyn FnOnce(Result<(), Denied>) + Send>;

/// What a viewer says to be let in. Its memory is wiped when it is dropped, and it can't be printed.
pub struct Credentials {
    /// The name; any bytes.
    pub user: Vec<u8>,
    /// The password; any bytes.
    pub password: Zeroizing<Vec<u8>>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials")
    }
}

/// Why a viewer is not let in. Its text is for the viewer, and tells it nothing that it could use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Denied {
    /// There is no such user, or the password is another.
    Wrong,
    /// There were too many wrong ones from its address; it may try again after so long.
    TooSoon(Duration),
    /// There are as many checks under way as there may be.
    Busy,
}

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong => f.write_str("wrong user name or password"),
            Self::TooSoon(wait) => {
                // Rounded up: who comes back then is let try.
                let seconds = wait.as_millis().div_ceil(1000).max(1);
                write!(f, "too many wrong passwords from your address; try again in {seconds} s")
            }
            Self::Busy => f.write_str("too many passwords are being checked; try again"),
        }
    }
}

impl std::error::Error for Denied {}

/// What one customer of a network has, as far as can be told: an address of IPv4, a /64 of IPv6. What
/// is limited for each address is limited by this.
pub fn network(from: IpAddr) -> IpAddr {
    match from.to_canonical() {
        IpAddr::V4(from) => from.into(),
        IpAddr::V6(from) => Ipv6Addr::from_bits(from.to_bits() >> 64 << 64).into(),
    }
}

/// A line of the record of who came: one when a connection is let in or refused, and one when a
/// viewer that was let in is gone.
#[derive(Debug)]
pub struct Entry<'a> {
    /// What the server speaks.
    pub protocol: &'static str,
    /// Where from.
    pub from: SocketAddr,
    /// The version of TLS, once that is there.
    pub tls: Option<&'static str>,
    /// As whom, if it has said so; any bytes.
    pub user: Option<&'a [u8]>,
    /// What became of it.
    pub outcome: Outcome<'a>,
    /// Since it connected.
    pub after: Duration,
}

/// What became of a connection.
#[derive(Clone, Copy)]
pub enum Outcome<'a> {
    /// It is a viewer now.
    Entered,
    /// It never was one, and is gone.
    Refused(&'a dyn fmt::Display),
    /// It was one, and is gone.
    Left(&'a dyn fmt::Display),
}

impl fmt::Debug for Outcome<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Entered => f.write_str("entered"),
            Self::Refused(why) => write!(f, "refused: {why}"),
            Self::Left(why) => write!(f, "left: {why}"),
        }
    }
}

/// One line. What comes from the network is escaped.
impl fmt::Display for Entry<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { protocol, from, tls, user, outcome, after } = self;
        write!(f, "{protocol} from={from} tls={} user=", tls.unwrap_or("none").replace(' ', ""))?;
        match user {
            Some(user) => write!(f, "\"{}\"", user.escape_ascii())?,
            None => f.write_str("-")?,
        }
        write!(f, " after={:.1}s {outcome:?}", after.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_whatever_the_viewer_says() {
        let entry = Entry {
            protocol: "vnc",
            from: "[2001:db8::1]:4711".parse().unwrap(),
            tls: Some("TLS 1.3"),
            user: Some(b"a\n\"b\" from=\xff"),
            outcome: Outcome::Refused(&Denied::TooSoon(Duration::from_millis(1001))),
            after: Duration::from_millis(1250),
        };
        assert_eq!(
            entry.to_string(),
            "vnc from=[2001:db8::1]:4711 tls=TLS1.3 user=\"a\\n\\\"b\\\" from=\\xff\" after=1.2s \
             refused: too many wrong passwords from your address; try again in 2 s"
        );
    }
}
