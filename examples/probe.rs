// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the author of a driver wants to know of it.
//!
//!     cargo run --example probe --features testing -- nvidia

use vfio_display::geometry::Size;
use vfio_display::survey::Survey;
use vfio_display::testing::{Mock, Personality};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let name = std::env::args().nth(1).unwrap_or_else(|| "mdpy".into());
    let device = Mock::new(name.parse::<Personality>()?, Size::new(800, 600))?;
    let survey = Survey::new(&device)?;
    if let Some(plane) = survey.primary() {
        println!("{} {} {}", plane.size, plane.fourcc, plane.modifier);
    }
    for quirk in &survey.quirks {
        println!("- {quirk}");
    }
    Ok(())
}
