// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The displays of the VMMs that run.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use tracing::warn;
use vfio_display::host::{Host, HostError, Target, Vmm};

use super::names;
use super::slots::{Found, Source};
use super::watch::{CDEVS, VFIO};
use crate::dev::Dev;
use crate::list::warn_of_unseen;

/// Looks for VMMs, and says what is in the way, once.
#[derive(Debug, Default)]
pub(super) struct Vmms {
    host: Host,
    /// What was last told of each process.
    told: BTreeMap<u32, String>,
    /// It was told which processes may not be looked into.
    unseen_told: bool,
}

impl Vmms {
    /// Every display of every VMM.
    pub(super) fn scan(&mut self) -> Result<Vec<Found>, HostError> {
        let vmms = self.host.vmms()?;
        if !self.unseen_told && devices_are_there() {
            warn_of_unseen(&vmms.unseen);
            self.unseen_told = true;
        }
        let mut found = Vec::new();
        let mut told = BTreeMap::new();
        for vmm in vmms.running.iter().filter(|vmm| !borrows(vmm)) {
            let pid = vmm.process.pid;
            match self.host.displays(pid) {
                Ok(displays) => found.extend(displays.into_iter().map(|display| {
                    let target = Target::Process { pid, display: Some(display.n) };
                    let name = names::of_vmm(&display);
                    let source = Source::Vmm { pid, fd: display.fd, device: display.device };
                    Found { source, name, dev: Dev::Host(target) }
                })),
                // It ended, or let go of its devices.
                Err(HostError::NoSuchProcess { .. } | HostError::NotAVmm(_)) => {}
                Err(error) => {
                    let error = error.to_string();
                    if self.told.get(&pid) != Some(&error) {
                        warn!("{error}");
                    }
                    told.insert(pid, error);
                }
            }
        }
        self.told = told;
        Ok(found)
    }
}

/// Whether it is this program, which has devices of VMMs and no group of its own.
fn borrows(vmm: &Vmm) -> bool {
    vmm.process.pid == std::process::id()
        || vmm.iommu_groups.is_empty() && vmm.command.as_deref() == Some(env!("CARGO_BIN_NAME"))
}

/// Whether there is anything that a VMM could open.
pub(super) fn devices_are_there() -> bool {
    let groups = fs::read_dir(VFIO).into_iter().flatten().flatten();
    // The container, which is there as soon as the module is.
    let others = [Path::new(CDEVS), &Path::new(VFIO).join("vfio")].map(Path::to_owned);
    let mut groups = groups.filter(|entry| !others.contains(&entry.path()));
    let mut cdevs = fs::read_dir(CDEVS).into_iter().flatten();
    groups.next().is_some() || cdevs.next().is_some()
}
