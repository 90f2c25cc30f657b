// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Where the screen is shown: to viewers, or to nobody until its picture is taken.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use anyhow::{Context, Result};
use vfio_display::input::BackChannel;
use vfio_display::sink::{Sink, SinkError, Takes};
use vfio_display::{Cursor, Frame};
use vfio_display_vnc::{Options, VncServer};

/// Tells each mode on standard error, and forgets the frames: the display keeps the last picture.
#[derive(Debug, Default)]
pub(crate) struct Modes {
    generation: u64,
}

impl Sink for Modes {
    fn takes(&self) -> Takes {
        Takes::default()
    }

    fn frame(&mut self, frame: &Frame<'_>) -> Result<(), SinkError> {
        if self.generation != frame.generation {
            self.generation = frame.generation;
            eprintln!("{} in generation {}", frame.size(), frame.generation);
        }
        Ok(())
    }

    fn cursor(&mut self, _: Option<&Cursor<'_>>) -> Result<(), SinkError> {
        Ok(())
    }

    fn blank(&mut self) -> Result<(), SinkError> {
        Ok(())
    }
}

/// Listens, prints where, and answers with how many viewers there are whenever that changes.
///
/// What they type goes nowhere: the machine has no keyboard.
pub(crate) fn serve(at: SocketAddr) -> Result<(VncServer, Receiver<usize>)> {
    let (sender, viewers) = channel();
    let options = Options { name: "demo-vmm".into(), view_only: true, ..Options::default() };
    let server = VncServer::start(options, Arc::new(Back(sender))).context("the VNC server")?;
    println!("vnc://{}", server.listen_tcp(at)?);
    Ok((server, viewers))
}

struct Back(Sender<usize>);

impl BackChannel for Back {
    fn viewers(&self, count: usize) {
        // An error means that the machine is about to end.
        let _ = self.0.send(count);
    }
}
