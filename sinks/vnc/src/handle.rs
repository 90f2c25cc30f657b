// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A server as others see it that bring viewers to it: a web server, a listener of the embedder's.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use vfio_display::geometry::Size;
use vfio_display_sinks::Stream;

use crate::worker::{Order, Shared};

/// Brings viewers to a [`VncServer`](crate::VncServer), from any thread, and tells how it is. It
/// may outlive the server, which then takes nobody.
#[derive(Clone)]
pub struct Handle(pub(crate) Arc<Shared>);

impl Handle {
    /// Serves a viewer on a connection of the caller's, which is made non-blocking here.
    ///
    /// # Errors
    ///
    /// `NotConnected` where the server has stopped; the fd can't be made non-blocking.
    pub fn serve(&self, stream: Box<dyn Stream>) -> io::Result<()> {
        rustix::io::ioctl_fionbio(stream.as_fd(), true)?;
        self.0.order(Order::Serve(stream)).map_err(|_| io::ErrorKind::NotConnected.into())
    }

    /// Whether the server is gone.
    pub fn is_stopped(&self) -> bool {
        self.0.stop.load(Ordering::Acquire)
    }

    /// How many are looking now.
    pub fn viewers(&self) -> usize {
        self.0.viewers.load(Ordering::Acquire)
    }

    /// Whether the display had a picture when it was last heard of, which is not while nobody
    /// looks.
    pub fn has_signal(&self) -> bool {
        self.0.signal.load(Ordering::Acquire)
    }

    /// The size of the screen, as last heard of.
    pub fn size(&self) -> Size {
        self.0.screen.last_size()
    }

    /// What the server is called.
    pub fn name(&self) -> &str {
        &self.0.options.name
    }

    /// Whether viewers can't do anything but look.
    pub fn view_only(&self) -> bool {
        self.0.options.view_only
    }

    /// Whether a viewer may ask for another size.
    pub fn resizable(&self) -> bool {
        self.0.options.resize && !self.0.options.view_only
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Handle {{ name: {:?}, viewers: {} }}", self.name(), self.viewers())
    }
}
