// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The command line.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use vfio_display::geometry::Size;

use crate::dev::{Dev, MOCK_SIZE};
use crate::exit;
use crate::mock_device::scene::Scene;
use crate::output::Format;
use crate::serve::User;

/// See the screen of a VFIO device: a vGPU, an mdev, a device of a VMM that is already running.
#[derive(Debug, Parser)]
#[command(name = "vfio-display", version, arg_required_else_help = true)]
#[command(after_help = exit::HELP, after_long_help = exit::HELP)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,

    /// Print JSON, errors included
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Say more on standard error
    #[arg(long, short, global = true)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    List(List),
    Probe(Probe),
    Shot(Shot),
    Serve(Box<Serve>),
    Passwd(Passwd),
    MockDevice(MockDevice),
}

/// List displays: of running VMMs, of mdev devices, and what more can be created
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vfio-display list             everything on this host
  vfio-display list --mock      also the mock devices, which need no hardware
  vfio-display list --json | jq '.vmms[].pid'")]
pub(crate) struct List {
    /// List the mock devices as well
    #[arg(long)]
    pub(crate) mock: bool,
}

/// Tell what a device's display offers, and what its driver gets wrong
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vfio-display probe mock:mdpy            the mock in the part of a kernel sample driver
  vfio-display probe 0000:65:00.4         a PCI device
  vfio-display probe pid:4711             the display of a running VMM
  vfio-display probe mock --json")]
pub(crate) struct Probe {
    #[command(flatten)]
    pub(crate) device: Device,
}

/// Write what a display shows to a picture file
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vfio-display shot mock -o screen.png                 a test card, without any hardware
  vfio-display shot pid:4711 -o screen.png             the screen of a running VMM
  vfio-display shot 83b8f4f2-509f-382f-3c1e-e6bfe0fa1001 -o screen.ppm
  vfio-display shot pid:4711/1 --wait 60 -o - | display")]
pub(crate) struct Shot {
    #[command(flatten)]
    pub(crate) device: Device,

    /// File to write, .png or .ppm; `-` for standard output
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: PathBuf,

    /// Format, where the file's name does not tell [standard output: png]
    #[arg(long, value_enum)]
    pub(crate) format: Option<Format>,

    /// How long to wait for the display to be on
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) wait: Duration,
}

/// Show a display to people, as it moves: in a browser, by VNC, or by QEMU's D-Bus display
#[derive(Clone, Debug, Args)]
#[command(after_help = "\
Examples:
  vfio-display serve mock                              a moving test card; type, and it shows
  vfio-display serve pid:4711                          the screen of a running VMM
  vfio-display serve pid:4711 --resize                 the guest's size follows the viewer's window
  vfio-display serve pid:4711 --vnc unix:/run/vm1.sock a socket that only you can open
  vfio-display serve pid:4711 --user nobody            no root any more once the device is open
  vfio-display serve pid:4711 --web=127.0.0.1:8080     in a browser alone, by the link it prints
  vfio-display serve pid:4711 --vnc 0.0.0.0:5900 --allow-remote --password-file vm1.passwd
  vfio-display serve pid:4711 --dbus                   to clients of `qemu -display dbus`: RDP, GTK
  vfio-display serve mock --record - | ffmpeg -f rawvideo -pix_fmt bgr0 -s 1024x768 -r 60 -i - a.mp4
  vfio-display serve --all                             every display of every VMM, a socket each")]
pub(crate) struct Serve {
    #[command(flatten)]
    pub(crate) device: OneDevice,

    #[command(flatten)]
    pub(crate) all: All,

    /// Where viewers connect: an address, or unix:PATH [127.0.0.1:5900, or the next port that is
    /// free]
    #[arg(long, value_name = "ADDR")]
    pub(crate) vnc: Option<Address>,

    /// Serve a page for browsers, at this address of this machine [127.0.0.1:6080, or the next port
    /// that is free]; beside VNC where nothing else is asked for
    #[arg(long, value_name = "ADDR", num_args = 0..=1, require_equals = true)]
    pub(crate) web: Option<Option<SocketAddr>>,

