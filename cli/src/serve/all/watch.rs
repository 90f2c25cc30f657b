// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What happens in directories, by inotify: device files are opened and closed, sockets are made.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::PathBuf;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;
use tracing::warn;

use super::names;
use super::slots::Source;

/// Where device files are.
const DEV: &str = "/dev";
/// Those of VFIO: one for each group, and the container's.
pub(super) const VFIO: &str = "/dev/vfio";
/// One for each device, on kernels that have iommufd.
pub(super) const CDEVS: &str = "/dev/vfio/devices";

/// Events after which others have their turn.
const EVENTS: usize = 1024;

/// Directories that are watched, as far as they are there.
#[derive(Debug)]
pub(super) struct Watch {
    inotify: OwnedFd,
    dirs: Vec<Dir>,
}

/// What has happened since it was asked last.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// A VMM may have come, or gone, or have another device.
    pub(super) vmms: bool,
    /// The directory of sockets has changed; those that just came.
    pub(super) sockets: Option<Vec<Source>>,
}

#[derive(Debug)]
struct Dir {
    path: PathBuf,
    what: What,
    /// Its number, while it is watched.
    watch: Option<i32>,
    /// That it can't be watched was told.
    told: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    /// Where the directory of VFIO will be.
    Parent,
    /// Device files of VFIO.
    Devices,
    Sockets,
}

impl What {
    fn flags(self) -> WatchFlags {
        let files = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        match self {
            Self::Parent => files,
            // A VMM that lets go of a device closes it.
            Self::Devices => files | WatchFlags::OPEN | WatchFlags::CLOSE_WRITE,
            Self::Sockets => files | WatchFlags::DELETE | WatchFlags::MOVED_FROM,
        }
    }
}

impl Watch {
    /// Watches for VMMs, and for sockets in a directory.
    pub(super) fn new(sockets: Option<PathBuf>) -> io::Result<Self> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let dir = |path: PathBuf, what| Dir { path, what, watch: None, told: false };
        let mut dirs = vec![
            // First, so that what is made meanwhile is seen.
            dir(DEV.into(), What::Parent),
            dir(VFIO.into(), What::Devices),
            dir(CDEVS.into(), What::Devices),
        ];
        dirs.extend(sockets.map(|path| dir(path, What::Sockets)));
        let mut watch = Self { inotify, dirs };
        watch.complete();
        Ok(watch)
    }

    /// Watches what was not there before.
    pub(super) fn complete(&mut self) {
        for dir in self.dirs.iter_mut().filter(|dir| dir.watch.is_none()) {
            match inotify::add_watch(&self.inotify, &dir.path, dir.what.flags()) {
                Ok(watch) => {
                    dir.watch = Some(watch);
                    dir.told = false;
                }
                Err(errno) => {
                    // Hosts without VFIO have none of the others.
                    let may_be_missing = dir.what == What::Devices && errno == Errno::NOENT;
                    if !may_be_missing && !dir.told {
                        warn!("{}: {errno}", dir.path.display());
                    }
                    dir.told = true;
                }
            }
        }
    }

    pub(super) fn read(&mut self) -> Seen {
        let mut seen = Seen::default();
        let mut again = false;
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = Reader::new(&self.inotify, &mut buffer);
        for n in 0.. {
            // What was read is taken to its end, or it would be lost.
            if n >= EVENTS && reader.is_buffer_empty() {
                break;
            }
            let Ok(event) = reader.next() else { break };
            let flags = event.events();
            if flags.contains(ReadFlags::QUEUE_OVERFLOW) {
                seen.vmms = true;
                seen.sockets.get_or_insert_default();
                continue;
            }
            let number = event.wd();
            let Some(dir) = self.dirs.iter_mut().find(|dir| dir.watch == Some(number)) else {
                continue;
            };
            if flags.contains(ReadFlags::IGNORED) {
                dir.watch = None;
                again = true;
            }
            let came = flags.intersects(ReadFlags::CREATE | ReadFlags::MOVED_TO);
            match dir.what {
                What::Parent => again = true,
                What::Devices => {
                    let is_dir = flags.contains(ReadFlags::ISDIR);
                    again |= is_dir && came;
                    // That somebody lists a directory means nothing, and we do.
                    seen.vmms |= !is_dir || came;
                }
                What::Sockets => {
                    let new = seen.sockets.get_or_insert_default();
                    let name = event.file_name().map(|name| OsStr::from_bytes(name.to_bytes()));
                    let name = name.filter(|name| came && names::of_socket(name).is_some());
                    new.extend(name.map(|name| Source::Socket(name.to_owned())));
                }
            }
        }
        if again {
            let before = self.devices();
            self.complete();
            // It may have been filled before it was watched.
            seen.vmms |= before != self.devices();
        }
        seen
    }

    /// Directories of device files that are watched.
    fn devices(&self) -> usize {
        let watched = |dir: &&Dir| dir.what == What::Devices && dir.watch.is_some();
        self.dirs.iter().filter(watched).count()
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn sockets_that_come_and_go_are_seen_also_in_a_directory_that_came_back() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("sockets");
        fs::create_dir(&path).unwrap();
        let mut watch = Watch::new(Some(path.clone())).unwrap();
        assert!(watch.read().sockets.is_none());
        drop(UnixListener::bind(path.join("a.sock")).unwrap());
        fs::write(path.join("other"), "").unwrap();
        assert_eq!(watch.read().sockets, Some(vec![Source::Socket("a.sock".into())]));
        fs::remove_file(path.join("a.sock")).unwrap();
        assert_eq!(watch.read().sockets, Some(vec![]));
        fs::remove_file(path.join("other")).unwrap();
        fs::remove_dir(&path).unwrap();
        watch.read();
        fs::create_dir(&path).unwrap();
        watch.complete();
        drop(UnixListener::bind(path.join("b.sock")).unwrap());
        assert_eq!(watch.read().sockets, Some(vec![Source::Socket("b.sock".into())]));
    }
}
