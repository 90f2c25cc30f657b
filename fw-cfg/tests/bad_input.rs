// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a guest or an embedder may get wrong, one by one; the property test has the combinations.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use vfio_display_fw_cfg::{AddError, FwCfg, GuestError, Item, MAX_FILES, RestoreError, key};
use vm_memory::{Bytes, GuestAddress, GuestMemoryMmap};

const READ: u32 = 0x02;
const SKIP: u32 = 0x04;
const SELECT: u32 = 0x08;
const WRITE: u32 = 0x10;

/// Where the tests put `FWCfgDmaAccess`.
const AT: u64 = 0x100;

struct Guest {
    memory: GuestMemoryMmap<()>,
    fw_cfg: FwCfg,
    writes: Arc<AtomicU32>,
}

/// RAM with an MMIO hole at 0x3000, and the files `read-only` (0x20) and `writable` (0x21).
fn guest() -> Guest {
    let ranges = [(GuestAddress(0), 0x3000), (GuestAddress(0x4000), 0x1000)];
    let memory = GuestMemoryMmap::from_ranges(&ranges).unwrap();
    let writes = Arc::new(AtomicU32::new(0));
    let mut fw_cfg = FwCfg::new();
    fw_cfg.add_file("read-only", Item::bytes(*b"0123456789")).unwrap();
    let counter = Arc::clone(&writes);
    let count = move |_: u32, _: &[u8]| {
        counter.fetch_add(1, Ordering::Relaxed);
    };
    fw_cfg.add_file("writable", Item::writable([0; 28], count)).unwrap();
    Guest { memory, fw_cfg, writes }
}

impl Guest {
    /// A transfer; what the control word is afterwards.
    fn dma(&mut self, control: u32, len: u32, address: u64) -> u32 {
        let mut access = Vec::from(control.to_be_bytes());
        access.extend(len.to_be_bytes());
        access.extend(address.to_be_bytes());
        self.memory.write_slice(&access, GuestAddress(AT)).unwrap();
        self.fw_cfg.pio_write(&self.memory, 4, &AT.to_be_bytes());
        let mut word = [0; 4];
        self.memory.read_slice(&mut word, GuestAddress(AT)).unwrap();
        u32::from_be_bytes(word)
    }

    fn error(&mut self) -> GuestError {
        self.fw_cfg.take_report().expect("a report").error
    }
}

fn select(key: u16) -> u32 {
    u32::from(key) << 16 | SELECT
}

#[test]
fn guest_addresses_outside_ram_or_wrapping_or_in_holes() {
    for address in [0x3000, 0x2fff, 0x3ffc, 0x10_0000, u64::MAX, u64::MAX - 4, 1 << 63] {
        let mut guest = guest();
        for control in [select(0x20) | READ, select(0x21) | WRITE] {
            assert_eq!(guest.dma(control, 8, address), 1, "{address:#x} {control:#x}");
            let key = (control >> 16) as u16;
            assert_eq!(guest.error(), GuestError::DmaBuffer { key, address, len: 8 });
        }
        // The structure itself.
        guest.fw_cfg.pio_write(&guest.memory, 4, &address.to_be_bytes());
        assert_eq!(guest.error(), GuestError::DmaStruct { address });
        assert_eq!(guest.writes.load(Ordering::Relaxed), 0);
    }
}

#[test]
fn a_structure_half_outside_is_told_so() {
    let mut guest = guest();
    guest.memory.write_slice(&[0xaa; 8], GuestAddress(0x2ff8)).unwrap();
    guest.fw_cfg.pio_write(&guest.memory, 8, &0x2ff8_u32.to_be_bytes());
    assert_eq!(guest.memory.read_obj::<[u8; 4]>(GuestAddress(0x2ff8)).unwrap(), [0, 0, 0, 1]);
}

#[test]
fn a_structure_that_is_written_over_by_its_own_transfer() {
    let mut guest = guest();
    // Ten digits over control, length and half of the address; then the control word.
    assert_eq!(guest.dma(select(0x20) | READ, 10, AT), 0);
    let there: [u8; 16] = guest.memory.read_obj(GuestAddress(AT)).unwrap();
    assert_eq!(&there[..10], b"\0\0\0\x00456789");
    // And it can be the bytes that are written.
    assert_eq!(guest.dma(select(0x21) | WRITE, 16, AT), 0);
    assert_eq!(guest.writes.load(Ordering::Relaxed), 1);
}

