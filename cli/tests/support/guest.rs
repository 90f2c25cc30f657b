// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A guest that draws: Debian's kernel with bochs-drm, in Debian's QEMU with KVM, unmodified. Its
//! init is xtask/src/guest/l2-init.sh, which tells the protocol of the share.

use std::fs::{self, File};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{Mdev, testbed, wait_for};
use vfio_display::geometry::Size;

/// A boot takes 7 to 16 s, everything else less than one.
const ROUND: Duration = Duration::from_secs(180);

/// A running VMM; killed when dropped.
#[derive(Debug)]
pub(crate) struct Guest {
    qemu: Child,
    directory: PathBuf,
}

/// What the guest itself reads from its /dev/fb0.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Framebuffer {
    pub(crate) width: usize,
    pub(crate) height: usize,
    /// Bytes from one line to the next.
    pub(crate) stride: usize,
    pub(crate) bits_per_pixel: usize,
    pub(crate) bytes: Vec<u8>,
}

impl Framebuffer {
    /// Its pixels, `0xffRRGGBB`.
    pub(crate) fn pixels(&self) -> (Size, Vec<u32>) {
        assert_eq!(self.bits_per_pixel, 32);
        let row = |row: &[u8]| -> Vec<u32> {
            let pixel = |p: &[u8]| 0xff00_0000 | u32::from_le_bytes([p[0], p[1], p[2], 0]);
            row[..self.width * 4].chunks_exact(4).map(pixel).collect()
        };
        let size = Size::new(self.width as u32, self.height as u32);
        (size, self.bytes.chunks_exact(self.stride).take(self.height).flat_map(row).collect())
    }
}

impl Guest {
    /// Boots it on a device, with more arguments for QEMU, and returns when its console is on the
    /// screen and `fb(1)` can be read.
    pub(crate) fn start(mdev: &Mdev, extra: &[&str]) -> Self {
        let mut guest = Self::spawn(mdev, extra);
        guest.wait_ready(1);
        guest
    }

    /// Boots it, and returns before it has done anything.
    pub(crate) fn spawn(mdev: &Mdev, extra: &[&str]) -> Self {
        let directory = PathBuf::from(format!("/tmp/guest-{}", mdev.uuid));
        let _ = fs::remove_dir_all(&directory);
        let share = directory.join("share");
        fs::create_dir_all(&share).expect("/tmp can be written");
        let log = File::create(directory.join("qemu.log")).expect("/tmp can be written");
        let qemu = Command::new("qemu-system-x86_64")
            .args(["-M", "pc", "-accel", "kvm", "-cpu", "host", "-m", "256"])
            .args(["-display", "none", "-vga", "none", "-net", "none", "-nodefaults"])
            .arg("-serial")
            .arg(format!("file:{}", directory.join("serial").display()))
            .arg("-device")
            .arg(format!("vfio-pci,sysfsdev={}", mdev.path.display()))
            .args(["-kernel", &testbed("GUEST_KERNEL")])
            .args(["-initrd", &testbed("GUEST_INITRD")])
            .args([
                "-append",
                "console=ttyS0 quiet vt.global_cursor_default=0 consoleblank=0 mitigations=off",
            ])
            .arg("-fsdev")
            .arg(format!(
                "local,id=share,path={},security_model=none,multidevs=remap",
                share.display()
            ))
            .args(["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"])
            .args(extra)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a file can be shared"))
            .stderr(log)
            .spawn()
            .expect("qemu-system-x86_64 is installed");
        Self { qemu, directory }
    }

    /// The process id of the VMM.
    pub(crate) fn pid(&self) -> u32 {
        self.qemu.id()
    }

