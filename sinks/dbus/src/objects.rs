// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What clients see: the objects of a QEMU with one console, by QEMU's names
//! (`ui/dbus-display1.xml` of QEMU).

use std::os::fd::{AsFd as _, OwnedFd as StdFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use rustix::net::{AddressFamily, SocketType, sockopt};
use vfio_display::geometry::Size;
use vfio_display::input::UiInfo;
use zbus::connection::{Builder, Connection};
use zbus::fdo::ObjectManager;
use zbus::interface;
use zbus::message::Header;
use zbus::wire::OwnedFd;

use crate::error::Refused;
use crate::input::Client;
use crate::server::Shared;

const ROOT: &str = "/org/qemu/Display1";
const VM: &str = "/org/qemu/Display1/VM";
const CONSOLE: &str = "/org/qemu/Display1/Console_0";

/// Has a connection serve all objects.
pub(crate) fn serve_on<'a>(builder: Builder<'a>, scope: &Scope) -> Builder<'a> {
    builder
        .serve_at(VM, Vm(scope.clone()))
        .serve_at(CONSOLE, Console(scope.clone()))
        .serve_at(CONSOLE, Keyboard(scope.clone()))
        .serve_at(CONSOLE, Mouse(scope.clone()))
        .serve_at(ROOT, ObjectManager)
}

/// Tells those who look at properties that the size is another, until the connection fails.
pub(crate) async fn tell_sizes(shared: &Shared, connection: &Connection) -> zbus::Result<()> {
    let console = connection.object_server().interface::<_, Console>(CONSOLE).await?;
    let mut told = shared.screen.size();
    loop {
        let resized = shared.screen.resized.listen();
        let size = shared.screen.size();
        if size != told {
            told = size;
            let emitter = console.signal_emitter();
            console.get().await.width_changed(emitter).await?;
            console.get().await.height_changed(emitter).await?;
            continue;
        }
        resized.await;
    }
}

/// Whose calls they are.
#[derive(Clone)]
pub(crate) struct Scope {
    pub(crate) shared: Arc<Shared>,
    /// The number of the connection, where it is one to a single client.
    pub(crate) peer: Option<u64>,
}

impl Scope {
    fn client(&self, header: &Header<'_>) -> Client {
        match self.peer {
            Some(peer) => Client::Peer(peer),
            None => Client::Bus(header.sender().map(ToString::to_string).unwrap_or_default()),
        }
    }
}

struct Vm(Scope);

#[interface(name = "org.qemu.Display1.VM", spawn = false, introspection_docs = false)]
impl Vm {
    #[zbus(property(emits_changed_signal = "const"))]
    fn name(&self) -> String {
        self.0.shared.options.name.clone()
    }

    #[zbus(property(emits_changed_signal = "const"), name = "UUID")]
    fn uuid(&self) -> String {
        self.0.shared.options.uuid.clone()
    }

    #[zbus(property(emits_changed_signal = "const"), name = "ConsoleIDs")]
    fn console_ids(&self) -> Vec<u32> {
        vec![0]
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn interfaces(&self) -> Vec<String> {
        Vec::new()
    }
}

struct Console(Scope);

#[interface(name = "org.qemu.Display1.Console", spawn = false, introspection_docs = false)]
impl Console {
    /// Answers before the handshake on `listener`, which its owner begins when it has this.
    async fn register_listener(
        &self,
        #[zbus(header)] header: Header<'_>,
        listener: OwnedFd,
    ) -> Result<(), Refused> {
        let shared = &self.0.shared;
        let fd = StdFd::from(listener);
        let domain = sockopt::socket_domain(fd.as_fd());
        let kind = sockopt::socket_type(fd.as_fd());
        if (domain, kind) != (Ok(AddressFamily::UNIX), Ok(SocketType::STREAM)) {
            return Err(Refused::Failed("a listener is a connected unix stream socket".into()));
        }
        shared.listen_to(self.0.client(&header), UnixStream::from(fd))
    }

    #[zbus(name = "SetUIInfo")]
    async fn set_ui_info(
        &self,
        width_mm: u16,
        height_mm: u16,
        xoff: i32,
        yoff: i32,
        width: u32,
        height: u32,
    ) -> Result<(), Refused> {
        // Where the window is among other heads' says nothing about the one that there is.
        let _ = (xoff, yoff);
        let options = &self.0.shared.options;
        if !options.resize || options.view_only {
            return Err(Refused::Unsupported("SetUIInfo is not supported".into()));
        }
        let side = options.limits.side;
        if !(1..=side).contains(&width) || !(1..=side).contains(&height) {
            return Err(Refused::Invalid(format!(
                "{width}x{height} is not within 1x1 and {side}x{side}"
            )));
        }
        let millimetres = (width_mm > 0 && height_mm > 0)
            .then(|| Size::new(u32::from(width_mm), u32::from(height_mm)));
        let size = Size::new(width, height);
        self.0.shared.input.back().ui_info(UiInfo { size, millimetres });
        Ok(())
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn label(&self) -> String {
        self.0.shared.options.label.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn head(&self) -> u32 {
        0
    }

    #[zbus(property(emits_changed_signal = "const"), name = "Type")]
    fn kind(&self) -> String {
        "Graphic".into()
    }

    #[zbus(property)]
    fn width(&self) -> u32 {
        self.0.shared.screen.size().width
    }

    #[zbus(property)]
    fn height(&self) -> u32 {
        self.0.shared.screen.size().height
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn device_address(&self) -> String {
        self.0.shared.options.device_address.clone()
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn interfaces(&self) -> Vec<String> {
        ["Keyboard", "Mouse"].map(|name| format!("org.qemu.Display1.{name}")).into()
    }
}

struct Keyboard(Scope);

#[interface(name = "org.qemu.Display1.Keyboard", spawn = false, introspection_docs = false)]
impl Keyboard {
    async fn press(&self, #[zbus(header)] header: Header<'_>, keycode: u32) -> Result<(), Refused> {
        self.0.shared.input.key(self.0.client(&header), keycode, true)
    }

    async fn release(
        &self,
        #[zbus(header)] header: Header<'_>,
        keycode: u32,
    ) -> Result<(), Refused> {
        self.0.shared.input.key(self.0.client(&header), keycode, false)
    }

    /// The lights of a keyboard that nobody tells us of.
    #[zbus(property(emits_changed_signal = "const"))]
    fn modifiers(&self) -> u32 {
        0
    }
}

struct Mouse(Scope);

#[interface(name = "org.qemu.Display1.Mouse", spawn = false, introspection_docs = false)]
impl Mouse {
    async fn press(&self, #[zbus(header)] header: Header<'_>, button: u32) -> Result<(), Refused> {
        self.0.shared.input.button(self.0.client(&header), button, true)
    }

    async fn release(
        &self,
        #[zbus(header)] header: Header<'_>,
        button: u32,
    ) -> Result<(), Refused> {
        self.0.shared.input.button(self.0.client(&header), button, false)
    }

    async fn set_abs_position(&self, x: u32, y: u32) -> Result<(), Refused> {
        self.0.shared.input.pointer(x, y, self.0.shared.screen.size())
    }

    /// Taken as well, though `IsAbsolute` says that a place is what is wanted.
    async fn rel_motion(&self, dx: i32, dy: i32) {
        self.0.shared.input.motion(dx, dy);
    }

    #[zbus(property(emits_changed_signal = "const"))]
    fn is_absolute(&self) -> bool {
        true
    }
}
