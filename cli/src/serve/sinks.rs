// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The servers and the recorder as one sink.

use std::cell::Cell;
use std::time::Instant;

use vfio_display::sink::{Sink, SinkError, Takes};
use vfio_display::{Cursor, DmabufFrame, Frame};
use vfio_display_vnc::{Handle, VncServer};

use super::record::Recorder;
use super::servers::Servers;
use crate::exit::Failure;

/// Hands everything to each; counts what passes.
pub(super) struct Sinks {
    servers: Servers,
    recorder: Option<Recorder>,
    /// Whether the servers were last said to draw the cursor themselves.
    draw_cursor: Cell<bool>,
    /// Pixels that were damaged in the frames so far.
    pub(super) damaged: u64,
}

impl Sinks {
    pub(super) fn new(servers: Servers, recorder: Option<Recorder>) -> Self {
        Self { servers, recorder, draw_cursor: Cell::new(false), damaged: 0 }
    }

    /// Bytes that VNC viewers took.
    pub(super) fn sent(&self) -> u64 {
        self.servers.vnc.as_ref().map_or(0, VncServer::sent)
    }

    /// What brings viewers to VNC.
    pub(super) fn vnc(&self) -> Option<Handle> {
        self.servers.vnc.as_ref().map(VncServer::handle)
    }

    /// Time passes, also for a recording.
    pub(super) fn tick(&mut self, now: Instant) -> Result<(), Failure> {
        self.recorder.as_mut().map_or(Ok(()), |recorder| recorder.tick(now))
    }
}

impl Sinks {
    /// Has each server do something; the first error of any is the answer.
    fn each(
        &mut self,
        mut act: impl FnMut(&mut dyn Sink) -> Result<(), SinkError>,
    ) -> Result<(), SinkError> {
        let Servers { vnc, dbus, .. } = &mut self.servers;
        let vnc = vnc.as_mut().map_or(Ok(()), |vnc| act(vnc));
        let dbus = dbus.as_mut().map_or(Ok(()), |dbus| act(dbus));
        vnc.and(dbus)
    }
}

impl Sink for Sinks {
    fn takes(&self) -> Takes {
        let Servers { vnc, dbus, .. } = &self.servers;
        let vnc = vnc.as_ref().map(Sink::takes);
        let dbus = dbus.as_ref().map(Sink::takes);
        let all = |has: fn(Takes) -> bool| vnc.is_none_or(has) && dbus.is_none_or(has);
        // A recording has the cursor in its frames, and is never idle.
        let to_servers_only = self.recorder.is_none();
        let cursor = to_servers_only && all(|takes| takes.cursor);
        self.draw_cursor.set(cursor);
        let alone = to_servers_only && vnc.is_none();
        let dmabuf = alone && dbus.is_some_and(|takes| takes.dmabuf);
        Takes { cursor, idle: to_servers_only && all(|takes| takes.idle), dmabuf }
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), SinkError> {
        self.damaged +=
            frame.damage.iter().map(|rect| rect_area(rect.width, rect.height)).sum::<u64>();
        if let Some(recorder) = &mut self.recorder {
            recorder.frame(frame);
        }
        if !self.draw_cursor.get() {
            // It is in the frame, and would be there twice.
            self.each(|server| server.cursor(None))?;
        }
        self.each(|server| server.frame(frame))
    }

    fn cursor(&mut self, cursor: Option<&Cursor<'_>>) -> Result<(), SinkError> {
        self.each(|server| server.cursor(cursor))
    }

    fn dmabuf(&mut self, frame: &DmabufFrame<'_>) -> Result<bool, SinkError> {
        self.damaged += frame.size.area();
        self.servers.dbus.as_mut().map_or(Ok(false), |dbus| dbus.dmabuf(frame))
    }

    fn blank(&mut self) -> Result<(), SinkError> {
        self.each(|server| server.blank())
    }
}

fn rect_area(width: u32, height: u32) -> u64 {
    u64::from(width) * u64::from(height)
}
