// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The host module on trees of plain files, and its process calls on real processes.
#![cfg(feature = "host")]

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;
use vfio_display::host::{DeviceName, Host, HostError, Missing, OnConflict, Target};

const UUID: &str = "83b8f4f2-509f-382f-3c1e-e6bfe0fa1001";

/// A host of plain files.
struct Fake {
    root: TempDir,
    host: Host,
}

impl Fake {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let host = Host::new()
            .with_sysfs(root.path().join("sys"))
            .with_procfs(root.path().join("proc"))
            .with_dev(root.path().join("dev"));
        fs::create_dir_all(root.path().join("proc")).unwrap();
        Self { root, host }
    }

    fn file(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// A link at `path`; an absolute `target` starts at the tree's root.
    fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        match target.strip_prefix("//") {
            Some(inside) => symlink(self.root.path().join(inside), path).unwrap(),
            None => symlink(target, path).unwrap(),
        }
        self
    }

    fn mdev(&self, uuid: &str, driver: &str, group: u32) -> &Self {
        let at = format!("sys/devices/virtual/mdpy/mdpy/{uuid}");
        let types = "//sys/devices/virtual/mdpy/mdpy/mdev_supported_types/mdpy-vga";
        self.file(&format!("{at}/uevent"), "")
            .link(&format!("{at}/mdev_type"), types)
            .link(&format!("{at}/driver"), &format!("//sys/bus/mdev/drivers/{driver}"))
            .link(&format!("{at}/iommu_group"), &format!("//sys/kernel/iommu_groups/{group}"))
            .link(&format!("sys/bus/mdev/devices/{uuid}"), &format!("//{at}"))
    }

    fn pci(&self, address: &str, driver: Option<&str>, class: &str) -> &Self {
        let at = format!("sys/devices/pci0000:00/{address}");
        self.file(&format!("{at}/class"), class)
            .file(&format!("{at}/vendor"), "0x10de\n")
            .file(&format!("{at}/device"), "0x2235\n")
            .link(&format!("sys/bus/pci/devices/{address}"), &format!("//{at}"));
        if let Some(driver) = driver {
            self.link(&format!("{at}/driver"), &format!("//sys/bus/pci/drivers/{driver}"));
        }
        self
    }

    fn open(&self, name: &str) -> HostError {
        let name: DeviceName = name.parse().unwrap();
        self.host.open(&name, OnConflict::Refuse).unwrap_err()
    }
}

#[test]
fn targets() {
    let good = [
        (UUID, UUID),
        ("83B8F4F2-509F-382F-3C1E-E6BFE0FA1001", UUID),
        ("0000:65:00.4", "0000:65:00.4"),
        ("65:00.4", "0000:65:00.4"),
        ("10000:E1:1f.7", "10000:e1:1f.7"),
        ("/sys/bus/mdev/devices/x", "/sys/bus/mdev/devices/x"),
        ("pid:42", "pid:42"),
        ("pid:42/0", "pid:42/0"),
        ("pid:4194304/17", "pid:4194304/17"),
    ];
    for (given, shown) in good {
        let target: Target = given.parse().unwrap();
        assert_eq!(target.to_string(), shown);
        assert_eq!(shown.parse::<Target>().unwrap(), target);
    }
    let bad = [
        ("", "is empty"),
        ("pid:", "has no process id after pid:"),
        ("pid:0", "has no process id after pid:"),
        ("pid:+1", "has no process id after pid:"),
        ("pid:4294967295", "has no process id after pid:"),
        ("pid:1/", "has no display number after the slash"),
        ("pid:1/x", "has no display number after the slash"),
        ("65:00.8", "is no PCI address"),
        ("65:20.0", "is no PCI address"),
        ("1:65:00.0", "is no PCI address"),
        ("0000:0000:65:00.0", "is no PCI address"),
        ("+5:00.0", "is no PCI address"),
        ("65:00.", "is no PCI address"),
        ("83b8f4f2-509f-382f-3c1e-e6bfe0fa100", "is no UUID"),
        ("83b8f4f2-509f-382f-3c1e-e6bfe0fa100g", "is no UUID"),
        ("83b8f4f2-509f-382f-3c1e-e6bfe0fa1001-", "is no UUID"),
        ("sys/bus", "is no absolute path"),
        ("qemu", "names no device"),
    ];
    for (given, why) in bad {
        let error = given.parse::<Target>().unwrap_err();
        assert_eq!(error.why, why, "{given:?}");
        assert!(error.to_string().contains("pid:PID[/N]"), "{error}");
    }
}