#[test]
fn control_words_of_every_combination() {
    for bits in 0..0x20 {
        for junk in [0, 0xffe0] {
            let mut guest = guest();
            let control = 0x21 << 16 | bits | junk;
            let word = guest.dma(control, 4, 0x200);
            let (selected, read) = (bits & SELECT != 0, bits & READ != 0);
            // What is selected at first, the signature, is not writable.
            let refused = !read && bits & WRITE != 0 && !selected;
            assert_eq!(word, u32::from(refused), "{control:#x}");
            let wrote = !read && bits & WRITE != 0 && selected;
            assert_eq!(guest.writes.load(Ordering::Relaxed), u32::from(wrote), "{control:#x}");
            // Where the offset is now: the next bytes of the signature tell.
            let mut next = [0];
            guest.fw_cfg.pio_read(1, &mut next);
            let moved = read || (bits & WRITE == 0 && bits & SKIP != 0);
            let expected = match selected {
                true => 0,
                false if moved => 0,
                false => b'Q',
            };
            assert_eq!(next, [expected], "{control:#x}");
        }
    }
}

#[test]
fn selectors_that_do_not_exist() {
    let mut guest = guest();
    for key in [0x02, 0x22, 0x3fff, 0x8000, 0xbfff, 0xffff] {
        guest.memory.write_slice(&[0xaa; 8], GuestAddress(0x200)).unwrap();
        assert_eq!(guest.dma(select(key) | READ, 8, 0x200), 0, "reads zeros, as in QEMU");
        assert_eq!(guest.memory.read_obj::<[u8; 8]>(GuestAddress(0x200)).unwrap(), [0; 8]);
        assert_eq!(guest.dma(SKIP, u32::MAX, 0), 0);
        assert_eq!(guest.fw_cfg.take_report(), None, "asking is no error: firmware does");
        assert_eq!(guest.dma(select(key) | WRITE, 8, 0x200), 1);
        assert_eq!(guest.error(), GuestError::NotWritable { key, len: 8 });
    }
}

#[test]
fn writes_that_do_not_fit_whole() {
    let mut guest = guest();
    assert_eq!(guest.dma(select(0x21) | WRITE, 29, 0x200), 1);
    let (key, item_len) = (0x21, 28);
    assert_eq!(guest.error(), GuestError::DoesNotFit { key, offset: 0, len: 29, item_len });
    assert_eq!(guest.dma(WRITE, 20, 0x200), 0, "the offset is where it was");
    assert_eq!(guest.dma(WRITE, 9, 0x200), 1);
    assert_eq!(guest.error(), GuestError::DoesNotFit { key, offset: 20, len: 9, item_len });
    assert_eq!(guest.dma(WRITE, u32::MAX, 0x200), 1, "and 4 GiB are not taken for it");
    assert_eq!(guest.writes.load(Ordering::Relaxed), 1);
    assert_eq!(guest.dma(select(0x20) | WRITE, 1, 0x200), 1);
    let report = guest.fw_cfg.take_report().unwrap();
    assert_eq!(report.count, 2);
    assert_eq!(
        report.to_string(),
        "fw_cfg: 4294967295 bytes at 20 do not fit the 28 bytes of key 0x0021 (and 1 more refused)"
    );
}

#[test]
fn reads_of_4_gib_end_at_the_hole() {
    let mut guest = guest();
    assert_eq!(guest.dma(select(0x20) | READ, u32::MAX, 0x200), 1);
    assert_eq!(guest.dma(select(0x20) | READ, 0x1000, 0x200), 0, "past the end of the item: zeros");
    assert_eq!(guest.memory.read_obj::<[u8; 12]>(GuestAddress(0x200)).unwrap(), *b"0123456789\0\0");
}

#[test]
fn the_data_register_is_not_written_and_ends_in_zeros() {
    let mut guest = guest();
    guest.fw_cfg.pio_write(&guest.memory, 0, &0x20_u16.to_le_bytes());
    guest.fw_cfg.pio_write(&guest.memory, 1, b"x");
    let mut bytes = [0xff; 12];
    guest.fw_cfg.pio_read(1, &mut bytes);
    assert_eq!(bytes, *b"0123456789\0\0");
    guest.fw_cfg.mmio_write(&guest.memory, 8, &0x20_u16.to_be_bytes());
    guest.fw_cfg.mmio_write(&guest.memory, 0, &[1; 8]);
    let mut bytes = [0xff; 8];
    guest.fw_cfg.mmio_read(0, &mut bytes);
    assert_eq!(bytes, *b"01234567");
    assert_eq!(guest.fw_cfg.take_report(), None);
}

#[test]
fn registers_in_widths_that_they_do_not_have() {
    let mut guest = guest();
    for (offset, len) in
        [(0, 1), (0, 4), (2, 1), (4, 2), (4, 3), (8, 8), (11, 4), (12, 4), (u16::MAX, 1)]
    {
        guest.fw_cfg.pio_write(&guest.memory, offset, &vec![0; len]);
        let error = GuestError::Register { offset: offset.into(), len, write: true };
        assert_eq!(guest.error(), error);
    }
    for (offset, len) in [(0, 1), (2, 1), (11, 2), (12, 1), (u16::MAX, 8)] {
        let mut data = vec![0xff; len];
        guest.fw_cfg.pio_read(offset, &mut data);
        assert_eq!(data, vec![0; len]);
        assert!(matches!(guest.error(), GuestError::Register { write: false, .. }));
    }
    for (offset, len) in [(8, 4), (9, 2), (10, 2), (17, 4), (20, 8), (24, 4), (u64::MAX, 8)] {
        guest.fw_cfg.mmio_write(&guest.memory, offset, &vec![0; len]);
        assert_eq!(guest.error(), GuestError::Register { offset, len, write: true });
    }
    for offset in [5, 8, 23, 24, u64::MAX] {
        guest.fw_cfg.mmio_read(offset, &mut [0; 4]);
        assert_eq!(guest.error(), GuestError::Register { offset, len: 4, write: false });
    }
}

