// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The seam above: what shows frames to a person, or keeps them.

use std::error::Error as StdError;

use crate::dmabuf::DmabufFrame;
use crate::frame::{Cursor, Frame};

/// Why a sink could not take something. The display keeps the damage and offers it again.
pub type SinkError = Box<dyn StdError + Send + Sync>;

/// What a sink can make use of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Takes {
    /// It draws the cursor itself. If not, the cursor is part of the frames.
    pub cursor: bool,
    /// Nobody looks, so frames would be for nothing; it lets them go by. A display offers none
    /// meanwhile, and can be parked until [`BackChannel::viewers`](crate::input::BackChannel) says
    /// that somebody does. The first frame after that is whole, as after any change of these.
    pub idle: bool,
    /// It can show a dma-buf as it is, [`Sink::dmabuf`]. A display offers those that it has, and
    /// pixels where it has none, or the sink does not want that one.
    pub dmabuf: bool,
}

/// A consumer of frames: a server for viewers, a recorder, an embedder's own.
///
/// A call must not wait for anybody: a sink with slow viewers merges damage for them. What a call
/// lends is good for that call.
pub trait Sink {
    /// What it can make use of. Asked before every look, so it may change; after a change the
    /// next frame is whole.
    fn takes(&self) -> Takes;

    /// Takes a frame.
    ///
    /// # Errors
    ///
    /// Its own; the frame's damage is then part of the next one's.
    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), SinkError>;

    /// Takes a new shape or position of the cursor, or `None` when it is hidden. Called only
    /// where [`Takes::cursor`] is set.
    ///
    /// # Errors
    ///
    /// Its own; the cursor is then offered again at the next look.
    fn cursor(&mut self, cursor: Option<&Cursor<'_>>) -> Result<(), SinkError>;

    /// Takes the buffer that the screen is in, in place of a frame; called at every look. `false`
    /// where it has no use for this one: the screen then comes as a frame, if a CPU can read it.
    /// Called only where [`Takes::dmabuf`] is set.
    ///
    /// # Errors
    ///
    /// Its own; the buffer is then offered again at the next look.
    fn dmabuf(&mut self, _frame: &DmabufFrame<'_>) -> Result<bool, SinkError> {
        Ok(false)
    }

    /// There is nothing to show: the device is off. Called once each time that begins.
    ///
    /// # Errors
    ///
    /// Its own; the call is then repeated at the next look.
    fn blank(&mut self) -> Result<(), SinkError>;
}
