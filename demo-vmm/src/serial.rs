// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! As much of a 16550 as a firmware needs that prints on it.

/// Offsets of registers.
const DATA: usize = 0;
const LINE_CONTROL: usize = 3;
const LINE_STATUS: usize = 5;
const SCRATCH: usize = 7;

/// In the line control register: the first two registers are those of the baud rate.
const DIVISOR_LATCH: u8 = 0x80;

/// In the line status register: everything is sent, and there is room for more.
const READY: u8 = 0x60;

/// A port that nobody types on, and that sends at once.
#[derive(Debug, Default)]
pub(crate) struct Serial {
    line_control: u8,
    /// By this keeping what is written, edk2 knows that there is a port.
    scratch: u8,
}

impl Serial {
    pub(crate) fn read(&self, register: usize) -> u8 {
        match register {
            LINE_CONTROL => self.line_control,
            LINE_STATUS => READY,
            SCRATCH => self.scratch,
            _ => 0,
        }
    }

    /// Answers with whether `value` is a character that is sent.
    pub(crate) fn write(&mut self, register: usize, value: u8) -> bool {
        match register {
            LINE_CONTROL => self.line_control = value,
            SCRATCH => self.scratch = value,
            _ => {}
        }
        register == DATA && self.line_control & DIVISOR_LATCH == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_sets_the_baud_rate_is_not_sent() {
        let mut serial = Serial::default();
        assert!(serial.write(DATA, b'a'));
        serial.write(LINE_CONTROL, DIVISOR_LATCH | 0x03);
        assert!(!serial.write(DATA, 0x01));
        serial.write(LINE_CONTROL, 0x03);
        assert!(serial.write(DATA, b'b'));
    }

    #[test]
    fn it_can_be_found_and_is_ready() {
        let mut serial = Serial::default();
        for value in [0xaa, 0x55] {
            serial.write(SCRATCH, value);
            assert_eq!(serial.read(SCRATCH), value);
        }
        assert_eq!(serial.read(LINE_STATUS), READY);
    }
}
