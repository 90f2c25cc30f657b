// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One picture of a device's screen, as a PPM on standard output.
//!
//!     cargo run --example shot --features testing > screen.ppm

use std::io::{self, Write as _};

use vfio_display::geometry::Size;
use vfio_display::testing::{Mock, Personality};
use vfio_display::{Display, Look};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // A VMM lends the fd of its own device instead: `Vfio::new(fd)`.
    let device = Mock::new(Personality::Mdpy, Size::new(640, 480))?;
    device.show_card(0)?;

    let mut display = Display::new(device)?;
    let picture = match display.look()? {
        Look::Live(_, picture) => picture,
        other => return Err(format!("no picture: {other:?}").into()),
    };
    let mut out = io::stdout().lock();
    write!(out, "P6\n{} {}\n255\n", picture.size().width, picture.size().height)?;
    for pixel in picture.pixels() {
        let [b, g, r, _] = pixel.to_le_bytes();
        out.write_all(&[r, g, b])?;
    }
    Ok(())
}
