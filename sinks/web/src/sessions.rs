// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Who may come in: with a link that is good once, and from then on with a cookie.

use std::collections::VecDeque;
use std::io;
use std::sync::Arc;

use rustix::rand::{GetRandomFlags, getrandom};
use subtle::ConstantTimeEq;

/// 128 random bits, as 32 hexadecimal digits.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    fn new() -> io::Result<Self> {
        let mut bytes = [0; 16];
        // Up to 256 bytes come whole, or not at all.
        getrandom(&mut bytes, GetRandomFlags::empty())?;
        Ok(Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// In a time that does not tell how much of it is right.
    fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }
}

/// As whom somebody came in, where there are names; any bytes.
pub(crate) type User = Option<Arc<[u8]>>;

/// The token of the next link, and the browsers that are in.
pub(crate) struct Sessions {
    token: Secret,
    /// That which was seen last is at the end.
    cookies: VecDeque<(Secret, User)>,
    limit: usize,
}

impl Sessions {
    pub(crate) fn new(limit: usize) -> io::Result<Self> {
        Ok(Self { token: Secret::new()?, cookies: VecDeque::new(), limit: limit.max(1) })
    }

    pub(crate) fn token(&self) -> &Secret {
        &self.token
    }

    /// Whether `token` is that of the link, which is another from now on.
    pub(crate) fn redeem(&mut self, token: &str) -> io::Result<bool> {
        if !self.token.is(token) {
            return Ok(false);
        }
        self.token = Secret::new()?;
        Ok(true)
    }

    /// A new browser, and whose it is.
    pub(crate) fn open(&mut self, user: User) -> io::Result<Secret> {
        let cookie = Secret::new()?;
        if self.cookies.len() == self.limit {
            self.cookies.pop_front();
        }
        self.cookies.push_back((cookie.clone(), user));
        Ok(cookie)
    }

    /// Whose browser is known by this cookie, if one is.
    pub(crate) fn find(&mut self, cookie: &str) -> Option<User> {
        // All are compared, whichever it is.
        let mut found = None;
        for (at, (known, _)) in self.cookies.iter().enumerate() {
            if known.is(cookie) {
                found = Some(at);
            }
        }
        let seen = self.cookies.remove(found?)?;
        let user = seen.1.clone();
        self.cookies.push_back(seen);
        Some(user)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_once() {
        let mut sessions = Sessions::new(4).unwrap();
        let token = sessions.token().as_str().to_owned();
        assert_eq!(token.len(), 32);
        for wrong in ["", "0", &token[1..], &format!("{token}0")] {
            assert!(!sessions.redeem(wrong).unwrap());
        }
        assert_eq!(sessions.token().as_str(), token, "a wrong one does not use it up");
        assert!(sessions.redeem(&token).unwrap());
        assert!(!sessions.redeem(&token).unwrap());
        let next = sessions.token().clone();
        assert!(sessions.redeem(next.as_str()).unwrap());
    }

    #[test]
    fn the_browser_that_was_seen_longest_ago_is_forgotten() {
        let mut sessions = Sessions::new(2).unwrap();
        let open = |sessions: &mut Sessions| sessions.open(None).unwrap().as_str().to_owned();
        let (first, second) = (open(&mut sessions), open(&mut sessions));
        assert!(
            sessions.find(&first).is_some()
                && ["", &first[1..]].iter().all(|it| sessions.find(it).is_none())
        );
        let third = open(&mut sessions);
        assert!(sessions.find(&first).is_some() && sessions.find(&third).is_some());
        assert!(sessions.find(&second).is_none());
    }
}
