// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! How a display behaves in ten seconds of each pattern of activity, as one table.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use vfio_display::error::Errno;
use vfio_display::geometry::Size;
use vfio_display::testing::{Mock, Op, Personality, Recorder};
use vfio_display::{Display, Poll};

const SIZE: Size = Size::new(320, 256);
const SECOND: Duration = Duration::from_secs(1);
/// When the guest draws, between two looks.
const CHANGE: Duration = Duration::from_micros(5_003_100);
const ENOMEM: Errno = Errno::from_raw(12);

#[derive(Clone, Copy, Debug)]
enum Activity {
    /// A viewer comes.
    Watch,
    /// A viewer does something.
    Wake,
    /// The last viewer goes.
    Park,
    /// The guest draws.
    Draw(u64),
    /// The next so many looks fail.
    Fail(u32),
}
use Activity::{Draw, Fail, Park, Wake, Watch};

/// Looks, frames that reached the sink, and from the change to the frame that has it.
struct Run {
    looks: u32,
    copies: usize,
    latency: Option<Duration>,
}

fn run(rate: u32, events: &[(Duration, Activity)]) -> Run {
    let mock = Mock::new(Personality::Region, SIZE).unwrap();
    mock.show_card(0).unwrap();
    let mut display = Display::new(mock.clone()).unwrap();
    display.set_rate(rate);
    let mut sink = Recorder::new();
    let mut events = events.to_vec();
    events.sort_by_key(|(at, _)| *at);
    let mut events = events.into_iter().peekable();
    let start = Instant::now();
    let (mut now, mut run) = (start, Run { looks: 0, copies: 0, latency: None });
    let mut drawn = false;
    loop {
        let event = events.peek().map(|(at, _)| start + *at);
        let Some(next) = [event, display.poll_at()].into_iter().flatten().min() else { break };
        if next >= start + 10 * SECOND {
            break;
        }
        now = next.max(now);
        if event == Some(next) {
            match events.next().unwrap().1 {
                Watch => display.watch(now),
                Wake => display.wake(now),
                Park => display.park(),
                Draw(n) => {
                    drawn |= now - start >= CHANGE;
                    mock.show_card(n).unwrap();
                }
                Fail(looks) => mock.fail_next(Op::QueryPlane, looks, ENOMEM),
            }
        } else {
            run.looks += 1;
            let shown = matches!(display.poll(now, &mut sink), Ok(Poll::Shown(_)));
            assert!(display.poll_at().is_none_or(|at| at > now), "the next look is later than now");
            if shown && drawn && run.latency.is_none() {
                run.latency = Some(now - start - CHANGE);
            }
        }
    }
    run.copies = sink.frames.len();
    run
}

#[test]
fn behaviour_is_one_table() {
    const START: Duration = Duration::ZERO;
    let with =
        |more: &[(Duration, Activity)]| [&[(START, Watch), (CHANGE, Draw(1))], more].concat();
    let each_ms = |from: u64, to: u64, activity: fn(u64) -> Activity| -> Vec<_> {
        (from..to).map(|ms| (Duration::from_millis(ms), activity(ms))).collect()
    };
    let rows = [
        ("nobody watches", run(60, &[(SECOND, Wake), (CHANGE, Draw(1))])),
        ("idle but for one change, 60 Hz", run(60, &with(&[]))),
        ("idle but for one change, 10 Hz", run(10, &with(&[]))),
        ("10 Hz, woken at the change", run(10, &with(&[(CHANGE, Wake)]))),
        ("woken 1000 times a second", run(60, &with(&each_ms(500, 9_500, |_| Wake)))),
        ("drawn 1000 times a second", run(60, &with(&each_ms(0, 10_000, Draw)))),
        ("first viewer at the change", run(60, &[(CHANGE, Draw(1)), (CHANGE, Watch)])),
        ("last viewer leaves after 1 s", run(60, &with(&[(SECOND, Park)]))),
        ("fails from 4 s on", run(60, &with(&[(4 * SECOND, Fail(u32::MAX))]))),
        ("fails twice at the change", run(60, &with(&[(CHANGE, Fail(2))]))),
    ];
    let mut table = String::from("activity                        looks  copies  first change\n");
    for (name, Run { looks, copies, latency }) in rows {
        let latency = latency.map_or("-".into(), |l| format!("{:.1} ms", l.as_secs_f64() * 1e3));
        writeln!(table, "{name:<32}{looks:>5}{copies:>8}{latency:>14}").unwrap();
    }
    assert_eq!(
        table,
        "\
activity                        looks  copies  first change
nobody watches                      0       0             -
idle but for one change, 60 Hz    600       2       14.6 ms
idle but for one change, 10 Hz    100       2       97.9 ms
10 Hz, woken at the change        101       2       22.9 ms
woken 1000 times a second        2220       2        2.1 ms
drawn 1000 times a second         600     600       14.6 ms
first viewer at the change        300       1        1.0 ms
last viewer leaves after 1 s       60       1             -
fails from 4 s on                 250       1             -
fails twice at the change         596       2      114.6 ms
"
    );
}
