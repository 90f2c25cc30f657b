// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Other people's viewers through VeNCrypt: with the right password they see the picture, without it
//! or without TLS they see nothing.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use vfio_display::Picture;
use vfio_display::geometry::Size;
use vfio_display_vnc::Limits;

use crate::common::format::XRGB;
use crate::common::secure::{Guarded, PASSWORD, TestDoor, USER};
use crate::common::server::until;
use crate::show::{FIRST, PATIENCE, Running, Show};
use crate::tiger::Tiger;
use crate::{read_png, tiger_sees};

/// A show behind a door, and what viewers are given of it.
struct Afar {
    show: Show,
    door: TestDoor,
    certificate: PathBuf,
}

impl Afar {
    fn new(seed: u64, password: bool) -> Self {
        let Guarded { desk, at, door } = Guarded::new(FIRST, Limits::default(), password);
        let certificate = door.door.identity().certificate_file().to_owned();
        Self { show: Show::of(desk, at, seed), door, certificate }
    }

    /// The line that says what became of a viewer.
    fn line(&self, outcome: &str) -> String {
        let find = || self.door.lines.lock().unwrap().iter().find(|l| l.contains(outcome)).cloned();
        until(outcome, || find().is_some());
        find().unwrap()
    }

    fn nobody_entered(&self) {
        let lines = self.door.lines.lock().unwrap();
        assert!(lines.iter().all(|line| line.contains("refused: ")), "{lines:?}");
    }

    fn tiger(&self, password: &str, types: &str, options: &[&str]) -> Tiger {
        let certificate = format!("-X509CA={}", self.certificate.display());
        let types = format!("-SecurityTypes={types}");
        let env = [("VNC_USERNAME", USER), ("VNC_PASSWORD", password)];
        Tiger::with(&self.show, &env, &[&[types.as_str(), &certificate], options].concat())
    }

    /// gvnccapture, which is told a name and a password on a terminal, and trusts the certificate or
    /// nobody. What it has captured, and what it said.
    fn capture(&self, password: &str, trusts: bool) -> (Option<Picture>, String) {
        let home = self.door.directory.path().join("home");
        let ca = home.join(".pki/CA");
        fs::create_dir_all(&ca).unwrap();
        let _ = fs::remove_file(ca.join("cacert.pem"));
        if trusts {
            fs::copy(&self.certificate, ca.join("cacert.pem")).unwrap();
        }
        // Whoever runs it has this home, as far as it can tell.
        let id = |file: &str| {
            use std::os::unix::fs::MetadataExt as _;
            let meta = fs::metadata(file).unwrap();
            (meta.uid(), meta.gid())
        };
        let (uid, gid) = id("/proc/self");
        let (passwd, group) = (home.join("passwd"), home.join("group"));
        fs::write(&passwd, format!("me:x:{uid}:{gid}::{}:/bin/sh\n", home.display())).unwrap();
        fs::write(&group, format!("me:x:{gid}:\n")).unwrap();
        let picture = self.door.directory.path().join("shot.png");
        let _ = fs::remove_file(&picture);

        let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&terminal).and_then(|()| unlockpt(&terminal)).unwrap();
        let name = ptsname(&terminal, Vec::new()).unwrap();
        let side = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
        let kept = side();
        let child = Command::new("gvnccapture")
            .arg(format!("127.0.0.1:{}", self.show.at.port() - 5900))
            .arg(&picture)
            .env("LD_PRELOAD", "libnss_wrapper.so")
            .env("NSS_WRAPPER_PASSWD", passwd)
            .env("NSS_WRAPPER_GROUP", group)
            .stdin(side())
            .stdout(side())
            .stderr(Stdio::null())
            .spawn()
            .expect("gvncviewer is not installed");
        let mut child = Running(child);
        let mut terminal = File::from(terminal);
        let mut said = String::new();
        let mut asked = 0;
        // What it says ends only with the last to have the terminal, which is this test.
        loop {
            let mut bytes = [0; 256];
            let length = terminal.read(&mut bytes).unwrap();
            said.push_str(&String::from_utf8_lossy(&bytes[..length]));
            if asked == 0 && said.contains("Username: ") {
                terminal.write_all(format!("{USER}\n").as_bytes()).unwrap();
                asked = 1;
            }
            if asked == 1 && said.contains("Password: ") {
                // What is typed before it stops to show it is thrown away.
                until("silence", || {
                    !tcgetattr(&kept).unwrap().local_modes.contains(LocalModes::ECHO)
                });
                terminal.write_all(format!("{password}\n").as_bytes()).unwrap();
                asked = 2;
            }
            if ["Saved display", "Unable to connect", "Disconnected"]
                .iter()
                .any(|w| said.contains(w))
            {
                break;
            }
        }
        child.0.wait().unwrap();
        (read_png(&picture), said)
    }
}

