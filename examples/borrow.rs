// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Watches the display of a running VMM, and says what becomes of it.
//!
//!     cargo run --example borrow --features host -- PID

use std::thread;
use std::time::Duration;

use vfio_display::host::{Host, OnConflict};
use vfio_display::{Display, Look};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pid = std::env::args().nth(1).ok_or("which PID?")?.parse()?;
    let device = Host::new().borrow(pid, None, OnConflict::Refuse)?;
    let mut display = Display::new(device)?;
    loop {
        match display.look()? {
            Look::Live(plane, _) => println!("{} {}", plane.size, plane.fourcc),
            Look::Off => println!("off"),
            Look::Held(error, _) => println!("held: {error}"),
            // Dropping the display lets others open the device.
            Look::Gone(error) => return Err(error.into()),
        }
        thread::sleep(Duration::from_secs(1));
    }
}
