// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Devices to test against.
mod answers;
pub mod card;
mod edid;
mod encode;
mod faulty;
mod font;
pub mod guest;
mod layout;
mod memory;
mod mock;
mod mode;
mod op;
mod paint;
mod pci;
mod personality;
mod planes;
mod rng;
mod state;
mod vbe;

pub use self::edid::EdidWrite;
pub use self::faulty::Faulty;
pub use self::mock::Mock;
pub use self::mode::Mode;
pub use self::op::Op;
pub use self::personality::{Personality, UnknownPersonality};
pub use self::planes::KernelBug;
