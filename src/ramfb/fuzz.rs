// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! Any sequence of writes, looks, resets and migrations, against a model that is as simple as it
//! can be written down.

use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

use super::{Config, Ramfb};
use crate::format::PixelFormat;
use crate::geometry::Size;
use crate::picture::Picture;

/// Two regions that touch, and one behind a hole.
const REGIONS: [(u64, usize); 3] = [(0x1_0000, 0x1_0000), (0x2_0000, 0x8000), (0x4_0000, 0x1_0000)];

/// What the display is taken for.
#[derive(Debug, Default)]
struct Model {
    bytes: [u8; 28],
    begun: usize,
    whole: Option<[u8; 28]>,
    shown: Option<[u8; 28]>,
    refused: Option<[u8; 28]>,
}

/// The body of the fuzz target.
///
/// # Panics
///
/// Where the display and the model differ.
pub fn run(data: &[u8]) {
    let regions = REGIONS.map(|(at, len)| (GuestAddress(at), len));
    let memory = GuestMemoryMmap::<()>::from_ranges(&regions).expect("memory for a guest");
    for (at, len) in REGIONS {
        let pattern: Vec<u8> = (at..).take(len).map(byte_at).collect();
        memory.write_slice(&pattern, GuestAddress(at)).expect("it is there");
    }
    let (mut ramfb, mut model) = (Ramfb::new(), Model::default());
    let mut picture = Picture::default();
    let mut script = Script(data.iter());
    while let Some(kind) = script.0.next() {
        match kind % 8 {
            0 => {
                let (at, len) = (script.byte() % 30, script.byte() % 30);
                let bytes: Vec<u8> = (0..len).map(|_| script.byte()).collect();
                write(&ramfb, &mut model, at.into(), &bytes);
            }
            1 => {
                let bytes = script.config().to_bytes();
                let cut = usize::from(script.byte() % 29);
                write(&ramfb, &mut model, 0, &bytes[..cut]);
                write(&ramfb, &mut model, cut, &bytes[cut..]);
            }
            2 => {
                ramfb.reset();
                model = Model::default();
            }
            3 => {
                let state = ramfb.save();
                ramfb = Ramfb::new();
                ramfb.restore(&state).expect("a state of this version");
                assert_eq!(ramfb.save(), state);
                model.refused = None;
            }
            4 => {
                let state = ramfb.save();
                let mut damaged = state.clone();
                let at = usize::from(script.byte()) % damaged.len();
                damaged[at] ^= script.byte();
                let refused = ramfb.restore(&damaged).is_err();
                assert!(!refused || ramfb.save() == state, "a refusal changes nothing");
                ramfb.restore(&state).expect("a state of this version");
                model.refused = None;
            }
            5 => write(&ramfb, &mut model, 0, &script.config().to_bytes()),
            _ => {}
        }
        if kind & 0x80 == 0 {
            look(&mut ramfb, &mut model, &memory, &mut picture);
        }
    }
}

fn byte_at(at: u64) -> u8 {
    (at ^ at >> 8).wrapping_mul(29) as u8
}

fn write(ramfb: &Ramfb, model: &mut Model, at: usize, bytes: &[u8]) {
    let whole = ramfb.file().write(at as u32, bytes);
    if at + bytes.len() > 28 || bytes.is_empty() {
        assert!(!whole);
        return;
    }
    model.bytes[at..at + bytes.len()].copy_from_slice(bytes);
    // In order from the start, without a gap.
    if at == 0 {
        model.begun = bytes.len();
    } else if at <= model.begun {
        model.begun = model.begun.max(at + bytes.len());
    } else {
        model.begun = 0;
    }
    assert_eq!(whole, model.begun == 28);
    if whole {
        model.begun = 0;
        model.whole = Some(model.bytes);
    }
    assert_eq!(ramfb.file().read(), model.bytes);
}

