// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! libyuv's conversions, from Debian's libyuv0.

use std::ffi::c_int;

use libloading::Library;
use vfio_display::format::PixelFormat;
use vfio_display::geometry::Size;

type Convert = unsafe extern "C" fn(*const u8, c_int, *mut u8, c_int, c_int, c_int) -> c_int;

pub(crate) struct Yuv(Library);

impl Yuv {
    pub(crate) fn load() -> Result<Self, libloading::Error> {
        // SAFETY: libyuv's initialisers do nothing that is seen from outside.
        unsafe { Library::new("libyuv.so.0") }.map(Self)
    }

    /// Converts rows without padding into `0xAARRGGBB`. Answers whether it knows the format.
    pub(crate) fn decode(
        &self,
        format: PixelFormat,
        bytes: &[u8],
        size: Size,
        out: &mut [u32],
    ) -> bool {
        let name = match format {
            PixelFormat::Xbgr8888 => "ABGRToARGB",
            PixelFormat::Xrgb2101010 => "AR30ToARGB",
            PixelFormat::Rgb565 => "RGB565ToARGB",
            PixelFormat::Rgb888 => "RGB24ToARGB",
            _ => return false,
        };
        let (width, height) = (size.width as usize, size.height as usize);
        let stride = width * format.bytes_per_pixel() as usize;
        assert!(stride * height <= bytes.len() && width * height <= out.len());
        let [width, height, from, to] = [width, height, stride, width * 4].map(|n| n as c_int);
        // SAFETY: the signature is that of <libyuv/convert_argb.h>; as just checked both pictures
        // lie in the slices.
        let status = unsafe {
            let convert = self.0.get::<Convert>(name).expect("libyuv has it");
            convert(bytes.as_ptr(), from, out.as_mut_ptr().cast(), to, width, height)
        };
        assert_eq!(status, 0, "{name}");
        true
    }
}
