// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What is on the screen, and what of it each listener has not been told yet.
//!
//! There is one copy of the screen however many listeners there are. What a slow one lacks is a set
//! of tiles, so nothing is queued for it: when it is ready it gets what is newest.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vfio_display::damage::Damage;
use vfio_display::dmabuf::Dmabuf;
use vfio_display::format::{Fourcc, Modifier};
use vfio_display::geometry::{Point, Rect, Size};
use vfio_display::notice;
use vfio_display::{DmabufFrame, Picture};
use vfio_display_sinks::Shape;
use zruntime::Event;

use crate::surface::Surface;

/// What is on the screen, behind its lock.
#[derive(Debug, Default)]
pub(crate) struct Screen {
    state: Mutex<State>,
    /// There is something to be told.
    pub(crate) changed: Event,
    /// The size is another.
    pub(crate) resized: Event,
}

#[derive(Debug, Default)]
struct State {
    /// The pixels; `None` before the first, and while there is a buffer.
    surface: Option<Surface>,
    /// A buffer in their place.
    buffer: Option<Buffer>,
    /// Whether it is what the display shows now: it is not once frames were let go by.
    known: bool,
    shape: Option<Arc<Shape>>,
    /// Where the pointer is; `None` while it is hidden.
    position: Option<Point>,
    listeners: BTreeMap<u64, News>,
}

/// A dma-buf that is shown as it is.
#[derive(Clone, Debug)]
pub(crate) struct Buffer {
    pub(crate) dmabuf: Arc<Dmabuf>,
    pub(crate) size: Size,
    pub(crate) fourcc: Fourcc,
    pub(crate) modifier: Modifier,
    pub(crate) stride: u32,
    pub(crate) offset: u32,
}

impl Buffer {
    fn new(frame: &DmabufFrame<'_>) -> Self {
        let &DmabufFrame { dmabuf, size, fourcc, modifier, stride, offset } = frame;
        Self { dmabuf: Arc::clone(dmabuf), size, fourcc, modifier, stride, offset }
    }

    fn is_same(&self, other: &Self) -> bool {
        let shape = |b: &Self| (b.size, b.fourcc, b.modifier, b.stride, b.offset);
        Arc::ptr_eq(&self.dmabuf, &other.dmabuf) && shape(self) == shape(other)
    }
}

impl State {
    fn size(&self) -> Option<Size> {
        let buffer = self.buffer.as_ref().map(|buffer| buffer.size);
        buffer.or(self.surface.as_ref().map(Surface::size))
    }
}

/// What a listener is to be told, in this order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    /// There is nothing to show; what is shown instead comes as a screen.
    pub(crate) disable: bool,
    /// All of the screen.
    pub(crate) whole: bool,
    /// Parts of it.
    pub(crate) damage: Damage,
    /// Another buffer.
    pub(crate) buffer: bool,
    /// What the buffer shows may be new.
    pub(crate) redraw: bool,
    pub(crate) shape: bool,
    pub(crate) position: bool,
}

impl News {
    /// What a listener that has just come is told.
    fn of(state: &State) -> Self {
        let size = state.surface.as_ref().map_or(Size::default(), Surface::size);
        Self {
            disable: false,
            whole: state.known && state.surface.is_some(),
            damage: Damage::new(size),
            buffer: state.buffer.is_some(),
            redraw: state.buffer.is_some(),
            shape: state.shape.is_some(),
            position: state.position.is_some(),
        }
    }

    fn set_whole(&mut self, size: Size) {
        self.whole = true;
        self.damage.reset(size);
        (self.buffer, self.redraw) = (false, false);
    }

    fn set_buffer(&mut self) {
        (self.whole, self.buffer) = (false, true);
        self.damage.clear();
    }

