// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Files that can still be reached, by landlock: none but those below.

use std::fmt;
use std::path::PathBuf;

use landlock::{
    ABI, Access as _, AccessFs, BitFlags, LandlockStatus, PathBeneath, PathFd, Ruleset,
    RulesetAttr as _, RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope,
};

use super::{Again, Needs, Where};
use crate::exit::Failure;
use crate::output::directory;
use crate::serve::failed;

/// The newest interface that is asked for; an older kernel does what it can of it. Newer ones
/// refuse connections to socket files, which the session's bus has yet to be reached by.
const NEWEST: ABI = ABI::V6;

/// How it went.
pub(super) enum Confined {
    /// What the kernel could do of it.
    By(RulesetStatus, LandlockStatus),
    /// Not, for this reason.
    Not(&'static str),
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::By(RulesetStatus::FullyEnforced, _) => f.write_str("confined by landlock"),
            Self::By(RulesetStatus::PartiallyEnforced, kernel) => {
                write!(f, "confined by landlock, as far as this kernel can ({kernel:?})")
            }
            Self::By(RulesetStatus::NotEnforced, kernel) => {
                write!(f, "not confined: this kernel has no landlock, or not on ({kernel:?})")
            }
            Self::Not(why) => write!(f, "not confined: {why}"),
        }
    }
}

/// Has all files refused but those that `needs` tells, to this thread and those that it begins.
pub(super) fn confine(needs: &Needs) -> Result<Confined, Failure> {
    if needs.holders || needs.again == Some(Again::Vmm) {
        // By its hook on ptrace, whatever paths are allowed.
        return Ok(Confined::Not("landlock would keep it from looking into other processes"));
    }
    let status = restrict(&rules(needs)).map_err(|error| {
        failed("files can't be confined", std::io::Error::other(error.to_string()))
    })?;
    Ok(status)
}

fn restrict(rules: &[(PathBuf, BitFlags<AccessFs>)]) -> Result<Confined, RulesetError> {
    let mut ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(NEWEST))?
        .scope(Scope::Signal)?
        .create()?;
    for (path, access) in rules {
        // What is not there can't be reached either.
        if let Ok(fd) = PathFd::new(path) {
            ruleset = ruleset.add_rule(PathBeneath::new(fd, *access))?;
        }
    }
    let status = ruleset.restrict_self()?;
    Ok(Confined::By(status.ruleset, status.landlock))
}

fn rules(needs: &Needs) -> Vec<(PathBuf, BitFlags<AccessFs>)> {
    use AccessFs as A;
    let mut rules = Vec::new();
    let sockets =
        needs.sockets.iter().map(|path| (directory(path).into(), A::MakeSock | A::RemoveFile));
    rules.extend(sockets);
    let record = needs.record.iter().map(|path| directory(path).into());
    rules.extend(record.map(|path| (path, A::MakeReg | A::WriteFile | A::Truncate)));
    if needs.device == Where::Mock {
        // Its dma-bufs: opened once more by their fds, counted, made by udmabuf.
        rules.push(("/proc/self".into(), A::ReadFile | A::WriteFile));
        rules.push(("/dev/udmabuf".into(), A::ReadFile | A::WriteFile | A::IoctlDev));
    }
    if needs.again == Some(Again::Device) {
        let device = ["/dev/vfio", "/dev/iommu", "/dev/kvm"];
        rules.extend(device.map(|path| (path.into(), A::ReadFile | A::WriteFile | A::IoctlDev)));
        rules.extend(["/sys", "/proc"].map(|path| (path.into(), A::ReadFile | A::ReadDir)));
    }
    rules
}
