// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the tests share: a server with a display before it, a bus of its own, a client of another
//! hand, and pictures from seeds.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test uses a part")]

pub mod bus;
pub mod client;
pub mod desk;
#[path = "../../../vnc/tests/common/pictures.rs"]
pub mod pictures;
pub mod raw;

pub use bus::Bus;
pub use client::Client;
pub use desk::{Desk, until};
pub use pictures::{Kind, Random, change, draw};
pub use raw::{Listener, Raw};
