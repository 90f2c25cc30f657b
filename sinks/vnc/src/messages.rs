// SPDX-License-Identifier: Apache-2.0 OR BSD-3-Clause
//! What a viewer says after the handshake (RFC 6143, section 7.5, and rfbproto).

use vfio_display::geometry::{Rect, Size};

use crate::error::Error;
use crate::limits::Limits;
use crate::pixel_format::PixelFormat;
use crate::wire::{encoding, u16_at, u32_at};

const SET_PIXEL_FORMAT: u8 = 0;
const SET_ENCODINGS: u8 = 2;
const FRAMEBUFFER_UPDATE_REQUEST: u8 = 3;
const KEY_EVENT: u8 = 4;
const POINTER_EVENT: u8 = 5;
const CLIENT_CUT_TEXT: u8 = 6;
const ENABLE_CONTINUOUS_UPDATES: u8 = 150;
const FENCE: u8 = 248;
const SET_DESKTOP_SIZE: u8 = 251;
const QEMU: u8 = 255;

/// Bytes of a fence's payload (rfbproto, ClientFence).
pub(crate) const MAX_FENCE: usize = 64;

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Message {
    SetPixelFormat(PixelFormat),
    SetEncodings(Encodings),
    UpdateRequest {
        incremental: bool,
        area: Rect,
    },
    Key {
        down: bool,
        keysym: u32,
    },
    ExtendedKey {
        down: bool,
        keysym: u32,
        scancode: u32,
    },
    Pointer {
        mask: u8,
        x: u16,
        y: u16,
    },
    /// So many bytes of text follow, to be dropped.
    CutText(u32),
    Continuous {
        enable: bool,
        area: Rect,
    },
    Fence {
        flags: u32,
        payload: Vec<u8>,
    },
    SetDesktopSize(Size),
}

/// How pixels are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As they are (RFC 6143, section 7.7.1). Every viewer can read it.
    #[default]
    Raw,
    /// Tiles, run lengths and zlib (section 7.7.6).
    Zrle,
    /// Rectangles by their number of colours, and zlib (rfbproto, Tight Encoding), without JPEG.
    Tight,
}

/// What a viewer says that it understands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Encodings {
    /// The first it names of those that we have.
    pub pixels: Encoding,
    /// 0 to 9, where it has a wish.
    pub compress_level: Option<u8>,
    /// DesktopSize.
    pub desktop_size: bool,
    /// ExtendedDesktopSize.
    pub extended_desktop_size: bool,
    /// LastRect.
    pub last_rect: bool,
    /// Cursor.
    pub cursor: bool,
    /// Cursor With Alpha.
    pub cursor_with_alpha: bool,
    /// QEMU Extended Key Event.
    pub extended_key: bool,
    /// Fence.
    pub fence: bool,
    /// ContinuousUpdates.
    pub continuous_updates: bool,
}

impl Encodings {
    fn parse(list: &[u8]) -> Self {
        let mut known = Self::default();
        let mut pixels = None;
        for entry in list.chunks_exact(4) {
            match u32_at(entry, 0) as i32 {
                encoding::RAW => _ = pixels.get_or_insert(Encoding::Raw),
                encoding::ZRLE => _ = pixels.get_or_insert(Encoding::Zrle),
                encoding::TIGHT => _ = pixels.get_or_insert(Encoding::Tight),
                encoding::DESKTOP_SIZE => known.desktop_size = true,
                encoding::EXTENDED_DESKTOP_SIZE => known.extended_desktop_size = true,
                encoding::LAST_RECT => known.last_rect = true,
                encoding::CURSOR => known.cursor = true,
                encoding::CURSOR_WITH_ALPHA => known.cursor_with_alpha = true,
                encoding::QEMU_EXTENDED_KEY => known.extended_key = true,
                encoding::FENCE => known.fence = true,
                encoding::CONTINUOUS_UPDATES => known.continuous_updates = true,
                level @ encoding::COMPRESS_LEVEL_0..=encoding::COMPRESS_LEVEL_9 => {
                    known.compress_level = Some((level - encoding::COMPRESS_LEVEL_0) as u8);
                }
                _ => {}
            }
        }
        known.pixels = pixels.unwrap_or_default();
        known
    }
}

