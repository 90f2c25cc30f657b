// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! A vfio-user server that says anything: each call ends, and what is accepted lies inside.
#![no_main]

use std::io::Write as _;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use vfio_display::device::{IrqIndex, RegionDevice as _, RegionIndex};
use vfio_display::vfio_user::VfioUser;

/// The version of a server that takes part, without which the rest would seldom be reached.
const VERSION: [u8; 20] = [0, 0, 1, 0, 20, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0];

fuzz_target!(|conversation: &[u8]| {
    let Ok((client, mut server)) = UnixStream::pair() else { return };
    let Some((first, rest)) = conversation.split_first() else { return };
    let _ = server.set_nonblocking(true);
    if first & 1 == 0 {
        let _ = server.write_all(&VERSION);
    }
    // Whatever does not fit the socket's buffer is left out.
    let _ = server.write_all(rest);
    let _ = server.shutdown(Shutdown::Write);
    // It never has to wait: the server has said all that it will.
    let Ok(client) = VfioUser::new(client, Duration::from_secs(60)) else { return };
    let _ = client.device_info();
    for index in [9, 7] {
        let Ok(info) = client.region_info(RegionIndex(index)) else { continue };
        assert_eq!(info.index.0, index);
        assert_eq!(info.mappable_from_start(), 0, "no file came with it");
        let _ = client.map(&info, 0, 4096);
        let mut bytes = [0; 64];
        let _ = client.read(&info, 0, &mut bytes);
        let _ = client.write(&info, 0, &bytes[..8]);
    }
    let _ = client.irq_info(IrqIndex(5));
    let _ = client.set_eventfd(IrqIndex(5), None);
    let _ = client.reset();
    let error = client.device_info();
    if error.is_err() && error.clone().is_err_and(|error| error.is_gone()) {
        assert_eq!(client.device_info(), error, "it stays that way");
    }
});
