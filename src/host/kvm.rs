// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! An empty virtual machine to attach a device to, which GVT-g wants before it is opened.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use kvm_bindings::{
    KVM_DEV_VFIO_GROUP, KVM_DEV_VFIO_GROUP_ADD, kvm_create_device, kvm_device_attr,
    kvm_device_type_KVM_DEV_TYPE_VFIO,
};
use kvm_ioctls::{DeviceFd, Kvm, VmFd};

use super::opened::Note;
use crate::error::Errno;

/// A virtual machine without CPUs or memory, that a VFIO group or cdev is attached to.
#[derive(Debug)]
pub(super) struct Attachment {
    _device: DeviceFd,
    _vm: VmFd,
}

/// Attaches `file`, a group or a cdev, by the KVM at `path`.
///
/// `KVM_DEV_VFIO_GROUP` and the newer `KVM_DEV_VFIO_FILE` are one number.
pub(super) fn attach(path: &Path, file: BorrowedFd<'_>) -> Result<Attachment, Note> {
    let refused = |call| {
        move |error: kvm_ioctls::Error| Note::NotAttached {
            call,
            path: path.to_owned(),
            errno: Errno::from_raw(error.errno()),
        }
    };
    let name = CString::new(path.as_os_str().as_bytes()).unwrap_or_default();
    let kvm = Kvm::new_with_path(name).map_err(refused("open"))?;
    let vm = kvm.create_vm().map_err(refused("KVM_CREATE_VM"))?;
    let mut kind = kvm_create_device { type_: kvm_device_type_KVM_DEV_TYPE_VFIO, fd: 0, flags: 0 };
    let device = vm.create_device(&mut kind).map_err(refused("KVM_CREATE_DEVICE"))?;
    let number = file.as_raw_fd();
    let attribute = kvm_device_attr {
        flags: 0,
        group: KVM_DEV_VFIO_GROUP,
        attr: u64::from(KVM_DEV_VFIO_GROUP_ADD),
        addr: std::ptr::from_ref(&number).expose_provenance() as u64,
    };
    device.set_device_attr(&attribute).map_err(refused("KVM_DEV_VFIO_GROUP_ADD"))?;
    Ok(Attachment { _device: device, _vm: vm })
}