fn look(ramfb: &mut Ramfb, model: &mut Model, memory: &GuestMemoryMmap<()>, picture: &mut Picture) {
    let mut refused = false;
    if let Some(bytes) = model.whole.take() {
        if is_good(&Config::from_bytes(&bytes)) {
            model.shown = Some(bytes);
            model.refused = None;
        } else {
            refused = model.refused.replace(bytes) != Some(bytes);
        }
    }
    let answer = ramfb.poll(memory);
    assert_eq!(answer.is_err(), refused, "{answer:?}");
    let plane = ramfb.plane();
    assert_eq!(plane.is_some(), model.shown.is_some());
    let (Some(plane), Some(shown)) = (plane, model.shown) else { return };
    let config = Config::from_bytes(&shown);
    plane.copy(memory, picture).expect("it was checked");
    assert_eq!(picture.size(), Size::new(config.width, config.height));
    if plane.format() == PixelFormat::Xrgb8888 {
        let stride = u64::from(if config.stride == 0 { config.width * 4 } else { config.stride });
        for (x, y) in [(0, 0), (config.width - 1, 0), (config.width / 2, config.height - 1)] {
            let at = config.address + u64::from(y) * stride + u64::from(x) * 4;
            let [b, g, r] = [0, 1, 2].map(|n| byte_at(at + n));
            let expected = u32::from_be_bytes([0xff, r, g, b]);
            assert_eq!(picture.pixel(x, y), Some(expected), "{x},{y}");
        }
    }
}

/// Whether a configuration can be shown, pixel row by pixel row, in numbers that do not wrap.
fn is_good(config: &Config) -> bool {
    let format = PixelFormat::ALL.into_iter().find(|format| format.fourcc().raw() == config.fourcc);
    let Some(format) = format else { return false };
    let sides = 16..=16384;
    if config.flags != 0 || !sides.contains(&config.width) || !sides.contains(&config.height) {
        return false;
    }
    let row = u128::from(config.width * format.bytes_per_pixel());
    let stride = if config.stride == 0 { row } else { config.stride.into() };
    let last = u128::from(config.address) + u128::from(config.height - 1) * stride;
    stride >= row
        && last + row < 1 << 64
        && (0..u128::from(config.height)).all(|y| {
            let at = u128::from(config.address) + y * stride;
            // The first two regions are one.
            [(0x1_0000, 0x2_8000), (0x4_0000, 0x5_0000)]
                .iter()
                .any(|&(start, end)| start <= at && at + row <= end)
        })
}

/// Reads out of bytes, zeros after their end.
struct Script<'a>(std::slice::Iter<'a, u8>);

impl Script<'_> {
    fn byte(&mut self) -> u8 {
        self.0.next().copied().unwrap_or_default()
    }

    fn one_of<T: Copy>(&mut self, values: &[T]) -> T {
        values[usize::from(self.byte()) % values.len()]
    }

    /// One that often can be.
    fn config(&mut self) -> Config {
        let format = PixelFormat::ALL[usize::from(self.byte()) % PixelFormat::ALL.len()];
        let wrong = self.byte();
        let (width, height) = match wrong {
            0xf0.. => (self.one_of(&[0, 15, 16385, u32::MAX]), self.one_of(&[16, 16384, u32::MAX])),
            _ => (self.one_of(&[16, 17, 33, 100, 1024]), self.one_of(&[16, 17, 50, 64])),
        };
        let row = width.wrapping_mul(format.bytes_per_pixel());
        let row = [0, row, row.wrapping_add(5), 0x1000, row.wrapping_sub(1), 0x3_0000, u32::MAX];
        let mut address =
            self.one_of(&[0x1_0000, 0x1_f000, 0x1_8000, 0x4_0000, 0x4_ffff, u64::MAX - 64]);
        if wrong & 1 == 1 {
            address = address.wrapping_add(u64::from(self.byte()) << 4);
        }
        Config {
            address,
            fourcc: if wrong == 0xee { 0x2020_3843 } else { format.fourcc().raw() },
            flags: u32::from(wrong == 0xed),
            width,
            height,
            stride: self.one_of(&row),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_display_does_what_the_model_does() {
        let mut seed = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            seed ^= seed << 13;
            seed ^= seed >> 7;
            seed ^= seed << 17;
            seed
        };
        for _ in 0..2000 {
            let len = next() % 300;
            let data: Vec<u8> = (0..len).map(|_| (next() >> 24) as u8).collect();
            run(&data);
        }
    }

    #[test]
    fn the_corpus_passes() {
        for entry in std::fs::read_dir("fuzz/corpus/ramfb").unwrap() {
            run(&std::fs::read(entry.unwrap().path()).unwrap());
        }
    }
}
