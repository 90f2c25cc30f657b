// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The latest picture, shared between the display that brings it and the thread that sends it.
//!
//! There are two copies at most, however many viewers there are. While the thread encodes from one,
//! a new frame goes into the other; so neither waits for the other, and no update is half of one
//! frame and half of the next unless its viewer is slow. A frame is all of the screen, so a copy
//! that fell behind is brought up to date from the next one: what it lacks is a region.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use vfio_display::geometry::{Rect, Size};
use vfio_display::picture::Picture;

use crate::region::Region;
use vfio_display_sinks::Shape;

/// What is on the screen, behind its lock.
#[derive(Debug, Default)]
pub(crate) struct Screen(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    copies: Vec<Copy>,
    /// The copy that is up to date.
    latest: usize,
    size: Size,
    /// Whether it is what the display shows now: it is not once frames were let go by.
    known: bool,
    news: News,
    cursor: Option<Arc<Shape>>,
}

#[derive(Debug, Default)]
struct Copy {
    picture: Arc<Picture>,
    lacks: Region,
}

/// What happened since it was last asked.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct News {
    pub(crate) damage: Region,
    /// The size is another, and all of the picture is new.
    pub(crate) resized: Option<Size>,
    pub(crate) cursor: bool,
}

impl Screen {
    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing in here panics halfway; and a picture with a flaw is better than none.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes what of `picture` differs from the one before. Copies that, or what it missed.
    pub(crate) fn show(&self, picture: &Picture, damage: &[Rect]) {
        let mut state = self.lock();
        let state = &mut *state;
        let size = picture.size();
        if state.size != size || state.copies.is_empty() {
            state.size = size;
            state.news.resized = Some(size);
            // A viewer may still be reading the old ones; they go when it is done.
            state.copies.clear();
            state.copies.push(Copy::new(size));
        } else if !state.known {
            state.copies.iter_mut().for_each(|copy| copy.lacks.set_whole(size));
            state.news.damage.set_whole(size);
        }
        state.known = true;
        for rect in damage {
            state.copies.iter_mut().for_each(|copy| copy.lacks.add(*rect));
            state.news.damage.add(*rect);
        }
        let free = |copy: &Copy| Arc::strong_count(&copy.picture) == 1;
        // The latest one first: it lacks least.
        let latest = state.latest.min(state.copies.len() - 1);
        let index = if free(&state.copies[latest]) {
            latest
        } else if let Some(index) = state.copies.iter().position(free) {
            index
        } else {
            state.copies.push(Copy::new(size));
            state.copies.len() - 1
        };
        state.copies[index].catch_up(picture);
        state.latest = index;
    }

    /// Frames are let go by from now on.
    pub(crate) fn forget(&self) {
        self.lock().known = false;
    }

    /// Its size, if that is certain.
    pub(crate) fn size_if_known(&self) -> Option<Size> {
        let state = self.lock();
        state.known.then_some(state.size)
    }

    /// Its last size.
    pub(crate) fn last_size(&self) -> Size {
        self.lock().size
    }

    pub(crate) fn set_cursor(&self, shape: Option<Arc<Shape>>) {
        let mut state = self.lock();
        state.cursor = shape;
        state.news.cursor = true;
    }

    /// The pointer's shape, where viewers are to draw it.
    pub(crate) fn cursor(&self) -> Option<Arc<Shape>> {
        self.lock().cursor.clone()
    }

    /// What happened since the last call.
    pub(crate) fn news(&self) -> News {
        std::mem::take(&mut self.lock().news)
    }

    /// The picture to encode from, and what happened since the last call of this or
    /// [`news`](Self::news): the picture never lacks what was told. It is to be dropped soon.
    pub(crate) fn look(&self) -> (Arc<Picture>, News) {
        let mut state = self.lock();
        let news = std::mem::take(&mut state.news);
        let latest = state.copies.get(state.latest);
        (latest.map(|copy| Arc::clone(&copy.picture)).unwrap_or_default(), news)
    }
}

