//! Text as string views: up to 12 bytes are in the view, longer text stays in its buffer.

use arrow::array::StringViewArray;
use arrow::buffer::{Buffer, NullBuffer, ScalarBuffer};

/// Which buffer a text lies in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TextBuffer {
    /// The batch's values.
    Values = 0,
    /// Text that was unescaped while decoding.
    Unescaped = 1,
}

/// The longest text that lies in the view itself.
const INLINE: usize = 12;

/// Arrow's string view: length, then up to 12 bytes of text, or a 4-byte prefix, buffer number and offset.
///
/// Source: <https://arrow.apache.org/docs/format/Columnar.html#variable-size-binary-view-layout>
#[inline]
pub(crate) fn view(buffer: &[u8], start: usize, len: usize, home: TextBuffer) -> u128 {
    if len <= INLINE {
        // One 16-byte load and a mask beat a copy of a length that is not known when compiling.
        let bits = match buffer.get(start..start + 16) {
            Some(bytes) => u128::from_le_bytes(bytes.try_into().expect("16 bytes")),
            None => {
                let mut bytes = [0; 16];
                bytes[..len].copy_from_slice(&buffer[start..start + len]);
                u128::from_le_bytes(bytes)
            }
        };
        let text = bits & ((1u128 << (8 * len)) - 1);
        return (text << 32) | len as u128;
    }
    let prefix = u32::from_le_bytes(buffer[start..start + 4].try_into().expect("4 bytes"));
    len as u128 | u128::from(prefix) << 32 | (home as u128) << 64 | (start as u128) << 96
}

#[allow(unsafe_code)]
pub(crate) fn text_array(views: Vec<u128>, buffers: &[Buffer], nulls: Option<NullBuffer>) -> StringViewArray {
    let views = ScalarBuffer::from(views);
    if cfg!(debug_assertions) {
        return StringViewArray::new(views, buffers.to_vec(), nulls);
    }
    // SAFETY: every view was made by `view`, which indexes `start..start + len` of the slice of buffer
    // `home` (a panic, not an overrun, when it lies outside); `finish` gets the same buffers, which only
    // grew since. The bytes are UTF-8: the decoder validates each message as a whole before it cuts it at
    // ASCII separators, or, of an Avro record, each text by itself; unescaped text comes from a `str`. A
    // null's view is 0, the empty text.
    // Measured: the checks of `new` cost 9 ns a view, a third of decoding (docs/decisions/0003-decode.md).
    unsafe { StringViewArray::new_unchecked(views, buffers.to_vec(), nulls) }
}
