// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! From a request to its answer.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tungstenite::handshake::derive_accept_key;
use vfio_display_sinks::{Denied, Entry as Record, Guard, Outcome};
use vfio_display_vnc::Handle;

use crate::authority;
use crate::displays::Status as Aside;
use crate::page;
use crate::request::{Request, Upgrade, percent_encoded};
use crate::response::{Response, Status};
use crate::server::Shared;
use crate::visit::Visit;

/// RFB in binary messages, as noVNC and others name it.
const BINARY: &str = "binary";
/// The same, and what RFB has no words for in text messages beside it.
const WITH_STATUS: &str = "rfb.vfio-display";

const NO_LINK: &str = "This address wants a link that is good once.";
const USED_LINK: &str = "This link has been used, or it is of a server that has ended.";

/// What somebody wants, and what is known of them.
#[derive(Clone, Copy)]
pub(crate) struct Asked<'a> {
    pub(crate) request: &'a Request,
    pub(crate) peer: SocketAddr,
    pub(crate) local: SocketAddr,
    pub(crate) tls: Option<&'static str>,
    /// Whether the password is right, once that is known.
    pub(crate) password: Option<Result<(), Denied>>,
}

/// Where the outcome of a check will be; the server's thread is woken then.
pub(crate) type Verdict = Arc<OnceLock<Result<(), Denied>>>;

/// What becomes of a connection.
pub(crate) enum Answer {
    Respond(Response),
    /// A password is being checked: to be asked again with the outcome.
    Judge(Verdict),
    /// Once this is sent, it is a viewer of a server.
    Socket(Response, Box<Opened>),
}

/// A viewer to be, of this server.
pub(crate) struct Opened {
    pub(crate) server: Handle,
    pub(crate) aside: Option<Aside>,
    pub(crate) visit: Option<Visit>,
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

pub(crate) fn answer(shared: &Arc<Shared>, asked: &Asked<'_>) -> Answer {
    let Asked { request, local, .. } = *asked;
    if !authority::is_ours(&request.host, local, &shared.options.hosts) {
        let why = format!("this server is not called {:?}", request.host);
        return Response::refusal(Status::Misdirected, &why).into();
    }
    match request.path.as_str() {
        "/" => root(shared, asked),
        "/websockify" => socket(shared, asked),
        "/displays.json" => guarded(shared, asked, || {
            Response::new("application/json", shared.displays().json().to_string().into_bytes())
        }),
        "/metrics" => match &shared.options.metrics {
            Some(metrics) => guarded(shared, asked, || {
                Response::new("text/plain; version=0.0.4; charset=utf-8", metrics().into_bytes())
            }),
            None => Response::refusal(Status::NotFound, "there are no metrics").into(),
        },
        path => page::file(path)
            .unwrap_or_else(|| Response::refusal(Status::NotFound, "there is no such page"))
            .into(),
    }
}

fn root(shared: &Arc<Shared>, asked: &Asked<'_>) -> Answer {
    let request = asked.request;
    let display = request.parameter("display");
    let entry = match enter(shared, asked) {
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

fn guarded(shared: &Arc<Shared>, asked: &Asked<'_>, make: impl FnOnce() -> Response) -> Answer {
    match enter(shared, asked) {
        Ok(entry) => with_cookie(shared, entry, make()).into(),
        Err(answer) => answer,
    }
}

fn socket(shared: &Arc<Shared>, asked: &Asked<'_>) -> Answer {
    let request = asked.request;
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
    let entry = match enter(shared, asked) {
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
    let guard = options.guard.clone();
    let visit = guard.map(|guard| Visit::new(guard, asked.peer, asked.tls));
    let (server, aside) = (server.clone(), with_status.then_some(aside));
    Answer::Socket(response, Box::new(Opened { server, aside, visit }))
}

/// Lets somebody in: by a cookie, by a link that was not used, by a password.
fn enter(shared: &Arc<Shared>, asked: &Asked<'_>) -> Result<Entry, Answer> {
    let request = asked.request;
    let failed = |_| Answer::from(Response::refusal(Status::Unavailable, "no random numbers"));
    let open = || {
        audit(shared, asked, Outcome::Entered);
        Ok(Entry::New(shared.sessions().open().map_err(failed)?.as_str().to_owned()))
    };
    let refused = |why| {
        audit(shared, asked, Outcome::Refused(&why));
        Answer::from(page::refused(Status::Forbidden, why))
    };
    if let Some(token) = request.parameter("token") {
        // A used link is refused also where the cookie would do: else nobody learns that it was
        // used.
        let redeemed = shared.redeem(&token).map_err(failed)?;
        return if redeemed { open() } else { Err(refused(USED_LINK)) };
    }
    let name = shared.cookie_name();
    if request.cookies(&name).any(|cookie| shared.sessions().knows(cookie)) {
        return Ok(Entry::Known);
    }
    let Some(guard) = shared.options.passwords() else { return Err(refused(NO_LINK)) };
    match asked.password {
        // What asks every few seconds with its password needs no cookie, and keeps none.
        Some(Ok(())) if request.path == "/metrics" => Ok(Entry::Known),
        Some(Ok(())) => open(),
        Some(Err(why)) => Err(denied(shared, asked, why)),
        None => Err(judge(shared, asked, guard)),
    }
}

/// Has a password checked, which takes a while.
fn judge(shared: &Arc<Shared>, asked: &Asked<'_>, guard: &Arc<dyn Guard>) -> Answer {
    let Some(credentials) = asked.request.credentials() else { return challenge() };
    let verdict = Verdict::default();
    let done = {
        let (verdict, shared) = (Arc::clone(&verdict), Arc::clone(shared));
        Box::new(move |outcome| {
            let _ = verdict.set(outcome);
            shared.wake();
        })
    };
    match guard.check(asked.peer.ip(), credentials, done) {
        Ok(()) => Answer::Judge(verdict),
        Err(why) => denied(shared, asked, why),
    }
}

/// Has a browser ask its user.
fn challenge() -> Answer {
    page::refused(Status::Unauthorized, "The password is wanted.")
        .header("WWW-Authenticate", "Basic realm=\"vfio-display\", charset=\"UTF-8\"")
        .into()
}

fn denied(shared: &Shared, asked: &Asked<'_>, why: Denied) -> Answer {
    audit(shared, asked, Outcome::Refused(&why));
    let wait = match why {
        Denied::TooSoon(wait) => wait,
        Denied::Busy => Duration::from_secs(1),
        _ => return challenge(),
    };
    // Rounded up: who comes back then is let try.
    let seconds = wait.as_millis().div_ceil(1000).max(1);
    Response::refusal(Status::TooSoon, &why.to_string())
        .header("Retry-After", seconds.to_string())
        .into()
}

fn audit(shared: &Shared, asked: &Asked<'_>, outcome: Outcome<'_>) {
    let Some(guard) = &shared.options.guard else { return };
    let credentials = asked.request.credentials();
    let user = credentials.as_ref().map(|credentials| credentials.user.as_slice());
    let (from, tls, after) = (asked.peer, asked.tls, Duration::ZERO);
    guard.audit(&Record { protocol: "web", from, tls, user, outcome, after });
}

fn with_cookie(shared: &Shared, entry: Entry, response: Response) -> Response {
    let Entry::New(cookie) = entry else { return response };
    let name = shared.cookie_name();
    let secure = if shared.options.is_secure() { "; Secure" } else { "" };
    let cookie = format!("{name}={cookie}; HttpOnly; SameSite=Strict; Path=/{secure}");
    response.header("Set-Cookie", cookie)
}
