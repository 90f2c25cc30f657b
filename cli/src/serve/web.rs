// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The page that a command line asks for.

use std::sync::Arc;

use serde_json::json;
use tracing::warn;
use vfio_display_sinks::Guard;
use vfio_display_web::{Metrics, Options, WebServer};

use super::failed;
use super::servers::first_free;
use crate::args::Serve;
use crate::exit::Failure;
use crate::output::{clear_line, say};

/// The port that pages like it are found at; it is noVNC's.
const PORT: u16 = 6080;

/// Starts the page, and answers also with the link to it. One that lets in is good once: the next is
/// printed then, as `json` says.
pub(super) fn start(
    args: &Serve,
    guard: Option<Arc<dyn Guard>>,
    metrics: Metrics,
    json: bool,
) -> Result<(WebServer, String), Failure> {
    let recording = args.records_to_stdout();
    let on_link = move |link: &str| {
        let told = if json { json!({ "web": link }).to_string() } else { link.to_owned() };
        clear_line();
        if recording {
            eprintln!("{told}");
        } else if let Err(failure) = say(&told) {
            warn!("{}", failure.message);
        }
    };
    let server = WebServer::start(Options {
        hosts: args.web_host.clone(),
        origins: args.web_origin.clone(),
        guard,
        metrics: Some(metrics),
        on_link: Some(Arc::new(on_link)),
        ..Default::default()
    })
    .map_err(|error| failed("the web server can't be started", error))?;
    match args.web.flatten() {
        Some(at) => server.listen_tcp(at)?,
        None => first_free(PORT, |at| server.listen_tcp(at))?,
    };
    let link = server.link().unwrap_or_default();
    Ok((server, link))
}
