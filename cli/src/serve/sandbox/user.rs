// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Another user, once what takes root is open.

use std::fmt;
use std::str::FromStr;

use nix::errno::Errno;
use nix::unistd::{Gid, Uid, getresgid, getresuid, setgroups, setresgid, setresuid, setuid};
use tracing::info;

use super::Needs;
use crate::exit::{Failure, Status};

/// A user that is no root, and its group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    uid: Uid,
    gid: Gid,
}

impl FromStr for User {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, group) = match text.split_once(':') {
            Some((name, group)) => (name, Some(group)),
            None => (text, None),
        };
        let known = match name.parse().map(Uid::from_raw) {
            Ok(uid) => nix::unistd::User::from_uid(uid).map(|user| (Some(uid), user)),
            Err(_) => nix::unistd::User::from_name(name).map(|user| (None, user)),
        };
        let (uid, known) = known.map_err(|errno| format!("{name}: {errno}"))?;
        let uid = uid.or(known.as_ref().map(|user| user.uid));
        let uid = uid.ok_or_else(|| format!("there is no user {name}"))?;
        let gid = match group {
            Some(group) => match group.parse() {
                Ok(gid) => Gid::from_raw(gid),
                Err(_) => {
                    nix::unistd::Group::from_name(group)
                        .map_err(|errno| format!("{group}: {errno}"))?
                        .ok_or_else(|| format!("there is no group {group}"))?
                        .gid
                }
            },
            None => known.map(|user| user.gid).ok_or_else(|| {
                format!("user {uid} has no name, so its group is to be said: {uid}:GID")
            })?,
        };
        if uid.is_root() {
            return Err("root is what is to be given up".into());
        }
        Ok(Self { uid, gid })
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.uid, self.gid)
    }
}

impl User {
    /// Becomes this user, with this group and no other, for good.
    pub(in crate::serve) fn take(&self, needs: &Needs) -> Result<(), Failure> {
        if let Some(why) = needs.of_root() {
            return Err(Failure::new(Status::Usage, format!("--user can't be: {why}")));
        }
        self.set().map_err(|errno| {
            Failure::new(Status::NotPermitted, format!("user {self} can't be taken: {errno}"))
                .hint("--user is for root")
        })?;
        info!("user {self}");
        Ok(())
    }

    fn set(&self) -> Result<(), Errno> {
        let Self { uid, gid } = *self;
        // Groups first: the user that follows may not.
        setgroups(&[gid])?;
        setresgid(gid, gid, gid)?;
        setresuid(uid, uid, uid)?;
        let (users, groups) = (getresuid()?, getresgid()?);
        let all = [users.real, users.effective, users.saved].iter().all(|is| *is == uid)
            && [groups.real, groups.effective, groups.saved].iter().all(|is| *is == gid);
        // A capability that outlived it would make this work.
        if !all || setuid(Uid::from_raw(0)).is_ok() { Err(Errno::EPERM) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_named_or_numbered() {
        let user = |uid, gid| Ok(User { uid: Uid::from_raw(uid), gid: Gid::from_raw(gid) });
        assert_eq!("4711:4712".parse(), user(4711, 4712));
        let nobody: User = "nobody".parse().unwrap();
        assert_eq!(format!("{}:{}", nobody.uid, nobody.gid).parse(), Ok(nobody.clone()));
        assert_eq!(nobody.uid.to_string().parse(), Ok(nobody));
        for (text, told) in [
            ("root", "root is what"),
            ("0:7", "root is what"),
            ("no-such-user", "there is no user no-such-user"),
            ("nobody:no-such-group", "there is no group no-such-group"),
            ("4000000", "4000000:GID"),
            ("", "there is no user"),
        ] {
            let error = text.parse::<User>().unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
