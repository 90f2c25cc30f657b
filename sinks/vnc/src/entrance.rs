// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The steps from a viewer's first byte to its ClientInit, and who takes them.
//!
//! VeNCrypt is security type 19 (rfbproto, VeNCrypt): a version, a subtype, and after it TLS begins
//! on the same connection. The Plain subtypes go on with a name and a password inside it.

use vfio_display_sinks::{Credentials, Denied};

use crate::error::Error;
use crate::handshake::{self, NONE, Version};
use crate::wire::{put_u32, u32_at};

/// The security type VeNCrypt.
const VENCRYPT: u8 = 19;

/// Its version that is spoken. 0.1 has subtypes of one byte, and no X509.
const VENCRYPT_VERSION: [u8; 2] = [0, 2];

/// Bytes of a name or a password; TigerVNC's limit for what it takes.
const LONGEST: u32 = 1024;

/// What a viewer has to go through to be let in. It is offered that one way and no other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Security {
    /// Nothing.
    #[default]
    None,
    /// TLS with a certificate of the server's: VeNCrypt subtype 260.
    X509None,
    /// A name and a password inside such TLS: VeNCrypt subtype 262.
    X509Plain,
}

impl Security {
    const fn subtype(self) -> Option<u32> {
        match self {
            Self::None => None,
            Self::X509None => Some(260),
            Self::X509Plain => Some(262),
        }
    }

    /// The security type (RFC 6143, section 7.2).
    const fn number(self) -> u8 {
        match self {
            Self::None => NONE,
            Self::X509None | Self::X509Plain => VENCRYPT,
        }
    }
}

/// What a session waits for that its viewer does not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awaits {
    /// TLS is to begin, as soon as the output has been sent:
    /// [`Session::tls_started`](crate::Session::tls_started).
    Tls,
    /// Somebody has to say whether
    /// [`Session::take_credentials`](crate::Session::take_credentials) are right:
    /// [`Session::answer`](crate::Session::answer).
    Verdict,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    Version,
    Security(Version),
    VencryptVersion(Version),
    Subtype(Version),
    Tls,
    Credentials(Version),
    Verdict(Version),
    ClientInit,
    /// It has been told why, and is to be sent away.
    Refused,
}

#[derive(Debug)]
pub(crate) struct Entrance {
    security: Security,
    step: Step,
    version: Version,
    credentials: Option<Credentials>,
}

impl Entrance {
    pub(crate) const fn new(security: Security) -> Self {
        Self { security, step: Step::Version, version: Version::V8, credentials: None }
    }

    pub(crate) const fn awaits(&self) -> Option<Awaits> {
        match self.step {
            Step::Tls => Some(Awaits::Tls),
            Step::Verdict(_) => Some(Awaits::Verdict),
            _ => None,
        }
    }

    /// Whether the viewer is asked for a password, which a person may have to type.
    pub(crate) const fn asks_password(&self) -> bool {
        matches!(self.security, Security::X509Plain)
    }

    /// Bytes that the message has at least, as far as it is there.
    pub(crate) fn length(&self, message: &[u8]) -> Result<usize, Error> {
        Ok(match self.step {
            Step::Version => 12,
            Step::Security(_) | Step::ClientInit => 1,
            Step::VencryptVersion(_) => 2,
            Step::Subtype(_) => 4,
            Step::Credentials(_) if message.len() < 8 => 8,
            Step::Credentials(_) => {
                let (user, password) = (u32_at(message, 0), u32_at(message, 4));
                for (what, length) in [("user name", user), ("password", password)] {
                    if length > LONGEST {
                        let (length, limit) = (length.into(), LONGEST.into());
                        return Err(Error::TooLong { what, length, limit });
                    }
                }
                8 + user as usize + password as usize
            }
            Step::Tls | Step::Verdict(_) | Step::Refused => return Err(Error::OutOfTurn),
        })
    }

    /// Takes a message of that length. True if it was the last one.
    pub(crate) fn handle(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> Result<bool, Error> {
        self.step = match self.step {
            Step::Version => {
                let mut version = [0; 12];
                version.copy_from_slice(bytes);
                let version = Version::parse(&version)?;
                self.offer(version, out)?
            }
            Step::Security(version) => {
                handshake::check_choice(version, bytes[0], self.security.number(), out)?;
                if self.security == Security::None {
                    handshake::put_none_result(version, out);
                    Step::ClientInit
                } else {
                    out.extend(VENCRYPT_VERSION);
                    Step::VencryptVersion(version)
                }
            }
            Step::VencryptVersion(version) => {
                if bytes != VENCRYPT_VERSION {
                    out.push(1);
                    return Err(Error::VencryptVersion(bytes[0], bytes[1]));
                }
                out.extend([0, 1]);
                put_u32(out, self.security.subtype().unwrap_or_default());
                Step::Subtype(version)
            }
            Step::Subtype(version) => {
                let chosen = u32_at(bytes, 0);
                if Some(chosen) != self.security.subtype() {
                    out.push(0);
                    return Err(Error::Subtype(chosen));
                }
                out.push(1);
                self.version = version;
                Step::Tls
            }
            Step::Credentials(version) => {
                let (user, password) = bytes[8..].split_at(u32_at(bytes, 0) as usize);
                let password = password.to_vec().into();
                self.credentials = Some(Credentials { user: user.to_vec(), password });
                Step::Verdict(version)
            }
            // Its byte asks whether others may stay. They may: one viewer can't put out another.
            Step::ClientInit => return Ok(true),
            Step::Tls | Step::Verdict(_) | Step::Refused => return Err(Error::OutOfTurn),
        };
        Ok(false)
    }

    /// What follows the version: 3.3 is told what to do, and knows nothing of TLS.
    fn offer(&self, version: Version, out: &mut Vec<u8>) -> Result<Step, Error> {
        match (version, self.security) {
            (Version::V3, Security::None) => {
                put_u32(out, NONE.into());
                Ok(Step::ClientInit)
            }
            (Version::V3, _) => {
                put_u32(out, 0);
                handshake::put_reason("TLS is required: RFB 3.7 or 3.8 with VeNCrypt", out);
                Err(Error::TooOldForTls)
            }
            (Version::V7 | Version::V8, security) => {
                out.extend([1, security.number()]);
                Ok(Step::Security(version))
            }
        }
    }

    pub(crate) fn tls_started(&mut self, out: &mut Vec<u8>) {
        if !matches!(self.step, Step::Tls) {
            return;
        }
        self.step = if self.security == Security::X509Plain {
            Step::Credentials(self.version)
        } else {
            put_u32(out, 0);
            Step::ClientInit
        };
    }

    pub(crate) const fn take_credentials(&mut self) -> Option<Credentials> {
        self.credentials.take()
    }

    pub(crate) fn answer(&mut self, verdict: Result<(), Denied>, out: &mut Vec<u8>) {
        let Step::Verdict(version) = self.step else {
            return;
        };
        self.credentials = None;
        match verdict {
            Ok(()) => {
                put_u32(out, 0);
                self.step = Step::ClientInit;
            }
            Err(denied) => {
                handshake::put_failure(version, &denied.to_string(), out);
                self.step = Step::Refused;
            }
        }
    }
}