/// Bytes that the message at the front of `bytes` has, as far as they tell: never more than the
/// message is long, so it is asked again when that many are there.
///
/// # Errors
///
/// [`Error::UnknownMessage`], after which nothing can be understood; [`Error::TooLong`].
pub(crate) fn length(bytes: &[u8], limits: &Limits) -> Result<usize, Error> {
    let Some(kind) = bytes.first() else { return Ok(1) };
    let counted = |head: usize, count: &dyn Fn() -> Result<usize, Error>| {
        if bytes.len() < head { Ok(head) } else { Ok(head + count()?) }
    };
    match *kind {
        SET_PIXEL_FORMAT => Ok(20),
        SET_ENCODINGS => counted(4, &|| {
            let entries = u16_at(bytes, 2);
            check("SetEncodings", entries.into(), limits.encodings.into())?;
            Ok(4 * usize::from(entries))
        }),
        FRAMEBUFFER_UPDATE_REQUEST | ENABLE_CONTINUOUS_UPDATES => Ok(10),
        KEY_EVENT => Ok(8),
        POINTER_EVENT => Ok(6),
        CLIENT_CUT_TEXT => Ok(8),
        FENCE => counted(9, &|| {
            check("ClientFence", bytes[8].into(), MAX_FENCE as u64)?;
            Ok(bytes[8].into())
        }),
        SET_DESKTOP_SIZE => counted(8, &|| Ok(16 * usize::from(bytes[6]))),
        // The other submessages were never offered.
        QEMU => counted(2, &|| if bytes[1] == 0 { Ok(10) } else { Err(unknown(QEMU)) }),
        kind => Err(unknown(kind)),
    }
}

/// The message that `bytes` are, which have the [`length`] that it should have.
///
/// # Errors
///
/// [`Error::PixelFormat`], [`Error::TooLong`].
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Message, Error> {
    let area = || Rect {
        x: u16_at(bytes, 2).into(),
        y: u16_at(bytes, 4).into(),
        width: u16_at(bytes, 6).into(),
        height: u16_at(bytes, 8).into(),
    };
    Ok(match bytes[0] {
        SET_PIXEL_FORMAT => {
            let mut format = [0; 16];
            format.copy_from_slice(&bytes[4..20]);
            Message::SetPixelFormat(PixelFormat::parse(&format)?)
        }
        SET_ENCODINGS => Message::SetEncodings(Encodings::parse(&bytes[4..])),
        FRAMEBUFFER_UPDATE_REQUEST => {
            Message::UpdateRequest { incremental: bytes[1] != 0, area: area() }
        }
        KEY_EVENT => Message::Key { down: bytes[1] != 0, keysym: u32_at(bytes, 4) },
        POINTER_EVENT => {
            Message::Pointer { mask: bytes[1], x: u16_at(bytes, 2), y: u16_at(bytes, 4) }
        }
        CLIENT_CUT_TEXT => {
            // A negative length announces the extended clipboard, which we never offered; as a
            // number without sign it is beyond every limit.
            let length = u32_at(bytes, 4);
            check("ClientCutText", length.into(), limits.cut_text.into())?;
            Message::CutText(length)
        }
        ENABLE_CONTINUOUS_UPDATES => Message::Continuous { enable: bytes[1] != 0, area: area() },
        FENCE => Message::Fence { flags: u32_at(bytes, 4), payload: bytes[9..].to_vec() },
        SET_DESKTOP_SIZE => {
            Message::SetDesktopSize(Size::new(u16_at(bytes, 2).into(), u16_at(bytes, 4).into()))
        }
        QEMU => Message::ExtendedKey {
            down: u16_at(bytes, 2) != 0,
            keysym: u32_at(bytes, 4),
            scancode: u32_at(bytes, 8),
        },
        kind => return Err(unknown(kind)),
    })
}

/// Whether `bytes` are a FramebufferUpdateRequest.
pub(crate) fn is_request(bytes: &[u8]) -> bool {
    bytes.first() == Some(&FRAMEBUFFER_UPDATE_REQUEST)
}

const fn unknown(kind: u8) -> Error {
    Error::UnknownMessage(kind)
}

fn check(what: &'static str, length: u64, limit: u64) -> Result<(), Error> {
    if length > limit { Err(Error::TooLong { what, length, limit }) } else { Ok(()) }
}
