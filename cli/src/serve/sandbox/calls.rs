// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! System calls that are left, by seccomp: of every thread, those that are and those to come.
//!
//! What is not on the list kills the process. A few are refused with an errno in place of that:
//! those that a client, or a library on its behalf, may try in good faith.

use std::collections::BTreeMap;
use std::io;

use libc as c;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen as Len, SeccompCmpOp as Op, SeccompCondition,
    SeccompFilter, SeccompRule, apply_filter_all_threads,
};
use vfio_display::syscalls::{self, Syscall};

use super::{Again, Needs, Where};

/// Waits, locks and time.
const WAIT: &[c::c_long] = &[
    c::SYS_ppoll,
    c::SYS_futex,
    c::SYS_clock_nanosleep,
    // A channel that is contended lets others go first.
    c::SYS_sched_yield,
    // Where the clock is none that a process reads by itself.
    c::SYS_clock_gettime,
    // What a stopped process goes on with: one that a debugger was attached to.
    c::SYS_restart_syscall,
];

/// The first and the last of a thread: those that were just begun may not have done it yet. And
/// the return from the handlers of SIGINT and SIGTERM.
const THREADS: &[c::c_long] = &[
    c::SYS_rseq,
    c::SYS_set_robust_list,
    c::SYS_sigaltstack,
    c::SYS_sched_getaffinity,
    c::SYS_gettid,
    c::SYS_rt_sigprocmask,
    c::SYS_madvise,
    c::SYS_rt_sigreturn,
    c::SYS_exit,
    c::SYS_exit_group,
];

/// Viewers: they are accepted, read and written; eventfds and standard error.
const VIEWERS: &[c::c_long] = &[
    c::SYS_accept4,
    c::SYS_setsockopt,
    c::SYS_recvfrom,
    c::SYS_sendto,
    c::SYS_read,
    c::SYS_write,
    c::SYS_close,
    c::SYS_fcntl,
];

/// Socket files, removed at the end if they are still the same.
const SOCKET_FILES: &[c::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    c::SYS_unlink,
    #[cfg(not(target_arch = "x86_64"))]
    c::SYS_unlinkat,
    c::SYS_statx,
];

/// The page: at which address a request came in, and the end of an answer.
const WEB: &[c::c_long] = &[c::SYS_getsockname, c::SYS_shutdown];

/// TLS: records are written several at a time.
const DOOR: &[c::c_long] = &[c::SYS_writev];

/// Displays that come: their socket files are made, and what tells of more is watched.
const COMING: &[c::c_long] = &[
    c::SYS_bind,
    c::SYS_listen,
    c::SYS_fchmod,
    c::SYS_inotify_add_watch,
    #[cfg(target_arch = "x86_64")]
    c::SYS_stat,
    c::SYS_geteuid,
    c::SYS_dup,
];

/// D-Bus: its loop, messages with fds, who a client is, and the memory that clients map.
const DBUS: &[c::c_long] = &[
    c::SYS_epoll_ctl,
    c::SYS_epoll_pwait,
    c::SYS_timerfd_settime,
    c::SYS_recvmsg,
    c::SYS_sendmsg,
    c::SYS_getsockopt,
    c::SYS_shutdown,
    c::SYS_geteuid,
    c::SYS_memfd_create,
    c::SYS_ftruncate,
    c::SYS_fallocate,
    c::SYS_fstat,
];

/// A mock makes its own dma-bufs, and finds out who holds them.
const MOCK: &[c::c_long] = &[
    c::SYS_memfd_create,
    c::SYS_ftruncate,
    c::SYS_flock,
    c::SYS_fstat,
    c::SYS_statx,
    c::SYS_read,
    #[cfg(target_arch = "x86_64")]
    c::SYS_open,
    c::SYS_openat,
];

/// A device is looked for and opened once more.
const OPEN: &[c::c_long] = &[
    #[cfg(target_arch = "x86_64")]
    c::SYS_open,
    c::SYS_openat,
    #[cfg(target_arch = "x86_64")]
    c::SYS_readlink,
    c::SYS_readlinkat,
    #[cfg(target_arch = "x86_64")]
    c::SYS_lstat,
    c::SYS_newfstatat,
    c::SYS_pidfd_open,
    c::SYS_pidfd_getfd,
    c::SYS_eventfd2,
];

/// Another connection to the socket of a device.
const CONNECT: &[c::c_long] = &[c::SYS_connect, c::SYS_eventfd2];

