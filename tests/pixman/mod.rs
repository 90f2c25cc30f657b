// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! pixman, through which QEMU shows screens: loaded at run time, from Debian's libpixman-1-0.

use std::ffi::{c_int, c_void};
use std::ptr;

use libloading::Library;
use vfio_display::convert::Alpha;
use vfio_display::format::PixelFormat;
use vfio_display::geometry::Size;

/// `PIXMAN_OP_SRC`.
const SRC: c_int = 1;
/// `PIXMAN_TYPE_ARGB` and its neighbours: the order of the channels from the highest bit on.
const ARGB: u32 = 2;
const ABGR: u32 = 3;
const BGRA: u32 = 8;
const RGBA: u32 = 9;

/// `PIXMAN_FORMAT` of `<pixman.h>`.
const fn code(bits: u32, order: u32, a: u32, r: u32, g: u32, b: u32) -> u32 {
    bits << 24 | order << 16 | a << 12 | r << 8 | g << 4 | b
}

/// The code that pixman has for `format`, with its alpha or with those bits unused.
fn pixman_format(format: PixelFormat, alpha: Alpha) -> u32 {
    use PixelFormat as F;
    let a = |bits| if alpha == Alpha::Keep { bits } else { 0 };
    match format {
        F::Xrgb8888 => code(32, ARGB, 0, 8, 8, 8),
        F::Argb8888 => code(32, ARGB, a(8), 8, 8, 8),
        F::Xbgr8888 => code(32, ABGR, 0, 8, 8, 8),
        F::Abgr8888 => code(32, ABGR, a(8), 8, 8, 8),
        F::Rgbx8888 => code(32, RGBA, 0, 8, 8, 8),
        F::Bgrx8888 => code(32, BGRA, 0, 8, 8, 8),
        F::Rgb888 => code(24, ARGB, 0, 8, 8, 8),
        F::Bgr888 => code(24, ABGR, 0, 8, 8, 8),
        F::Rgb565 => code(16, ARGB, 0, 5, 6, 5),
        F::Bgr565 => code(16, ABGR, 0, 5, 6, 5),
        F::Xrgb1555 => code(16, ARGB, 0, 5, 5, 5),
        F::Xrgb2101010 => code(32, ARGB, 0, 10, 10, 10),
        F::Argb2101010 => code(32, ARGB, a(2), 10, 10, 10),
        F::Xbgr2101010 => code(32, ABGR, 0, 10, 10, 10),
        F::Abgr2101010 => code(32, ABGR, a(2), 10, 10, 10),
    }
}

type Image = *mut c_void;
type Create = unsafe extern "C" fn(u32, c_int, c_int, *mut u32, c_int) -> Image;
type Composite =
    unsafe extern "C" fn(c_int, Image, Image, Image, i32, i32, i32, i32, i32, i32, i32, i32);
type Unref = unsafe extern "C" fn(Image) -> c_int;

pub(crate) struct Pixman(Library);

impl Pixman {
    /// pixman, if it is installed.
    pub(crate) fn load() -> Result<Self, libloading::Error> {
        // SAFETY: pixman's initialisers detect the CPU, no more.
        unsafe { Library::new("libpixman-1.so.0") }.map(Self)
    }

    /// Decodes pixels of `format`, in rows of `stride` bytes, into `0xAARRGGBB` without padding.
    pub(crate) fn decode(
        &self,
        (format, alpha): (PixelFormat, Alpha),
        (bytes, stride): (&[u8], usize),
        size: Size,
        out: &mut [u32],
    ) {
        let (width, height) = (size.width as usize, size.height as usize);
        assert!(bytes.as_ptr().cast::<u32>().is_aligned() && stride.is_multiple_of(4));
        assert!(width * format.bytes_per_pixel() as usize <= stride);
        assert!(stride * height <= bytes.len() && width * height <= out.len());
        let [width, height, from, to] = [width, height, stride, width * 4].map(|n| n as c_int);
        let code_of = pixman_format(format, alpha);
        let argb = code(32, ARGB, 8, 8, 8, 8);
        // SAFETY: the signatures are those of <pixman.h>; as just checked both images lie in the
        // slices, of which the source is only read, and they are let go of before the slices are.
        unsafe {
            let create = self.0.get::<Create>("pixman_image_create_bits").expect("pixman has it");
            let composite = self.0.get::<Composite>("pixman_image_composite32").expect("it has");
            let unref = self.0.get::<Unref>("pixman_image_unref").expect("it has");
            let src = create(code_of, width, height, bytes.as_ptr().cast_mut().cast(), from);
            let dst = create(argb, width, height, out.as_mut_ptr(), to);
            assert!(!src.is_null() && !dst.is_null(), "pixman knows format {format}");
            composite(SRC, src, ptr::null_mut(), dst, 0, 0, 0, 0, 0, 0, width, height);
            unref(src);
            unref(dst);
        }
    }
}
