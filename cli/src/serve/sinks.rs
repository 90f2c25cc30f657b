// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The VNC server and the recorder as one sink.

use std::time::Instant;

use vfio_display::sink::{Sink, SinkError, Takes};
use vfio_display::{Cursor, Frame};
use vfio_display_vnc::VncServer;

use super::record::Recorder;
use crate::exit::Failure;

/// Hands everything to each; counts what passes.
pub(super) struct Sinks {
    vnc: VncServer,
    recorder: Option<Recorder>,
    /// Pixels that were damaged in the frames so far.
    pub(super) damaged: u64,
}

impl Sinks {
    pub(super) fn new(vnc: VncServer, recorder: Option<Recorder>) -> Self {
        Self { vnc, recorder, damaged: 0 }
    }

    /// Time passes, also for a recording.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.tick(now))
    }
}

impl Sink for Sinks {
    fn takes(&self) -> Takes {
        let vnc = self.vnc.takes();
        match &self.recorder {
            // A recording has the cursor in its frames, and is never idle.
            Some(_) => Takes { cursor: false, idle: false },
            None => vnc,
        }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), SinkError> {
        self.damaged +=
            frame.damage.iter().map(|rect| rect_area(rect.width, rect.height)).sum::<u64>();
        if let Some(recorder) = &mut self.recorder {
            recorder.frame(frame);
        }
        self.vnc.frame(frame)
    }

    fn cursor(&mut self, cursor: Option<&Cursor<'_>>) -> Result<(), SinkError> {
        self.vnc.cursor(cursor)
    }

    fn blank(&mut self) -> Result<(), SinkError> {
        self.vnc.blank()
    }
}

fn rect_area(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}
