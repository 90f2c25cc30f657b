// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The files of the page, as they are in the directory `page`.

use crate::response::{Response, Status};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

macro_rules! files {
    ($($name:literal $kind:expr),+ $(,)?) => {
        &[$(($name, $kind, include_bytes!(concat!("../page/", $name)))),+]
    };
}

/// What anybody may have: it is the same in every copy of this program.
const FILES: &[(&str, &str, &[u8])] = files![
    "style.css" "text/css; charset=utf-8",
    "icon.svg" "image/svg+xml",
    "main.js" SCRIPT,
    "index.js" SCRIPT,
    "connection.js" SCRIPT,
    "rfb.js" SCRIPT,
    "bytes.js" SCRIPT,
    "tight.js" SCRIPT,
    "screen.js" SCRIPT,
    "keyboard.js" SCRIPT,
    "pointer.js" SCRIPT,
    "bar.js" SCRIPT,
];

const DISPLAY: &[u8] = include_bytes!("../page/display.html");
const INDEX: &[u8] = include_bytes!("../page/index.html");
const REFUSED: &str = include_str!("../page/refused.html");

/// A file by its path.
pub(crate) fn file(path: &str) -> Option<Response> {
    let name = path.strip_prefix('/')?;
    let (_, kind, bytes) = FILES.iter().find(|(known, _, _)| *known == name)?;
    Some(Response::new(kind, *bytes))
}

/// The page of a display.
pub(crate) fn display() -> Response {
    Response::new(HTML, DISPLAY)
}

/// The list of displays.
pub(crate) fn index() -> Response {
    Response::new(HTML, INDEX)
}

/// Says to a person why they don't get in, and what to do about it.
pub(crate) fn refused(status: Status, why: &str) -> Response {
    let text = REFUSED.replace("{why}", why);
    Response::new(HTML, text.into_bytes()).status(status)
}
