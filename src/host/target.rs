// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a user writes to name a device.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Where a display is to be had: a device to open, or a process to borrow it from.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Target {
    /// A device of this host, to be opened.
    Device(DeviceName),
    /// A display of a VMM that is running: `pid:PID` or `pid:PID/N`.
    Process {
        /// Its process id.
        pid: u32,
        /// Which of its displays, from 0; `None` for its only one.
        display: Option<u32>,
    },
}

/// Name of a device that can be opened.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DeviceName {
    /// A mediated device, by its UUID.
    Mdev(Uuid),
    /// A PCI device, by its address.
    Pci(PciAddress),
    /// Either, by its directory in sysfs.
    Path(PathBuf),
}

/// Name of a mediated device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Uuid(u128);

/// Address of a PCI device, as in `/sys/bus/pci/devices`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PciAddress {
    /// Domain, also called segment; more than 16 bits behind some bridges.
    pub domain: u32,
    /// Bus.
    pub bus: u8,
    /// Device, below 32.
    pub device: u8,
    /// Function, below 8.
    pub function: u8,
}

/// A string that names no device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{given:?} {why}; a device is an mdev UUID (xxxxxxxx-xxxx-xxxx-xxxx-xxxxxxxxxxxx), \
     a PCI address (0000:65:00.4 or 65:00.4), the sysfs path of either (/sys/bus/…), \
     or pid:PID[/N], display N (from 0) of a running VMM"
)]
pub struct TargetError {
    /// What was written.
    pub given: String,
    /// What is wrong with it.
    pub why: &'static str,
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(given: &str) -> Result<Self, TargetError> {
        match given.strip_prefix("pid:") {
            Some(rest) => process(rest).map_err(|why| TargetError { given: given.to_owned(), why }),
            None => given.parse().map(Self::Device),
        }
    }
}

fn process(text: &str) -> Result<Target, &'static str> {
    let (pid, display) = match text.split_once('/') {
        Some((pid, display)) => (pid, Some(display)),
        None => (text, None),
    };
    let pid = decimal(pid)
        .filter(|&pid| pid != 0 && i32::try_from(pid).is_ok())
        .ok_or("has no process id after pid:")?;
    let display = display
        .map(|display| decimal(display).ok_or("has no display number after the slash"))
        .transpose()?;
    Ok(Target::Process { pid, display })
}

/// Digits only: `parse` alone takes a sign too.
fn decimal(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok())?
}

fn hex(text: &str) -> Option<u32> {
    text.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(text, 16).ok())?
}

impl FromStr for DeviceName {
    type Err = TargetError;

    fn from_str(given: &str) -> Result<Self, TargetError> {
        let why = if given.starts_with('/') {
            return Ok(Self::Path(given.into()));
        } else if let Some(uuid) = Uuid::parse(given) {
            return Ok(Self::Mdev(uuid));
        } else if let Some(address) = PciAddress::parse(given) {
            return Ok(Self::Pci(address));
        } else if given.is_empty() {
            "is empty"
        } else if given.contains('/') {
            "is no absolute path"
        } else if given.contains(':') {
            "is no PCI address"
        } else if given.contains('-') {
            "is no UUID"
        } else {
            "names no device"
        };
        Err(TargetError { given: given.to_owned(), why })
    }
}

impl Uuid {
    /// The UUID in `text`: 32 hexadecimal digits in groups of 8, 4, 4, 4 and 12.
    pub fn parse(text: &str) -> Option<Self> {
        let mut lengths = [8, 4, 4, 4, 12].into_iter();
        let mut value = 0_u128;
        for group in text.split('-') {
            if Some(group.len()) != lengths.next() {
                return None;
            }
            for digit in group.chars() {
                value = value << 4 | u128::from(digit.to_digit(16)?);
            }
        }
        lengths.next().is_none().then_some(Self(value))
    }
}

impl PciAddress {
    /// The address in `text`, whose domain is 0 where it names none.
    pub fn parse(text: &str) -> Option<Self> {
        let (rest, function) = text.split_once('.')?;
        let mut parts = rest.rsplit(':');
        let device = parts.next().filter(|part| part.len() == 2)?;
        let bus = parts.next().filter(|part| part.len() == 2)?;
        let domain = match parts.next() {
            Some(domain) if (4..=8).contains(&domain.len()) => hex(domain)?,
            Some(_) => return None,
            None => 0,
        };
        let address = Self {
            domain,
            bus: u8::try_from(hex(bus)?).ok()?,
            device: u8::try_from(hex(device)?).ok()?,
            function: u8::try_from(hex(function).filter(|_| function.len() == 1)?).ok()?,
        };
        (parts.next().is_none() && address.device < 32 && address.function < 8).then_some(address)
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(name) => name.fmt(f),
            Self::Process { pid, display: None } => write!(f, "pid:{pid}"),
            Self::Process { pid, display: Some(n) } => write!(f, "pid:{pid}/{n}"),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mdev(uuid) => uuid.fmt(f),
            Self::Pci(address) => address.fmt(f),
            Self::Path(path) => path.display().fmt(f),
        }
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hex = format!("{:032x}", self.0);
        let [a, b, c, d] = [8, 12, 16, 20];
        let groups = [&hex[..a], &hex[a..b], &hex[b..c], &hex[c..d], &hex[d..]];
        f.pad(&groups.join("-"))
    }
}

impl fmt::Display for PciAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { domain, bus, device, function } = self;
        f.pad(&format!("{domain:04x}:{bus:02x}:{device:02x}.{function:x}"))
    }
}
