// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What the tests share: a viewer that shares no code with the server, and pictures from seeds.

#![allow(dead_code, unreachable_pub, unused_imports, reason = "each test uses a part")]

#[path = "../../../door/tests/common/mod.rs"]
pub mod door;
pub mod format;
pub mod pictures;
pub mod secure;
pub mod server;
pub mod viewer;

pub use format::Format;
pub use pictures::{Kind, Random, change, draw};
pub use viewer::Viewer;
