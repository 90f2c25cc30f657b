// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! One listener: a connection of its own, on which we call it.
//!
//! A call is made when those before it are answered, so what a slow listener lacks meanwhile is
//! merged, and its socket holds one update at most.

use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use serde::Serialize;
use serde_bytes::Bytes;
use vfio_display::geometry::{Point, Rect, Size};
use vfio_display_sinks::{Shape, unmultiplied};
use zbus::connection::{Builder, Connection};
use zbus::{DynamicType, Fd, Guid, OwnedVariant};
use zruntime::SharedRuntime;

use crate::error::Error;
use crate::input::Client;
use crate::screen::{Buffer, News};
use crate::server::{Notice, Shared};
use crate::slot::Slot;
use crate::socket::Bounded;
use crate::surface::PIXEL;
use crate::wait::{Attempt, all, race};

const PATH: &str = "/org/qemu/Display1/Listener";
const LISTENER: &str = "org.qemu.Display1.Listener";
const MAP: &str = "org.qemu.Display1.Listener.Unix.Map";
const DMABUF2: &str = "org.qemu.Display1.Listener.Unix.ScanoutDMABUF2";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// `PIXMAN_x8r8g8b8` of `<pixman.h>`: 32 bits, type ARGB, 8 bits each of red, green and blue.
const FORMAT: u32 = 32 << 24 | 2 << 16 | 8 << 8 | 8 << 4 | 8;

/// The longest array (D-Bus specification, "Marshaling").
const LONGEST: usize = 64 << 20;

/// Calls that are under way at a time.
const AT_ONCE: usize = 16;

/// How often a listener that says that it maps memory may refuse to: the crate `qemu-display`
/// says so a moment before it does.
const TRIES: u8 = 3;

/// What is needed to begin with a listener.
#[derive(Debug)]
pub(crate) struct Newcomer {
    pub(crate) id: u64,
    pub(crate) client: Client,
    pub(crate) stream: UnixStream,
    /// Its place among the listeners.
    pub(crate) slot: Slot,
}

/// Serves a listener until it goes, is too slow, or the server stops.
pub(crate) async fn serve(shared: Arc<Shared>, runtime: SharedRuntime, newcomer: Newcomer) {
    let Newcomer { id, client, stream, slot: _slot } = newcomer;
    let ended = match connect(&shared, &runtime, stream).await {
        Ok(connection) => {
            let registered = Registered::new(&shared, id, client);
            let listener = Listener { shared: &shared, runtime, connection };
            let ended = listener.run(id).await;
            drop(registered);
            ended
        }
        Err(error) => Err(error),
    };
    shared.options.note(Notice::Left { listener: id, why: ended.as_ref().err() });
}

/// The handshake, in which we are the server: the listener speaks first.
async fn connect(
    shared: &Shared,
    runtime: &SharedRuntime,
    stream: UnixStream,
) -> Result<Connection, Error> {
    let limits = &shared.options.limits;
    let socket = Bounded::new(runtime, stream, limits.message).map_err(zbus::Error::from)?;
    let handshake = Builder::socket(socket).server(Guid::generate()).p2p().build();
    match runtime.timeout(limits.handshake, handshake).await {
        Ok(connection) => connection.map_err(Error::from),
        Err(_) => Err(Error::TimedOut("the handshake")),
    }
}

/// A listener that counts as a viewer, until this is dropped.
struct Registered<'a> {
    shared: &'a Shared,
    id: u64,
    client: Client,
}

impl<'a> Registered<'a> {
    fn new(shared: &'a Shared, id: u64, client: Client) -> Self {
        let count = shared.screen.add(id);
        shared.options.note(Notice::Came { listener: id });
        shared.input.back().viewers(count);
        Self { shared, id, client }
    }
}

impl Drop for Registered<'_> {
    fn drop(&mut self) {
        let input = &self.shared.input;
        // As QEMU does: who stops looking holds nothing down.
        input.release(&self.client);
        let count = self.shared.screen.remove(self.id);
        if count == 0 {
            input.release_all();
        }
        input.back().viewers(count);
    }
}

struct Listener<'a> {
    shared: &'a Shared,
    runtime: SharedRuntime,
    connection: Connection,
}

/// How pixels get to a listener.
#[derive(Clone, Copy, Debug)]
struct Way {
    /// How often it may still be asked to map them.
    tries: u8,
    /// The size that it has mapped.
    mapped: Option<Size>,
    /// The size that it was told last.
    told: Option<Size>,
    /// Whether it takes a dma-buf with all that can be told of one.
    dmabuf2: bool,
}

