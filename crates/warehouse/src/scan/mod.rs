//! Reading files: bytes into rows, and plans that read many of them.
//!
//! In: names, sizes and row counts from a ledger; never a listing of the store. Out: rows.
//! Refuses to know which files are current: that is the callers'. Start at [`parquet`] and [`decode`].

mod decode;
mod parquet;
mod stream;

pub(crate) use decode::decode;
pub(crate) use parquet::{DATA, ScanFile, parquet};
pub(crate) use stream::{FileSlice, FileSliceStream, slice_rows};
