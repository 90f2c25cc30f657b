// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display shot`: one picture, as soon as there is one.

use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use vfio_display::plane::Plane;
use vfio_display::{Display, Look, Picture};

use crate::args::Shot;
use crate::exit::{Failure, Status};
use crate::output::{Output, say};

/// Between two looks at a display that is off.
const PAUSE: Duration = Duration::from_millis(20);

pub(crate) fn run(args: &Shot, json: bool) -> Result<(), Failure> {
    let to_stdout = args.output.as_os_str() == "-";
    if json && to_stdout {
        return Err(Failure::new(Status::Usage, "--json and -o - both want standard output"));
    }
    let output = Output::new(&args.output, args.format)?;
    let device = args.device.open()?;
    let mut display = Display::new(device.gfx)?;
    let (plane, picture) = wait(&mut display, args.wait)?;
    output.write(&picture)?;
    if json {
        say(&report(args, &plane).to_string())
    } else if to_stdout {
        Ok(())
    } else {
        say(&format!("{}: {} {}", args.output.display(), plane.size, plane.fourcc))
    }
}

/// Looks until there is a picture, for `limit` at most, and says what it waits for.
fn wait<D: vfio_display::device::GfxDevice>(
    display: &mut Display<D>,
    limit: Duration,
) -> Result<(Plane, Picture), Failure> {
    let start = Instant::now();
    let mut progress = Progress::new();
    loop {
        let reason = match display.look()? {
            Look::Live(plane, picture) => {
                progress.clear();
                return Ok((plane, picture.clone()));
            }
            Look::Gone(error) => return Err(Failure::new(Status::Gone, error)),
            Look::Off => "the display is off".to_owned(),
            Look::Held(error, _) => error.to_string(),
        };
        let waited = start.elapsed();
        if waited >= limit {
            progress.clear();
            let seconds = limit.as_secs_f64();
            return Err(Failure::new(Status::Off, format!("{reason}, for {seconds} s")).hint(
                "a vGPU shows nothing until the guest's driver is up; --wait SECONDS waits longer",
            ));
        }
        progress.say(&reason, waited);
        thread::sleep(PAUSE.min(limit - waited));
    }
}

/// One line on a terminal, rewritten while something is waited for.
struct Progress {
    terminal: bool,
    shown: bool,
}

impl Progress {
    fn new() -> Self {
        Self { terminal: io::stderr().is_terminal(), shown: false }
    }

    fn say(&mut self, reason: &str, waited: Duration) {
        // A wait that a person does not notice needs no words.
        if self.terminal && waited >= Duration::from_millis(500) {
            eprint!("\r\x1b[Kwaiting {:.0} s: {reason}", waited.as_secs_f64());
            let _ = io::stderr().flush();
            self.shown = true;
        }
    }

    fn clear(&mut self) {
        if self.shown {
            eprint!("\r\x1b[K");
        }
    }
}

fn report(args: &Shot, plane: &Plane) -> serde_json::Value {
    serde_json::json!({
        "file": args.output,
        "width": plane.size.width,
        "height": plane.size.height,
        "format": plane.fourcc.to_string(),
    })
}