impl Listener<'_> {
    async fn run(&self, id: u64) -> Result<(), Error> {
        let interfaces = self.interfaces().await?;
        let has = |interface| interfaces.iter().any(|name| name == interface);
        let tries = if has(MAP) { TRIES } else { 0 };
        let mut way = Way { tries, mapped: None, told: None, dmabuf2: has(DMABUF2) };
        loop {
            let changed = self.shared.screen.changed.listen();
            if let Some(news) = self.shared.screen.news(id) {
                self.tell(&news, &mut way).await?;
                continue;
            }
            let closed = async {
                self.connection.closed().await;
                Err(Error::HungUp)
            };
            let changed = async {
                changed.await;
                Ok(())
            };
            race(closed, changed).await?;
        }
    }

    /// What it says that it has beside the interface that all have.
    async fn interfaces(&self) -> Result<Vec<String>, Error> {
        let body = (LISTENER, "Interfaces");
        let call = self.connection.call_method(None::<&str>, PATH, Some(PROPERTIES), "Get", &body);
        let Ok(answer) = self.runtime.timeout(self.shared.options.limits.stall, call).await else {
            return Err(Error::TimedOut("telling its interfaces"));
        };
        match answer {
            Ok(answer) => {
                let value = answer.body().deserialize::<OwnedVariant>();
                let names = value.ok().and_then(|value| Vec::<String>::try_from(value).ok());
                Ok(names.unwrap_or_default())
            }
            // Those that are older than the property have none.
            Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_)) => Ok(Vec::new()),
            Err(error) => Err(error.into()),
        }
    }

    async fn tell(&self, news: &News, way: &mut Way) -> Result<(), Error> {
        if news.disable {
            self.call(LISTENER, "Disable", &()).await?;
        }
        if news.whole || way.tries > 0 && way.mapped.is_none() && !news.damage.is_empty() {
            self.scanout(way).await?;
        } else if !news.damage.is_empty() && way.told == Some(news.damage.size()) {
            let mut rects = Vec::new();
            news.damage.rects(&mut rects);
            match way.mapped {
                Some(_) => self.update_map(&rects).await?,
                None => self.update(news.damage.size(), &rects).await?,
            }
        }
        if news.buffer {
            self.scanout_dmabuf(way).await?;
        }
        if news.redraw
            && let Some(buffer) = self.shared.screen.buffer()
        {
            let (width, height) = (buffer.size.width as i32, buffer.size.height as i32);
            self.call(LISTENER, "UpdateDMABUF", &(0, 0, width, height)).await?;
        }
        if news.shape
            && let Some(shape) = self.shared.screen.shape()
        {
            self.define_cursor(&shape).await?;
        }
        if news.position {
            let position = self.shared.screen.position();
            let Point { x, y } = position.unwrap_or_default();
            self.call(LISTENER, "MouseSet", &(x, y, i32::from(position.is_some()))).await?;
        }
        Ok(())
    }

    /// All of the screen, mapped if it can be.
    async fn scanout(&self, way: &mut Way) -> Result<(), Error> {
        way.mapped = None;
        if way.tries > 0
            && let Some((size, fd)) = self.shared.screen.map()
        {
            let stride = size.width * PIXEL as u32;
            let body = (Fd::from(&*fd), 0_u32, size.width, size.height, stride, FORMAT);
            if self.call(MAP, "ScanoutMap", &body).await? {
                (way.mapped, way.told) = (Some(size), Some(size));
                // qemu-rdp shows nothing before this.
                return self.update_map(&[size.rect()]).await;
            }
            way.tries -= 1;
        }
        let Some((size, bytes)) = self.shared.screen.whole() else { return Ok(()) };
        if bytes.len() > LONGEST {
            return Err(Error::TooLarge(size));
        }
        let stride = size.width * PIXEL as u32;
        let body = (size.width, size.height, stride, FORMAT, Bytes::new(&bytes));
        self.call(LISTENER, "Scanout", &body).await?;
        way.told = Some(size);
        Ok(())
    }

    /// The buffer that the screen is in.
    async fn scanout_dmabuf(&self, way: &mut Way) -> Result<(), Error> {
        (way.mapped, way.told) = (None, None);
        let Some(buffer) = self.shared.screen.buffer() else { return Ok(()) };
        let Buffer { dmabuf, size: Size { width, height }, stride, offset, .. } = &buffer;
        let (fourcc, modifier) = (buffer.fourcc.raw(), buffer.modifier.raw());
        let fd = Fd::from(dmabuf.as_fd());
        // The first row is the upper one. QEMU says so of a VFIO device by `false`.
        let y0_top = false;
        if way.dmabuf2 {
            let (x, y, planes) = (0_u32, 0_u32, 1_u32);
            let (fds, offsets, strides) = (vec![fd], vec![*offset], vec![*stride]);
            let body = (
                fds, x, y, width, height, offsets, strides, planes, fourcc, width, height,
                modifier, y0_top,
            );
            return self.call(DMABUF2, "ScanoutDMABUF2", &body).await.map(drop);
        }
        let body = (fd, width, height, stride, fourcc, modifier, y0_top);
        self.call(LISTENER, "ScanoutDMABUF", &body).await.map(drop)
    }

    async fn update_map(&self, rects: &[Rect]) -> Result<(), Error> {
        for rects in rects.chunks(AT_ONCE) {
            let calls = rects.iter().map(|rect| {
                let body = (rect.x as i32, rect.y as i32, rect.width as i32, rect.height as i32);
                let call = async move { self.call(MAP, "UpdateMap", &body).await.map(drop) };
                Box::pin(call) as Attempt<'_, Error>
            });
            all(calls.collect()).await?;
        }
        Ok(())
    }

    /// Parts of a screen of `size`.
    async fn update(&self, size: Size, rects: &[Rect]) -> Result<(), Error> {
        let most = self.shared.options.limits.pixels;
        let (mut calls, mut bytes) = (Vec::new(), 0);
        for rect in rects.iter().flat_map(|rect| bands(*rect, most)) {
            // Another size is told as a whole.
            let Some(pixels) = self.shared.screen.part(size, rect) else { break };
            bytes += pixels.len();
            let call = async move {
                let (x, y, width, height) = (rect.x, rect.y, rect.width as i32, rect.height as i32);
                let stride = rect.width * PIXEL as u32;
                let pixels = Bytes::new(&pixels);
                let body = (x as i32, y as i32, width, height, stride, FORMAT, pixels);
                self.call(LISTENER, "Update", &body).await.map(drop)
            };
            calls.push(Box::pin(call) as Attempt<'_, Error>);
            if bytes >= most || calls.len() == AT_ONCE {
                all(std::mem::take(&mut calls)).await?;
                bytes = 0;
            }
        }
        all(calls).await
    }

    async fn define_cursor(&self, shape: &Shape) -> Result<(), Error> {
        let bytes: Vec<u8> =
            shape.pixels().iter().flat_map(|pixel| unmultiplied(*pixel).to_le_bytes()).collect();
        let (size, hotspot) = (shape.size(), shape.hotspot());
        let (width, height) = (size.width as i32, size.height as i32);
        let body = (width, height, hotspot.x, hotspot.y, Bytes::new(&bytes));
        self.call(LISTENER, "CursorDefine", &body).await.map(drop)
    }

    /// Calls it. Answers whether it took it: an error that it answers is its own affair.
    async fn call<B>(&self, interface: &str, method: &str, body: &B) -> Result<bool, Error>
    where
        B: Serialize + DynamicType + Sync,
    {
        let call = self.connection.call_method(None::<&str>, PATH, Some(interface), method, body);
        match self.runtime.timeout(self.shared.options.limits.stall, call).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(zbus::Error::MethodError(..) | zbus::Error::FDO(_))) => Ok(false),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Error::TimedOut("answering a call")),
        }
    }
}

/// `rect` in pieces of whole rows that take about `most` bytes each.
fn bands(rect: Rect, most: usize) -> impl Iterator<Item = Rect> {
    let rows = (most / (rect.width as usize * PIXEL).max(1)).max(1);
    let bottom = rect.y + rect.height;
    (rect.y..bottom).step_by(rows).map(move |y| {
        let height = (bottom - y).min(u32::try_from(rows).unwrap_or(u32::MAX));
        Rect { y, height, ..rect }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_is_pixman_s() {
        assert_eq!(FORMAT, 0x2002_0888);
    }

    #[test]
    fn bands_cover_a_rectangle() {
        let rect = Rect { x: 3, y: 5, width: 10, height: 7 };
        let rows = |most| bands(rect, most).map(|band| (band.y, band.height)).collect::<Vec<_>>();
        assert_eq!(rows(1000), [(5, 7)]);
        assert_eq!(rows(120), [(5, 3), (8, 3), (11, 1)]);
        assert_eq!(rows(1).len(), 7);
    }
}
