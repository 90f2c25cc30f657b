// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A thread that has the system calls of a list, and no other: it runs in a process of its own,
//! since nobody gets out of a filter, and one call that is not on the list ends it.
//!
//! That thread can wait for nobody, print nothing and not even end, so a second one does for it
//! what it may not, and takes the process down when it is done.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Stdio, exit};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, apply_filter,
};
use vfio_display::syscalls::{self, Ioctl, Syscall};

use super::wait_for;

const SIGSYS: i32 = 31;
/// What is to be run, and the entry that is left out.
const ROLE: &str = "VFIO_DISPLAY_TEST_FILTERED";
const WITHOUT: &str = "VFIO_DISPLAY_TEST_WITHOUT";

/// Has another thread take the allocator's lock as often as it can.
pub(crate) const CONTENDED: &str = "VFIO_DISPLAY_TEST_CONTENDED";

/// A list of what is left.
#[derive(Clone, Debug)]
pub(crate) struct List {
    calls: BTreeMap<u32, &'static str>,
    ioctls: Vec<Ioctl>,
}

impl List {
    /// Whole parts of what the library publishes.
    pub(crate) fn of(parts: &[&[Syscall]], ioctls: &[Ioctl]) -> Self {
        let calls = parts.iter().copied().flatten().map(|call| (call.number, call.name)).collect();
        Self { calls, ioctls: ioctls.to_vec() }
    }

    /// Its entries by name.
    pub(crate) fn names(&self) -> BTreeSet<&'static str> {
        let ioctls = self.ioctls.iter().map(|ioctl| ioctl.name);
        self.calls.values().copied().chain(ioctls).collect()
    }

    fn without(mut self, name: &str) -> Self {
        self.calls.retain(|_, call| *call != name);
        self.ioctls.retain(|ioctl| ioctl.name != name);
        self
    }

    /// Holds the calling thread to it.
    fn apply(&self) {
        let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
            self.calls.keys().map(|number| (i64::from(*number), Vec::new())).collect();
        let requests: Vec<SeccompRule> = self
            .ioctls
            .iter()
            .map(|ioctl| {
                let (len, op) = (SeccompCmpArgLen::Dword, SeccompCmpOp::Eq);
                let is =
                    SeccompCondition::new(1, len, op, ioctl.request.into()).expect("a condition");
                SeccompRule::new(vec![is]).expect("a rule")
            })
            .collect();
        if !requests.is_empty() {
            rules.insert(syscalls::IOCTL.number.into(), requests);
        }
        let arch = env::consts::ARCH.try_into().expect("a known architecture");
        let (kill, allow) = (SeccompAction::KillProcess, SeccompAction::Allow);
        let filter = SeccompFilter::new(rules, kill, allow, arch).expect("a filter");
        let filter = BpfProgram::try_from(filter).expect("a filter");
        apply_filter(&filter).expect("the kernel has seccomp");
    }
}

/// Another thread, which does what the one with the filter may not. It is asked one thing at a
/// time and waited for without a system call.
#[derive(Clone, Default)]
pub(crate) struct Outside(Arc<Asked>);

#[derive(Default)]
struct Asked {
    job: Mutex<Option<Box<dyn FnOnce() + Send>>>,
    pending: AtomicBool,
    done: AtomicBool,
}

impl Outside {
    /// Has it done, and answers with what came of it.
    pub(crate) fn ask<T: Send + Sync + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> T {
        let answer = Arc::new(OnceLock::new());
        let told = Arc::clone(&answer);
        *self.0.job.lock().expect("nobody has it") = Some(Box::new(move || {
            let _ = told.set(job());
        }));
        self.0.pending.store(true, Ordering::Release);
        while self.0.pending.load(Ordering::Acquire) {
            std::hint::spin_loop();
        }
        Arc::into_inner(answer).and_then(OnceLock::into_inner).expect("it was done")
    }

    /// Does what is asked until all is done.
    fn serve(&self) {
        let end = Instant::now() + Duration::from_secs(120);
        while !self.0.done.load(Ordering::Acquire) {
            assert!(Instant::now() < end, "the thread with the filter is stuck");
            if self.0.pending.load(Ordering::Acquire) {
                let job = self.0.job.lock().expect("nobody has it").take();
                job.expect("it was asked")();
                self.0.pending.store(false, Ordering::Release);
            } else {
                thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

/// The role that this process was started in.
pub(crate) fn role() -> Option<String> {
    env::var(ROLE).ok()
}

/// Does `work` with `list` and nothing else, and ends the process.
pub(crate) fn under(list: &List, work: impl FnOnce(&Outside) + Send) -> ! {
    // A thread that spins is waited for by no unwinding.
    let told = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        told(info);
        exit(101)
    }));
    let outside = Outside::default();
    let list = list.clone().without(&env::var(WITHOUT).unwrap_or_default());
    if env::var_os(CONTENDED).is_some() {
        thread::spawn(|| {
            loop {
                // Too large for what each thread keeps for itself.
                std::hint::black_box(Vec::<u8>::with_capacity(8192));
            }
        });
    }
    thread::scope(|scope| {
        scope.spawn(|| {
            list.apply();
            work(&outside);
            outside.0.done.store(true, Ordering::Release);
            loop {
                std::hint::spin_loop();
            }
        });
        outside.serve();
        exit(0)
    })
}

/// Runs the test `plays_a_loop` of this executable in `role`: with everything on the list it ends
/// well. Answers with the entries that it does not do without: it is killed where one is missing.
pub(crate) fn needed(
    list: &List,
    roles: impl Fn() -> (String, Vec<(String, String)>),
) -> BTreeSet<&'static str> {
    let run = |without: &str| {
        let (role, environment) = roles();
        let mut command = Command::new(env::current_exe().expect("this is it"));
        command.args(["--exact", "plays_a_loop", "--include-ignored", "--nocapture"]);
        command.env(ROLE, &role).env(WITHOUT, without).envs(environment);
        let mut child =
            command.stdout(Stdio::null()).stderr(Stdio::inherit()).spawn().expect("it runs");
        let ask = || child.try_wait().expect("a child of ours");
        wait_for(&role, Duration::from_secs(150), ask)
    };
    let status = run("");
    assert!(status.success(), "with the whole list: {status}");
    let is_needed = |name: &&'static str| match run(name) {
        status if status.signal() == Some(SIGSYS) => true,
        status if status.success() => false,
        status => panic!("without {name}: {status}"),
    };
    list.names().into_iter().filter(is_needed).collect()
}