    fn is_empty(&self) -> bool {
        let Self { disable, whole, damage, buffer, redraw, shape, position } = self;
        ![disable, whole, buffer, redraw, shape, position].into_iter().any(|news| *news)
            && damage.is_empty()
    }
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway; and a picture with a flaw is better than none.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what of `picture` differs from the one before, or all where that is not known.
    pub(crate) fn show(&self, picture: &Picture, damage: &[Rect]) -> io::Result<()> {
        let size = picture.size();
        let mut state = self.lock();
        let state = &mut *state;
        let resized_from = state.size();
        if state.buffer.take().is_some() {
            state.listeners.values_mut().for_each(|news| news.disable = true);
        }
        let surface = state.surface.as_mut().filter(|surface| surface.size() == size);
        let is_new = surface.is_none();
        let surface = match surface {
            Some(surface) => surface,
            None => state.surface.insert(Surface::new(size)?),
        };
        let whole = [size.rect()];
        let damage = if state.known && !is_new { damage } else { &whole };
        damage.iter().for_each(|rect| surface.take(picture, *rect));
        for news in state.listeners.values_mut() {
            if !state.known || is_new {
                news.set_whole(size);
            } else if !news.whole {
                damage.iter().for_each(|rect| news.damage.mark_rect(*rect));
            }
        }
        state.known = true;
        self.changed.notify(usize::MAX);
        if resized_from != Some(size) {
            self.resized.notify(usize::MAX);
        }
        Ok(())
    }

    /// Takes a buffer that is shown as it is.
    pub(crate) fn show_dmabuf(&self, frame: &DmabufFrame<'_>) {
        let mut state = self.lock();
        let state = &mut *state;
        let (resized_from, buffer) = (state.size(), Buffer::new(frame));
        let is_new = !state.buffer.as_ref().is_some_and(|before| before.is_same(&buffer));
        for news in state.listeners.values_mut() {
            news.redraw = true;
            if is_new {
                news.set_buffer();
            }
        }
        // Pixels that come again are copied anew.
        (state.buffer, state.surface, state.known) = (Some(buffer), None, true);
        self.changed.notify(usize::MAX);
        if resized_from != Some(frame.size) {
            self.resized.notify(usize::MAX);
        }
    }

    /// There is nothing to show, and a picture says so.
    pub(crate) fn blank(&self) -> io::Result<()> {
        let picture = notice::no_signal(self.size());
        self.lock().listeners.values_mut().for_each(|news| news.disable = true);
        self.show(&picture, &[picture.size().rect()])
    }

    /// Frames are let go by from now on.
    pub(crate) fn forget(&self) {
        let mut state = self.lock();
        state.known = false;
        // Its device keeps few of them.
        state.buffer = None;
    }

    /// Its last size, or the one that every client can show.
    pub(crate) fn size(&self) -> Size {
        self.lock().size().unwrap_or(notice::SIZE)
    }

    /// The pointer is here, and looks like this if it looks different; or is hidden.
    pub(crate) fn set_cursor(&self, position: Option<Point>, shape: Option<Arc<Shape>>) {
        let mut state = self.lock();
        let moved = state.position != position;
        state.position = position;
        for news in state.listeners.values_mut() {
            news.shape |= shape.is_some();
            news.position |= moved;
        }
        if shape.is_some() {
            state.shape = shape;
        }
        drop(state);
        self.changed.notify(usize::MAX);
    }

    pub(crate) fn shape(&self) -> Option<Arc<Shape>> {
        self.lock().shape.clone()
    }

    pub(crate) fn position(&self) -> Option<Point> {
        self.lock().position
    }

    /// A listener has come. Answers with how many there are now.
    pub(crate) fn add(&self, listener: u64) -> usize {
        let mut state = self.lock();
        let news = News::of(&state);
        state.listeners.insert(listener, news);
        state.listeners.len()
    }

    /// A listener is gone. Answers with how many there are now.
    pub(crate) fn remove(&self, listener: u64) -> usize {
        let mut state = self.lock();
        state.listeners.remove(&listener);
        state.listeners.len()
    }

    /// How many listeners there are.
    pub(crate) fn listeners(&self) -> usize {
        self.lock().listeners.len()
    }