    /// A name that browsers may know the page by, as that of a proxy before it; may be repeated
    #[arg(long, value_name = "NAME[:PORT]")]
    pub(crate) web_host: Vec<String>,

    /// Where pages may come from that connect to it as well, as a console proxy's noVNC:
    /// https://console.example; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) web_origin: Vec<String>,

    /// Serve QEMU's D-Bus display, org.qemu.Display1, on a bus: the session's, or the one at this
    /// D-Bus address; no VNC and no web page then, unless it is asked for
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true)]
    pub(crate) dbus: Option<Option<String>>,

    /// Serve it without a bus, at a socket that only you can open
    #[arg(long, value_name = "PATH")]
    pub(crate) dbus_p2p: Option<PathBuf>,

    /// Hand the device's dma-bufs on to D-Bus clients, which have to show them with a GPU, in
    /// place of pixels; with no VNC, no web page and no recording beside
    #[arg(long, conflicts_with_all = ["vnc", "web", "record"])]
    pub(crate) dma_buf: bool,

    /// Looks at the screen per second
    #[arg(long, value_name = "N", default_value_t = vfio_display::schedule::DEFAULT_RATE)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) fps: u32,

    /// Let viewers choose the size of the guest's screen
    #[arg(long)]
    pub(crate) resize: bool,

    /// When the device goes, wait for it to come back, and keep the viewers
    #[arg(long)]
    pub(crate) reattach: bool,

    /// Take no keys and no pointer from viewers
    #[arg(long)]
    pub(crate) view_only: bool,

    /// Write raw video as well, 4 bytes a pixel (bgr0); a change of size begins a new file
    #[arg(long, value_name = "FILE")]
    pub(crate) record: Option<PathBuf>,

    /// Be this user once the device is open: a name or a number, with the group that it has or the
    /// one that is named
    #[arg(long, value_name = "USER[:GROUP]")]
    pub(crate) user: Option<User>,

    /// Keep every file and system call within reach; without it, what a running server has no use
    /// for kills it. For debuggers and profilers that work inside the process, and to find out
    /// whether the sandbox is what ends it
    #[arg(long)]
    pub(crate) no_sandbox: bool,

    #[command(flatten)]
    pub(crate) remote: Remote,
}

impl Serve {
    /// Whether D-Bus is asked for.
    pub(crate) fn by_dbus(&self) -> bool {
        self.dbus.is_some() || self.dbus_p2p.is_some()
    }

    /// Whether VNC is asked for, or nothing is.
    pub(crate) fn by_vnc(&self) -> bool {
        self.vnc.is_some() || self.by_default()
    }

    /// Whether the page is asked for, or nothing is.
    pub(crate) fn by_web(&self) -> bool {
        self.web.is_some() || self.by_default()
    }

    fn by_default(&self) -> bool {
        self.vnc.is_none() && self.web.is_none() && !self.by_dbus()
    }

    /// Whether standard output is a recording's, and nothing else may be on it.
    pub(crate) fn records_to_stdout(&self) -> bool {
        self.record.as_deref().is_some_and(|path| path.as_os_str() == "-")
    }
}

/// What stands before viewers who come by TCP.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "From other machines")]
pub(crate) struct Remote {
    /// Listen on addresses that other machines can reach. It takes a password, and TLS is always on
    #[arg(long)]
    pub(crate) allow_remote: bool,

    /// TLS for viewers on this machine, too
    #[arg(long)]
    pub(crate) tls: bool,

    /// The certificate, and those that sign it after it, in PEM [one that signs itself, made on
    /// first use]
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Its key, in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Passwords that let in, as `vfio-display passwd` writes them [the systemd credential
    /// vfio-display.password, if there is one]
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
}

/// Set a password for viewers, asked for on the terminal or read from standard input
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vfio-display passwd vm1.passwd                  one password, for whatever name a viewer gives
  vfio-display passwd vm1.passwd --user anna      a name and its password; other names stay
  pwgen 20 1 | vfio-display passwd vm1.passwd     from another program")]
pub(crate) struct Passwd {
    /// The file, made if it is not there; its owner's alone
    #[arg(value_name = "FILE")]
    pub(crate) file: PathBuf,

