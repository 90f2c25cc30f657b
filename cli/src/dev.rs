// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! DEV: what a person writes to name a device, and the device that it leads to.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use rustix::event::PollFlags;
use tracing::{info, warn};
use vfio_display::device::GfxDevice;
use vfio_display::geometry::Size;
use vfio_display::host::{DeviceName, Host, HostError, OnConflict, Reached, Target};
use vfio_display::testing::{Mock, Personality};
use vfio_display::vfio_user::{TIMEOUT, VfioUser};
use vfio_display::{Error, error};

use crate::args::Device;
use crate::exit::{Failure, Status};

/// Size of the mock's screen where none is asked for.
pub(crate) const MOCK_SIZE: Size = Size::new(1024, 768);

/// What a vfio-user server's socket is named with.
const PREFIX: &str = "vfio-user:";

/// The name of a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Dev {
    Mock {
        personality: Personality,
        size: Size,
    },
    /// The socket of a vfio-user server.
    VfioUser(PathBuf),
    Host(Target),
}

/// An open device.
pub(crate) struct OpenDevice {
    pub(crate) gfx: Box<dyn GfxDevice>,
    pub(crate) driver: Option<String>,
    /// The driver breaks where others hold the device's dma-bufs, so exports look for those.
    pub(crate) driver_breaks: bool,
    /// What tells that there is no device any more, where something does.
    pub(crate) end: Option<End>,
    /// The device's other side, where it is a mock.
    pub(crate) mock: Option<Mock>,
}

/// An fd, and what `poll(2)` says of it once the device's process has exited or let go.
pub(crate) struct End {
    pub(crate) fd: OwnedFd,
    pub(crate) flags: PollFlags,
}

impl Device {
    /// Opens or borrows the device, and says what may explain a later error.
    pub(crate) fn open(&self) -> Result<OpenDevice, Failure> {
        let target = match &self.dev {
            Dev::Mock { personality, size } => return open_mock(*personality, *size),
            Dev::VfioUser(path) => return attach(path),
            Dev::Host(target) => target,
        };
        let on_conflict = if self.force { OnConflict::Force } else { OnConflict::Refuse };
        let reached = Host::new().reach(target, on_conflict)?;
        match &reached {
            Reached::Opened(opened) => {
                for note in opened.notes() {
                    info!("{target}: {note}");
                }
            }
            Reached::Borrowed(borrowed) => {
                let conflict = borrowed.display_conflict()?;
                if conflict.driver_breaks {
                    warn!(
                        "{target}: its driver gives a picture's memory back each time that the \
                         picture is let go of: a second look at the same mode takes it from the \
                         guest"
                    );
                }
                for holder in &conflict.holders {
                    warn!("{target}: {holder}: it shows the display itself");
                }
                for unseen in &conflict.unseen {
                    info!("{target}: process {} could not be looked into", unseen.process);
                }
            }
        }
        let driver = reached.driver().map(str::to_owned);
        let exited = match &reached {
            Reached::Borrowed(borrowed) => Some(borrowed.pidfd().try_clone_to_owned()),
            Reached::Opened(_) => None,
        };
        let exited = exited.transpose().map_err(|e| Failure::new(Status::Failed, e))?;
        let end = exited.map(|fd| End { fd, flags: PollFlags::IN });
        let driver_breaks = reached.driver_breaks();
        Ok(OpenDevice { gfx: Box::new(reached), driver, driver_breaks, end, mock: None })
    }
}

/// A mock whose guest is up and shows the test card.
fn open_mock(personality: Personality, size: Size) -> Result<OpenDevice, Failure> {
    let failed = |error| Failure::new(Status::Failed, format!("mock:{personality}: {error}"));
    let mock = Mock::new(personality, size).map_err(failed)?;
    if personality.plane_kind().is_some() {
        mock.show_card(0).map_err(failed)?;
    }
    Ok(OpenDevice {
        gfx: Box::new(mock.clone()),
        driver: Some(format!("mock of {personality}")),
        driver_breaks: false,
        end: None,
        mock: Some(mock),
    })
}

/// A device that another process serves.
fn attach(path: &Path) -> Result<OpenDevice, Failure> {
    let device = VfioUser::connect(path, TIMEOUT).map_err(|error| {
        let mut failure = Failure::from(error.clone());
        failure.message = format!("{PREFIX}{}: {error}", path.display());
        if let Error::Gone(error::Gone::Silent { .. }) = error {
            failure.status = Status::Busy;
            failure = failure.hint("most vfio-user servers serve one client at a time");
        }
        failure
    })?;
    let end = Some(End { fd: device.connection()?, flags: PollFlags::RDHUP });
    Ok(OpenDevice {
        gfx: Box::new(device),
        driver: Some("vfio-user server".into()),
        driver_breaks: false,
        end,
        mock: None,
    })
}