#[test]
fn an_empty_host_has_nothing_and_says_so() {
    let fake = Fake::new();
    assert_eq!(fake.host.mdevs(), Ok(vec![]));
    assert_eq!(fake.host.mdev_types(), Ok(vec![]));
    assert_eq!(fake.host.pci_devices(), Ok(vec![]));
    assert_eq!(fake.host.vmms(), Ok(Default::default()));
    let nowhere = fake.host.clone().with_procfs("/nonexistent");
    assert!(matches!(nowhere.vmms(), Err(HostError::Io { what: "list", .. })));
}

#[test]
fn mdevs_and_types_are_listed_in_order() {
    let fake = Fake::new();
    let types = "sys/devices/virtual/mdpy/mdpy/mdev_supported_types";
    fake.file(&format!("{types}/mdpy-vga/name"), "mdpy-vga\n")
        .file(&format!("{types}/mdpy-vga/description"), "virtual display\nof 640x480\n")
        .file(&format!("{types}/mdpy-vga/device_api"), "vfio-pci\n")
        .file(&format!("{types}/mdpy-vga/available_instances"), "3\n")
        .file(&format!("{types}/a\u{1b}[31m/available_instances"), "many")
        .file(&format!("{types}/huge/name"), vec![b'x'; 1 << 20])
        .link("sys/class/mdev_bus/mdpy", "//sys/devices/virtual/mdpy/mdpy")
        .mdev(UUID, "mdpy", 7)
        .mdev("03b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "mdpy", 8)
        .link("sys/bus/mdev/devices/a3b8f4f2-509f-382f-3c1e-e6bfe0fa1001", "//gone")
        .file("sys/bus/mdev/devices/not-a-uuid", "");

    let mdevs = fake.host.mdevs().unwrap();
    let [first, second] = &mdevs[..] else {
        panic!("{mdevs:?}");
    };
    assert_eq!(first.iommu_group, Some(8));
    assert_eq!(second.uuid.to_string(), UUID);
    assert_eq!(second.parent.as_deref(), Some("mdpy"));
    assert_eq!(second.type_id.as_deref(), Some("mdpy-vga"));
    assert_eq!(second.type_name.as_deref(), Some("mdpy-vga"));
    assert_eq!(second.driver.as_deref(), Some("mdpy"));

    let types = fake.host.mdev_types().unwrap();
    let ids: Vec<&str> = types.iter().map(|kind| kind.id.as_str()).collect();
    assert_eq!(ids, ["a\u{fffd}[31m", "huge", "mdpy-vga"]);
    assert_eq!(types[0].available_instances, None);
    assert_eq!(types[1].name, None);
    assert_eq!(types[2].parent, "mdpy");
    assert_eq!(types[2].description.as_deref(), Some("virtual display, of 640x480"));
    assert_eq!(types[2].device_api.as_deref(), Some("vfio-pci"));
    assert_eq!(types[2].available_instances, Some(3));
}

#[test]
fn pci_devices_of_vfio_and_vgpu_functions_are_listed() {
    let fake = Fake::new();
    let vf = "sys/devices/pci0000:00/0000:65:00.5/nvidia";
    fake.pci("0000:65:00.4", Some("mlx5_vfio_pci"), "0x020000\n")
        .pci("0000:65:00.5", Some("nvidia"), "0x030000\n")
        .pci("0000:65:00.6", Some("nvidia"), "0x030000\n")
        .pci("0000:01:00.0", Some("vfio-pci"), "garbage\u{0}\n")
        .pci("0000:02:00.0", None, "0x030200\n")
        .file(&format!("{vf}/current_vgpu_type"), "1155\n")
        .file(
            &format!("{vf}/creatable_vgpu_types"),
            "ID    : vGPU Name\n1154  : NVIDIA L40S-1Q\n1155  : NVIDIA L40S-2Q\n",
        );
    let devices = fake.host.pci_devices().unwrap();
    let [vfio, variant, vgpu] = &devices[..] else {
        panic!("{devices:?}");
    };
    assert_eq!(vfio.address.to_string(), "0000:01:00.0");
    assert!(vfio.vfio && !vfio.is_display() && vfio.class.is_none());
    assert!(variant.vfio && !variant.is_display() && variant.vgpu.is_none());
    assert!(!vgpu.vfio && vgpu.is_display());
    let types = vgpu.vgpu.as_ref().unwrap();
    assert_eq!(types.current, Some(1155));
    assert_eq!(types.creatable.len(), 2);
    assert_eq!(types.creatable[0].name, "NVIDIA L40S-1Q");
    assert_eq!((vgpu.vendor, vgpu.device), (Some(0x10de), Some(0x2235)));
}

#[test]
fn vmms_are_those_that_hold_a_device() {
    let fake = Fake::new();
    let device = "anon_inode:[vfio-device]";
    fake.file("proc/120/comm", "qemu\u{1b}[2J-system\n")
        .file("proc/120/cmdline", b"/usr/bin/qemu-system-x86_64\0-nodefaults\0")
        .link("proc/120/fd/10", device)
        .link("proc/120/fd/9", device)
        .link("proc/120/fd/5", "/dev/vfio/12")
        .link("proc/120/fd/4", "/dev/vfio/vfio")
        .link("proc/120/fd/20", "/dmabuf:")
        .link("proc/120/fd/21", "/dmabuf:named")
        .link("proc/120/fd/garbage", device)
        .file("proc/120/fdinfo/20", "exp_name:\ti915\n")
        .file("proc/120/fdinfo/9", "pos:\t0\nvfio-device-syspath: /sys/devices/x\n")
        .file("proc/21/comm", "jailed\n")
        .link("proc/21/fd/3", "/srv/jail/dev/vfio/devices/vfio4")
        .link("proc/3/fd/0", "/dev/vfio/devices/other")
        .link("proc/3/fd/1", "anon_inode:[vfio]")
        .file("proc/77/comm", "secret\n")
        .link("proc/77/fd", "fd")
        .file("proc/78/stat", "78 (odd) name) S 2 0 0 0 -1 2129984 0 0\n")
        .link("proc/78/fd", "fd")
        .file("proc/99/comm", "no fd directory: it has just exited\n")
        .file("proc/uptime", "1");
    let vmms = fake.host.vmms().unwrap();
    let [jailed, qemu] = &vmms.running[..] else {
        panic!("{vmms:?}");
    };
    assert_eq!(jailed.process.to_string(), "21 (jailed)");
    assert_eq!(jailed.device_fds[0].cdev.as_deref(), Some("vfio4"));
    assert_eq!(qemu.process.name, "qemu\u{fffd}[2J-system");
    assert_eq!(qemu.command.as_deref(), Some("qemu-system-x86_64"));
    let fds: Vec<i32> = qemu.device_fds.iter().map(|device| device.fd).collect();
    assert_eq!(fds, [9, 10]);
    assert_eq!(qemu.device_fds[0].device.as_deref(), Some(Path::new("/sys/devices/x")));
    assert_eq!(qemu.iommu_groups, [12]);
    assert_eq!(qemu.dmabufs.get("i915"), Some(&1));
    assert_eq!(qemu.dmabufs.get(""), Some(&1));
    // A loop of links stands for a refusal, which root never gets. Kernel threads are no loss.
    let [secret] = &vmms.unseen[..] else {
        panic!("{vmms:?}");
    };
    assert_eq!(secret.process.to_string(), "77 (secret)");
}

#[test]
fn what_cannot_be_opened_says_why_and_what_to_do() {
    let fake = Fake::new();
    fake.mdev(UUID, "mdpy", 12)
        .pci("0000:65:00.4", Some("nouveau"), "0x030000\n")
        .pci("0000:65:00.6", None, "0x030000\n")
        .pci("0000:65:00.5", Some("nvidia"), "0x030000\n")
        .file("sys/devices/pci0000:00/0000:65:00.5/nvidia/current_vgpu_type", "0\n")
        .file("sys/class/drm/version", "drm 1.1.0\n");

    let error = fake.open("03b8f4f2-509f-382f-3c1e-e6bfe0fa1001");
    assert!(matches!(error, HostError::NoSuchDevice { .. }), "{error}");
    let sys = fake.root.path().join("sys/class/drm");
    let error = fake.open(sys.to_str().unwrap());
    assert!(matches!(error, HostError::NotADevice { .. }), "{error}");

    let error = fake.open("65:00.4");
    let text = error.to_string();
    assert!(matches!(error, HostError::NotVfio { .. }), "{error}");
    assert!(text.starts_with("0000:65:00.4 is not bound to a VFIO driver but to nouveau;"));
    assert!(text.contains("echo vfio-pci > ") && text.contains("driver_override"));
    assert!(fake.open("65:00.6").to_string().contains("but to none;"));
    let error = fake.open("65:00.5");
    assert!(matches!(error, HostError::NoVgpuType { .. }), "{error}");

    let error = fake.open(UUID);
    assert!(matches!(error, HostError::NoDeviceFile { .. }), "{error}");
    assert!(error.to_string().contains("dev/vfio/12"), "{error}");
    fake.file("dev/vfio/noiommu-12", "");
    let error = fake.open(UUID);
    assert!(matches!(error, HostError::NoIommu { .. }), "{error}");
    // A file that is no group: the ioctl's errno comes through, with its path.
    fake.file("dev/vfio/12", "");
    let error = fake.open(UUID);
    assert!(matches!(&error, HostError::Io { what: "get the group status of", .. }), "{error}");
    assert!(error.to_string().contains("(ENOTTY)"), "{error}");
}

#[test]
fn a_cdev_is_found_where_there_is_no_group() {
    let fake = Fake::new();
    let at = format!("sys/devices/virtual/mdpy/mdpy/{UUID}");
    fake.mdev(UUID, "mdpy", 12)
        .file(&format!("{at}/vfio-dev/vfio3/dev"), "511:3\n")
        .file("dev/vfio/devices/vfio3", "")
        .file("dev/iommu", "");
    let error = fake.open(UUID);
    assert!(matches!(&error, HostError::Io { what: "bind to an iommufd", .. }), "{error}");
    assert!(error.to_string().contains("dev/vfio/devices/vfio3"), "{error}");
}

/// A child that is killed when its test ends.
struct Running(Child);

impl Running {
    fn sleep() -> Self {
        Self(Command::new("sleep").arg("60").spawn().unwrap())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn borrow(pid: u32) -> HostError {
    Host::new().borrow(pid, None, OnConflict::Refuse).unwrap_err()
}

/// The same of a process that no longer changes, by each way to ask.
fn settled(pid: u32) -> HostError {
    let host = Host::new();
    let error = borrow(pid);
    assert_eq!(host.displays(pid).unwrap_err(), error);
    assert_eq!(host.borrow(pid, Some(3), OnConflict::Refuse).unwrap_err(), error);
    error
}

#[test]
fn a_process_without_vfio_devices_is_no_vmm() {
    let child = Running::sleep();
    let pid = child.0.id();
    // Right after the fork it may still be called as we are.
    let started = Instant::now();
    let error = loop {
        match borrow(pid) {
            HostError::NotAVmm(process) if process.name != "sleep" => {
                assert!(started.elapsed() < Duration::from_secs(5), "{process}");
            }
            error => break error,
        }
    };
    assert_eq!(settled(pid), error);
    assert_eq!(
        error.to_string(),
        format!("process {pid} (sleep) is no VMM with a VFIO device: it holds no VFIO device fd")
    );
}

#[test]
fn a_process_that_is_gone_or_dead_is_none() {
    let mut child = Running::sleep();
    let pid = child.0.id();
    child.0.kill().unwrap();
    // A zombie, from now on: killed and not waited for.
    let started = Instant::now();
    while !matches!(borrow(pid), HostError::NoSuchProcess { .. }) {
        assert!(started.elapsed() < Duration::from_secs(5));
    }
    child.0.wait().unwrap();
    for pid in [pid, 0, u32::MAX, i32::MAX as u32] {
        assert_eq!(settled(pid), HostError::NoSuchProcess { pid });
    }
}

/// What another user sees of a process of root's, in a child that is that user.
#[test]
fn a_process_of_another_user_is_not_permitted() {
    const ROLE: &str = "VFIO_DISPLAY_TEST_LOOK_AT";
    if let Ok(pid) = std::env::var(ROLE) {
        let pid: u32 = pid.parse().unwrap();
        let error = borrow(pid);
        assert!(
            matches!(&error, HostError::NotPermitted { missing: Missing::Ptrace { .. }, .. }),
            "{error}"
        );
        assert!(error.to_string().contains("CAP_SYS_PTRACE"), "{error}");
        let vmms = Host::new().vmms().unwrap();
        assert!(vmms.unseen.iter().any(|unseen| unseen.process.pid == pid));
        return;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become another user");
        return;
    }
    // Where another user may run it.
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    for path in [dir.path(), &program] {
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let victim = Running::sleep();
    let output = Command::new(&program)
        .args(["--exact", "a_process_of_another_user_is_not_permitted"])
        .env(ROLE, victim.0.id().to_string())
        .uid(65534)
        .gid(65534)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}
