// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! From a request to its answer.

use std::net::SocketAddr;
use std::time::Duration;

use tungstenite::handshake::derive_accept_key;
use vfio_display_vnc::Handle;

use crate::authority;
use crate::displays::Status as Aside;
use crate::gate::Admission;
use crate::page;
use crate::request::{Request, Upgrade, percent_encoded};
use crate::response::{Response, Status};
use crate::server::Shared;

/// RFB in binary messages, as noVNC and others name it.
const BINARY: &str = "binary";
/// The same, and what RFB has no words for in text messages beside it.
const WITH_STATUS: &str = "rfb.vfio-display";

const NO_LINK: &str = "This address wants a link that is good once.";
const USED_LINK: &str = "This link has been used, or it is of a server that has ended.";

/// What becomes of a connection.
pub(crate) enum Answer {
    Respond(Response),
    /// Not before so much time has passed.
    Later(Duration, Response),
    /// Once this is sent, it is a viewer of a server.
    Socket(Response, Handle, Option<Aside>),
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

/// How somebody is in.
enum Entry {
    Known,
    /// By a link or a password just now; the cookie to come back with.
    New(String),
}

pub(crate) fn answer(
    shared: &Shared,
    request: &Request,
    peer: SocketAddr,
    local: SocketAddr,
) -> Answer {
    if !authority::is_ours(&request.host, local, &shared.options.hosts) {
        let why = format!("this server is not called {:?}", request.host);
        return Response::refusal(Status::Misdirected, &why).into();
    }
    match request.path.as_str() {
        "/" => root(shared, request, peer),
        "/websockify" => socket(shared, request, peer),
        "/displays.json" => guarded(shared, request, peer, || {
            Response::new("application/json", shared.displays().json().to_string().into_bytes())
        }),
        "/metrics" => match &shared.options.metrics {
            Some(metrics) => guarded(shared, request, peer, || {
                Response::new("text/plain; version=0.0.4; charset=utf-8", metrics().into_bytes())
            }),
            None => Response::refusal(Status::NotFound, "there are no metrics").into(),
        },
        path => page::file(path)
            .unwrap_or_else(|| Response::refusal(Status::NotFound, "there is no such page"))
            .into(),
    }
}

fn root(shared: &Shared, request: &Request, peer: SocketAddr) -> Answer {
    let display = request.parameter("display");
    let entry = match enter(shared, request, peer) {
        Ok(entry) => entry,
        Err(answer) => return answer,
    };
    if request.parameter("token").is_some() {
        // Out of the address bar, the history and what is copied from them.
        let to = match &display {
            Some(name) => format!("./?display={}", percent_encoded(name)),
            None => "./".into(),
        };
        let response = Response::new("text/plain", Vec::new()).status(Status::SeeOther);
        return with_cookie(shared, entry, response.header("Location", to)).into();
    }
    let single = display.is_some() || shared.displays().is_single();
    with_cookie(shared, entry, if single { page::display() } else { page::index() }).into()
}

fn guarded(
    shared: &Shared,
    request: &Request,
    peer: SocketAddr,
    make: impl FnOnce() -> Response,
) -> Answer {
    match enter(shared, request, peer) {
        Ok(entry) => with_cookie(shared, entry, make()).into(),
        Err(answer) => answer,
    }
}

fn socket(shared: &Shared, request: &Request, peer: SocketAddr) -> Answer {
    let refuse = |status, why: &str| Answer::Respond(Response::refusal(status, why));
    let Some(Upgrade { key, version, protocols }) = &request.upgrade else {
        return refuse(Status::Upgrade, "this is a WebSocket");
    };
    if version != "13" {
        return refuse(Status::Upgrade, "version 13 is spoken here");
    }
    // 16 bytes in base64 (RFC 6455, section 4.1).
    if key.len() != 24 || !key.ends_with("==") {
        return refuse(Status::BadRequest, "no Sec-WebSocket-Key");
    }
    // What is no browser sends no origin, and has no cookies that another page could make use of.
    let options = &shared.options;
    if let Some(origin) = &request.origin
        && !authority::may_connect(origin, &request.host, options.secure, &options.origins)
    {
        return refuse(Status::Forbidden, &format!("pages of {origin:?} may not connect"));
    }
    let with_status = protocols.iter().any(|offered| offered == WITH_STATUS);
    let protocol = if with_status {
        Some(WITH_STATUS)
    } else if protocols.iter().any(|offered| offered == BINARY) {
        Some(BINARY)
    } else if protocols.is_empty() {
        None
    } else {
        return refuse(Status::BadRequest, "the subprotocol is binary");
    };
    let entry = match enter(shared, request, peer) {
        Ok(entry) => entry,
        Err(answer) => return answer,
    };
    let name = request.parameter("display");
    let displays = shared.displays();
    let Some((server, aside)) = displays.find(name.as_deref()) else {
        return refuse(Status::NotFound, "there is no such display");
    };
    if server.is_stopped() {
        return refuse(Status::Unavailable, "the display is gone");
    }
    let mut response = Response::new("", Vec::new())
        .status(Status::Switching)
        .header("Sec-WebSocket-Accept", derive_accept_key(key.as_bytes()));
    if let Some(protocol) = protocol {
        response = response.header("Sec-WebSocket-Protocol", protocol);
    }
    let response = with_cookie(shared, entry, response);
    Answer::Socket(response, server.clone(), with_status.then_some(aside))
}

/// Lets somebody in: by a cookie, by a link that was not used, by the embedder's own way.
fn enter(shared: &Shared, request: &Request, peer: SocketAddr) -> Result<Entry, Answer> {
    let failed = |_| Answer::from(Response::refusal(Status::Unavailable, "no random numbers"));
    let token = request.parameter("token");
    let redeemed = match &token {
        Some(token) => shared.redeem(token).map_err(failed)?,
        None => false,
    };
    let mut sessions = shared.sessions();
    // Who is in already and follows a fresh link is let in by that: it is used up either way.
    if redeemed {
        return Ok(Entry::New(sessions.open().map_err(failed)?.as_str().to_owned()));
    }
    // A used link is refused also where the cookie would do: else nobody learns that it was used.
    let refused = |why| Answer::from(page::refused(Status::Forbidden, why));
    if token.is_some() {
        return Err(refused(USED_LINK));
    }
    if request.cookies(&shared.cookie_name()).any(|cookie| sessions.knows(cookie)) {
        return Ok(Entry::Known);
    }
    drop(sessions);
    let Some(gate) = &shared.options.gate else { return Err(refused(NO_LINK)) };
    let denied = page::refused(Status::Unauthorized, "The password is wanted.")
        .header("WWW-Authenticate", gate.challenge());
    match request.authorization.as_deref().map(|sent| gate.admit(peer, sent)) {
        Some(Admission::Granted) => {
            Ok(Entry::New(shared.sessions().open().map_err(failed)?.as_str().to_owned()))
        }
        Some(Admission::Refused { delay }) => Err(Answer::Later(delay, denied)),
        None => Err(denied.into()),
    }
}

fn with_cookie(shared: &Shared, entry: Entry, response: Response) -> Response {
    let Entry::New(cookie) = entry else { return response };
    let name = shared.cookie_name();
    let secure = if shared.options.secure { "; Secure" } else { "" };
    let cookie = format!("{name}={cookie}; HttpOnly; SameSite=Strict; Path=/{secure}");
    response.header("Set-Cookie", cookie)
}
