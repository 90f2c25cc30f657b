// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Development commands: `cargo xtask --help`.

fn main() {}