#[test]
fn more_files_than_there_are_keys() {
    let mut fw_cfg = FwCfg::new();
    for n in 0..MAX_FILES {
        fw_cfg.add_file(&format!("{n:05}"), Item::bytes([])).unwrap();
    }
    assert_eq!(fw_cfg.add_file("one more", Item::bytes([])), Err(AddError::TooMany));
    assert_eq!(fw_cfg.files().last(), Some(("16351", 0x3fff)));
    fw_cfg.pio_write(&memory(), 0, &key::FILE_DIR.to_le_bytes());
    let mut count = [0; 4];
    fw_cfg.pio_read(1, &mut count);
    assert_eq!(u32::from_be_bytes(count) as usize, MAX_FILES);
}

#[test]
fn files_that_cannot_be_added() {
    let mut fw_cfg = FwCfg::new();
    let mut add = |name: &str| fw_cfg.add_file(name, Item::bytes(*b"x"));
    assert_eq!(add("etc/ramfb"), Ok(()));
    assert_eq!(add("etc/ramfb"), Err(AddError::Exists("etc/ramfb".into())));
    assert_eq!(add(&"n".repeat(55)), Ok(()));
    for name in [String::new(), "n".repeat(56), "a\0b".into()] {
        assert_eq!(add(&name), Err(AddError::Name(name.clone())));
    }
    for key in [key::SIGNATURE, key::ID, key::FILE_DIR, key::FILE_FIRST, 0x4005, 0xc000] {
        assert_eq!(fw_cfg.add_item(key, Item::bytes([])), Err(AddError::Key(key)));
    }
    assert_eq!(fw_cfg.add_item(0x8000, Item::bytes([])), Ok(()));
}

#[test]
fn files_are_not_hot_pluggable() {
    for selector in [key::FILE_DIR, key::FILE_FIRST, key::FILE_DIR | 0x4000] {
        let mut fw_cfg = FwCfg::new();
        fw_cfg.pio_write(&memory(), 0, &5_u16.to_le_bytes());
        fw_cfg.add_file("before", Item::bytes([])).unwrap();
        fw_cfg.pio_write(&memory(), 0, &selector.to_le_bytes());
        let error = fw_cfg.add_file("etc/ramfb", Item::bytes([])).unwrap_err();
        assert_eq!(
            error.to_string(),
            "etc/ramfb: the guest has read the directory of fw_cfg, files can't be hot-plugged"
        );
        fw_cfg.reset();
        fw_cfg.add_file("etc/ramfb", Item::bytes([])).unwrap();
    }
}

#[test]
fn states_that_are_not_taken_over() {
    let mut there = guest().fw_cfg;
    let state = there.save();
    assert_eq!(there.restore(b"RAMFB"), Err(RestoreError::Magic));
    let mut newer = state.clone();
    newer[6] = 2;
    assert_eq!(there.restore(&newer), Err(RestoreError::Version(2)));
    for len in 8..state.len() {
        assert!(matches!(there.restore(&state[..len]), Err(RestoreError::Damaged(_))), "{len}");
    }
    let mut longer = state.clone();
    longer.push(0);
    assert_eq!(there.restore(&longer), Err(RestoreError::Damaged(state.len())));
    let mut beyond = state.clone();
    beyond[11] = 5; // the signature has 4 bytes
    assert_eq!(there.restore(&beyond), Err(RestoreError::Damaged(11)));
    let mut other = FwCfg::new();
    assert_eq!(other.restore(&state), Err(RestoreError::Items("2 files, here 0".into())));
    assert_eq!(there.restore(&state), Ok(()));
    assert_eq!(there.save(), state);
}

#[test]
fn a_restored_state_knows_that_the_directory_was_read() {
    let mut source = guest();
    source.dma(select(key::FILE_DIR) | READ, 4, 0x200);
    let mut target = guest().fw_cfg;
    target.restore(&source.fw_cfg.save()).unwrap();
    let error = target.add_file("late", Item::bytes([]));
    assert_eq!(error, Err(AddError::DirectoryRead("late".into())));
}

fn memory() -> GuestMemoryMmap<()> {
    GuestMemoryMmap::from_ranges(&[(GuestAddress(0), 0x1000)]).unwrap()
}
