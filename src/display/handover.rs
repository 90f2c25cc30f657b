// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The screen without a copy of it: as the dma-buf that it is in, or as words in its place where
//! that can be neither handed on nor read.

use super::origin::Origin;
use super::shown::Shown;
use super::{Display, OnScreen, Poll, PollError};
use crate::device::{GfxDevice, PlaneType};
use crate::dmabuf::DmabufFrame;
use crate::error::Error;
use crate::frame::{Frame, Source};
use crate::geometry::Size;
use crate::notice;
use crate::plane::PlaneState;
use crate::sink::Sink;

impl<D: GfxDevice> Display<D> {
    /// Hands the sink the dma-buf that the plane is in. `None` where there is none, or the sink
    /// does not want it: then it gets pixels.
    pub(super) fn hand_over<S: Sink + ?Sized>(
        &mut self,
        sink: &mut S,
    ) -> Result<Option<Poll>, PollError> {
        // Captures are in no dma-buf.
        let Origin::Query(kind, scanout) = &mut self.origin else { return Ok(None) };
        let plane = match PlaneState::query(&self.device, PlaneType::Primary, *kind)? {
            PlaneState::Live(plane) => plane,
            // It is asked again, and what comes of it is the same wherever pixels are wanted.
            PlaneState::Off => return Ok(None),
            PlaneState::Transient(error) => return Ok(Some(Poll::Held(error))),
            PlaneState::Gone(error) => return Ok(Some(Poll::Gone(error))),
        };
        let dmabuf = match scanout.dmabuf(&self.device, &plane) {
            Ok(Some(dmabuf)) => dmabuf,
            Ok(None) => return Ok(None),
            Err(error) => {
                return Ok(match PlaneState::of_error(error)? {
                    PlaneState::Gone(error) => Some(Poll::Gone(error)),
                    PlaneState::Transient(error) => Some(Poll::Held(error)),
                    PlaneState::Off | PlaneState::Live(_) => None,
                });
            }
        };
        let frame = DmabufFrame {
            dmabuf: &dmabuf,
            size: plane.size,
            fourcc: plane.fourcc,
            modifier: plane.modifier,
            stride: plane.stride,
            // VFIO has no word for another.
            offset: 0,
        };
        if !sink.dmabuf(&frame).map_err(PollError::Sink)? {
            return Ok(None);
        }
        self.on_screen = Some(OnScreen::Dmabuf);
        self.shown.blank = false;
        self.plane = Some(plane);
        self.boot.device_is_on();
        let cursor = self.origin.look_at_cursor(&self.device, &plane, &mut self.cursor);
        self.shown.show_cursor(&mut self.cursor, sink)?;
        cursor?;
        Ok(Some(Poll::Shown(plane.size)))
    }

    /// Where `error` says that no CPU reads the screen, has the sink show that in words, once.
    pub(super) fn show_unreadable<S: Sink + ?Sized>(
        &mut self,
        error: &Error,
        sink: &mut S,
    ) -> Result<(), PollError> {
        let Some(plane) = &self.plane else { return Ok(()) };
        if !matches!(error, Error::NotMappable { .. } | Error::Unsupported(_)) {
            return Ok(());
        }
        let size = plane.size;
        if self.on_screen == Some(OnScreen::Unreadable(size)) {
            return Ok(());
        }
        self.cursor.hide();
        self.shown.show_words(size, sink)?;
        self.on_screen = Some(OnScreen::Unreadable(size));
        Ok(())
    }
}

impl Shown {
    /// Shows words in place of a screen of `size`.
    fn show_words<S: Sink + ?Sized>(&mut self, size: Size, sink: &mut S) -> Result<(), PollError> {
        let picture = &notice::gpu_only(size);
        let (damage, source) = (&[size.rect()], Source::Plane);
        self.generation += 1;
        let frame = Frame { picture, damage, source, generation: self.generation };
        sink.frame(&frame).map_err(PollError::Sink)?;
        self.blank = false;
        Ok(())
    }
}