    /// What a listener is to be told since the last call, `None` if there is nothing.
    pub(crate) fn news(&self, listener: u64) -> Option<News> {
        let mut state = self.lock();
        let news = state.listeners.get_mut(&listener).filter(|news| !news.is_empty())?;
        let next = News { damage: Damage::new(news.damage.size()), ..News::default() };
        Some(std::mem::replace(news, next))
    }

    /// The bytes of all pixels, and the size.
    pub(crate) fn whole(&self) -> Option<(Size, Vec<u8>)> {
        let state = self.lock();
        let surface = state.surface.as_ref()?;
        Some((surface.size(), surface.bytes(surface.size().rect())))
    }

    /// The bytes of the pixels in `rect` of a screen of `size`; `None` if it has another by now,
    /// which is to be told first.
    pub(crate) fn part(&self, size: Size, rect: Rect) -> Option<Vec<u8>> {
        let state = self.lock();
        let surface = state.surface.as_ref().filter(|surface| surface.size() == size)?;
        Some(surface.bytes(rect))
    }

    /// The buffer that is shown.
    pub(crate) fn buffer(&self) -> Option<Buffer> {
        self.lock().buffer.clone()
    }

    /// What clients map, and the size.
    pub(crate) fn map(&self) -> Option<(Size, Arc<OwnedFd>)> {
        let state = self.lock();
        state.surface.as_ref().map(|surface| (surface.size(), surface.fd()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size::new(64, 48);

    fn shown() -> (Screen, Picture) {
        let (screen, picture) = (Screen::default(), Picture::new(SIZE));
        screen.add(1);
        screen.show(&picture, &[SIZE.rect()]).unwrap();
        (screen, picture)
    }

    fn rects(news: &News) -> Vec<Rect> {
        let mut rects = Vec::new();
        news.damage.rects(&mut rects);
        rects
    }

    #[test]
    fn news_is_told_once_and_merged() {
        let (screen, picture) = shown();
        assert!(screen.news(1).is_some_and(|news| news.whole && news.damage.is_empty()));
        assert_eq!(screen.news(1), None);
        let tile = |x, y| Rect { x, y, width: 16, height: 16 };
        screen.show(&picture, &[tile(0, 0)]).unwrap();
        screen.show(&picture, &[tile(32, 16)]).unwrap();
        let news = screen.news(1).unwrap();
        assert_eq!((news.whole, rects(&news)), (false, vec![tile(0, 0), tile(32, 16)]));
        assert_eq!(screen.news(1), None);
    }

    #[test]
    fn another_size_is_a_whole_screen() {
        let (screen, _) = shown();
        screen.news(1);
        let small = Picture::new(Size::new(32, 16));
        screen.show(&small, &[small.size().rect()]).unwrap();
        let news = screen.news(1).unwrap();
        assert!(news.whole && news.damage.is_empty());
        assert_eq!(screen.part(SIZE, SIZE.rect()), None);
        assert_eq!(screen.whole().unwrap().1.len(), 32 * 16 * 4);
    }

    #[test]
    fn what_was_let_go_by_is_made_good() {
        let (screen, mut picture) = shown();
        screen.news(1);
        screen.forget();
        screen.add(2);
        assert_eq!(screen.news(2), None, "what is there may be old");
        picture.rows_mut().for_each(|row| row.fill(9));
        screen.show(&picture, &[Rect { x: 0, y: 0, width: 1, height: 1 }]).unwrap();
        assert!(screen.news(1).unwrap().whole && screen.news(2).unwrap().whole);
        assert!(screen.whole().unwrap().1.chunks(4).all(|pixel| pixel[0] == 9));
    }

    #[test]
    fn a_newcomer_is_told_what_there_is() {
        let (screen, _) = shown();
        screen.set_cursor(Some(Point::new(3, 4)), Some(Arc::default()));
        screen.add(2);
        let news = screen.news(2).unwrap();
        assert!(news.whole && news.shape && news.position && !news.disable);
        screen.blank().unwrap();
        let news = screen.news(2).unwrap();
        assert!(news.disable, "and something to look at");
        assert_eq!(rects(&news), [SIZE.rect()]);
    }
}
