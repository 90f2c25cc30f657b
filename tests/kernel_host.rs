// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The host module on the kernel's own sample drivers, mdpy and mbochs.
//!
//! A VMM is played by this very executable, started again with a role in its environment: it
//! opens what it is told, does what it is told on its standard input, and says when it is done.
#![cfg(feature = "host")]

use std::fs;
use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use vfio_display::device::{DmabufId, GfxDevice, PlaneKind, PlaneType, RegionIndex};
use vfio_display::error::{Conflict, Gone};
use vfio_display::host::{DeviceName, Host, HostError, OnConflict, Target, Uuid};
use vfio_display::uapi::PlaneInfo;
use vfio_display::{Error, Result};

const ROLE: &str = "VFIO_DISPLAY_TEST_VMM";

/// A mediated device, removed when its test ends.
struct Mdev(String);

impl Mdev {
    fn create(kind: &str, last: u32) -> Self {
        let (parent, _) = kind.split_once('-').unwrap();
        let uuid = format!("a297db4a-f4c2-11e6-90f6-{last:012x}");
        let types = format!("/sys/class/mdev_bus/{parent}/mdev_supported_types");
        fs::write(format!("{types}/{kind}/create"), &uuid).unwrap();
        Self(uuid)
    }

    fn name(&self) -> DeviceName {
        self.0.parse().unwrap()
    }
}

