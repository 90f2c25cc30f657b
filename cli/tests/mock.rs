// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! The command on every mock, and what it says of bad input.

mod support;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::Value;
use support::{assert_same, read_ppm, shot, stderr, vfio_display};
use vfio_display::geometry::Size;
use vfio_display::testing::Personality;
use vfio_display::testing::card::Card;

const SIZE: Size = Size::new(640, 480);

fn json(args: &[&str]) -> Value {
    let output = vfio_display(&[args, &["--json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", stderr(&output));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[test]
fn list_names_every_personality() {
    let list = json(&["list", "--mock"]);
    let mocks = list["mocks"].as_array().expect("a list");
    assert_eq!(mocks.len(), Personality::ALL.len());
    for (mock, personality) in mocks.iter().zip(Personality::ALL) {
        assert_eq!(mock["device"], format!("mock:{personality}"));
        let kinds: Vec<_> = personality.plane_kind().iter().map(ToString::to_string).collect();
        assert_eq!(mock["kinds"], Value::from(kinds), "{personality}");
    }
    assert!(json(&["list"])["mocks"].as_array().expect("a list").is_empty());
}

#[test]
fn probe_tells_what_each_offers_and_gets_wrong() {
    // A part of each quirk that is seen on a still picture, in the order of `quirks`.
    for (personality, quirks) in [
        (Personality::WellBehaved, &[][..]),
        (Personality::Region, &[]),
        (
            Personality::Mdpy,
            &["region 16 is used, but", "its rows take", "cursor plane is", "overlay plane is"],
        ),
        (Personality::Mbochs, &["(ENOMEM) 1 time(s)", "mmap of an exported dma-buf fails"]),
        (Personality::MbochsRw, &["(ENOMEM) 1 time(s)"]),
        (
            Personality::GvtG,
            &["(EFAULT) 1 time(s)", "mmap of an exported", "goes to offset 2048, but its region"],
        ),
        (Personality::Nvidia, &["region 9 is used, but"]),
    ] {
        let dev = format!("mock:{personality}:1024x768");
        let probe = json(&["probe", &dev]);
        let seen: Vec<&str> =
            probe["quirks"].as_array().expect("a list").iter().filter_map(Value::as_str).collect();
        assert_eq!(seen.len(), quirks.len(), "{personality}: {seen:#?}");
        for (quirk, told) in seen.iter().zip(quirks) {
            assert!(quirk.contains(told), "{personality}: {told:?} is not in {quirk:?}");
        }
        assert_eq!(probe["picture"]["readable"], personality.cpu_readable(), "{personality}");
        assert_eq!(probe["edid"].is_object(), personality.has_edid(), "{personality}");
        assert_eq!(probe["planes"]["primary"]["width"], 1024, "{personality}");
        // The text tells as many.
        let text = vfio_display(&["probe", &dev]);
        let text = String::from_utf8(text.stdout).expect("UTF-8");
        assert_eq!(text.matches("\n  - ").count(), quirks.len(), "{text}");
    }
}

#[test]
fn shot_is_the_card_or_says_why_not() {
    for personality in Personality::ALL {
        let dev = format!("mock:{personality}:{SIZE}");
        if personality.cpu_readable() {
            let (size, pixels) = shot(&dev);
            assert_eq!(size, SIZE, "{personality}");
            assert_same(SIZE, &Card::new(SIZE, 0).picture(), &pixels);
            continue;
        }
        let output = vfio_display(&["shot", &dev, "-o", "-", "--wait", "1"]);
        let status = if personality.plane_kind().is_some() { 8 } else { 6 };
        assert_eq!(output.status.code(), Some(status), "{personality}: {}", stderr(&output));
        assert!(output.stdout.is_empty());
    }
}

#[test]
fn both_formats_hold_the_same_picture() {
    let dir = tempfile::tempdir().expect("a directory");
    let [png, ppm] = ["a.png", "a.ppm"].map(|name| dir.path().join(name));
    for path in [&png, &ppm] {
        let told = json(&["shot", &format!("mock:{SIZE}"), "-o", path.to_str().expect("UTF-8")]);
        assert_eq!((&told["width"], &told["format"]), (&640.into(), &"XR24".into()));
    }
    let (_, pixels) = read_ppm(&fs::read(ppm).expect("written"));
    let mut reader =
        png::Decoder::new(std::io::BufReader::new(fs::File::open(png).expect("there")))
            .read_info()
            .expect("a PNG");
    let mut rgb = vec![0; reader.output_buffer_size().expect("a size")];
    reader.next_frame(&mut rgb).expect("a picture");
    let decoded: Vec<u32> =
        rgb.chunks_exact(3).map(|p| u32::from_be_bytes([0xff, p[0], p[1], p[2]])).collect();
    assert_same(SIZE, &pixels, &decoded);
    assert_eq!(fs::read_dir(dir.path()).expect("a directory").count(), 2, "nothing else is left");
}

#[test]
fn a_file_is_replaced_whole_or_not_at_all() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("screen.ppm");
    let name = path.to_str().expect("UTF-8");
    fs::write(&path, "old").expect("written");
    let failed = vfio_display(&["shot", "mock:gvt-g", "-o", name]);
    assert_eq!(failed.status.code(), Some(8));
    assert_eq!(fs::read(&path).expect("still there"), b"old");
    assert!(vfio_display(&["shot", "mock", "-o", name]).status.success());
    assert!(fs::read(&path).expect("there").starts_with(b"P6"));

    // What is no file is written to, not replaced.
    assert!(vfio_display(&["shot", "mock", "-o", "/dev/null", "--format", "ppm"]).status.success());
    assert!(!fs::metadata("/dev/null").expect("there").is_file());
}

#[test]
fn each_failure_has_its_status_and_its_words() {
    let no_such_dir = "/no/such/dir/a.png";
    let text = "12345678-1234-1234-1234-123456789abc";
    let ourselves = format!("pid:{}", std::process::id());
    for (args, status, told) in [
        (vec!["shot", "mock"], 2, "--output"),
        (vec!["shot", "nonsense", "-o", "-"], 2, "mock[:PERSONALITY][:WxH]"),
        (vec!["shot", "mock", "-o", "a.jpg"], 2, "name it .png or .ppm"),
        (vec!["shot", "mock", "-o", "-", "--wait", "soon"], 2, "number of seconds"),
        (vec!["shot", "mock", "-o", "-", "--json"], 2, "both want standard output"),
        (vec!["shot", text, "-o", "-"], 3, text),
        (vec!["probe", "pid:4194304"], 3, "no process 4194304"),
        (vec!["probe", &ourselves], 3, "holds no VFIO device fd"),
        (vec!["probe", "mock:vfio-pci"], 6, "ENOTTY"),
        (vec!["shot", "mock", "-o", no_such_dir], 11, no_such_dir),
        (vec!["shot", "mock", "-o", "/", "--format", "png"], 11, "is a directory"),
    ] {
        let output = vfio_display(&args);
        assert_eq!(output.status.code(), Some(status), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(told), "{args:?}: {}", stderr(&output));
    }
}

#[test]
fn the_output_is_checked_before_the_device_is_touched() {
    // The device is missing too, but the output is what it says.
    let output = vfio_display(&["shot", "pid:4194304", "-o", "/no/such/dir/a.png"]);
    assert_eq!(output.status.code(), Some(11), "{}", stderr(&output));
}

#[test]
fn an_error_in_json_carries_its_kind_and_its_status() {
    let output = vfio_display(&["shot", "mock:gvt-g", "-o", "/tmp/no.png", "--json"]);
    let report: Value = serde_json::from_slice(&output.stderr).expect("JSON");
    assert_eq!((&report["kind"], &report["status"]), (&"unreadable".into(), &8.into()));
    assert!(report["error"].as_str().is_some_and(|error| error.contains("dma-buf 1")));
    assert!(!Path::new("/tmp/no.png").exists());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfio-display"))
        .args(["probe", "mock"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    drop(command.stdout.take());
    let output = command.wait_with_output().expect("it ends");
    assert!(output.status.success() && output.stderr.is_empty(), "{}", stderr(&output));
}

#[test]
fn a_closed_pipe_is_an_error_and_no_panic() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vfio-display"))
        .args(["shot", "mock:1920x1080", "-o", "-", "--format", "ppm"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("the command runs");
    drop(command.stdout.take());
    let output = command.wait_with_output().expect("it ends");
    assert!(!stderr(&output).contains("panicked"), "{}", stderr(&output));
    assert_eq!(output.status.code(), Some(11), "{}", stderr(&output));
}
