// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display passwd`: sets a password for viewers.

use std::io::{self, IsTerminal as _, Write as _};
use std::os::fd::{AsFd, BorrowedFd};

use rustix::termios::{
    LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr,
};
use serde_json::json;
use vfio_display_door::{LONGEST, Passwords};
use zeroize::Zeroizing;

use crate::args::Passwd;
use crate::exit::{Failure, Status};
use crate::output::say;

/// Control+C, which ends a line while a password is typed.
const CANCEL: u8 = 3;

type Password = Zeroizing<Vec<u8>>;

pub(crate) fn run(args: &Passwd, json: bool) -> Result<(), Failure> {
    let stdin = io::stdin();
    let password =
        if stdin.is_terminal() { ask(stdin.as_fd())? } else { read_line(stdin.as_fd())? };
    Passwords::set(&args.file, args.user.as_deref(), &password)?;
    let file = args.file.display();
    if json {
        return say(&json!({ "file": args.file, "user": args.user }).to_string());
    }
    match &args.user {
        Some(user) => say(&format!("{file}: password set for {user}")),
        None => say(&format!("{file}: password set for any name")),
    }
}

/// Asks twice, since nothing is to be seen of what is typed.
fn ask(terminal: BorrowedFd<'_>) -> Result<Password, Failure> {
    let once = |prompt: &str| {
        let _silent = Silent::new(terminal).map_err(unreadable)?;
        eprint!("{prompt}");
        let _ = io::stderr().flush();
        let line = read_line(terminal);
        eprintln!();
        line
    };
    let first = once("Password: ")?;
    if *first != *once("Again: ")? {
        return Err(Failure::new(Status::Usage, "that was another password"));
    }
    Ok(first)
}

/// A line without its end, read byte by byte: what a buffer keeps is not wiped.
fn read_line(input: BorrowedFd<'_>) -> Result<Password, Failure> {
    let mut line = Zeroizing::new(Vec::with_capacity(LONGEST + 2));
    loop {
        let mut byte = [0];
        match rustix::io::read(input, &mut byte) {
            Ok(0) => break,
            Ok(_) if byte == *b"\n" => break,
            Ok(_) if byte == [CANCEL] => {
                return Err(Failure::new(Status::Failed, "cancelled; nothing was changed"));
            }
            Ok(_) if line.len() > LONGEST => break,
            Ok(_) => line.push(byte[0]),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(unreadable(errno.into())),
        }
    }
    if line.last() == Some(&b'\r') {
        line.pop();
    }
    Ok(line)
}

fn unreadable(error: io::Error) -> Failure {
    Failure::new(Status::Failed, format!("the password can't be read: {error}"))
}

/// A terminal that does not show what is typed, until this is dropped. Control+C and its like are
/// taken as input meanwhile: ended by a signal, it would stay so.
struct Silent<'a> {
    terminal: BorrowedFd<'a>,
    before: Termios,
}

impl<'a> Silent<'a> {
    fn new(terminal: BorrowedFd<'a>) -> io::Result<Self> {
        let before = tcgetattr(terminal)?;
        let mut silent = before.clone();
        silent.local_modes -= LocalModes::ECHO | LocalModes::ECHONL | LocalModes::ISIG;
        silent.special_codes[SpecialCodeIndex::VEOL] = CANCEL;
        tcsetattr(terminal, OptionalActions::Flush, &silent)?;
        Ok(Self { terminal, before })
    }
}

impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // A terminal that is gone shows nothing.
        let _ = tcsetattr(self.terminal, OptionalActions::Flush, &self.before);
    }
}