impl Copy {
    fn new(size: Size) -> Self {
        let mut lacks = Region::new();
        lacks.set_whole(size);
        Self { picture: Arc::new(Picture::new(size)), lacks }
    }

    fn catch_up(&mut self, from: &Picture) {
        // Nobody else has it: only look() hands it out, under the same lock.
        let Some(picture) = Arc::get_mut(&mut self.picture) else { return };
        for rect in self.lacks.rects() {
            let columns = rect.x as usize..(rect.x + rect.width) as usize;
            let rows = from.rows().zip(picture.rows_mut());
            for (from, to) in rows.skip(rect.y as usize).take(rect.height as usize) {
                // Damage lies inside the picture; what does not is of no frame.
                if let (Some(from), Some(to)) =
                    (from.get(columns.clone()), to.get_mut(columns.clone()))
                {
                    to.copy_from_slice(from);
                }
            }
        }
        self.lacks.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Random;

    const SIZE: Size = Size::new(48, 32);

    fn change(picture: &mut Picture, random: &mut Random) -> Rect {
        let (x, y) = (random.below(40), random.below(24));
        let rect = Rect { x, y, width: random.below(8) + 1, height: random.below(8) + 1 };
        let value = random.next() as u32;
        for row in picture.rows_mut().skip(rect.y as usize).take(rect.height as usize) {
            row[rect.x as usize..][..rect.width as usize].fill(value);
        }
        rect
    }

    #[test]
    fn a_held_picture_stays_and_the_next_is_whole() {
        let mut random = Random::new(6);
        let screen = Screen::default();
        let mut source = Picture::new(SIZE);
        screen.show(&source, &[SIZE.rect()]);
        for _ in 0..500 {
            let (held, _) = screen.look();
            let before = Picture::clone(&held);
            for _ in 0..random.below(4) {
                let rect = change(&mut source, &mut random);
                screen.show(&source, &[rect]);
            }
            assert_eq!(*held, before);
            assert_eq!(*screen.look().0, source);
            assert!(screen.lock().copies.len() <= 2);
        }
    }

    #[test]
    fn only_damage_is_copied() {
        let screen = Screen::default();
        let mut source = Picture::new(SIZE);
        screen.show(&source, &[SIZE.rect()]);
        source.rows_mut().for_each(|row| row.fill(1));
        screen.show(&source, &[Rect { x: 2, y: 3, width: 4, height: 5 }]);
        let (shown, _) = screen.look();
        assert_eq!(shown.pixels().iter().filter(|pixel| **pixel == 1).count(), 20);
    }

    #[test]
    fn news_is_told_once() {
        let screen = Screen::default();
        let source = Picture::new(SIZE);
        screen.show(&source, &[SIZE.rect()]);
        assert_eq!(screen.news().resized, Some(SIZE));
        assert_eq!(screen.news(), News::default());
        let rect = Rect { x: 1, y: 1, width: 2, height: 2 };
        screen.show(&source, &[rect]);
        assert_eq!(screen.look().1.damage.rects(), [rect]);
        assert_eq!(screen.look().1, News::default());
    }

    #[test]
    fn what_was_let_go_by_is_made_good() {
        let screen = Screen::default();
        let mut source = Picture::new(SIZE);
        screen.show(&source, &[SIZE.rect()]);
        assert_eq!(screen.size_if_known(), Some(SIZE));
        screen.forget();
        assert_eq!((screen.size_if_known(), screen.last_size()), (None, SIZE));
        source.rows_mut().for_each(|row| row.fill(9));
        screen.news();
        screen.show(&source, &[Rect { x: 0, y: 0, width: 1, height: 1 }]);
        let (shown, news) = screen.look();
        assert_eq!(*shown, source);
        assert_eq!(news.damage.rects(), [SIZE.rect()]);
    }
}
