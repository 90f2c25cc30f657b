// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Raw video: whole pictures of 4 bytes a pixel, B, G, R and one unused, at a fixed rate.
//!
//! Raw video has no header, so one file has one size: a change of mode begins another file, and
//! ends a pipe's recording. Writing is a thread's work, because a disk or a reader that is slow
//! must not hold viewers back; pictures that it can't keep up with are left out and counted.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};

use tracing::{info, warn};
use vfio_display::geometry::Size;
use vfio_display::{Frame, Picture};

use crate::exit::{Failure, Status};

/// Pictures that may wait to be written.
const WAITING: usize = 4;

/// A recording that goes on.
pub(super) struct Recorder {
    picture: Arc<Picture>,
    pictures: Option<SyncSender<Arc<Picture>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    left_out: u64,
}

impl Recorder {
    pub(super) fn new(path: &Path, fps: u32) -> Result<Self, Failure> {
        // Checked now, and not when the first picture comes.
        let output = Output::new(path, fps).map_err(|error| refused(path, error))?;
        let (pictures, received) = sync_channel(WAITING);
        let writer = thread::Builder::new().name("record".into());
        let writer = writer.spawn(move || write(output, &received));
        let thread = Some(writer.map_err(|error| refused(path, error))?);
        Ok(Self { picture: Arc::default(), pictures: Some(pictures), thread, left_out: 0 })
    }

    /// Takes a frame; it is written with the next tick.
    pub(super) fn frame(&mut self, frame: &Frame<'_>) {
        if self.picture.size() == frame.size() {
            // Waiting pictures keep what they show: only one that nobody has is drawn on.
            Arc::make_mut(&mut self.picture).take(frame);
        } else {
            self.picture = Arc::new(frame.picture.clone());
        }
    }

    /// One picture more, the same as before if no frame has come.
    pub(super) fn tick(&mut self) -> Result<(), Failure> {
        if self.picture.size().area() == 0 {
            return Ok(());
        }
        let Some(pictures) = &self.pictures else { return Ok(()) };
        match pictures.try_send(Arc::clone(&self.picture)) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(_)) => {
                self.left_out += 1;
                Ok(())
            }
            Err(TrySendError::Disconnected(_)) => self.end(),
        }
    }

    /// Waits for what is still to be written, and says how it went.
    fn end(&mut self) -> Result<(), Failure> {
        self.pictures = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        if self.left_out > 0 {
            warn!("{} pictures were left out of the recording: too slow to write", self.left_out);
        }
        let written = thread.join().unwrap_or_else(|_| Err(io::Error::other("the writer failed")));
        written.map_err(|error| refused(Path::new("the recording"), error))
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(failure) = self.end() {
            warn!("{}", failure.message);
        }
    }
}

/// Where pictures are written.
struct Output {
    /// `None` for standard output.
    path: Option<PathBuf>,
    files: u32,
    size: Option<Size>,
    out: Box<dyn Write + Send>,
    fps: u32,
}

impl Output {
    fn new(path: &Path, fps: u32) -> io::Result<Self> {
        let path = (path != Path::new("-")).then(|| path.to_owned());
        let out: Box<dyn Write + Send> = match &path {
            Some(path) => Box::new(File::create(path)?),
            None => Box::new(io::stdout()),
        };
        Ok(Self { path, files: 1, size: None, out, fps })
    }

    /// Makes ready for pictures of `size`.
    fn begin(&mut self, size: Size) -> io::Result<()> {
        if self.size == Some(size) {
            return Ok(());
        }
        let name = if self.size.is_none() {
            self.path.clone()
        } else {
            let Some(path) = &self.path else {
                let told =
                    format!("the screen is {size} now, which a pipe of raw video can't tell");
                return Err(io::Error::other(told));
            };
            self.files += 1;
            let next = numbered(path, self.files);
            self.out = Box::new(File::create(&next)?);
            Some(next)
        };
        self.size = Some(size);
        let name = name.map_or("-".to_owned(), |name| name.display().to_string());
        info!("{name}: ffmpeg -f rawvideo -pix_fmt bgr0 -s {size} -r {} -i {name} …", self.fps);
        Ok(())
    }
}

/// `screen.raw` becomes `screen-2.raw`.
fn numbered(path: &Path, n: u32) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let name = match path.extension() {
        Some(extension) => format!("{stem}-{n}.{}", extension.to_string_lossy()),
        None => format!("{stem}-{n}"),
    };
    path.with_file_name(name)
}

fn write(mut output: Output, pictures: &Receiver<Arc<Picture>>) -> io::Result<()> {
    let mut bytes = Vec::new();
    while let Ok(picture) = pictures.recv() {
        output.begin(picture.size())?;
        bytes.clear();
        bytes.extend(picture.pixels().iter().flat_map(|pixel| pixel.to_le_bytes()));
        output.out.write_all(&bytes)?;
    }
    output.out.flush()
}

fn refused(path: &Path, error: io::Error) -> Failure {
    Failure::new(Status::Output, format!("{} can't be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_file_has_a_number() {
        assert_eq!(numbered(Path::new("a/screen.raw"), 2), Path::new("a/screen-2.raw"));
        assert_eq!(numbered(Path::new("screen"), 3), Path::new("screen-3"));
    }
}