impl Drop for Mdev {
    fn drop(&mut self) {
        // The last fd of a process that was just killed is closed a moment later.
        for _ in 0..100 {
            let remove = format!("/sys/bus/mdev/devices/{}/remove", self.0);
            if fs::write(remove, "1").is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A VMM of ours in a process of its own.
struct Vmm {
    child: Child,
    orders: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Vmm {
    fn start(devices: &[&Mdev]) -> Self {
        let uuids: Vec<&str> = devices.iter().map(|mdev| mdev.0.as_str()).collect();
        let mut vmm = Self::role(&uuids.join(","));
        vmm.answer("ready");
        vmm
    }

    fn role(role: &str) -> Self {
        let mut program = Command::new(std::env::current_exe().unwrap());
        program
            .args(["--exact", "plays_a_vmm", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        Self::spawn(&mut program)
    }

    fn spawn(program: &mut Command) -> Self {
        let mut child = program.spawn().unwrap();
        let orders = child.stdin.take().unwrap();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, orders, answers }
    }

    fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Waits for a line that has `wanted` in it, among libtest's own.
    fn answer(&mut self, wanted: &str) -> String {
        let mut said = String::new();
        for line in self.answers.by_ref() {
            let line = line.unwrap();
            if line.contains(wanted) {
                return line;
            }
            said += &line;
            said.push('\n');
        }
        panic!("no {wanted:?} in what it said:\n{said}");
    }

    fn order(&mut self, order: &str) -> String {
        writeln!(self.orders, "{order}").unwrap();
        self.answer(&format!("done {order}"))
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Not a test: the other process of the tests below.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn plays_a_vmm() {
    let Ok(role) = std::env::var(ROLE) else {
        return;
    };
    let host = Host::new();
    let mut devices = Vec::new();
    for target in role.split(',') {
        let target: Target = target.parse().unwrap();
        devices.push(host.reach(&target, OnConflict::Refuse).unwrap());
    }
    let mut held: Vec<OwnedFd> = Vec::new();
    println!("ready");
    let mut modes = 0;
    for order in std::io::stdin().lines() {
        let order = order.unwrap();
        let answer = match order.as_str() {
            // Another one each time, and so another dma-buf: mbochs gives the pages of one back
            // each time that its last fd is closed, so none is exported by two processes in turn.
            "mode" => {
                set_mode(&devices[0], 640, 480 - 16 * modes);
                modes += 1;
                "ok".to_owned()
            }
            "dup" => {
                held.push(devices[0].as_fd().try_clone_to_owned().unwrap());
                "ok".to_owned()
            }
            "export" => match export(&devices[0]) {
                Ok(dmabuf) => {
                    held.push(dmabuf);
                    "ok".to_owned()
                }
                Err(error) => format!("{error:?}"),
            },
            "forget" => {
                devices.clear();
                "ok".to_owned()
            }
            "close" => {
                held.clear();
                "ok".to_owned()
            }
            other => panic!("unknown order {other:?}"),
        };
        println!("done {order}: {answer}");
    }
}

/// Plays the guest of an mbochs device: its VBE registers are in BAR 2.
fn set_mode(device: &impl GfxDevice, width: u16, height: u16) {
    let registers = device.region_info(RegionIndex(2)).unwrap();
    let set = |index: u64, value: u16| {
        let at = 0x500 + 2 * index;
        device.write(&registers, at, &value.to_le_bytes()).unwrap();
    };
    set(1, width);
    set(2, height);
    set(3, 32);
    set(4, 0x41);
}

/// The primary plane; mbochs refuses the first query of each mode.
fn plane(device: &impl GfxDevice) -> PlaneInfo {
    let ask = || device.query_plane(PlaneType::Primary, PlaneKind::Dmabuf);
    match ask() {
        Err(error) if error.is_transient() => ask().unwrap(),
        answer => answer.unwrap(),
    }
}

fn export(device: &impl GfxDevice) -> Result<OwnedFd> {
    device.export_dmabuf(DmabufId(plane(device).region_or_dmabuf))
}

fn borrow(pid: u32, nth: Option<u32>) -> Result<vfio_display::host::Borrowed, HostError> {
    Host::new().borrow(pid, nth, OnConflict::Refuse)
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn opens_an_mdev_by_uuid_and_by_path_and_once_at_a_time() {
    let mdev = Mdev::create("mdpy-vga", 0x101);
    let host = Host::new();
    let types = host.mdev_types().unwrap();
    assert!(types.iter().any(|kind| kind.id == "mdpy-vga"), "{types:?}");
    let mdevs = host.mdevs().unwrap();
    let listed = mdevs.iter().find(|m| Some(m.uuid) == Uuid::parse(&mdev.0));
    let listed = listed.expect("the new mdev in the list");
    assert_eq!(listed.driver.as_deref(), Some("mdpy"));
    assert_eq!(listed.parent.as_deref(), Some("mdpy"));

    let paths = [
        DeviceName::Path(listed.path.clone()),
        DeviceName::Path(format!("/sys/bus/mdev/devices/{}", mdev.0).into()),
    ];
    for name in [mdev.name()].iter().chain(&paths) {
        let device = host.open(name, OnConflict::Refuse).unwrap();
        assert_eq!(device.driver(), Some("mdpy"));
        #[cfg(feature = "kvm")]
        assert_eq!(device.notes(), [], "attached to KVM");
        device.probe(PlaneKind::Region).unwrap();
        let plane = device.query_plane(PlaneType::Primary, PlaneKind::Region).unwrap();
        assert_eq!((plane.width, plane.height), (640, 480));

        let error = host.open(name, OnConflict::Refuse).unwrap_err();
        let us = std::process::id();
        match &error {
            HostError::GroupBusy { holders, .. } => assert_eq!(holders[0].pid, us, "{error}"),
            other => panic!("{other}"),
        }
        assert!(error.to_string().contains(&format!("reached as pid:{us}")), "{error}");
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn borrows_from_a_vmm_and_sees_it_exit() {
    let mdev = Mdev::create("mdpy-xga", 0x102);
    let mut vmm = Vmm::start(&[&mdev]);
    let host = Host::new();
    match host.open(&mdev.name(), OnConflict::Refuse) {
        Err(HostError::GroupBusy { holders, .. }) => assert_eq!(holders[0].pid, vmm.pid()),
        other => panic!("{other:?}"),
    }
    // A duplicate is the same open file, and no second display.
    vmm.order("dup");
    let vmms = host.vmms().unwrap();
    let listed = vmms.running.iter().find(|found| found.process.pid == vmm.pid());
    assert_eq!(listed.unwrap().device_fds.len(), 2);
    assert_eq!(listed.unwrap().iommu_groups.len(), 1);
    let displays = host.displays(vmm.pid()).unwrap();
    assert_eq!(displays.len(), 1, "{displays:?}");
    assert_eq!(displays[0].kinds, [PlaneKind::Region]);

    let device = borrow(vmm.pid(), None).unwrap();
    assert_eq!(device.driver(), Some("mdpy"));
    let plane = device.query_plane(PlaneType::Primary, PlaneKind::Region).unwrap();
    assert_eq!((plane.width, plane.height), (1024, 768));
    assert!(device.alive() && device.display_conflict().unwrap().is_empty());

    vmm.child.kill().unwrap();
    let killed = Instant::now();
    // Not waited for: a zombie is gone as well.
    while device.alive() {
        assert!(killed.elapsed() < Duration::from_secs(1));
    }
    let pid = vmm.pid();
    let gone = Error::Gone(Gone::Exited { pid });
    let query = device.query_plane(PlaneType::Primary, PlaneKind::Region);
    assert_eq!(query.unwrap_err(), gone);
    assert_eq!(device.export_dmabuf(DmabufId(1)).unwrap_err(), gone);
    drop(device);
    assert_eq!(borrow(pid, None).unwrap_err(), HostError::NoSuchProcess { pid });
    drop(vmm);
    host.open(&mdev.name(), OnConflict::Refuse).unwrap();
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn chooses_among_several_displays() {
    let mdevs = [Mdev::create("mdpy-vga", 0x103), Mdev::create("mbochs-small", 0x104)];
    let vmm = Vmm::start(&[&mdevs[0], &mdevs[1]]);
    let pid = vmm.pid();
    match borrow(pid, None) {
        Err(HostError::SeveralDisplays { displays, .. }) => {
            let names: Vec<String> = displays.iter().map(ToString::to_string).collect();
            assert_eq!(names, [format!("pid:{pid}/0"), format!("pid:{pid}/1")]);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(borrow(pid, Some(0)).unwrap().display().kinds, [PlaneKind::Region]);
    assert_eq!(borrow(pid, Some(1)).unwrap().display().kinds, [PlaneKind::Dmabuf]);
    match borrow(pid, Some(2)) {
        Err(HostError::NoSuchDisplay { n: 2, displays, .. }) => assert_eq!(displays.len(), 2),
        other => panic!("{other:?}"),
    }
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn borrows_from_itself() {
    let mdev = Mdev::create("mbochs-small", 0x105);
    let host = Host::new();
    let opened = host.open(&mdev.name(), OnConflict::Refuse).unwrap();
    set_mode(&opened, 640, 480);
    let borrowed = borrow(std::process::id(), None).unwrap();
    assert_eq!(plane(&borrowed), plane(&opened));
    // One of the two exports, the other is held back.
    let dmabuf = export(&opened).unwrap();
    match export(&borrowed).unwrap_err() {
        Error::Conflict { why, .. } => {
            let pid = std::process::id();
            assert_eq!(why, Conflict::Exporting { pid });
        }
        other => panic!("{other}"),
    }
    drop(dmabuf);
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn does_not_export_what_the_vmm_shows_itself() {
    let mdev = Mdev::create("mbochs-small", 0x106);
    let mut vmm = Vmm::start(&[&mdev]);
    vmm.order("mode");
    assert!(vmm.order("export").ends_with("ok"));
    let device = borrow(vmm.pid(), None).unwrap();
    assert_eq!(device.driver(), Some("mbochs"));
    let found = device.display_conflict().unwrap();
    assert!(found.driver_breaks);
    assert_eq!(found.holders[0].process.pid, vmm.pid());
    // The fd that it asked for, and the one that this crate keeps.
    assert_eq!(found.holders[0].dmabufs.values().sum::<u32>(), 2);
    // Our VMM exports by this crate and so has the lock as well; a foreign one would not.
    let error = export(&device).unwrap_err();
    assert!(matches!(error, Error::Conflict { .. }), "{error}");
    assert!(!error.is_transient() && !error.is_gone());
    assert!(plane(&device).width == 640, "queries go on");
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn two_borrowers_do_not_export_at_once() {
    let mdev = Mdev::create("mbochs-small", 0x107);
    let mut vmm = Vmm::start(&[&mdev]);
    vmm.order("mode");
    let mut other = Vmm::role(&format!("pid:{}", vmm.pid()));
    other.answer("ready");
    let device = borrow(vmm.pid(), None).unwrap();
    // With nothing exported by us but the lock taken, so only that can be the reason.
    drop(export(&device).unwrap());
    let answer = other.order("export");
    assert!(answer.contains("Exporting"), "{answer}");
    drop(device);
    vmm.order("mode");
    assert!(other.order("export").ends_with("ok"));
    let late = borrow(vmm.pid(), None).unwrap();
    assert!(matches!(export(&late), Err(Error::Conflict { .. })));
    // A dma-buf outlives the borrower's lock; then the look at who holds one finds it.
    let found = late.display_conflict().unwrap();
    assert_eq!(found.holders[0].process.pid, other.pid());
    other.order("close");
    other.order("forget");
    assert!(late.display_conflict().unwrap().is_empty());
    drop(other);
    vmm.order("mode");
    drop(export(&late).unwrap());
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn dmabufs_of_another_device_are_no_conflict() {
    let mdevs = [Mdev::create("mbochs-small", 0x108), Mdev::create("mbochs-small", 0x109)];
    let mut shown = Vmm::start(&[&mdevs[0]]);
    let mut hidden = Vmm::start(&[&mdevs[1]]);
    shown.order("mode");
    hidden.order("mode");
    assert!(shown.order("export").ends_with("ok"));
    let device = borrow(hidden.pid(), None).unwrap();
    assert_eq!(device.display_conflict().unwrap().holders, []);
    drop(export(&device).unwrap());
}

#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn a_dmabuf_that_somebody_was_handed_is_a_conflict() {
    let mdev = Mdev::create("mbochs-small", 0x10a);
    let mut vmm = Vmm::start(&[&mdev]);
    vmm.order("mode");
    let mut viewer = Vmm::role(&format!("pid:{}", vmm.pid()));
    viewer.answer("ready");
    assert!(viewer.order("export").ends_with("ok"));
    // It keeps the dma-buf, but neither the device nor the lock that came with it.
    viewer.order("forget");
    let device = borrow(vmm.pid(), None).unwrap();
    match export(&device).unwrap_err() {
        Error::Conflict { why, .. } => {
            let pids = vec![viewer.pid()];
            let driver = "mbochs";
            assert_eq!(why, Conflict::Held { driver, pids });
        }
        other => panic!("{other}"),
    }
    viewer.order("close");
    vmm.order("mode");
    drop(export(&device).unwrap());
}

/// `kernel.yama.ptrace_scope` keeps a user from borrowing of a VMM of his own.
#[test]
#[ignore = "needs the testbed: cargo xtask test"]
fn names_the_setting_that_forbids_to_borrow() {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    const YAMA: &str = "/proc/sys/kernel/yama/ptrace_scope";
    const NOBODY: u32 = 65534;

    let mdev = Mdev::create("mdpy-vga", 0x10b);
    let host = Host::new();
    let listed = host.mdevs().unwrap();
    let listed = listed.iter().find(|m| Some(m.uuid) == Uuid::parse(&mdev.0)).unwrap();
    let group = format!("/dev/vfio/{}", listed.iommu_group.unwrap());
    fs::set_permissions(group, fs::Permissions::from_mode(0o666)).unwrap();
    let before = fs::read_to_string(YAMA).unwrap();
    fs::write(YAMA, "1").unwrap();

    // Where another user may run it.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for path in [dir.path(), &program] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let as_nobody = |role: &str| {
        let mut vmm = Command::new(&program);
        vmm.args(["--exact", "plays_a_vmm", "--ignored", "--nocapture"])
            .env(ROLE, role)
            .env("RUST_BACKTRACE", "0")
            .current_dir("/")
            .uid(NOBODY)
            .gid(NOBODY)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        vmm
    };
    let mut vmm = Vmm::spawn(&mut as_nobody(&mdev.0));
    vmm.answer("ready");
    let output = as_nobody(&format!("pid:{}", vmm.pid())).stdin(Stdio::null()).output().unwrap();
    fs::write(YAMA, before).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{said}");
    assert!(said.contains("NotPermitted") && said.contains("yama: Some(1)"), "{said}");
}