/// ioctls that are none of the device's: a socket that does not block, and whether standard error
/// is a terminal.
const IOCTLS: [u64; 2] = [c::FIONBIO, c::TCGETS];
/// `UDMABUF_CREATE`, `<linux/udmabuf.h>`.
const UDMABUF_CREATE: u64 = 0x4018_7542;
/// The letters that the ioctls of VFIO, of KVM and of iommufd carry; the last one is VFIO's too.
const OPENING: &[u8] = b";\xae";

/// Ways to open a file, and where each has its flags.
const OPENS: &[(c::c_long, u8)] = &[
    #[cfg(target_arch = "x86_64")]
    (c::SYS_open, 1),
    (c::SYS_openat, 2),
];

/// Where `ioctl`, `mmap` and their likes have what is compared.
const REQUEST: u8 = 1;
const PROTECTION: u8 = 2;

/// A list on its way to become a filter.
#[derive(Debug, Default)]
struct Calls(BTreeMap<i64, Vec<SeccompRule>>);

impl Calls {
    fn allow(&mut self, calls: &[c::c_long]) {
        for call in calls {
            self.0.insert(*call, Vec::new());
        }
    }

    /// What the library says that it needs.
    fn allow_listed(&mut self, calls: &[Syscall]) {
        for call in calls.iter().map(|call| i64::from(call.number)) {
            // Those have conditions.
            if call != c::SYS_mmap && call != c::SYS_mprotect {
                self.allow(&[call]);
            }
        }
    }

    /// Allows a call whose argument is as `op` says, beside what is allowed of it.
    fn allow_if(&mut self, call: c::c_long, arg: u8, op: Op, value: u64) -> io::Result<()> {
        let condition = SeccompCondition::new(arg, Len::Dword, op, value);
        let rule = condition.and_then(|is| SeccompRule::new(vec![is])).map_err(io::Error::other)?;
        match self.0.get_mut(&call) {
            // Whatever its arguments are.
            Some(rules) if rules.is_empty() => {}
            Some(rules) => rules.push(rule),
            None => drop(self.0.insert(call, vec![rule])),
        }
        Ok(())
    }

    fn allow_ioctls(&mut self, requests: impl IntoIterator<Item = u64>) -> io::Result<()> {
        requests.into_iter().try_for_each(|r| self.allow_if(c::SYS_ioctl, REQUEST, Op::Eq, r))
    }

    fn filter(self, others: SeccompAction, listed: SeccompAction) -> io::Result<BpfProgram> {
        let arch = std::env::consts::ARCH.try_into().map_err(io::Error::other)?;
        let filter = SeccompFilter::new(self.0, others, listed, arch).map_err(io::Error::other)?;
        filter.try_into().map_err(io::Error::other)
    }
}

/// Leaves every thread the calls that `needs` tells; answers with how many.
pub(super) fn confine(needs: &Needs) -> io::Result<usize> {
    // Of two filters the stricter answer counts, so these are on the list as well.
    for (calls, errno) in refused(needs)? {
        let refuse = SeccompAction::Errno(errno.cast_unsigned());
        apply(&calls.filter(SeccompAction::Allow, refuse)?)?;
    }
    let calls = allowed(needs)?;
    let count = calls.0.len();
    apply(&calls.filter(SeccompAction::KillProcess, SeccompAction::Allow)?)?;
    Ok(count)
}

fn apply(filter: &BpfProgram) -> io::Result<()> {
    apply_filter_all_threads(filter).map_err(io::Error::other)
}

