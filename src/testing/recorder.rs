// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A sink that keeps what it was shown, and holds the display to its word.

use std::sync::Arc;

use crate::dmabuf::{Dmabuf, DmabufFrame};
use crate::format::Fourcc;
use crate::frame::{Cursor, Frame, Source};
use crate::geometry::{Point, Rect, Size};
use crate::picture::Picture;
use crate::sink::{Sink, SinkError, Takes};

/// A frame as it arrived, without its pixels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown {
    /// What was new.
    pub damage: Vec<Rect>,
    /// Who produced it.
    pub source: Source,
    /// Its generation.
    pub generation: u64,
    /// Whether all of it was new.
    pub whole: bool,
}

/// The cursor as it was last shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShownCursor {
    /// Its shape.
    pub shape: Picture,
    /// The pixel that points.
    pub hotspot: Point,
    /// Where it is.
    pub position: Point,
}

/// A dma-buf as it was last shown.
#[derive(Clone, Debug)]
pub struct ShownDmabuf {
    /// The buffer, which this keeps.
    pub dmabuf: Arc<Dmabuf>,
    /// In pixels.
    pub size: Size,
    /// The pixels' format.
    pub fourcc: Fourcc,
    /// Bytes from a row to the next.
    pub stride: u32,
}

/// Keeps a picture as a viewer does: only damaged pixels are copied into it.
///
/// # Panics
///
/// When a frame breaks the contract of [`Frame`]: damage that is empty, outside or overlapping,
/// pixels that changed without being damaged, a first frame of a generation that is not whole.
#[derive(Debug, Default)]
pub struct Recorder {
    takes: Takes,
    picture: Picture,
    /// Every frame, oldest first.
    pub frames: Vec<Shown>,
    /// The cursor, `None` while it is hidden.
    pub cursor: Option<ShownCursor>,
    /// The last dma-buf, where the sink takes them.
    pub dmabuf: Option<ShownDmabuf>,
    /// How often one was shown.
    pub dmabufs: usize,
    /// Has no use for the next dma-bufs, though it takes some.
    pub unwanted: bool,
    /// How often the sink was told that there is nothing to show.
    pub blanks: usize,
    /// Calls to refuse from now on.
    pub refuse: usize,
}

impl Recorder {
    /// One that draws no cursor itself.
    pub fn new() -> Self {
        Self::default()
    }

    /// The same that takes what is said here.
    #[must_use]
    pub fn taking(mut self, takes: Takes) -> Self {
        self.takes = takes;
        self
    }

    /// What a viewer sees.
    pub const fn picture(&self) -> &Picture {
        &self.picture
    }

    fn refused(&mut self) -> Result<(), SinkError> {
        if self.refuse > 0 {
            self.refuse -= 1;
            return Err("refused on purpose".into());
        }
        Ok(())
    }

    fn check(&self, frame: &Frame<'_>) {
        let size = frame.size();
        assert!(!frame.damage.is_empty(), "a frame without damage");
        for (at, rect) in frame.damage.iter().enumerate() {
            assert!(!rect.is_empty(), "empty damage {rect}");
            let inside = rect.x + rect.width <= size.width && rect.y + rect.height <= size.height;
            assert!(inside, "damage {rect} of a picture of {size}");
            let apart = |other: &Rect| {
                other.x >= rect.x + rect.width
                    || rect.x >= other.x + other.width
                    || other.y >= rect.y + rect.height
                    || rect.y >= other.y + other.height
            };
            assert!(frame.damage[..at].iter().all(apart), "damage {:?} overlaps", frame.damage);
        }
        let before = self.frames.last().map(|shown| shown.generation);
        assert!(
            before <= Some(frame.generation),
            "generation {} after {before:?}",
            frame.generation
        );
        if before != Some(frame.generation) {
            assert!(frame.is_whole(), "first frame of generation {} in part", frame.generation);
        }
    }
}

impl Sink for Recorder {
    fn takes(&self) -> Takes {
        self.takes
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), SinkError> {
        self.refused()?;
        self.check(frame);
        self.picture.resize(frame.size());
        self.picture.take(frame);
        assert!(self.picture == *frame.picture, "pixels changed outside {:?}", frame.damage);
        self.frames.push(Shown {
            damage: frame.damage.to_vec(),
            source: frame.source,
            generation: frame.generation,
            whole: frame.is_whole(),
        });
        Ok(())
    }

    fn cursor(&mut self, cursor: Option<&Cursor<'_>>) -> Result<(), SinkError> {
        self.refused()?;
        self.cursor = cursor.map(|cursor| ShownCursor {
            shape: cursor.shape.clone(),
            hotspot: cursor.hotspot,
            position: cursor.position,
        });
        Ok(())
    }

    fn dmabuf(&mut self, frame: &DmabufFrame<'_>) -> Result<bool, SinkError> {
        self.refused()?;
        assert!(self.takes.dmabuf, "a dma-buf for a sink that takes none");
        if self.unwanted {
            self.dmabuf = None;
            return Ok(false);
        }
        let &DmabufFrame { dmabuf, size, fourcc, stride, .. } = frame;
        self.dmabuf = Some(ShownDmabuf { dmabuf: Arc::clone(dmabuf), size, fourcc, stride });
        self.dmabufs += 1;
        Ok(true)
    }

    fn blank(&mut self) -> Result<(), SinkError> {
        self.refused()?;
        self.blanks += 1;
        Ok(())
    }
}