impl Dev {
    /// The UUID of an mdev that is named by it.
    pub(crate) fn uuid(&self) -> Option<String> {
        match self {
            Self::Host(Target::Device(DeviceName::Mdev(uuid))) => Some(uuid.to_string()),
            _ => None,
        }
    }
}

impl fmt::Display for Dev {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mock { personality, size } => write!(f, "mock:{personality}:{size}"),
            Self::VfioUser(path) => write!(f, "{PREFIX}{}", path.display()),
            Self::Host(target) => target.fmt(f),
        }
    }
}

impl FromStr for Dev {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix(PREFIX) {
            Some("") => return Err("vfio-user:PATH wants the path of a socket".into()),
            Some(path) => return Ok(Self::VfioUser(path.into())),
            None => {}
        }
        let mut parts = text.split(':');
        if parts.next() != Some("mock") {
            let others = "vfio-user:PATH, or mock[:PERSONALITY][:WxH]";
            return text.parse().map(Self::Host).map_err(|error| format!("{error}, {others}"));
        }
        let (mut personality, mut size) = (None, None);
        for part in parts {
            match parse_size(part) {
                Some(wanted) if size.is_none() => size = Some(wanted?),
                None if personality.is_none() && size.is_none() => {
                    let wanted: Personality = part.parse().map_err(|e| format!("{e}"))?;
                    personality = Some(wanted);
                }
                _ => return Err("a mock is mock[:PERSONALITY][:WxH]".into()),
            }
        }
        Ok(Self::Mock {
            personality: personality.unwrap_or(Personality::WellBehaved),
            size: size.unwrap_or(MOCK_SIZE),
        })
    }
}

/// Reads `WxH`.
pub(crate) fn size(text: &str) -> Result<Size, String> {
    parse_size(text).unwrap_or_else(|| Err("a size is WxH, as 1024x768".into()))
}

/// Reads `WxH`; `None` where the text is nothing of the kind.
fn parse_size(text: &str) -> Option<Result<Size, String>> {
    let (width, height) = text.split_once('x')?;
    let size = Size::new(width.parse().ok()?, height.parse().ok()?);
    let sides = 64..=vfio_display::plane::MAX_SIDE;
    if sides.contains(&size.width) && sides.contains(&size.height) {
        Some(Ok(size))
    } else {
        Some(Err(format!("{size}: a side of the mock's screen has {sides:?} pixels")))
    }
}

impl From<HostError> for Failure {
    fn from(error: HostError) -> Self {
        use HostError as E;
        let status = match error {
            E::Device(error) => return error.into(),
            E::NoSuchDevice { .. }
            | E::NoSuchProcess { .. }
            | E::NotAVmm(_)
            | E::NoSuchDisplay { .. } => Status::NotFound,
            E::NotPermitted { .. } => Status::NotPermitted,
            E::NotVfio { .. }
            | E::GroupBusy { .. }
            | E::GroupNotViable { .. }
            | E::NoDeviceFile { .. }
            | E::NoIommu { .. }
            | E::NoContainer { .. } => Status::Busy,
            E::NoDisplay { .. } => Status::NoDisplay,
            E::SeveralDisplays { .. } => Status::Ambiguous,
            _ => Status::Failed,
        };
        Self::new(status, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mock(personality: Personality, width: u32, height: u32) -> Result<Dev, String> {
        Ok(Dev::Mock { personality, size: Size::new(width, height) })
    }

    #[test]
    fn a_mock_is_named_with_what_differs() {
        assert_eq!("mock".parse(), mock(Personality::WellBehaved, 1024, 768));
        assert_eq!("mock:mdpy".parse(), mock(Personality::Mdpy, 1024, 768));
        assert_eq!("mock:640x480".parse(), mock(Personality::WellBehaved, 640, 480));
        assert_eq!("mock:nvidia:640x480".parse(), mock(Personality::Nvidia, 640, 480));
    }

    #[test]
    fn a_socket_is_named_by_its_path() {
        let dev: Dev = "vfio-user:run/a:b.sock".parse().unwrap();
        assert_eq!(dev, Dev::VfioUser("run/a:b.sock".into()));
        assert_eq!(dev.to_string(), "vfio-user:run/a:b.sock");
    }

    #[test]
    fn a_wrong_name_is_told_what_there_is() {
        for (text, told) in [
            ("mock:no-such", "there are well-behaved"),
            ("mock:640x480:mdpy", "a mock is mock[:PERSONALITY][:WxH]"),
            ("mock:1x1", "1x1: a side of the mock's screen has 64..=16384 pixels"),
            ("vfio-user:", "wants the path of a socket"),
            ("vfio-user", "vfio-user:PATH, or mock"),
            ("nonsense", "or mock[:PERSONALITY][:WxH]"),
            ("pid:x", "or mock[:PERSONALITY][:WxH]"),
        ] {
            let error = text.parse::<Dev>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