    /// Waits until the guest has written its N-th framebuffer.
    pub(crate) fn wait_ready(&mut self, n: usize) {
        let start = Instant::now();
        while !self.is_ready(n) {
            assert!(start.elapsed() < ROUND, "no ready-{n} within {ROUND:?}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Whether the guest has written its N-th framebuffer. It has to be alive.
    pub(crate) fn is_ready(&mut self, n: usize) -> bool {
        if let Some(status) = self.qemu.try_wait().expect("QEMU is our child") {
            panic!("QEMU: {status}\n{}", self.log());
        }
        self.directory.join(format!("share/ready-{n}")).exists()
    }

    /// Runs a shell script in the guest as root, after which it writes its N-th framebuffer
    /// (N = 2, 3, …); answers with what the script printed.
    pub(crate) fn go(&mut self, n: usize, script: &str) -> String {
        self.send(n, script);
        self.wait_ready(n);
        let out = self.directory.join(format!("share/out-{n}"));
        fs::read_to_string(out).expect("the guest wrote out-N")
    }

    /// The same without waiting for it.
    pub(crate) fn send(&self, n: usize, script: &str) {
        let share = self.directory.join("share");
        let partial = share.join(".go");
        fs::write(&partial, script).expect("/tmp can be written");
        fs::rename(&partial, share.join(format!("go-{n}"))).expect("/tmp can be written");
    }

    /// The N-th framebuffer.
    pub(crate) fn fb(&self, n: usize) -> Framebuffer {
        let file = |name: String| self.directory.join("share").join(name);
        let info = fs::read_to_string(file(format!("fb0-{n}.info"))).expect("the guest wrote it");
        let value = |name: &str| {
            info.lines()
                .find_map(|line| line.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or_else(|| panic!("no {name} in {info:?}"))
        };
        let number = |text: &str| text.parse().unwrap_or_else(|_| panic!("{info:?}"));
        let (width, height) =
            value("virtual_size").split_once(',').unwrap_or_else(|| panic!("{info:?}"));
        Framebuffer {
            width: number(width),
            height: number(height),
            stride: number(value("stride")),
            bits_per_pixel: number(value("bits_per_pixel")),
            bytes: fs::read(file(format!("fb0-{n}"))).expect("the guest wrote it"),
        }
    }

    /// Ends the VMM as a crash would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // An error means that it ended before.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }

    /// Powers the guest off and waits for the VMM to end by itself.
    pub(crate) fn stop(mut self) {
        fs::write(self.directory.join("share/stop"), "").expect("/tmp can be written");
        let status =
            wait_for("QEMU's end", ROUND, || self.qemu.try_wait().expect("QEMU is our child"));
        assert!(status.success(), "QEMU: {status}\n{}", self.log());
    }

    /// What QEMU printed, and the guest's serial port.
    pub(crate) fn log(&self) -> String {
        ["qemu.log", "serial"]
            .map(|name| {
                let text = fs::read(self.directory.join(name)).unwrap_or_default();
                format!("{name}:\n{}\n", String::from_utf8_lossy(&text))
            })
            .concat()
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        self.kill();
        let _ = fs::remove_dir_all(&self.directory);
    }
}

/// Starts a VMM whose guest never runs, so that the display is off for good, and waits until it
/// has the device open; also answers with the DEV that it is borrowed by.
pub(crate) fn vmm_without_guest(mdev: &Mdev) -> (Vmm, String) {
    let vmm = Vmm::start(
        Command::new("qemu-system-x86_64")
            .args(["-M", "pc", "-accel", "kvm", "-cpu", "host", "-m", "64", "-S"])
            .args(["-display", "none", "-vga", "none", "-net", "none", "-nodefaults", "-device"])
            .arg(format!("vfio-pci,sysfsdev={}", mdev.path.display())),
    );
    let dev = format!("pid:{}", vmm.0.id());
    wait_for("the VMM's device", Duration::from_secs(90), || {
        super::vfio_display(&["probe", &dev]).status.success().then_some(())
    });
    (vmm, dev)
}

/// A VMM; killed when dropped, since its device can't be removed before it lets go.
#[derive(Debug)]
pub(crate) struct Vmm(Child);

impl Vmm {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).spawn().expect("the VMM starts"))
    }

    /// Ends it as a crash would, and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        // An error means that it ended before.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Vmm {
    fn drop(&mut self) {
        self.kill();
    }
}
