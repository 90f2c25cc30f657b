// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! `vfio-display serve` for viewers on other machines, and `vfio-display passwd`.

#[path = "../../sinks/door/tests/common/mod.rs"]
mod common;
mod support;

use std::fs::{self, File, Permissions};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use common::{Tls, client};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};
use serde_json::Value;
use support::{serve, stderr, wait_for};

const DEV: &str = "mock:320x256";

/// A directory for the state and the passwords of one test.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Sets a password, as another program would.
    fn passwd(&self, args: &[&str], password: &str) -> Output {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vfio-display"))
            .arg("passwd")
            .arg(self.path("passwd"))
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the command runs");
        child.stdin.take().expect("a pipe").write_all(password.as_bytes()).expect("it reads");
        child.wait_with_output().expect("it ends")
    }

    fn serve(&self, args: &[&str]) -> Command {
        let mut command = serve(DEV, args);
        command.env("XDG_STATE_HOME", self.path("state")).env_remove("STATE_DIRECTORY");
        command.env_remove("CREDENTIALS_DIRECTORY");
        command
    }

    /// Serves, and tells what it said of itself.
    fn start(&self, args: &[&str]) -> (Served, Value) {
        self.start_with(self.serve(&[args, &["--json"]].concat()))
    }

    fn start_with(&self, mut command: Command) -> (Served, Value) {
        let mut child = command.spawn().expect("the command runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
        let served = Served(child);
        let told = serde_json::from_str(&line);
        (served, told.unwrap_or_else(|error| panic!("{line:?}: {error}")))
    }
}

/// A running command; killed when dropped.
struct Served(Child);