    /// Whose password it is
    #[arg(long, value_name = "NAME")]
    pub(crate) user: Option<String>,
}

/// Serve a device with a framebuffer region by vfio-user, for a VMM or for DEV vfio-user:PATH
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  vfio-display mock-device --socket /tmp/gpu.sock &
  vfio-display shot vfio-user:/tmp/gpu.sock -o screen.png
  qemu-system-x86_64 -device '{\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"/tmp/gpu.sock\"}}' …
  cloud-hypervisor --user-device socket=/tmp/gpu.sock …")]
pub(crate) struct MockDevice {
    /// Where clients connect, one at a time
    #[arg(long, value_name = "PATH")]
    pub(crate) socket: PathBuf,

    /// What the device's guest draws
    #[arg(long, value_enum, default_value_t = Scene::Card)]
    pub(crate) scene: Scene,

    /// Size of the screen
    #[arg(long, value_name = "WxH", default_value_t = MOCK_SIZE, value_parser = crate::dev::size)]
    pub(crate) size: Size,

    /// Frames per second at most, however many are asked for; 0 for no such limit
    #[arg(long, value_name = "N", default_value_t = 60)]
    pub(crate) fps: u32,
}

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Address {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

impl FromStr for Address {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("unix:") {
            Some("") => Err("unix:PATH wants a path".into()),
            Some(path) => Ok(Self::Unix(path.into())),
            None => text.parse().map(Self::Tcp).map_err(|_| {
                "an address is IP:PORT, as 127.0.0.1:5900 or [::1]:5900, or unix:PATH".into()
            }),
        }
    }
}

/// Every display of this host, in place of one.
#[derive(Clone, Debug, Args)]
pub(crate) struct All {
    /// Serve every display of every VMM on this host, as they come and go, each at a socket of its
    /// own; in place of DEV
    #[arg(long, conflicts_with_all = [
        "vnc", "dbus", "dbus_p2p", "dma_buf", "record", "reattach", "user"
    ])]
    pub(crate) all: bool,

    /// Where the sockets are made, one NAME.vnc for each display [$RUNTIME_DIRECTORY, or
    /// /run/vfio-display]
    #[arg(long, value_name = "DIR", conflicts_with = "dev")]
    pub(crate) dir: Option<PathBuf>,

    /// Serve the devices of vfio-user servers as well: each NAME.sock in this directory is one
    #[arg(long, value_name = "DIR", conflicts_with = "dev")]
    pub(crate) vfio_user_dir: Option<PathBuf>,

    /// Displays that are served at once; more are left out
    #[arg(long, value_name = "N", conflicts_with = "dev", default_value_t = 256)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub(crate) most: u32,

    /// Look for VMMs this often even where nothing told of one, as long as devices are there for
    /// them: a VMM with a /dev of its own opens them unseen. 0 for never
    #[arg(long, value_name = "SECONDS", conflicts_with = "dev", default_value = "30")]
    #[arg(value_parser = seconds)]
    pub(crate) rescan: Duration,
}

/// The device of a `serve`, which needs none where it has all.
#[derive(Clone, Debug, Args)]
pub(crate) struct OneDevice {
    /// The device: an mdev's UUID, a PCI address, the sysfs path of either, pid:PID[/N] for the
    /// N-th display of a running VMM, vfio-user:PATH for the socket of a vfio-user server, or
    /// mock[:PERSONALITY][:WxH]
    #[arg(value_name = "DEV", required_unless_present = "all", conflicts_with = "all")]
    pub(crate) dev: Option<Dev>,

    /// Read a display that its VMM shows itself, even where the driver is known to break
    #[arg(long)]
    pub(crate) force: bool,
}

/// The device, and how careful to be with it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Device {
    /// The device: an mdev's UUID, a PCI address, the sysfs path of either, pid:PID[/N] for the
    /// N-th display of a running VMM, vfio-user:PATH for the socket of a vfio-user server, or
    /// mock[:PERSONALITY][:WxH]
    #[arg(value_name = "DEV")]
    pub(crate) dev: Dev,

    /// Read a display that its VMM shows itself, even where the driver is known to break
    #[arg(long)]
    pub(crate) force: bool,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| "a number of seconds is wanted".to_owned())?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}
