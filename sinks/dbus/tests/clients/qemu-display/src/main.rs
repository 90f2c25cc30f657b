// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Calls every method and reads every property that the crate `qemu-display` knows of a display, and
//! says what came of it, a line for each. `qemu-display-client BUS-ADDRESS`

use std::fmt::Debug;
use std::sync::mpsc::{Sender, channel};
use std::time::Duration;

use qemu_display::{
    Console, ConsoleListenerHandler, ConsoleListenerMapHandler, Cursor, Display, MouseButton,
    MouseSet, Scanout, ScanoutDMABUF, ScanoutMap, Update, UpdateDMABUF, UpdateMap, VMProxy,
};

/// Says how it is called.
#[derive(Clone)]
struct Told(Sender<String>);

impl Told {
    fn say(&self, what: String) {
        // Who listens may be gone.
        let _ = self.0.send(what);
    }
}

#[async_trait::async_trait]
impl ConsoleListenerHandler for Told {
    async fn scanout(&mut self, Scanout { width, height, .. }: Scanout) {
        self.say(format!("Scanout {width}x{height}"));
    }
    async fn update(&mut self, _: Update) {
        self.say("Update".into());
    }
    async fn scanout_dmabuf(&mut self, _: ScanoutDMABUF) {}
    async fn update_dmabuf(&mut self, _: UpdateDMABUF) {}
    async fn disable(&mut self) {}
    async fn mouse_set(&mut self, _: MouseSet) {}
    async fn cursor_define(&mut self, _: Cursor) {}
    fn disconnected(&mut self) {}
    fn interfaces(&self) -> Vec<String> {
        vec!["org.qemu.Display1.Listener.Unix.Map".into()]
    }
}

#[async_trait::async_trait]
impl ConsoleListenerMapHandler for Told {
    async fn scanout_map(&mut self, map: ScanoutMap) {
        let (width, height) = (map.width, map.height);
        let bytes = map.mmap().map(|memory| memory.as_ref().len());
        self.say(format!("ScanoutMap {width}x{height} {bytes:?}"));
    }
    async fn update_map(&mut self, UpdateMap { x, y, w, h }: UpdateMap) {
        self.say(format!("UpdateMap {x} {y} {w} {h}"));
    }
}

fn said(what: &str, answer: Result<impl Debug, impl Debug>) {
    println!("{what} {answer:?}");
}

async fn run(address: &str) -> Result<(), Box<dyn std::error::Error>> {
    let bus = zbus::connection::Builder::address(address)?.build().await?;
    said("names", Display::list_by_name(&bus).await.map(|names| names.into_keys().collect::<Vec<_>>()));
    let display = Display::new(&bus, Option::<String>::None).await?;
    let vm = VMProxy::builder(&bus).build().await?;
    said("Name", vm.name().await);
    said("UUID", vm.uuid().await);
    let console = Console::new(display.connection(), 0).await?;
    said("Label", console.label().await);
    said("Head", console.proxy.head().await);
    said("Type", console.proxy.type_().await);
    said("Width", console.width().await);
    said("Height", console.height().await);
    said("SetUIInfo", console.proxy.set_ui_info(300, 200, 0, 0, 800, 600).await);
    said("Press", console.keyboard.press(30).await);
    said("Release", console.keyboard.release(30).await);
    said("Modifiers", console.keyboard.modifiers().await.map(|modifiers| modifiers.bits()));
    let buttons = [
        MouseButton::Left,
        MouseButton::Middle,
        MouseButton::Right,
        MouseButton::WheelUp,
        MouseButton::WheelDown,
        MouseButton::Side,
        MouseButton::Extra,
    ];
    for button in buttons {
        said("Press", console.mouse.press(button).await);
        said("Release", console.mouse.release(button).await);
    }
    said("SetAbsPosition", console.mouse.set_abs_position(1, 2).await);
    said("RelMotion", console.mouse.rel_motion(1, -1).await);
    said("IsAbsolute", console.mouse.is_absolute().await);
    let (tell, told) = channel();
    said("RegisterListener", console.register_listener(Told(tell.clone())).await);
    said("with a map", console.set_map_listener(Told(tell)).await);
    while let Ok(what) = told.recv_timeout(Duration::from_secs(20)) {
        println!("{what}");
        if what.starts_with("UpdateMap") {
            return Ok(());
        }
    }
    Err("no UpdateMap".into())
}

fn main() {
    let address = std::env::args().nth(1).expect("the address of a bus");
    if let Err(error) = zbus::block_on(run(&address)) {
        eprintln!("{error}");
        std::process::exit(1);
    }
}