impl Served {
    /// Ends it; what it has said on standard error.
    fn stop(mut self) -> String {
        let pid = Pid::from_raw(self.0.id().cast_signed()).expect("a process id");
        kill_process(pid, Signal::INT).expect("it runs");
        let status = wait_for("its end", Duration::from_secs(10), || self.0.try_wait().unwrap());
        assert!(status.success());
        let mut said = String::new();
        self.0.stderr.take().expect("a pipe").read_to_string(&mut said).expect("UTF-8");
        said
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A client's TLS that trusts the certificate that was told, and no other.
fn trusting(told: &Value, stream: TcpStream) -> Tls {
    let certificate = Path::new(told["tls_certificate"].as_str().expect("a path"));
    Tls::new(client(certificate, rustls::ALL_VERSIONS), stream)
}

/// The title of a viewer's window, or why it is not let in.
fn title(told: &Value, user: &str, password: &str) -> Result<String, String> {
    let at = told["vnc"].as_str().expect("an address").trim_start_matches("vnc://");
    let port = at.rsplit(':').next().and_then(|port| port.parse::<u16>().ok()).expect("a port");
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("it serves");
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut take = |count: usize, say: &[u8]| {
        let mut bytes = vec![0; count];
        stream.read_exact(&mut bytes).expect("an answer");
        stream.write_all(say).expect("it reads");
        bytes
    };
    take(12, b"RFB 003.008\n");
    assert_eq!(take(2, &[19]), [1, 19], "VeNCrypt, and nothing else");
    assert_eq!(take(2, &[0, 2]), [0, 2]);
    let offered = take(6, &[]);
    stream.write_all(&offered[2..]).expect("it reads");
    stream.read_exact(&mut [0]).expect("an answer");
    let mut tls = trusting(told, stream);
    let number = |tls: &mut Tls| {
        let mut bytes = [0; 4];
        tls.read_exact(&mut bytes).expect("an answer");
        u32::from_be_bytes(bytes)
    };
    let text = |tls: &mut Tls| {
        let mut bytes = vec![0; number(tls) as usize];
        tls.read_exact(&mut bytes).expect("an answer");
        String::from_utf8(bytes).expect("UTF-8")
    };
    if offered[2..] == [0, 0, 1, 6] {
        let length = |text: &str| (text.len() as u32).to_be_bytes();
        let said = [&length(user)[..], &length(password), user.as_bytes(), password.as_bytes()];
        tls.write_all(&said.concat()).expect("it reads");
    }
    if number(&mut tls) != 0 {
        return Err(text(&mut tls));
    }
    tls.write_all(&[1]).expect("it reads");
    tls.read_exact(&mut [0; 20]).expect("a size and a format");
    Ok(text(&mut tls))
}

#[test]
fn who_has_the_password_is_let_in_from_afar_and_written_down() {
    let home = Home::new();
    assert!(home.passwd(&["--user", "anna"], "secret\n").status.success());
    let passwd = home.path("passwd");
    let args =
        ["--vnc", "0.0.0.0:0", "--allow-remote", "--password-file", passwd.to_str().unwrap()];
    let (served, told) = home.start(&args);
    assert!(told["vnc"].as_str().unwrap().starts_with("vnc://0.0.0.0:"), "{told}");
    assert_eq!(title(&told, "anna", "secret").as_deref(), Ok("mock:well-behaved:320x256"));
    let wrong = Err("wrong user name or password".to_owned());
    assert_eq!(title(&told, "anna", "wrong"), wrong);
    assert_eq!(title(&told, "bert", "secret"), wrong);
    let said = served.stop();
    let lines: Vec<&str> = said.lines().collect();
    for (user, outcome) in [
        ("anna", "entered"),
        ("anna", "left: "),
        ("anna", "refused: wrong user name or password"),
        ("bert", "refused: wrong user name or password"),
    ] {
        let found = lines.iter().find(|line| line.contains(outcome) && line.contains(user));
        let line = found.unwrap_or_else(|| panic!("{user} {outcome}: {said}"));
        assert!(line.contains("audit: vnc from=127.0.0.1:"), "{line}");
        assert!(line.contains("tls=TLS1.3") && line.contains("Z "), "{line}");
    }
    assert_eq!(lines.len(), 4, "{said}");
    assert!(!said.contains("secret"));
    // The next time it is the same, as a person reads it too.
    let mut command = home.serve(&args);
    let mut child = command.spawn().expect("it runs");
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    assert!(lines.next().unwrap().starts_with("vnc://0.0.0.0:"));
    let print = told["tls_fingerprint"].as_str().unwrap();
    let certificate = told["tls_certificate"].as_str().unwrap();
    assert!(certificate.starts_with(home.path("state/vfio-display").to_str().unwrap()));
    assert_eq!(lines.next().unwrap(), format!("certificate {certificate} sha256 {print}"));
    Served(child).stop();
}

#[test]
fn the_page_is_behind_the_same_door() {
    let home = Home::new();
    assert!(home.passwd(&["--user", "anna"], "secret\n").status.success());
    let passwd = home.path("passwd");
    let remote = ["--allow-remote", "--password-file", passwd.to_str().unwrap()];
    let (served, told) = home.start(&[&["--web=0.0.0.0:0"], &remote[..]].concat());
    let at = told["web"].as_str().expect("a link").strip_prefix("https://0.0.0.0:").expect("TLS");
    let port: u16 = at.strip_suffix('/').expect("no token").parse().expect("a port");
    let status = |authorization: &str| {
        let stream = TcpStream::connect(("127.0.0.1", port)).expect("it serves");
        let mut tls = trusting(&told, stream);
        let request = format!("GET / HTTP/1.1\r\nHost: localhost\r\n{authorization}\r\n");
        tls.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        tls.read_to_string(&mut answer).expect("an answer");
        answer[..12].to_owned()
    };
    assert_eq!(status(""), "HTTP/1.1 401");
    // anna:guess and anna:secret
    assert_eq!(status("Authorization: Basic YW5uYTpndWVzcw==\r\n"), "HTTP/1.1 401");
    assert_eq!(status("Authorization: Basic YW5uYTpzZWNyZXQ=\r\n"), "HTTP/1.1 200");
    let said = served.stop();
    assert!(
        said.contains("audit: web from=127.0.0.1:") && said.contains("wrong password"),
        "{said}"
    );
    let output = home.serve(&["--web=0.0.0.0:0"]).output().expect("it runs");
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(stderr(&output).contains("--allow-remote"), "{}", stderr(&output));
}

#[test]
fn tls_alone_and_own_certificates_on_this_machine() {
    let home = Home::new();
    let (served, told) = home.start(&["--vnc", "127.0.0.1:0", "--tls"]);
    title(&told, "", "").expect("nobody is asked");
    served.stop();
    let state = home.path("state/vfio-display");
    let (cert, key) = (home.path("cert.pem"), home.path("key.pem"));
    fs::copy(state.join("tls-cert.pem"), &cert).unwrap();
    fs::copy(state.join("tls.pem"), &key).unwrap();
    fs::remove_dir_all(&state).unwrap();
    let own = ["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()];
    let (served, again) = home.start(&[&["--vnc", "127.0.0.1:0"], &own[..]].concat());
    assert_eq!(again["tls_fingerprint"], told["tls_fingerprint"]);
    assert_eq!(again["tls_certificate"], cert.to_str().unwrap());
    title(&again, "", "").expect("nobody is asked");
    served.stop();
    assert!(!state.exists(), "none is made where there is one");
}

#[test]
fn a_credential_of_systemd_is_a_password_file() {
    let home = Home::new();
    assert!(home.passwd(&[], "secret").status.success());
    let credentials = home.path("credentials");
    fs::create_dir(&credentials).unwrap();
    let credential = credentials.join("vfio-display.password");
    fs::copy(home.path("passwd"), &credential).unwrap();
    // An access list for the service's user shows like that.
    fs::set_permissions(&credential, Permissions::from_mode(0o440)).unwrap();
    let mut command = home.serve(&["--vnc", "0.0.0.0:0", "--allow-remote", "--json"]);
    command.env("CREDENTIALS_DIRECTORY", &credentials);
    command.env("STATE_DIRECTORY", home.path("service"));
    let (served, told) = home.start_with(command);
    title(&told, "anybody", "secret").expect("it is the password");
    title(&told, "anybody", "another").expect_err("it is not");
    served.stop();
    assert_eq!(home.path("service/tls.pem").metadata().unwrap().mode() & 0o777, 0o600);
}

#[test]
fn what_is_not_safe_is_not_served() {
    let home = Home::new();
    assert!(home.passwd(&[], "secret").status.success());
    let text = |name: &str| home.path(name).to_str().unwrap().to_owned();
    let (passwd, open, plain) = (text("passwd"), text("open"), text("plain"));
    fs::copy(&passwd, &open).unwrap();
    fs::set_permissions(&open, Permissions::from_mode(0o640)).unwrap();
    fs::write(&plain, "secret\n").unwrap();
    fs::set_permissions(&plain, Permissions::from_mode(0o600)).unwrap();
    let remote = ["--allow-remote", "--vnc", "0.0.0.0:0"];
    let with = |more: &[&str]| -> Vec<String> {
        remote.iter().chain(more).map(|arg| (*arg).to_owned()).collect()
    };
    for (args, status, told) in [
        (vec!["--vnc".into(), "0.0.0.0:0".into()], 2, "--allow-remote"),
        (vec!["--vnc".into(), "[::]:0".into(), "--tls".into()], 2, "--allow-remote"),
        (
            ["--vnc", "0.0.0.0:0", "--password-file", &passwd].map(str::to_owned).to_vec(),
            2,
            "--allow-remote",
        ),
        (with(&[]), 2, "takes a password"),
        (with(&["--tls"]), 2, "takes a password"),
        (with(&["--password-file", "/no/such/file"]), 3, "/no/such/file"),
        (with(&["--password-file", &open]), 4, "mode 0640"),
        (with(&["--password-file", &plain]), 1, "line 1: not an argon2id hash"),
        (with(&["--password-file", "/dev/null"]), 4, "/dev/null"),
        (with(&["--password-file", &passwd, "--tls-cert", &passwd]), 2, "--tls-key"),
        (
            with(&["--password-file", &passwd, "--tls-cert", &passwd, "--tls-key", &passwd]),
            1,
            "no private key",
        ),
    ] {
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = home.serve(&args).output().expect("it runs");
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {said}");
        assert!(said.contains(told) && !said.contains("secret"), "{args:?}: {said}");
        assert!(output.stdout.is_empty(), "{args:?}");
    }
}

#[test]
fn passwd_takes_a_line_and_says_what_it_did() {
    let home = Home::new();
    let output = home.passwd(&["--json"], "secret\r\nmore\n");
    assert!(output.status.success(), "{}", stderr(&output));
    let told: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(told["file"], home.path("passwd").to_str().unwrap());
    let output = home.passwd(&["--user", "anna"], "secret");
    assert!(String::from_utf8_lossy(&output.stdout).contains("password set for anna"));
    let written = fs::read_to_string(home.path("passwd")).unwrap();
    assert_eq!(written.lines().count(), 2);
    assert_eq!(home.path("passwd").metadata().unwrap().mode() & 0o777, 0o600);
    let long = "x".repeat(1025);
    for (args, password, status, told) in [
        (&[][..], "", 2, "1 to 1024 bytes"),
        (&[], "\n", 2, "1 to 1024 bytes"),
        (&[], &long, 2, "1 to 1024 bytes"),
        (&["--user", "a b"], "x", 2, "letters"),
    ] {
        let output = home.passwd(args, password);
        assert_eq!(output.status.code(), Some(status), "{}", stderr(&output));
        assert!(stderr(&output).contains(told), "{}", stderr(&output));
        assert_eq!(fs::read_to_string(home.path("passwd")).unwrap(), written);
    }
}

/// What a terminal shows while a password is typed on it, and how the command ends.
fn typed(file: &Path, keys: &[&str]) -> (String, Option<i32>) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
    grantpt(&terminal).and_then(|()| unlockpt(&terminal)).expect("a terminal");
    let name = ptsname(&terminal, Vec::new()).expect("its name");
    let side = || File::options().read(true).write(true).open(name.to_str().unwrap()).unwrap();
    let kept = side();
    let before = tcgetattr(&kept).unwrap().local_modes;
    let mut child = Command::new(env!("CARGO_BIN_EXE_vfio-display"))
        .arg("passwd")
        .arg(file)
        .stdin(side())
        .stdout(side())
        .stderr(side())
        .spawn()
        .expect("the command runs");
    let mut terminal = File::from(terminal);
    let mut shown = String::new();
    for keys in keys {
        // What is typed before it asks is thrown away.
        while !shown.ends_with(": ") {
            let mut bytes = [0; 256];
            let length = terminal.read(&mut bytes).expect("a prompt");
            shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        assert!(!tcgetattr(&kept).unwrap().local_modes.contains(LocalModes::ECHO));
        terminal.write_all(keys.as_bytes()).expect("a terminal");
        shown.push('|');
    }
    let status = wait_for("its end", Duration::from_secs(20), || child.try_wait().unwrap());
    assert_eq!(tcgetattr(&kept).unwrap().local_modes, before, "as it was");
    let mut bytes = [0; 4096];
    let length = terminal.read(&mut bytes).expect("what it said last");
    shown.push_str(&String::from_utf8_lossy(&bytes[..length]));
    (shown, status.code())
}

#[test]
fn passwd_on_a_terminal_shows_nothing_and_asks_twice() {
    let home = Home::new();
    let file = home.path("passwd");
    let (shown, status) = typed(&file, &["secret\n", "secreT\n"]);
    assert!(status == Some(2) && shown.contains("another password"), "{shown}");
    for keys in [&["sec\x03"][..], &["secret\n", "\x03"]] {
        let (shown, status) = typed(&file, keys);
        assert!(status == Some(1) && shown.contains("cancelled"), "{shown}");
    }
    assert!(!file.exists());
    let (shown, status) = typed(&file, &["secret\n", "secret\n"]);
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("password set for any name") && !shown.contains("secr"), "{shown}");
    assert_eq!(fs::read_to_string(&file).unwrap().lines().count(), 1);
}