fn allowed(needs: &Needs) -> io::Result<Calls> {
    let mut calls = Calls::default();
    for group in [WAIT, THREADS, VIEWERS] {
        calls.allow(group);
    }
    calls.allow_ioctls(IOCTLS)?;
    calls.allow_if(c::SYS_prctl, 0, Op::Eq, c::PR_SET_NAME as u64)?;
    calls.allow_listed(syscalls::MEMORY);
    for call in [c::SYS_mmap, c::SYS_mprotect] {
        // No new code.
        calls.allow_if(call, PROTECTION, Op::MaskedEq(c::PROT_EXEC as u64), 0)?;
    }
    device(needs, &mut calls)?;
    if needs.record.is_some() {
        // The next file is made, and none is read.
        let flags = c::O_WRONLY | c::O_CREAT | c::O_TRUNC | c::O_CLOEXEC;
        calls.allow_if(c::SYS_openat, 2, Op::Eq, flags as u64)?;
    }
    if !needs.sockets.is_empty() {
        calls.allow(SOCKET_FILES);
    }
    if needs.web {
        calls.allow(WEB);
    }
    if needs.door {
        calls.allow(DOOR);
    }
    if needs.begins_threads() {
        // D-Bus' loop begins one for its first timer; a display that comes has some of its own.
        calls.allow(&[c::SYS_clone3]);
        let thread = c::CLONE_THREAD as u64;
        calls.allow_if(c::SYS_clone, 0, Op::MaskedEq(thread), thread)?;
    }
    if needs.dbus {
        calls.allow(DBUS);
        for (open, flags) in OPENS {
            calls.allow_if(*open, *flags, Op::MaskedEq(c::O_ACCMODE as u64), c::O_RDONLY as u64)?;
        }
    }
    Ok(calls)
}

/// What the device takes, and the way back to it.
fn device(needs: &Needs, calls: &mut Calls) -> io::Result<()> {
    let requests = || syscalls::IOCTLS.iter().map(|ioctl| u64::from(ioctl.request));
    match needs.device {
        Where::Process => calls.allow_listed(syscalls::VFIO_USER),
        Where::Host => {
            for part in [syscalls::DEVICE, syscalls::DMABUF, syscalls::BORROWED] {
                calls.allow_listed(part);
            }
            calls.allow_ioctls(requests())?;
        }
        Where::Any => {
            let parts = [syscalls::DEVICE, syscalls::DMABUF, syscalls::BORROWED];
            for part in parts.into_iter().chain([syscalls::VFIO_USER]) {
                calls.allow_listed(part);
            }
            calls.allow_ioctls(requests())?;
            calls.allow(COMING);
            calls.allow(CONNECT);
            calls.allow_if(c::SYS_socket, 0, Op::Eq, c::AF_UNIX as u64)?;
        }
        Where::Mock => {
            for part in [syscalls::DEVICE, syscalls::DMABUF] {
                calls.allow_listed(part);
            }
            calls.allow(MOCK);
            let sync = requests().filter(|request| request >> 8 & 0xff == u64::from(b'b'));
            calls.allow_ioctls(sync.chain([UDMABUF_CREATE]))?;
        }
    }
    calls.allow(&[c::SYS_getrandom]);
    if needs.holders {
        for call in syscalls::HOLDERS.iter().map(|call| i64::from(call.number)) {
            match OPENS.iter().find(|(open, _)| *open == call) {
                Some((open, flags)) => {
                    let writes = (c::O_ACCMODE | c::O_CREAT | c::O_TRUNC) as u64;
                    calls.allow_if(*open, *flags, Op::MaskedEq(writes), c::O_RDONLY as u64)?;
                }
                None => calls.allow(&[call]),
            }
        }
    }
    match needs.again {
        None => {}
        Some(Again::Process) => {
            calls.allow(CONNECT);
            calls.allow_if(c::SYS_socket, 0, Op::Eq, c::AF_UNIX as u64)?;
        }
        Some(Again::Device | Again::Vmm) => {
            calls.allow_listed(syscalls::HOLDERS);
            calls.allow(OPEN);
            for letter in OPENING {
                let letter = u64::from(*letter) << 8;
                calls.allow_if(c::SYS_ioctl, REQUEST, Op::MaskedEq(0xff00), letter)?;
            }
        }
    }
    Ok(())
}

/// What is refused with an errno, beside what kills.
fn refused(needs: &Needs) -> io::Result<Vec<(Calls, c::c_int)>> {
    if !needs.begins_threads() {
        return Ok(Vec::new());
    }
    // A structure in memory says what clone3 makes. The C library then makes a thread by clone,
    // whose flags are in a register.
    let mut clone = Calls::default();
    clone.allow(&[c::SYS_clone3]);
    let mut refused = vec![(clone, c::ENOSYS)];
    if needs.dbus && !needs.opens() {
        // A client may ask for the machine's id, which zbus looks for in files.
        let mut read = Calls::default();
        for (open, flags) in OPENS {
            read.allow_if(*open, *flags, Op::MaskedEq(c::O_ACCMODE as u64), c::O_RDONLY as u64)?;
        }
        refused.push((read, c::EACCES));
    }
    Ok(refused)
}
