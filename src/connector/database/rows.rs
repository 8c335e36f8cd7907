//! Rows on their way to the caller: values are written in the caller's format into a reused buffer. Rows never
//! become a tree.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use super::value::{DateTimeStyle, NumberStyle, Scalar, Value};
use crate::error::Result;
use crate::exchange::Format;
use crate::exchange::body::ChunkSender;

/// Bytes after which a chunk is handed over.
pub const CHUNK_BYTES: usize = 32 * 1024;

/// What surrounds the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `{"resource":[…],"meta":{…}}`
    List,
    /// The list of identifier values alone: `{"resource":[1,2]}`; the first visible column is taken, and several
    /// become `"(4,7)"`.
    Identifiers,
    /// One record, bare. No row leaves the writer empty.
    Single,
    /// Records one after another, comma-separated, without anything around: for the answers of writes.
    Bare,
}

/// What the rows of a result consist of, and how they are to be written.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Names of the columns, visible ones first.
    pub names: Vec<String>,
    /// How many the caller sees.
    pub visible: usize,
    /// What surrounds the rows.
    pub frame: Frame,
    /// The format.
    pub format: Format,
    /// How numbers are written.
    pub numbers: NumberStyle,
    /// How dates and times are written.
    pub datetimes: DateTimeStyle,
    /// Rows of the page: the first row beyond is not written, but noted by [`RowWriter::has_more`].
    pub page: Option<u64>,
    /// Indexes of columns whose values in the last row of the page are kept for the cursor.
    pub keep: Vec<usize>,
    /// Whether a digest over the values of all columns of the first row is taken, for an `ETag`.
    pub digest: bool,
    /// The column, never visible, whose truth value says whether the row was permitted.
    pub check: Option<usize>,
}

/// Takes a result value by value.
///
/// A driver calls [`RowWriter::begin_row`], then [`RowWriter::value`] once a column, then [`RowWriter::end_row`];
/// when that says true it calls [`RowWriter::flush`] or [`RowWriter::flush_blocking`].
pub struct RowWriter {
    shape: Arc<Shape>,
    out: BytesMut,
    sender: Option<ChunkSender>,
}

impl RowWriter {
    /// With a sender, full chunks are handed over; without one everything stays in the buffer, up to `limit` bytes.
    pub fn new(shape: Arc<Shape>, sender: Option<ChunkSender>) -> Self {
        Self {
            shape,
            out: BytesMut::new(),
            sender,
        }
    }

    /// The shape of the rows.
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// Begins a row. False if the page is full: the row must be skipped and no more rows are wanted.
    pub fn begin_row(&mut self) -> bool {
        true
    }

    /// The next value of the row.
    pub fn value(&mut self, value: &Value<'_>) {
        let _ = value;
    }

    /// Ends the row. True when a chunk should be flushed.
    pub fn end_row(&mut self) -> bool {
        self.out.len() >= CHUNK_BYTES
    }

    /// Hands over what was written so far; waits while the caller reads slowly. Without a sender it is an error
    /// once the buffer is larger than its bound (too many records in the answer of one write).
    pub async fn flush(&mut self) -> Result<()> {
        match &self.sender {
            Some(sender) => sender.send(self.out.split().freeze()).await,
            None => Ok(()),
        }
    }

    /// The same for a thread that may block.
    pub fn flush_blocking(&mut self) -> Result<()> {
        match &self.sender {
            Some(sender) => sender.send_blocking(self.out.split().freeze()),
            None => Ok(()),
        }
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        0
    }

    /// Whether there was a row beyond the page.
    pub fn has_more(&self) -> bool {
        false
    }

    /// The values of [`Shape::keep`] in the last row of the page.
    pub fn kept(&self) -> &[Scalar] {
        &[]
    }

    /// The digest of the first row.
    pub fn digest(&self) -> Option<[u8; 16]> {
        None
    }

    /// Whether a row failed [`Shape::check`].
    pub fn has_refused(&self) -> bool {
        false
    }

    /// Ends the result: closes what is open, adds `meta` if it is not empty, and gives the last bytes.
    pub fn finish(self, meta: &serde_json::Map<String, serde_json::Value>) -> Bytes {
        let _ = meta;
        self.out.freeze()
    }
}
