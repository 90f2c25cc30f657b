// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A picture as a file: whole or not at all.

use std::fs::{self, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use clap::ValueEnum;
use vfio_display::Picture;

use crate::exit::{Failure, Status};

/// Prints `text` and the end of its line. A reader that has gone wants no more of it.
pub(crate) fn say(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match writeln!(out, "{}", text.trim_end()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => done.map_err(|error| refused(Path::new("standard output"), error)),
    }
}

/// Whether a line that changes is on the terminal, below all that was written before it.
static LINE: AtomicBool = AtomicBool::new(false);

/// Puts `line` on the terminal in place of the one before. In one piece: a terminal that shows
/// it halfway flickers.
pub(crate) fn write_line(line: &str) {
    let line = format!("\r{line}\x1b[K");
    LINE.store(true, Ordering::Relaxed);
    // A terminal that is gone shows nothing.
    let _ = io::stderr().lock().write_all(line.as_bytes());
}

/// Takes the line away, for something else to be written or for good.
pub(crate) fn clear_line() {
    if LINE.swap(false, Ordering::Relaxed) {
        let _ = io::stderr().lock().write_all(b"\r\x1b[K");
    }
}

/// Standard error for messages, which begin a line of their own.
pub(crate) fn messages() -> io::Stderr {
    clear_line();
    io::stderr()
}

/// How a picture is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Portable Network Graphics, 8 bits a channel.
    Png,
    /// Portable Pixmap (P6), as QEMU's screendump writes.
    Ppm,
}

/// Where a picture goes, known to be writable.
#[derive(Debug)]
pub(crate) struct Output {
    target: Target,
    format: Format,
}

#[derive(Debug)]
enum Target {
    Stdout,
    /// Replaced by a rename once the picture is complete.
    File(PathBuf),
    /// A pipe or a device node, which a rename would take away from whoever reads it.
    Special(PathBuf),
}

impl Output {
    /// Checks that `path` can be written, before anything is waited for. `-` is standard output.
    pub(crate) fn new(path: &Path, format: Option<Format>) -> Result<Self, Failure> {
        if path == Path::new("-") {
            if io::stdout().is_terminal() {
                return Err(Failure::new(Status::Output, "standard output is a terminal")
                    .hint("redirect it, or name a file: -o screen.png"));
            }
            return Ok(Self { target: Target::Stdout, format: format.unwrap_or(Format::Png) });
        }
        let format = match format {
            Some(format) => format,
            None => Format::of_extension(path)?,
        };
        let refused = |error| refused(path, error);
        let target = match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                return Err(refused(io::Error::from(io::ErrorKind::IsADirectory)));
            }
            Ok(meta) if !meta.is_file() => Target::Special(path.to_owned()),
            // A link is followed, so that the file behind it is replaced and not the link.
            Ok(_) => {
                OpenOptions::new().append(true).open(path).map_err(refused)?;
                Target::File(fs::canonicalize(path).map_err(refused)?)
            }
            Err(_) => Target::File(path.to_owned()),
        };
        if let Target::File(file) = &target {
            // The trial file has no name, so nothing of it is left, however this ends.
            tempfile::tempfile_in(directory(file)).map_err(refused)?;
        }
        Ok(Self { target, format })
    }

    /// Writes `picture`. A reader of the file sees the old one or the new one, never a part.
    pub(crate) fn write(&self, picture: &Picture) -> Result<(), Failure> {
        let bytes = self.format.encode(picture);
        match &self.target {
            Target::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(&bytes)
                    .and_then(|()| out.flush())
                    .map_err(|error| refused(Path::new("standard output"), error))
            }
            Target::Special(path) => {
                let write = || OpenOptions::new().write(true).open(path)?.write_all(&bytes);
                write().map_err(|error| refused(path, error))
            }
            Target::File(path) => {
                let write = || -> io::Result<()> {
                    let mut file = tempfile::Builder::new()
                        .prefix(".vfio-display-")
                        .permissions(permissions(path))
                        .tempfile_in(directory(path))?;
                    file.write_all(&bytes)?;
                    file.persist(path)?;
                    Ok(())
                };
                write().map_err(|error| refused(path, error))
            }
        }
    }
}

impl Format {
    fn of_extension(path: &Path) -> Result<Self, Failure> {
        let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        match extension.as_str() {
            "png" => Ok(Self::Png),
            "ppm" | "pnm" => Ok(Self::Ppm),
            _ => Err(Failure::new(
                Status::Usage,
                format!("{}: the name does not say the format", path.display()),
            )
            .hint("name it .png or .ppm, or give --format")),
        }
    }

    fn encode(self, picture: &Picture) -> Vec<u8> {
        let size = picture.size();
        let mut rgb = Vec::with_capacity(picture.pixels().len() * 3);
        for pixel in picture.pixels() {
            let [b, g, r, _] = pixel.to_le_bytes();
            rgb.extend([r, g, b]);
        }
        match self {
            Self::Ppm => {
                let mut bytes = format!("P6\n{} {}\n255\n", size.width, size.height).into_bytes();
                bytes.extend(rgb);
                bytes
            }
            Self::Png => {
                let mut bytes = Vec::new();
                let mut encoder = png::Encoder::new(&mut bytes, size.width, size.height);
                encoder.set_color(png::ColorType::Rgb);
                encoder.set_depth(png::BitDepth::Eight);
                let written = encoder.write_header().and_then(|mut writer| {
                    writer.write_image_data(&rgb)?;
                    writer.finish()
                });
                // Into memory, with a size and a length that agree, nothing is left to fail.
                written.expect("PNG of a picture that has pixels");
                bytes
            }
        }
    }
}

/// Where a file is, or is to be.
pub(crate) fn directory(file: &Path) -> &Path {
    match file.parent() {
        Some(parent) if parent != Path::new("") => parent,
        _ => Path::new("."),
    }
}

/// The mode of the file that is replaced, or that of a new one: readable by all, as a person's
/// own files are; the umask narrows it.
fn permissions(path: &Path) -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).map_or(fs::Permissions::from_mode(0o666), |meta| meta.permissions())
}

fn refused(path: &Path, error: io::Error) -> Failure {
    Failure::new(Status::Output, format!("{} can't be written: {error}", path.display()))
}
