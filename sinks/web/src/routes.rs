// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! From a request to its answer.

use std::io;
use std::net::SocketAddr;

use tungstenite::handshake::derive_accept_key;
use vfio_display_sinks::{Credentials, Denied};
use vfio_display_vnc::Handle;

use crate::authority;
use crate::displays::Status as Aside;
use crate::page;
use crate::request::{Request, Upgrade, percent_encoded};
use crate::response::{Response, Status};
use crate::server::{Shared, Verdict};
use crate::sessions::User;

/// RFB in binary messages, as noVNC and others name it.
const BINARY: &str = "binary";
/// The same, and what RFB has no words for in text messages beside it.
const WITH_STATUS: &str = "rfb.vfio-display";

const NO_LINK: &str = "This address wants a link that is good once.";
const USED_LINK: &str = "This link has been used, or it is of a server that has ended.";

/// What becomes of a connection.
pub(crate) enum Answer {
    Respond(Response),
    /// Once it is known whether these are right.
    Check(Credentials),
    /// Once this is sent, it is a viewer of a server.
    Socket(Box<Next>),
}

/// What a connection is once it has been answered.
pub(crate) struct Next {
    pub(crate) response: Response,
    pub(crate) server: Handle,
    pub(crate) aside: Option<Aside>,
    pub(crate) user: User,
}

impl From<Response> for Answer {
    fn from(response: Response) -> Self {
        Self::Respond(response)
    }
}

/// How somebody is in.
enum Entry {
    Known(User),
    /// By a link or a password just now; the cookie to come back with.
    New(String, User),
}

/// The answer; `verdict` is what became of the password that the request has, once that is known.
pub(crate) fn answer(
    shared: &Shared,
    request: &Request,
    local: SocketAddr,
    verdict: Option<Verdict>,
) -> Answer {
    if !authority::is_ours(&request.host, local, &shared.options.hosts) {
        let why = format!("this server is not called {:?}", request.host);
        return Response::refusal(Status::Misdirected, &why).into();
    }
    match request.path.as_str() {
        "/" => root(shared, request, verdict),
        "/websockify" => socket(shared, request, verdict),
        "/displays.json" => guarded(shared, request, verdict, || {
            Response::new("application/json", shared.displays().json().to_string().into_bytes())
        }),
        "/metrics" => match &shared.options.metrics {
            Some(metrics) => guarded(shared, request, verdict, || {
                Response::new("text/plain; version=0.0.4; charset=utf-8", metrics().into_bytes())
            }),
            None => Response::refusal(Status::NotFound, "there are no metrics").into(),
        },
        path => page::file(path)
            .unwrap_or_else(|| Response::refusal(Status::NotFound, "there is no such page"))
            .into(),
    }
}

fn root(shared: &Shared, request: &Request, verdict: Option<Verdict>) -> Answer {
    let display = request.parameter("display");
    let entry = match enter(shared, request, verdict) {
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
    verdict: Option<Verdict>,
    make: impl FnOnce() -> Response,
) -> Answer {
    match enter(shared, request, verdict) {
        Ok(entry) => with_cookie(shared, entry, make()).into(),
        Err(answer) => answer,
    }
}

fn socket(shared: &Shared, request: &Request, verdict: Option<Verdict>) -> Answer {
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
        && !authority::may_connect(origin, &request.host, options.is_secure(), &options.origins)
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
    let entry = match enter(shared, request, verdict) {
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
    let (Entry::Known(user) | Entry::New(_, user)) = &entry;
    let user = user.clone();
    let response = with_cookie(shared, entry, response);
    let (server, aside) = (server.clone(), with_status.then_some(aside));
    Answer::Socket(Box::new(Next { response, server, aside, user }))
}

/// Lets somebody in: by a cookie, by a password where that is wanted, else by a link that was not
/// used.
fn enter(shared: &Shared, request: &Request, verdict: Option<Verdict>) -> Result<Entry, Answer> {
    let failed = |_| Answer::from(Response::refusal(Status::Unavailable, "no random numbers"));
    let new = |user: User| {
        let cookie = shared.sessions().open(user.clone())?;
        Ok::<_, io::Error>(Entry::New(cookie.as_str().to_owned(), user))
    };
    let with_password = shared.options.wants_password();
    let token = request.parameter("token").filter(|_| !with_password);
    if let Some(token) = &token {
        // Who is in already and follows a fresh link is let in by that: it is used up either way.
        // A used link is refused also where the cookie would do: else nobody learns that it was.
        return match shared.redeem(token).map_err(failed)? {
            true => new(None).map_err(failed),
            false => Err(page::refused(Status::Forbidden, USED_LINK).into()),
        };
    }
    let name = shared.cookie_name();
    if let Some(user) = request.cookies(&name).find_map(|it| shared.sessions().find(it)) {
        return Ok(Entry::Known(user));
    }
    if !with_password {
        return Err(page::refused(Status::Forbidden, NO_LINK).into());
    }
    match (verdict, request.credentials()) {
        // What asks every few seconds with its password needs no cookie, and keeps none.
        (Some(Ok(())), _) if request.path == "/metrics" => Ok(Entry::Known(None)),
        (Some(Ok(())), credentials) => new(credentials.map(|it| it.user.into())).map_err(failed),
        (Some(Err(denied)), _) => Err(denial(denied).into()),
        (None, Some(credentials)) => Err(Answer::Check(credentials)),
        (None, None) => Err(ask("The name and the password are wanted.").into()),
    }
}

/// Has the browser ask its user for a password (RFC 7617).
fn ask(why: &str) -> Response {
    page::refused(Status::Unauthorized, why)
        .header("WWW-Authenticate", "Basic realm=\"screen\", charset=\"UTF-8\"")
}

pub(crate) fn denial(denied: Denied) -> Response {
    let why = denied.to_string();
    match denied {
        Denied::TooSoon(wait) => page::refused(Status::TooMany, &why)
            .header("Retry-After", wait.as_millis().div_ceil(1000).max(1).to_string()),
        Denied::Busy => page::refused(Status::Unavailable, &why).header("Retry-After", "1"),
        _ => ask(&why),
    }
}

fn with_cookie(shared: &Shared, entry: Entry, response: Response) -> Response {
    let Entry::New(cookie, _) = entry else { return response };
    let name = shared.cookie_name();
    let secure = if shared.options.is_secure() { "; Secure" } else { "" };
    let cookie = format!("{name}={cookie}; HttpOnly; SameSite=Strict; Path=/{secure}");
    response.header("Set-Cookie", cookie)
}
