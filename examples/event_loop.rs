// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A display in the event loop of a rust-vmm VMM: one timer, no thread.
//!
//!     cargo run --example event_loop --features testing

use std::time::{Duration, Instant};

use event_manager::{EventManager, EventOps, EventSet, Events, MutEventSubscriber, SubscriberOps};
use vfio_display::Display;
use vfio_display::geometry::Size;
use vfio_display::testing::{Mock, Personality, Recorder};
use vmm_sys_util::timerfd::TimerFd;

struct Screen {
    display: Display<Mock>,
    sink: Recorder,
    timer: TimerFd,
}

impl Screen {
    fn set_timer(&mut self, now: Instant) {
        match self.display.poll_at() {
            Some(at) => self.timer.reset(at - now, None).expect("a timer is set"),
            None => self.timer.clear().expect("a timer is cleared"),
        }
    }
}

impl MutEventSubscriber for Screen {
    fn init(&mut self, ops: &mut EventOps) {
        ops.add(Events::new(&self.timer, EventSet::IN)).expect("a timer can be waited for");
        self.set_timer(Instant::now());
    }

    fn process(&mut self, _: Events, _: &mut EventOps) {
        self.timer.wait().expect("a timer has fired");
        let now = Instant::now();
        match self.display.poll(now, &mut self.sink) {
            Ok(poll) => println!("{poll:?}"),
            Err(error) => eprintln!("{error}"), // It looks again, later each time.
        }
        self.set_timer(now);
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut display = Display::new(Mock::new(Personality::Mdpy, Size::new(640, 480))?)?;
    display.watch(Instant::now());
    let screen = Screen { display, sink: Recorder::new(), timer: TimerFd::new()? };
    let mut events = EventManager::new()?;
    events.add_subscriber(screen);
    let end = Instant::now() + Duration::from_millis(100);
    while Instant::now() < end {
        events.run_with_timeout(10)?;
    }
    Ok(())
}
