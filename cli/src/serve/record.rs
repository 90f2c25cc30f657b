// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Raw video: whole pictures of 4 bytes a pixel, B, G, R and one unused, at a fixed rate.
//!
//! Raw video has no header, so one file has one size: a change of mode begins another file, and
//! ends a pipe's recording. Writing is a thread's work, because a disk or a reader that is slow
//! must not hold viewers back. What it can't keep up with is made up for by the picture after it,
//! written more often, so that a recording lasts as long as what it shows.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tracing::{info, warn};
use vfio_display::geometry::Size;
use vfio_display::{Frame, Picture};

use super::failed;
use crate::exit::{Failure, Status};

/// Pictures that may wait to be written.
const WAITING: usize = 4;

/// At the end, how long the writer may take for what is left: a pipe's reader may have stopped.
const LAST: Duration = Duration::from_secs(2);

/// A recording that goes on.
pub(super) struct Recorder {
    picture: Arc<Picture>,
    pictures: Option<SyncSender<Arc<Picture>>>,
    thread: Option<JoinHandle<io::Result<()>>>,
    fps: u32,
    /// When the first picture was due.
    since: Option<Instant>,
    /// Pictures handed to the writer.
    written: u64,
}

impl Recorder {
    /// Begins the thread that writes to `output`.
    pub(super) fn new(output: Output) -> Result<Self, Failure> {
        let fps = output.fps;
        let refused = |error| failed("the recording can't be begun", error);
        let (pictures, received) = sync_channel(WAITING);
        let writer = thread::Builder::new().name("record".into());
        let writer = writer.spawn(move || write(output, &received));
        let thread = Some(writer.map_err(refused)?);
        let picture = Arc::default();
        Ok(Self { picture, pictures: Some(pictures), thread, fps, since: None, written: 0 })
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

    /// As many pictures as there should be by now; the same one again if no frame has come.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        if self.picture.size().area() == 0 {
            return Ok(());
        }
        let Some(pictures) = &self.pictures else { return Ok(()) };
        // The channel's length bounds this.
        while self.written < due(self.fps, now - *self.since.get_or_insert(now)) {
            match pictures.try_send(Arc::clone(&self.picture)) {
                Ok(()) => self.written += 1,
                Err(TrySendError::Full(_)) => return Ok(()),
                Err(TrySendError::Disconnected(_)) => return self.end(),
            }
        }
        Ok(())
    }

    /// Waits for what is still to be written, and says how it went.
    fn end(&mut self) -> Result<(), Failure> {
        self.pictures = None;
        let Some(thread) = self.thread.take() else { return Ok(()) };
        let end = Instant::now() + LAST;
        while !thread.is_finished() && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let written = if thread.is_finished() {
            thread.join().unwrap_or_else(|_| Err(io::Error::other("the writer failed")))
        } else {
            Err(io::ErrorKind::TimedOut.into())
        };
        written.map_err(|error| refused(Path::new("the recording"), error))
    }
}

/// Pictures of a recording that lasts for `time`; the first is there at once.
fn due(fps: u32, time: Duration) -> u64 {
    (time.as_nanos() * u128::from(fps) / 1_000_000_000) as u64 + 1
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if let Err(failure) = self.end() {
            warn!("{}", failure.message);
        }
    }
}

/// Where pictures are written.
pub(super) struct Output {
    /// `None` for standard output.
    path: Option<PathBuf>,
    files: u32,
    size: Option<Size>,
    out: Box<dyn Write + Send>,
    fps: u32,
}

impl Output {
    /// Opens it now, and not when the first picture comes.
    pub(super) fn open(path: &Path, fps: u32) -> Result<Self, Failure> {
        Self::new(path, fps).map_err(|error| refused(path, error))
    }

    fn new(path: &Path, fps: u32) -> io::Result<Self> {
        let path = (path != Path::new("-")).then(|| path.to_owned());
        let out: Box<dyn Write + Send> = match &path {
            Some(path) => Box::new(File::create(path)?),
            // Not through the standard library's buffer, which looks for ends of lines.
            None => Box::new(File::from(io::stdout().as_fd().try_clone_to_owned()?)),
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
    Ok(())
}

fn refused(path: &Path, error: io::Error) -> Failure {
    Failure::new(Status::Output, format!("{} can't be written: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recording_lasts_as_long_as_what_it_shows() {
        let ms = Duration::from_millis;
        let pictures = [0, 16, 17, 999, 1000, 3_600_000].map(|time| due(60, ms(time)));
        assert_eq!(pictures, [1, 1, 2, 60, 61, 216_001]);
    }

    #[test]
    fn the_next_file_has_a_number() {
        assert_eq!(numbered(Path::new("a/screen.raw"), 2), Path::new("a/screen-2.raw"));
        assert_eq!(numbered(Path::new("screen"), 3), Path::new("screen-3"));
    }
}