#[test]
#[ignore = "needs viewers: cargo xtask test installs them"]
fn tigervnc_sees_it_by_tls() {
    for (password, types) in [(true, "X509Plain"), (false, "X509None")] {
        let mut afar = Afar::new(11, password);
        let tiger = afar.tiger(PASSWORD, types, &["-AutoSelect=0", "-FullColor=1", "-NoJPEG=1"]);
        tiger_sees(&afar.show, &tiger, &XRGB, types);
        afar.show.moves();
        tiger_sees(&afar.show, &tiger, &XRGB, &format!("{types}, after it moved"));
        afar.show.mode(Size::new(500, 350));
        tiger_sees(&afar.show, &tiger, &XRGB, &format!("{types}, after a change of mode"));
        let line = afar.line("entered");
        assert_eq!(line.contains(&format!("user=\"{USER}\"")), password, "{line}");
        assert!(line.contains("tls=TLS1."), "{line}");
    }
}

#[test]
#[ignore = "needs viewers: cargo xtask test installs them"]
fn tigervnc_is_refused() {
    for (password, types, why) in [
        ("wrong", "X509Plain", "wrong user name or password"),
        // No TLS, or TLS that proves nothing, or no password: all that it has beside.
        (PASSWORD, "None,VncAuth,Plain,TLSNone,TLSVnc,TLSPlain,X509None,X509Vnc", ""),
        (PASSWORD, "None,VncAuth", ""),
    ] {
        let afar = Afar::new(12, true);
        let mut tiger = afar.tiger(password, types, &[]);
        let line = afar.line("refused: ");
        assert!(line.contains(why), "{line}");
        let end = Instant::now() + PATIENCE;
        while !tiger.has_ended() {
            assert!(Instant::now() < end, "it still runs, {types}");
            std::thread::sleep(Duration::from_millis(20));
        }
        afar.nobody_entered();
    }
}

#[test]
#[ignore = "needs viewers: cargo xtask test installs them"]
fn gtk_vnc_sees_it_by_tls() {
    for password in [true, false] {
        let mut afar = Afar::new(13, password);
        afar.show.settles("still", || afar.capture(PASSWORD, true).0);
        afar.show.moves();
        afar.show.settles("after it moved", || afar.capture(PASSWORD, true).0);
        afar.show.mode(Size::new(517, 389));
        afar.show.settles("after a change of mode", || afar.capture(PASSWORD, true).0);
        let line = afar.line("entered");
        assert_eq!(line.contains(&format!("user=\"{USER}\"")), password, "{line}");
    }
}

#[test]
#[ignore = "needs viewers: cargo xtask test installs them"]
fn gtk_vnc_is_refused_and_refuses() {
    let afar = Afar::new(14, true);
    let (picture, said) = afar.capture("wrong", true);
    assert!(picture.is_none() && said.contains("Unable to connect"), "{said}");
    afar.line("refused: wrong user name or password");
    afar.nobody_entered();
    // A server whose certificate it was not given hears of no password.
    let afar = Afar::new(15, true);
    let (picture, said) = afar.capture(PASSWORD, false);
    assert!(picture.is_none() && !said.contains("Password"), "{said}");
    assert!(afar.line("refused: ").contains(" user=- "));
    afar.nobody_entered();
}
