// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A picture into a file.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use vfio_display::picture::Picture;

/// Writes a .png or a .ppm.
pub(crate) fn write(path: &Path, picture: &Picture) -> Result<()> {
    let file = File::create(path).with_context(|| path.display().to_string())?;
    let mut file = BufWriter::new(file);
    let size = picture.size();
    let rgb: Vec<u8> =
        picture.pixels().iter().flat_map(|p| [p >> 16, p >> 8, *p]).map(|c| c as u8).collect();
    match path.extension().and_then(|ext| ext.to_str()) {
        Some("png") => {
            let mut encoder = png::Encoder::new(&mut file, size.width, size.height);
            encoder.set_color(png::ColorType::Rgb);
            encoder.write_header()?.write_image_data(&rgb)?;
        }
        Some("ppm") => {
            write!(file, "P6\n{} {}\n255\n", size.width, size.height)?;
            file.write_all(&rgb)?;
        }
        _ => bail!("{}: name it .png or .ppm", path.display()),
    }
    file.flush().with_context(|| path.display().to_string())
}
