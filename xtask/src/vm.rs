// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One boot of L1, the virtual machine with the real /dev/vfio: what to run goes in as a shell
//! script, what it prints comes out line by line, how it ended comes out as a number.

use std::env;
use std::fs;
use std::io::{BufRead as _, BufReader, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::clock;
use crate::command::{self, program};
use crate::ended::Ended;
use crate::initramfs::{L1, L2};
use crate::kernels::{self, Kernel, Series};

/// TCG is slow, so this is generous; a hang costs this long.
const TIMEOUT: Duration = Duration::from_secs(1200);

/// L1 gives a sign of life every 5 s.
const STANDS_STILL: Duration = Duration::from_secs(120);

/// Between two bytes that L1's serial port receives, each of which is an interrupt. While a guest
/// runs inside, TCG of QEMU 7.2 can lose one: `vmrun` and the exit from it change the word of
/// pending interrupts without the lock under which the timer's thread does. The local APIC then
/// holds the timer's interrupt forever, and L1 stands still until another arrives.
const PULSE: Duration = Duration::from_millis(250);

/// Consoles of earlier boots that stay.
const LOGS_KEPT: usize = 20;

/// Where L1 sees the writable share.
const SHARE: &str = "/run/testbed";

/// Everything L1 needs, ready to boot.
#[derive(Debug)]
pub(crate) struct Machine {
    pub(crate) kernel: Kernel,
    tsc_khz: u64,
    initramfs: PathBuf,
    guest_initramfs: PathBuf,
}

impl Machine {
    pub(crate) fn prepare(series: Series) -> Result<Self> {
        crate::packages::install_programs()?;
        let kernel = Kernel::prepare(series)?;
        Ok(Self {
            tsc_khz: clock::tsc_khz()?,
            initramfs: L1.prepare(&kernel)?,
            guest_initramfs: L2.prepare(&kernel)?,
            kernel,
        })
    }

    /// Runs a script in L1 and hands each line of its output to `line`.
    pub(crate) fn run(
        &self,
        script: &str,
        timeout: Option<u64>,
        mut line: impl FnMut(&str),
    ) -> Result<Ended> {
        let boot = Boot::new(self, script)?;
        let mut qemu = boot.command(self);
        qemu.args(["-chardev", "stdio,id=output,signal=on"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = spawn(&mut qemu)?;
        let stdout = child.stdout.take().context("QEMU's output is not there")?;
        let mut stdin = child.stdin.take().context("QEMU's input is not there")?;
        thread::spawn(move || {
            // Until QEMU is gone.
            while stdin.write_all(b"\n").is_ok() {
                thread::sleep(PULSE);
            }
        });

        // Reading is the thread's, waiting for the time-out is ours.
        let (sender, receiver) = mpsc::channel();
        thread::spawn(move || {
            let mut reader = BufReader::new(stdout);
            let mut bytes = Vec::new();
            while reader.read_until(b'\n', &mut bytes).is_ok_and(|n| n > 0) {
                let text = String::from_utf8_lossy(&bytes).trim_end().to_owned();
                bytes.clear();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        let limit = timeout.map_or(TIMEOUT, Duration::from_secs);
        let start = Instant::now();
        loop {
            match receiver.recv_timeout(Duration::from_secs(1)) {
                Ok(text) => line(&text),
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
                Err(mpsc::RecvTimeoutError::Timeout) => {}
            }
            let stands_still = boot.last_sign_of_life(start) > STANDS_STILL;
            if stands_still || start.elapsed() > limit {
                child.kill()?;
                child.wait()?;
                return Ok(Ended {
                    stood_still: stands_still,
                    ..boot.end(format!("no end after {} s", start.elapsed().as_secs()))?
                });
            }
        }
        boot.end(cause(child.wait()?))
    }

    /// Gives the terminal to a shell in L1.
    pub(crate) fn shell(&self) -> Result<Ended> {
        let shell =
            "cd \"$TESTBED_WORKSPACE\"; if [ -x /bin/bash ]; then exec bash -i; fi; exec sh -i";
        let boot = Boot::new(self, shell)?;
        if std::io::stdin().is_terminal() {
            fs::write(boot.share.join("interactive"), "")?;
        }
        let mut qemu = boot.command(self);
        qemu.args(["-chardev", "stdio,id=output,signal=off"]);
        let status = spawn(&mut qemu)?.wait()?;
        boot.end(cause(status))
    }

    /// What tests find in their environment.
    fn environment(&self) -> Vec<(&'static str, String)> {
        let path = |path: &Path| path.display().to_string();
        vec![
            ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".into()),
            ("HOME", "/tmp".into()),
            ("TERM", env::var("TERM").unwrap_or_else(|_| "dumb".into())),
            ("RUST_BACKTRACE", "1".into()),
            ("TESTBED_KERNEL", self.kernel.series.name().into()),
            ("TESTBED_MODULES", path(&self.kernel.modules())),
            ("TESTBED_GUEST_KERNEL", path(&self.kernel.image())),
            ("TESTBED_GUEST_BZIMAGE", path(&self.kernel.compressed_image())),
            ("TESTBED_GUEST_INITRD", path(&self.guest_initramfs)),
            ("TESTBED_SHARE", SHARE.into()),
            ("TESTBED_SKIPS", format!("{SHARE}/skips")),
            ("TESTBED_WORKSPACE", path(&command::workspace())),
        ]
    }
}

/// The files of one boot.
#[derive(Debug)]
struct Boot {
    share: PathBuf,
    console: PathBuf,
}

impl Boot {
    fn new(machine: &Machine, script: &str) -> Result<Self> {
        let name = format!("{}-{}", machine.kernel.series.name(), std::process::id());
        let logs = kernels::cache()?.join("logs");
        fs::create_dir_all(&logs)?;
        prune(&logs, LOGS_KEPT)?;
        let console = logs.join(format!("{name}.console"));
        let share = kernels::fresh(&machine.kernel.directory.join(format!("share-{name}")))?;

        let mut job = String::new();
        for (name, value) in machine.environment() {
            job.push_str(&format!("export {name}={}\n", quote(&value)));
        }
        job.push_str("insmod \"$TESTBED_MODULES/mdpy.ko\" || exit 99\n");
        job.push_str("insmod \"$TESTBED_MODULES/mbochs.ko\" || exit 99\n");
        job.push_str(script);
        job.push('\n');
        fs::write(share.join("job"), job)?;
        Ok(Self { share, console })
    }

    fn command(&self, machine: &Machine) -> Command {
        let export = |id: &str, path: &Path, options: &str| {
            // A comma in a path is doubled in QEMU's options.
            let path = path.display().to_string().replace(',', ",,");
            format!("local,id={id},path={path},security_model=none,multidevs=remap{options}")
        };
        let mut qemu = program("qemu-system-x86_64");
        qemu.args(["-M", "q35", "-accel", "tcg,tb-size=512", "-cpu", "max"])
            .args(["-smp", "1", "-m", "2048", "-no-reboot"])
            .args(["-nodefaults", "-no-user-config", "-net", "none"])
            .args(["-display", "none", "-vga", "none", "-monitor", "none"])
            .arg("-kernel")
            .arg(machine.kernel.image())
            .arg("-initrd")
            .arg(&machine.initramfs)
            .args(["-append", &format!("{KERNEL_COMMAND_LINE} tsc_early_khz={}", machine.tsc_khz)])
            .arg("-serial")
            .arg(format!("file:{}", self.console.display()))
            .args(["-serial", "chardev:output"])
            .args(["-device", "virtio-rng-pci"])
            .arg("-fsdev")
            .arg(export("root", Path::new("/"), ",readonly=on"))
            .args(["-device", "virtio-9p-pci,fsdev=root,mount_tag=host"])
            .arg("-fsdev")
            .arg(export("share", &self.share, ""))
            .args(["-device", "virtio-9p-pci,fsdev=share,mount_tag=share"]);
        qemu
    }

    /// How long ago it was.
    fn last_sign_of_life(&self, start: Instant) -> Duration {
        fs::metadata(self.share.join("heartbeat"))
            .and_then(|file| file.modified())
            .ok()
            .and_then(|time| time.elapsed().ok())
            .unwrap_or_else(|| start.elapsed())
    }

    fn end(self, cause: String) -> Result<Ended> {
        let status = fs::read_to_string(self.share.join("status"))
            .ok()
            .and_then(|status| status.trim().parse().ok());
        let skips = fs::read_to_string(self.share.join("skips")).unwrap_or_default();
        fs::remove_dir_all(&self.share)
            .with_context(|| format!("removing {}", self.share.display()))?;
        Ok(Ended {
            status,
            stood_still: false,
            cause,
            console: self.console,
            skips: skips.lines().map(str::to_owned).collect(),
        })
    }
}

/// Removes all but the newest files.
fn prune(directory: &Path, keep: usize) -> Result<()> {
    let mut files = Vec::new();
    for file in fs::read_dir(directory)? {
        let file = file?;
        files.push((file.metadata()?.modified()?, file.path()));
    }
    files.sort();
    let old = files.len().saturating_sub(keep);
    for (_, file) in &files[..old] {
        fs::remove_file(file).with_context(|| format!("removing {}", file.display()))?;
    }
    Ok(())
}

/// A kernel bug ends the run (`oops=panic`, `panic=-1` with QEMU's -no-reboot) and is not a line
/// in a log that nobody reads. The rest is about booting fast under TCG.
const KERNEL_COMMAND_LINE: &str = "console=ttyS0 loglevel=5 oops=panic panic=-1 nokaslr \
    mitigations=off no_timer_check tsc=reliable";

fn spawn(qemu: &mut Command) -> Result<Child> {
    qemu.spawn().with_context(|| format!("{} did not start", command::line(qemu)))
}

fn cause(status: ExitStatus) -> String {
    if status.success() {
        "the machine stopped: see its console".into()
    } else {
        format!("QEMU: {status}")
    }
}

/// One word for a shell.
pub(crate) fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quoted_word_is_one_word() {
        assert_eq!(quote("a b"), "'a b'");
        assert_eq!(quote("it's $HOME"), r"'it'\''s $HOME'");
    }
}
