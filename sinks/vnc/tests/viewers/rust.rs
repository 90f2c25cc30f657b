// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! vnc-rs, and the picture that its rectangles make.

use std::time::{Duration, Instant};

use vnc::{PixelFormat, VncClient, VncConnector, VncEncoding, VncEvent};

use crate::common::Format;
use crate::show::{PATIENCE, Show};

/// vnc-rs, which hands out rectangles.
pub(crate) struct Rust {
    pub(crate) client: VncClient,
    format: Format,
    size: (usize, usize),
    pixels: Vec<u32>,
}

impl Rust {
    pub(crate) async fn new(show: &Show, format: Format, encoding: VncEncoding) -> Self {
        let stream = tokio::net::TcpStream::connect(show.at).await.unwrap();
        let mut pixels = PixelFormat::bgra();
        (pixels.bits_per_pixel, pixels.depth) = (format.bits, format.depth);
        pixels.big_endian_flag = format.big.into();
        [pixels.red_max, pixels.green_max, pixels.blue_max] = format.rgb.map(|(max, _)| max);
        [pixels.red_shift, pixels.green_shift, pixels.blue_shift] =
            format.rgb.map(|(_, shift)| shift);
        let client = VncConnector::new(stream)
            .set_auth_method(async { Ok(String::new()) })
            .add_encoding(encoding)
            .add_encoding(VncEncoding::DesktopSizePseudo)
            .add_encoding(VncEncoding::ExtendedDesktopSizePseudo)
            .add_encoding(VncEncoding::LastRectPseudo)
            .set_pixel_format(pixels)
            .build()
            .unwrap()
            .try_start()
            .await
            .unwrap()
            .finish()
            .unwrap();
        Self { client, format, size: (0, 0), pixels: Vec::new() }
    }

    pub(crate) fn resize(&mut self, width: u16, height: u16) {
        self.size = (width.into(), height.into());
        self.pixels = vec![u32::MAX; self.size.0 * self.size.1];
    }

    /// Takes what comes, until that is what is shown.
    pub(crate) async fn settles(&mut self, show: &mut Show, what: &str) {
        let end = Instant::now() + PATIENCE;
        let mask = (1u64 << self.format.depth) - 1;
        let mut seen = usize::MAX;
        loop {
            show.obey();
            let _ = self.client.input(vnc::X11Event::Refresh).await;
            let wait = Duration::from_millis(20);
            while let Ok(event) = tokio::time::timeout(wait, self.client.recv_event()).await {
                self.take(event.unwrap_or_else(|error| panic!("{what}: {error}")));
            }
            let want = show.picture();
            let size = (want.size().width as usize, want.size().height as usize);
            if self.size == size {
                let pairs = self.pixels.iter().zip(want.pixels());
                let differs = |a: u32, b: u32| u64::from(a ^ self.format.pack(b)) & mask != 0;
                seen = pairs.filter(|(a, b)| differs(**a, **b)).count();
            }
            if seen == 0 {
                return println!("{what}: exact, {}", want.size());
            }
            assert!(Instant::now() < end, "{what}: {seen} pixels of {:?}", self.size);
        }
    }

    pub(crate) fn take(&mut self, event: VncEvent) {
        match event {
            VncEvent::SetResolution(screen) => self.resize(screen.width, screen.height),
            VncEvent::DesktopUpdate(update) => {
                if let Some(layout) = update.layout
                    && (usize::from(layout.width), usize::from(layout.height)) != self.size
                {
                    self.resize(layout.width, layout.height);
                }
            }
            VncEvent::RawImage(rect, data) => {
                let bytes = self.format.bytes();
                let (width, height) = (usize::from(rect.width), usize::from(rect.height));
                assert_eq!(data.len(), width * height * bytes);
                for (i, pixel) in data.chunks_exact(bytes).enumerate() {
                    let (x, y) = (usize::from(rect.x) + i % width, usize::from(rect.y) + i / width);
                    self.pixels[y * self.size.0 + x] = self.format.read(pixel);
                }
            }
            VncEvent::Error(error) => panic!("{error}"),
            _ => {}
        }
    }
}
