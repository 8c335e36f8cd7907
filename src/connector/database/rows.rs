//! Rows on their way to the caller: values are written in the caller's format into a reused buffer. Rows never
//! become a tree.

use std::ops::Range;
use std::sync::{Arc, OnceLock};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::{Bytes, BytesMut};
use serde_json::{Map, Value as Json};
use sha2::{Digest as _, Sha256};

use super::catalog::Type;
use super::recorded::Recorded;
use super::shown::ShownAs;
use super::value::{DateTimeStyle, NumberStyle, Scalar, Value, infinite_word, write_temporal};
use crate::error::{Error, ErrorKind, Result};
use crate::exchange::Format;
use crate::exchange::body::ChunkSender;
use crate::exchange::format::{XML_END, XML_START, write_csv_json, write_xml_element};
use crate::exchange::write::{
    csv_field, json_on_one_line, json_string, xml_indent, xml_name, xml_text,
};

/// Bytes after which a chunk is handed over.
pub const CHUNK_BYTES: usize = 32 * 1024;

/// Most bytes a result may have that is kept whole, for want of a sender: the answer of a write.
pub const MAX_WHOLE_BYTES: usize = 64 * 1024 * 1024;

/// Room beyond [`CHUNK_BYTES`], so that the row that fills a chunk seldom makes the buffer grow.
const CHUNK_SLACK_BYTES: usize = 8 * 1024;

/// What surrounds the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame {
    /// `{"resource":[…],"meta":{…}}`
    List,
    /// The same without a wrapper, as far as the format has one: `[…]`.
    Array,
    /// The list of identifier values alone: `{"resource":[1,2]}`; with several visible columns each is a text such
    /// as `"(4,7)"`. As CSV it has one column, named alike.
    Identifiers,
    /// One record, bare. No row leaves the writer empty; a second row is not written.
    Single,
    /// Records one after another, comma-separated, without anything around: for the answers of writes. Always JSON;
    /// [`join_bare`] puts several together and [`Format::write_json`] brings the whole into the caller's format.
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
    /// Indexes of integer columns that hold at most 32 bits: they stay numbers with [`NumberStyle::String`].
    pub narrow: Vec<usize>,
    /// Indexes of columns of which the manifest says that they hold something else: JSON in texts, truth values in
    /// numbers. What is kept and noted of them stays what the database holds.
    pub held: Vec<(usize, Type)>,
    /// How dates and times are written.
    pub datetimes: DateTimeStyle,
    /// Columns whose values are shown as another type.
    pub shown_as: Vec<(usize, ShownAs)>,
    /// Rows of the page: the first row beyond is not written, but noted by [`RowWriter::has_more`].
    pub page: Option<u64>,
    /// Indexes of columns whose values in the last row of the page are kept for the cursor.
    pub keep: Vec<usize>,
    /// Whether a digest over the values of all columns of the first row is taken, for an `ETag`.
    pub digest: bool,
    /// The column, never visible, whose truth value says whether the row was permitted.
    pub check: Option<usize>,
    /// Whether the values of every row are kept, for [`RowWriter::take_collected`]. Whoever asks bounds the rows.
    pub collect: bool,
    /// What is derived from the names, once, when the shape is first used. Begins as its default.
    pub prefixes: Prefixes,
}

impl Shape {
    /// All columns visible, numbers and dates as by default, no page, and nothing kept.
    pub fn new(names: Vec<String>, frame: Frame, format: Format) -> Self {
        Self {
            visible: names.len(),
            names,
            frame,
            format,
            numbers: NumberStyle::default(),
            narrow: Vec::new(),
            held: Vec::new(),
            shown_as: Vec::new(),
            datetimes: DateTimeStyle::default(),
            page: None,
            keep: Vec::new(),
            digest: false,
            check: None,
            collect: false,
            prefixes: Prefixes::default(),
        }
    }

    fn visible_names(&self) -> &[String] {
        self.names.get(..self.visible).unwrap_or(&self.names)
    }

    /// The header of [`Frame::Identifiers`]: as its values are written.
    fn identifier_name(&self) -> String {
        match self.visible_names() {
            [name] => name.clone(),
            names => format!("({})", names.join(",")),
        }
    }

    fn is_list(&self) -> bool {
        matches!(self.frame, Frame::List | Frame::Array | Frame::Identifiers)
    }
}

/// A value as callers see it. One that is not what it should be stays what it is.
fn as_held<'v>(value: &Value<'v>, kind: &Type) -> Value<'v> {
    match (kind, value) {
        (Type::Json, Value::Text(text)) if is_json(text) => Value::Json(text),
        (Type::Boolean, Value::Int(0) | Value::UInt(0) | Value::Decimal("0")) => Value::Bool(false),
        (Type::Boolean, Value::Int(1) | Value::UInt(1) | Value::Decimal("1")) => Value::Bool(true),
        (_, value) => *value,
    }
}

fn is_json(text: &str) -> bool {
    serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()
}

/// What stands before and after the values of a row, in the bytes of the format.
#[derive(Debug, Default)]
pub struct Prefixes(OnceLock<Encoded>);

impl Clone for Prefixes {
    /// Empty, because the names may be about to change.
    fn clone(&self) -> Self {
        Self::default()
    }
}

/// All the pieces one after another, and where each begins.
#[derive(Debug, Default)]
struct Encoded {
    bytes: Vec<u8>,
    /// Before the value of each visible column.
    before: Vec<Range<usize>>,
    /// After the value of each visible column; XML only.
    after: Vec<Range<usize>>,
    /// What takes the place of the element of a null; XML only.
    null: Vec<Range<usize>>,
    /// Order of the columns by name, each name once, for digests that do not depend on the order of the columns.
    digest_order: Vec<usize>,
}

impl Encoded {
    fn of(shape: &Shape) -> Self {
        let mut encoded = Self::default();
        let mut out = BytesMut::new();
        for (index, name) in shape.visible_names().iter().enumerate() {
            let start = out.len();
            match effective_format(shape) {
                Format::Json | Format::NdJson => {
                    out.extend_from_slice(if index == 0 { b"{" } else { b"," });
                    json_string(&mut out, name);
                    out.extend_from_slice(b":");
                    encoded.before.push(start..out.len());
                }
                Format::Csv => {
                    if index > 0 {
                        out.extend_from_slice(b",");
                    }
                    encoded.before.push(start..out.len());
                }
                Format::Xml => {
                    let indent: &[u8] = if shape.frame == Frame::Single {
                        b"\t"
                    } else {
                        b"\t\t"
                    };
                    out.extend_from_slice(indent);
                    out.extend_from_slice(b"<");
                    xml_name(&mut out, name);
                    out.extend_from_slice(b">");
                    encoded.before.push(start..out.len());
                    let start = out.len();
                    out.extend_from_slice(b"</");
                    xml_name(&mut out, name);
                    out.extend_from_slice(b">\n");
                    encoded.after.push(start..out.len());
                    let start = out.len();
                    out.extend_from_slice(indent);
                    out.extend_from_slice(b"<");
                    xml_name(&mut out, name);
                    out.extend_from_slice(b"/>\n");
                    encoded.null.push(start..out.len());
                }
            }
        }
        encoded.bytes = out.to_vec();
        if shape.digest {
            let mut order: Vec<(&String, usize)> = shape
                .names
                .iter()
                .enumerate()
                .filter(|(index, _)| Some(*index) != shape.check)
                .map(|(index, name)| (name, index))
                .collect();
            order.sort_unstable();
            order.dedup_by(|left, right| left.0 == right.0);
            encoded.digest_order = order.into_iter().map(|(_, index)| index).collect();
        }
        encoded
    }

    fn piece(&self, ranges: &[Range<usize>], column: usize) -> &[u8] {
        ranges
            .get(column)
            .and_then(|range| self.bytes.get(range.clone()))
            .unwrap_or_default()
    }
}

/// The format in which the rows themselves are written.
fn effective_format(shape: &Shape) -> Format {
    match shape.frame {
        Frame::Bare => Format::Json,
        Frame::List | Frame::Array | Frame::Identifiers | Frame::Single => shape.format,
    }
}

/// Takes a result value by value.
///
/// A driver calls [`RowWriter::begin_row`], then [`RowWriter::value`] once a column, then [`RowWriter::end_row`];
/// when that says true it calls [`RowWriter::flush`] or [`RowWriter::flush_blocking`].
///
/// With [`NumberStyle::String`] every exact number and every integer is a string in JSON, but for the columns of
/// [`Shape::narrow`]: the type of a member depends on its column alone, never on the value. Floating-point numbers
/// stay numbers; those that are not finite are the texts `Infinity`, `-Infinity` and `NaN` in every format.
pub struct RowWriter {
    shape: Arc<Shape>,
    out: BytesMut,
    sender: Option<ChunkSender>,
    /// The format of the rows.
    format: Format,
    /// The column whose value comes next.
    column: usize,
    rows: u64,
    has_more: bool,
    has_refused: bool,
    /// Whether something of the current row is noted besides being written.
    notes_row: bool,
    /// Where the current row begins; for CSV lines.
    row_start: usize,
    kept: Vec<Scalar>,
    collected: Vec<Vec<Scalar>>,
    digest: Option<[u8; 16]>,
    /// The canonical values of the first row and where they lie, by column.
    canonical: Vec<u8>,
    canonical_ranges: Vec<Range<usize>>,
    /// An identifier of several columns, in the making.
    composed: BytesMut,
    /// Dates and times on their way into the buffer.
    scratch: String,
    /// With it, rows are kept as they are and not written.
    recorded: Option<Recorded>,
}

impl RowWriter {
    /// With a sender, full chunks are handed over; without one everything stays in the buffer, up to
    /// [`MAX_WHOLE_BYTES`].
    pub fn new(shape: Arc<Shape>, sender: Option<ChunkSender>) -> Self {
        let format = effective_format(&shape);
        let room = match shape.frame {
            Frame::Single | Frame::Bare => 1024,
            Frame::List | Frame::Array | Frame::Identifiers => 4 * 1024,
        };
        let mut writer = Self {
            out: BytesMut::with_capacity(room),
            sender,
            format,
            column: 0,
            rows: 0,
            has_more: false,
            has_refused: false,
            notes_row: false,
            row_start: 0,
            kept: Vec::new(),
            collected: Vec::new(),
            digest: None,
            canonical: Vec::new(),
            canonical_ranges: Vec::new(),
            composed: BytesMut::new(),
            scratch: String::new(),
            recorded: None,
            shape,
        };
        if writer.shape.is_list() {
            writer.open();
        }
        writer
    }

    /// Keeps rows as they are, about `most` bytes of them, instead of writing them. Of the shape only the styles
    /// count. Rows have as many values as the driver gives.
    pub(super) fn recording(shape: &Shape, most: usize) -> Self {
        let bare = Shape {
            numbers: shape.numbers,
            datetimes: shape.datetimes,
            ..Shape::new(Vec::new(), Frame::Bare, Format::Json)
        };
        Self {
            recorded: Some(Recorded::new(most)),
            ..Self::new(Arc::new(bare), None)
        }
    }

    /// The rows that were kept.
    pub(super) fn into_recorded(self) -> Recorded {
        self.recorded.unwrap_or_default()
    }

    /// How many more rows the page has room for; `None` if nothing bounds it.
    pub(super) fn left(&self) -> Option<usize> {
        let page = if self.shape.frame == Frame::Single {
            Some(1)
        } else {
            self.shape.page
        };
        page.map(|page| usize::try_from(page.saturating_sub(self.rows)).unwrap_or(usize::MAX))
    }

    /// Bytes in the buffer.
    pub(super) fn written(&self) -> usize {
        self.out.len()
    }

    /// Writes what stands before the first row.
    fn open(&mut self) {
        match (self.shape.frame, self.format) {
            (Frame::List | Frame::Identifiers, Format::Json) => {
                self.out.extend_from_slice(b"{\"resource\":[");
            }
            (Frame::Array, Format::Json) => self.out.extend_from_slice(b"["),
            (Frame::Bare | Frame::Single, Format::Json) | (_, Format::NdJson) => {}
            (Frame::Identifiers, Format::Csv) => {
                csv_field(&mut self.out, &self.shape.identifier_name());
                self.out.extend_from_slice(b"\r\n");
            }
            (_, Format::Csv) => {
                for (index, name) in self.shape.visible_names().iter().enumerate() {
                    if index > 0 {
                        self.out.extend_from_slice(b",");
                    }
                    csv_field(&mut self.out, name);
                }
                self.out.extend_from_slice(b"\r\n");
            }
            (_, Format::Xml) => self.out.extend_from_slice(XML_START),
        }
    }

    /// The shape of the rows.
    pub fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// Begins a row. False if the page is full: the row must be skipped and no more rows are wanted.
    pub fn begin_row(&mut self) -> bool {
        if let Some(recorded) = &mut self.recorded {
            return recorded.begin_row();
        }
        let page = if self.shape.frame == Frame::Single {
            Some(1)
        } else {
            self.shape.page
        };
        if page.is_some_and(|page| self.rows >= page) {
            self.has_more = true;
            return false;
        }
        if self.rows == 0 && self.shape.frame == Frame::Single {
            self.open();
        }
        let is_last = page.is_some_and(|page| self.rows + 1 == page);
        if self.shape.collect {
            self.collected
                .push(Vec::with_capacity(self.shape.names.len()));
        }
        self.notes_row = self.shape.check.is_some()
            || self.shape.collect
            || (self.shape.digest && self.rows == 0)
            || (is_last && !self.shape.keep.is_empty());
        if is_last {
            self.kept.clear();
            self.kept.resize(self.shape.keep.len(), Scalar::Null);
        }
        self.column = 0;
        self.row_start = self.out.len();
        match (self.format, self.shape.frame) {
            (Format::Json, Frame::List | Frame::Array | Frame::Identifiers | Frame::Bare)
                if self.rows > 0 =>
            {
                self.out.extend_from_slice(b",");
            }
            (Format::Xml, Frame::List | Frame::Array) => {
                self.out.extend_from_slice(b"\t<resource>\n")
            }
            _ => {}
        }
        true
    }

    /// The next value of the row.
    pub fn value(&mut self, value: &Value<'_>) {
        if let Some(recorded) = &mut self.recorded {
            return recorded.push(value);
        }
        if !self.shape.shown_as.is_empty() {
            let column = self.column;
            let mut wanted = self.shape.shown_as.iter();
            let wanted = wanted.find(|(index, _)| *index == column);
            let shown = wanted.and_then(|(_, shown)| shown.convert(value, self.shape.datetimes));
            if let Some(shown) = shown {
                self.write_value(&borrowed(&shown).unwrap_or(*value));
                return;
            }
        }
        self.write_value(value);
    }

    fn write_value(&mut self, value: &Value<'_>) {
        let column = self.column;
        self.column += 1;
        if self.notes_row {
            self.note(column, value);
        }
        if column >= self.shape.visible {
            return;
        }
        let mut held = self.shape.held.iter();
        let other;
        let value = match held.find(|(index, _)| *index == column) {
            None => value,
            Some((_, kind)) => {
                other = as_held(value, kind);
                &other
            }
        };
        if self.shape.frame == Frame::Identifiers {
            self.identifier(column, value);
            return;
        }
        // A field of its own, so that the buffer can be borrowed beside it.
        let shape = &*self.shape;
        let encoded = shape.prefixes.0.get_or_init(|| Encoded::of(shape));
        match self.format {
            Format::Json | Format::NdJson => {
                self.out
                    .extend_from_slice(encoded.piece(&encoded.before, column));
                write_json(
                    &mut self.out,
                    &mut self.scratch,
                    shape,
                    self.format,
                    column,
                    value,
                );
            }
            Format::Csv => {
                self.out
                    .extend_from_slice(encoded.piece(&encoded.before, column));
                write_csv(&mut self.out, &mut self.scratch, shape.datetimes, value);
            }
            Format::Xml => match value {
                Value::Json(json) => {
                    let depth = if shape.frame == Frame::Single { 1 } else { 2 };
                    let name = shape.names.get(column).map_or("", String::as_str);
                    write_xml_json(&mut self.out, name, json, depth);
                }
                Value::Null => self
                    .out
                    .extend_from_slice(encoded.piece(&encoded.null, column)),
                value => {
                    self.out
                        .extend_from_slice(encoded.piece(&encoded.before, column));
                    write_xml(&mut self.out, &mut self.scratch, shape.datetimes, value);
                    self.out
                        .extend_from_slice(encoded.piece(&encoded.after, column));
                }
            },
        }
    }

    /// A value of [`Frame::Identifiers`].
    fn identifier(&mut self, column: usize, value: &Value<'_>) {
        let shape = &*self.shape;
        let last = shape.visible.saturating_sub(1);
        if last == 0 {
            write_identifier(
                &mut self.out,
                &mut self.scratch,
                shape,
                self.format,
                column,
                value,
            );
            return;
        }
        self.composed
            .extend_from_slice(if column == 0 { b"(" } else { b"," });
        write_plain(
            &mut self.composed,
            &mut self.scratch,
            shape.datetimes,
            value,
        );
        if column == last {
            self.composed.extend_from_slice(b")");
            let text = String::from_utf8_lossy(&self.composed);
            write_identifier(
                &mut self.out,
                &mut self.scratch,
                shape,
                self.format,
                column,
                &Value::Text(&text),
            );
            self.composed.clear();
        }
    }

    /// Keeps what is wanted besides the written row.
    fn note(&mut self, column: usize, value: &Value<'_>) {
        if self.shape.check == Some(column) {
            let holds = match value {
                Value::Bool(holds) => *holds,
                Value::Int(number) => *number != 0,
                Value::UInt(number) => *number != 0,
                _ => false,
            };
            self.has_refused |= !holds;
        }
        if self.shape.collect
            && let Some(row) = self.collected.last_mut()
        {
            row.push(Scalar::from_value(value));
        }
        for (slot, wanted) in self.kept.iter_mut().zip(&self.shape.keep) {
            if *wanted == column {
                *slot = Scalar::from_value(value);
            }
        }
        if self.shape.digest && self.rows == 0 {
            let start = self.canonical.len();
            write_canonical(&mut self.canonical, &mut self.scratch, value);
            self.canonical_ranges.push(start..self.canonical.len());
        }
    }

    /// Ends the row. True when a chunk should be flushed.
    pub fn end_row(&mut self) -> bool {
        if self.recorded.is_some() {
            self.rows += 1;
            return false;
        }
        if self.shape.digest && self.rows == 0 {
            self.digest = Some(self.take_digest());
        }
        self.rows += 1;
        match (self.format, self.shape.frame) {
            (Format::Json, Frame::Identifiers) => {}
            (Format::NdJson, Frame::Identifiers) => self.out.extend_from_slice(b"\n"),
            (Format::Json | Format::NdJson, _) => {
                if self.shape.visible == 0 {
                    self.out.extend_from_slice(b"{");
                }
                self.out.extend_from_slice(if self.format == Format::Json {
                    b"}"
                } else {
                    b"}\n"
                });
            }
            (Format::Csv, _) => {
                if self.out.len() == self.row_start {
                    // A line without any character would be taken for no line at all.
                    self.out.extend_from_slice(b"\"\"");
                }
                self.out.extend_from_slice(b"\r\n");
            }
            (Format::Xml, Frame::List | Frame::Array) => {
                self.out.extend_from_slice(b"\t</resource>\n");
            }
            (Format::Xml, _) => {}
        }
        let full = if self.sender.is_some() {
            CHUNK_BYTES
        } else {
            MAX_WHOLE_BYTES
        };
        self.out.len() >= full
    }

    /// Hands over what was written so far; waits while the caller reads slowly. Without a sender it is an error
    /// once the buffer is larger than [`MAX_WHOLE_BYTES`] (too many records in the answer of one write).
    pub async fn flush(&mut self) -> Result<()> {
        let chunk = self.take_chunk()?;
        match (&self.sender, chunk) {
            (Some(sender), Some(chunk)) => sender.send(chunk).await,
            _ => Ok(()),
        }
    }

    /// The same for a thread that may block.
    pub fn flush_blocking(&mut self) -> Result<()> {
        let chunk = self.take_chunk()?;
        match (&self.sender, chunk) {
            (Some(sender), Some(chunk)) => sender.send_blocking(chunk),
            _ => Ok(()),
        }
    }

    /// The bytes to hand over, or an error if they must be kept and are too many.
    fn take_chunk(&mut self) -> Result<Option<Bytes>> {
        if self.sender.is_none() {
            return if self.out.len() < MAX_WHOLE_BYTES {
                Ok(None)
            } else {
                Err(Error::new(
                    ErrorKind::PayloadTooLarge,
                    format!("the answer would be larger than {MAX_WHOLE_BYTES} bytes"),
                )
                .with_help("send fewer records at a time, or ask for fewer columns with `fields`"))
            };
        }
        if self.out.is_empty() {
            return Ok(None);
        }
        let chunk = self.out.split().freeze();
        self.out.reserve(CHUNK_BYTES + CHUNK_SLACK_BYTES);
        Ok(Some(chunk))
    }

    /// Rows written so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Whether there was a row beyond the page.
    pub fn has_more(&self) -> bool {
        self.has_more
    }

    /// The values of [`Shape::keep`] in the last row of the page; empty when the page was not filled.
    pub fn kept(&self) -> &[Scalar] {
        &self.kept
    }

    /// The values of all rows since the last call, with [`Shape::collect`].
    pub fn take_collected(&mut self) -> Vec<Vec<Scalar>> {
        std::mem::take(&mut self.collected)
    }

    /// The digest of the first row: SHA-256 over the names and values of its columns, hidden ones included, without
    /// regard to their order, cut to 16 bytes. It depends neither on the format nor on which columns are visible, so
    /// long as the hidden ones complete the record under their own names.
    pub fn digest(&self) -> Option<[u8; 16]> {
        self.digest
    }

    fn take_digest(&mut self) -> [u8; 16] {
        let shape = &*self.shape;
        let encoded = shape.prefixes.0.get_or_init(|| Encoded::of(shape));
        let mut hash = Sha256::new();
        for column in &encoded.digest_order {
            if let (Some(name), Some(value)) = (
                shape.names.get(*column),
                self.canonical_ranges
                    .get(*column)
                    .and_then(|range| self.canonical.get(range.clone())),
            ) {
                hash.update((name.len() as u64).to_le_bytes());
                hash.update(name.as_bytes());
                hash.update((value.len() as u64).to_le_bytes());
                hash.update(value);
            }
        }
        let mut digest = [0; 16];
        for (target, source) in digest.iter_mut().zip(hash.finalize()) {
            *target = source;
        }
        digest
    }

    /// Whether a row failed [`Shape::check`]. What is neither true nor a number other than zero fails.
    pub fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// Ends the result: closes what is open, adds `meta` if it is not empty, and gives the last bytes. Only the lists
    /// of JSON and XML have room for `meta`; elsewhere it is lost.
    pub fn finish(mut self, meta: &Map<String, Json>) -> Bytes {
        let is_open = self.shape.is_list() || self.rows > 0;
        match (self.format, self.shape.frame) {
            (Format::Json, Frame::List | Frame::Identifiers) => {
                self.out.extend_from_slice(b"]");
                if !meta.is_empty() {
                    self.out.extend_from_slice(b",\"meta\":");
                    self.out.extend_from_slice(meta_text(meta).as_bytes());
                }
                self.out.extend_from_slice(b"}");
            }
            (Format::Json, Frame::Array) => self.out.extend_from_slice(b"]"),
            (Format::Xml, frame) if is_open => {
                if frame != Frame::Single && !meta.is_empty() {
                    write_xml_json(&mut self.out, "meta", &meta_text(meta), 1);
                }
                self.out.extend_from_slice(XML_END);
            }
            _ => {}
        }
        self.out.freeze()
    }
}

/// A scalar as a driver would give it; none for an array, which no driver gives.
fn borrowed(scalar: &Scalar) -> Option<Value<'_>> {
    Some(match scalar {
        Scalar::Null => Value::Null,
        Scalar::Bool(value) => Value::Bool(*value),
        Scalar::Int(value) => Value::Int(*value),
        Scalar::Decimal(digits) => Value::Decimal(digits),
        Scalar::Float(value) => Value::Float(*value),
        Scalar::Text(text) | Scalar::Temporal(text) => Value::Text(text),
        Scalar::Bytes(bytes) => Value::Bytes(bytes),
        Scalar::Json(text) => Value::Json(text),
        Scalar::Uuid(bytes) => Value::Uuid(*bytes),
        Scalar::Array(_) => return None,
    })
}

fn meta_text(meta: &Map<String, Json>) -> String {
    // Writing a tree of plain JSON values into a string cannot fail.
    serde_json::to_string(meta).unwrap_or_else(|_| "{}".to_owned())
}

/// Puts the results of several [`Frame::Bare`] writers together, as if one had written them all.
pub fn join_bare(parts: impl IntoIterator<Item = Bytes>) -> Bytes {
    let mut parts = parts.into_iter().filter(|part| !part.is_empty());
    let Some(first) = parts.next() else {
        return Bytes::new();
    };
    let mut out = BytesMut::from(first);
    for part in parts {
        out.extend_from_slice(b",");
        out.extend_from_slice(&part);
    }
    out.freeze()
}

/// Wraps what a [`Frame::Bare`] writer or [`join_bare`] gave as the list it belongs to, in the caller's format.
pub fn list_of_bare(records: &[u8], meta: &Map<String, Json>, format: Format) -> Result<Bytes> {
    let mut out = BytesMut::with_capacity(records.len() + 32);
    out.extend_from_slice(b"{\"resource\":[");
    out.extend_from_slice(records);
    out.extend_from_slice(b"]");
    if !meta.is_empty() {
        out.extend_from_slice(b",\"meta\":");
        out.extend_from_slice(meta_text(meta).as_bytes());
    }
    out.extend_from_slice(b"}");
    if format == Format::Json {
        return Ok(out.freeze());
    }
    let text = std::str::from_utf8(&out)
        .map_err(|error| Error::internal("written rows are not UTF-8").with_source(error))?;
    format.write_json(text)
}

fn write_json(
    out: &mut BytesMut,
    scratch: &mut String,
    shape: &Shape,
    format: Format,
    column: usize,
    value: &Value<'_>,
) {
    match value {
        Value::Json(json) if format == Format::NdJson => json_on_one_line(out, json),
        value => {
            let numbers = if shape.narrow.contains(&column) {
                NumberStyle::Number
            } else {
                shape.numbers
            };
            write_json_value(out, scratch, numbers, shape.datetimes, value);
        }
    }
}

/// Appends a value as JSON, as it stands in a row. For drivers that put values into JSON within a statement.
pub fn write_json_value(
    out: &mut BytesMut,
    scratch: &mut String,
    numbers: NumberStyle,
    datetimes: DateTimeStyle,
    value: &Value<'_>,
) {
    match value {
        Value::Text(text) => json_string(out, text),
        Value::Int(_) | Value::UInt(_) | Value::Decimal(_) if numbers == NumberStyle::String => {
            out.extend_from_slice(b"\"");
            write_plain(out, scratch, datetimes, value);
            out.extend_from_slice(b"\"");
        }
        Value::Bytes(_)
        | Value::Uuid(_)
        | Value::Date(_)
        | Value::Time(..)
        | Value::Timestamp(_)
        | Value::TimestampTz(_) => {
            out.extend_from_slice(b"\"");
            write_plain(out, scratch, datetimes, value);
            out.extend_from_slice(b"\"");
        }
        Value::Float(number) if !number.is_finite() => write_infinite(out, *number),
        Value::Float32(number) if !number.is_finite() => write_infinite(out, f64::from(*number)),
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(_)
        | Value::Int(_)
        | Value::UInt(_)
        | Value::Float(_)
        | Value::Float32(_)
        | Value::Decimal(_)
        | Value::Json(_) => write_plain(out, scratch, datetimes, value),
    }
}

fn write_infinite(out: &mut BytesMut, number: f64) {
    json_string(out, infinite_word(number).unwrap_or_default());
}

fn write_identifier(
    out: &mut BytesMut,
    scratch: &mut String,
    shape: &Shape,
    format: Format,
    column: usize,
    value: &Value<'_>,
) {
    match format {
        Format::Json | Format::NdJson => write_json(out, scratch, shape, format, column, value),
        Format::Csv => write_csv(out, scratch, shape.datetimes, value),
        Format::Xml => {
            out.extend_from_slice(b"\t<resource>");
            write_xml(out, scratch, shape.datetimes, value);
            out.extend_from_slice(b"</resource>\n");
        }
    }
}

fn write_csv(out: &mut BytesMut, scratch: &mut String, style: DateTimeStyle, value: &Value<'_>) {
    match value {
        Value::Text(text) => csv_field(out, text),
        Value::Json(json) => {
            let start = out.len();
            if write_csv_json(out, json).is_err() {
                out.truncate(start);
                csv_field(out, json);
            }
        }
        value => write_plain(out, scratch, style, value),
    }
}

fn write_xml(out: &mut BytesMut, scratch: &mut String, style: DateTimeStyle, value: &Value<'_>) {
    match value {
        Value::Text(text) | Value::Json(text) => xml_text(out, text),
        value => write_plain(out, scratch, style, value),
    }
}

/// A JSON value as elements. What the database calls JSON and is none becomes text.
fn write_xml_json(out: &mut BytesMut, name: &str, json: &str, depth: usize) {
    let start = out.len();
    if write_xml_element(out, name, json.trim_ascii(), depth).is_err() {
        out.truncate(start);
        xml_indent(out, depth);
        out.extend_from_slice(b"<");
        xml_name(out, name);
        out.extend_from_slice(b">");
        xml_text(out, json);
        out.extend_from_slice(b"</");
        xml_name(out, name);
        out.extend_from_slice(b">\n");
    }
}

/// Appends a value without quotation marks or escapes. None of these but text and JSON contains a character that any
/// format would have to escape. Null appends nothing.
fn write_plain(out: &mut BytesMut, scratch: &mut String, style: DateTimeStyle, value: &Value<'_>) {
    match *value {
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Int(number) => {
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
        Value::UInt(number) => {
            out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
        }
        Value::Float(number) if number.is_finite() => {
            out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes());
        }
        Value::Float32(number) if number.is_finite() => {
            out.extend_from_slice(ryu::Buffer::new().format_finite(number).as_bytes());
        }
        Value::Float(number) => {
            out.extend_from_slice(infinite_word(number).unwrap_or_default().as_bytes());
        }
        Value::Float32(number) => {
            let word = infinite_word(f64::from(number)).unwrap_or_default();
            out.extend_from_slice(word.as_bytes());
        }
        Value::Null => {}
        Value::Decimal(text) | Value::Text(text) | Value::Json(text) => {
            out.extend_from_slice(text.as_bytes());
        }
        Value::Bytes(bytes) => write_base64(out, bytes),
        Value::Date(_) | Value::Time(..) | Value::Timestamp(_) | Value::TimestampTz(_) => {
            scratch.clear();
            write_temporal(scratch, value, style);
            out.extend_from_slice(scratch.as_bytes());
        }
        Value::Uuid(bytes) => {
            let mut text = [0; uuid::fmt::Hyphenated::LENGTH];
            let text = uuid::Uuid::from_bytes(bytes)
                .hyphenated()
                .encode_lower(&mut text);
            out.extend_from_slice(text.as_bytes());
        }
    }
}

fn write_base64(out: &mut BytesMut, bytes: &[u8]) {
    // A multiple of three, so that only the last piece has padding.
    const PIECE: usize = 768;
    let mut text = [0; PIECE / 3 * 4];
    for piece in bytes.chunks(PIECE) {
        if let Ok(length) = BASE64.encode_slice(piece, &mut text) {
            out.extend_from_slice(text.get(..length).unwrap_or_default());
        }
    }
}

/// Appends a value so that equal values give equal bytes and others do not: a letter for what it is, then itself.
fn write_canonical(out: &mut Vec<u8>, scratch: &mut String, value: &Value<'_>) {
    match *value {
        Value::Null => out.push(b'n'),
        Value::Bool(value) => out.extend_from_slice(&[b'b', u8::from(value)]),
        Value::Int(value) => {
            out.push(b'i');
            out.extend_from_slice(&i128::from(value).to_le_bytes());
        }
        Value::UInt(value) => {
            out.push(b'i');
            out.extend_from_slice(&i128::from(value).to_le_bytes());
        }
        Value::Float(value) => {
            out.push(b'f');
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Float32(value) => {
            out.push(b'g');
            out.extend_from_slice(&value.to_bits().to_le_bytes());
        }
        Value::Decimal(text) => tagged(out, b'd', text.as_bytes()),
        Value::Text(text) => tagged(out, b't', text.as_bytes()),
        Value::Json(text) => tagged(out, b'j', text.as_bytes()),
        Value::Bytes(bytes) => tagged(out, b'x', bytes),
        Value::Uuid(bytes) => tagged(out, b'u', &bytes),
        Value::Date(_) | Value::Time(..) | Value::Timestamp(_) | Value::TimestampTz(_) => {
            scratch.clear();
            write_temporal(scratch, value, DateTimeStyle::Rfc3339);
            tagged(out, b'm', scratch.as_bytes());
        }
    }
}

fn tagged(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn shape(names: &[&str], frame: Frame, format: Format) -> Shape {
        Shape::new(
            names.iter().map(|name| (*name).to_owned()).collect(),
            frame,
            format,
        )
    }

    fn write(shape: Shape, rows: &[&[Value<'_>]]) -> RowWriter {
        let mut writer = RowWriter::new(Arc::new(shape), None);
        for row in rows {
            if writer.begin_row() {
                for value in *row {
                    writer.value(value);
                }
                writer.end_row();
            }
        }
        writer
    }

    fn meta() -> Map<String, Json> {
        json!({"count": 3}).as_object().unwrap().clone()
    }

    fn text(writer: RowWriter) -> String {
        String::from_utf8(writer.finish(&meta()).to_vec()).unwrap()
    }

    const ROWS: &[&[Value<'static>]] = &[
        &[
            Value::Int(1),
            Value::Text("a \"b\"\n<c>"),
            Value::Json("{\"x\":\n[1,2]}"),
        ],
        &[Value::Int(2), Value::Null, Value::Json("null")],
    ];

    #[test]
    fn every_frame_is_written_in_every_format() {
        for (frame, format, expected, without_rows) in [
            (
                Frame::List,
                Format::Json,
                "{\"resource\":[{\"id\":1,\"name\":\"a \\\"b\\\"\\n<c>\",\"more\":{\"x\":\n[1,2]}},\
                 {\"id\":2,\"name\":null,\"more\":null}],\"meta\":{\"count\":3}}",
                "{\"resource\":[],\"meta\":{\"count\":3}}",
            ),
            (
                Frame::List,
                Format::NdJson,
                "{\"id\":1,\"name\":\"a \\\"b\\\"\\n<c>\",\"more\":{\"x\": [1,2]}}\n\
                 {\"id\":2,\"name\":null,\"more\":null}\n",
                "",
            ),
            (
                Frame::List,
                Format::Csv,
                "id,name,more\r\n1,\"a \"\"b\"\"\n<c>\",\"{\"\"x\"\":\n[1,2]}\"\r\n2,,\r\n",
                "id,name,more\r\n",
            ),
            (
                Frame::List,
                Format::Xml,
                "<?xml version=\"1.0\" ?>\n<dfapi>\n\
                 \t<resource>\n\t\t<id>1</id>\n\t\t<name>a &quot;b&quot;\n&lt;c&gt;</name>\n\
                 \t\t<more>\n\t\t\t<x>1</x>\n\t\t\t<x>2</x>\n\t\t</more>\n\t</resource>\n\
                 \t<resource>\n\t\t<id>2</id>\n\t\t<name/>\n\t\t<more/>\n\t</resource>\n\
                 \t<meta>\n\t\t<count>3</count>\n\t</meta>\n</dfapi>\n",
                "<?xml version=\"1.0\" ?>\n<dfapi>\n\t<meta>\n\t\t<count>3</count>\n\t</meta>\n</dfapi>\n",
            ),
            (
                Frame::Single,
                Format::Json,
                "{\"id\":1,\"name\":\"a \\\"b\\\"\\n<c>\",\"more\":{\"x\":\n[1,2]}}",
                "",
            ),
            (
                Frame::Single,
                Format::NdJson,
                "{\"id\":1,\"name\":\"a \\\"b\\\"\\n<c>\",\"more\":{\"x\": [1,2]}}\n",
                "",
            ),
            (
                Frame::Single,
                Format::Csv,
                "id,name,more\r\n1,\"a \"\"b\"\"\n<c>\",\"{\"\"x\"\":\n[1,2]}\"\r\n",
                "",
            ),
            (
                Frame::Single,
                Format::Xml,
                "<?xml version=\"1.0\" ?>\n<dfapi>\n\
                 \t<id>1</id>\n\t<name>a &quot;b&quot;\n&lt;c&gt;</name>\n\
                 \t<more>\n\t\t<x>1</x>\n\t\t<x>2</x>\n\t</more>\n</dfapi>\n",
                "",
            ),
            (
                Frame::Bare,
                Format::Csv,
                "{\"id\":1,\"name\":\"a \\\"b\\\"\\n<c>\",\"more\":{\"x\":\n[1,2]}},\
                 {\"id\":2,\"name\":null,\"more\":null}",
                "",
            ),
        ] {
            let names = ["id", "name", "more"];
            assert_eq!(text(write(shape(&names, frame, format), ROWS)), expected);
            assert_eq!(text(write(shape(&names, frame, format), &[])), without_rows);
        }
    }

    #[test]
    fn identifiers_are_values_alone_and_composite_ones_are_text() {
        let rows: &[&[Value<'_>]] = &[
            &[Value::Int(4), Value::Text("a\"b")],
            &[Value::Int(5), Value::Null],
        ];
        for (format, one, two) in [
            (
                Format::Json,
                "{\"resource\":[4,5],\"meta\":{\"count\":3}}",
                "{\"resource\":[\"(4,a\\\"b)\",\"(5,)\"],\"meta\":{\"count\":3}}",
            ),
            (Format::NdJson, "4\n5\n", "\"(4,a\\\"b)\"\n\"(5,)\"\n"),
            (
                Format::Csv,
                "id\r\n4\r\n5\r\n",
                "\"(id,name)\"\r\n\"(4,a\"\"b)\"\r\n\"(5,)\"\r\n",
            ),
            (
                Format::Xml,
                "<?xml version=\"1.0\" ?>\n<dfapi>\n\t<resource>4</resource>\n\t<resource>5</resource>\n\
                 \t<meta>\n\t\t<count>3</count>\n\t</meta>\n</dfapi>\n",
                "<?xml version=\"1.0\" ?>\n<dfapi>\n\t<resource>(4,a&quot;b)</resource>\n\
                 \t<resource>(5,)</resource>\n\t<meta>\n\t\t<count>3</count>\n\t</meta>\n</dfapi>\n",
            ),
        ] {
            let mut single = shape(&["id", "name"], Frame::Identifiers, format);
            single.visible = 1;
            assert_eq!(text(write(single, rows)), one);
            let several = shape(&["id", "name"], Frame::Identifiers, format);
            assert_eq!(text(write(several, rows)), two);
        }
    }

    #[test]
    fn every_kind_of_value_is_written() {
        for (value, json, plain) in [
            (Value::Null, "null", ""),
            (Value::Bool(true), "true", "true"),
            (
                Value::Int(i64::MIN),
                "-9223372036854775808",
                "-9223372036854775808",
            ),
            (
                Value::UInt(u64::MAX),
                "18446744073709551615",
                "18446744073709551615",
            ),
            (Value::Float(0.1), "0.1", "0.1"),
            (Value::Float(1e300), "1e300", "1e300"),
            (Value::Float(f64::NAN), "\"NaN\"", "NaN"),
            (Value::Float(f64::INFINITY), "\"Infinity\"", "Infinity"),
            (Value::Float32(0.1), "0.1", "0.1"),
            (
                Value::Float32(f32::NEG_INFINITY),
                "\"-Infinity\"",
                "-Infinity",
            ),
            (Value::Decimal("-12.50"), "-12.50", "-12.50"),
            (Value::Text(""), "\"\"", "\"\""),
            (Value::Bytes(b"\x00\xff"), "\"AP8=\"", "AP8="),
            (Value::Json("[1, 2]"), "[1, 2]", "\"[1, 2]\""),
            (Value::Date(0), "\"1970-01-01\"", "1970-01-01"),
            (
                Value::Time(1_500_000, Some(0)),
                "\"00:00:01.5Z\"",
                "00:00:01.5Z",
            ),
            (
                Value::Timestamp(0),
                "\"1970-01-01T00:00:00\"",
                "1970-01-01T00:00:00",
            ),
            (
                Value::TimestampTz(0),
                "\"1970-01-01T00:00:00Z\"",
                "1970-01-01T00:00:00Z",
            ),
            (
                Value::Uuid([0x11; 16]),
                "\"11111111-1111-1111-1111-111111111111\"",
                "11111111-1111-1111-1111-111111111111",
            ),
        ] {
            let row: &[&[Value<'_>]] = &[&[value, Value::Int(0)]];
            assert_eq!(
                text(write(shape(&["v", "z"], Frame::Single, Format::Json), row)),
                format!("{{\"v\":{json},\"z\":0}}")
            );
            assert_eq!(
                text(write(shape(&["v", "z"], Frame::Single, Format::Csv), row)),
                format!("v,z\r\n{plain},0\r\n")
            );
        }
    }

    #[test]
    fn styles_change_numbers_and_dates() {
        let mut strings = shape(&["a", "b", "c", "d", "e"], Frame::Single, Format::Json);
        strings.numbers = NumberStyle::String;
        strings.narrow = vec![1];
        strings.datetimes = DateTimeStyle::Sql;
        let row: &[&[Value<'_>]] = &[&[
            Value::Int(1),
            Value::Int(2),
            Value::Decimal("1.50"),
            Value::Float(1.5),
            Value::Timestamp(0),
        ]];
        assert_eq!(
            text(write(strings, row)),
            "{\"a\":\"1\",\"b\":2,\"c\":\"1.50\",\"d\":1.5,\"e\":\"1970-01-01 00:00:00\"}"
        );
    }

    #[test]
    fn a_page_ends_and_keeps_the_values_of_its_last_row() {
        let mut paged = shape(&["id", "hidden"], Frame::List, Format::Json);
        paged.visible = 1;
        paged.page = Some(2);
        paged.keep = vec![1, 0];
        let rows: Vec<[Value<'_>; 2]> = (1..=3)
            .map(|id| [Value::Int(id), Value::Text("x")])
            .collect();
        let rows: Vec<&[Value<'_>]> = rows.iter().map(|row| &row[..]).collect();
        let writer = write(paged.clone(), &rows);
        assert_eq!((writer.rows(), writer.has_more()), (2, true));
        assert_eq!(
            writer.kept(),
            [Scalar::Text("x".to_owned()), Scalar::Int(2)]
        );
        assert_eq!(
            text(writer),
            "{\"resource\":[{\"id\":1},{\"id\":2}],\"meta\":{\"count\":3}}"
        );
        let writer = write(paged, &rows[..1]);
        assert!(!writer.has_more() && writer.kept().is_empty());
    }

    #[test]
    fn a_digest_depends_on_the_record_and_not_on_how_it_is_written() {
        let digest = |names: &[&str], visible: usize, format: Format, row: &[Value<'_>]| {
            let mut wanted = shape(names, Frame::Single, format);
            wanted.visible = visible;
            wanted.digest = true;
            write(wanted, &[row]).digest().unwrap()
        };
        let full = [Value::Int(1), Value::Text("a")];
        let turned = [Value::Text("a"), Value::Int(1), Value::Text("a")];
        let first = digest(&["id", "name"], 2, Format::Json, &full);
        assert_eq!(first, digest(&["id", "name"], 2, Format::Xml, &full));
        assert_eq!(first, digest(&["name", "id"], 1, Format::Csv, &turned[..2]));
        assert_eq!(
            first,
            digest(&["name", "id", "name"], 1, Format::Json, &turned)
        );
        for other in [
            [Value::Int(2), Value::Text("a")],
            [Value::Int(1), Value::Text("b")],
            [Value::Int(1), Value::Null],
            [Value::Text("1"), Value::Text("a")],
        ] {
            assert_ne!(first, digest(&["id", "name"], 2, Format::Json, &other));
        }
    }

    #[test]
    fn a_row_whose_check_does_not_hold_is_refused() {
        for (value, refused) in [
            (Value::Bool(true), false),
            (Value::Int(1), false),
            (Value::Bool(false), true),
            (Value::Int(0), true),
            (Value::Null, true),
        ] {
            let mut checked = shape(&["id", "permitted"], Frame::Bare, Format::Json);
            checked.visible = 1;
            checked.check = Some(1);
            let writer = write(
                checked,
                &[&[Value::Int(1), value], &[Value::Int(2), Value::Bool(true)]],
            );
            assert_eq!(writer.has_refused(), refused, "{value:?}");
        }
    }

    #[test]
    fn chunks_are_handed_over_and_make_one_document() {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap();
        let body = runtime.block_on(async {
            crate::exchange::body::drive(|sender| async move {
                let wanted = shape(&["id", "text"], Frame::List, Format::Json);
                let mut writer = RowWriter::new(Arc::new(wanted), Some(sender));
                let long = "x".repeat(500);
                for id in 0..1_000 {
                    writer.begin_row();
                    writer.value(&Value::Int(id));
                    writer.value(&Value::Text(&long));
                    if writer.end_row() {
                        writer.flush().await?;
                        assert!(writer.out.is_empty());
                    }
                    assert!(writer.out.capacity() < 2 * CHUNK_BYTES + CHUNK_SLACK_BYTES);
                }
                Ok(writer.finish(&Map::new()))
            })
            .await
            .unwrap()
            .collect(usize::MAX)
            .await
            .unwrap()
        });
        let document: Json = serde_json::from_slice(&body).unwrap();
        assert_eq!(document["resource"].as_array().unwrap().len(), 1_000);
    }

    #[test]
    fn what_must_be_kept_whole_is_bounded() {
        let mut writer =
            RowWriter::new(Arc::new(shape(&["text"], Frame::Bare, Format::Json)), None);
        let long = "x".repeat(MAX_WHOLE_BYTES / 2);
        for expected in [false, true] {
            writer.begin_row();
            writer.value(&Value::Text(&long));
            assert_eq!(writer.end_row(), expected);
            assert_eq!(writer.flush_blocking().is_err(), expected);
        }
    }

    #[test]
    fn bare_results_are_joined_and_wrapped() {
        let parts = ["{\"a\":1}", "", "{\"a\":2},{\"a\":3}"];
        let joined = join_bare(parts.map(Bytes::from));
        assert_eq!(joined, "{\"a\":1},{\"a\":2},{\"a\":3}");
        assert_eq!(join_bare([]), "");
        let list = |format| list_of_bare(&joined, &meta(), format).unwrap();
        assert_eq!(
            list(Format::Json),
            "{\"resource\":[{\"a\":1},{\"a\":2},{\"a\":3}],\"meta\":{\"count\":3}}"
        );
        assert_eq!(list(Format::Csv), "a\r\n1\r\n2\r\n3\r\n");
    }

    /// A value that owns what it holds.
    #[derive(Clone, Debug)]
    enum Owned {
        Null,
        Bool(bool),
        Int(i64),
        UInt(u64),
        Float(f64),
        Decimal(i64, u32),
        Text(String),
        Bytes(Vec<u8>),
        Uuid([u8; 16]),
        Timestamp(i64),
    }

    fn any_value() -> impl Strategy<Value = Owned> {
        prop_oneof![
            Just(Owned::Null),
            any::<bool>().prop_map(Owned::Bool),
            any::<i64>().prop_map(Owned::Int),
            any::<u64>().prop_map(Owned::UInt),
            any::<f64>().prop_map(Owned::Float),
            (any::<i64>(), any::<u32>()).prop_map(|(whole, part)| Owned::Decimal(whole, part)),
            any::<String>().prop_map(Owned::Text),
            "[\\x00-\\x7f]{0,40}".prop_map(Owned::Text),
            any::<Vec<u8>>().prop_map(Owned::Bytes),
            any::<[u8; 16]>().prop_map(Owned::Uuid),
            any::<i64>().prop_map(Owned::Timestamp),
        ]
    }

    fn send(writer: &mut RowWriter, value: &Owned) {
        match value {
            Owned::Null => writer.value(&Value::Null),
            Owned::Bool(value) => writer.value(&Value::Bool(*value)),
            Owned::Int(value) => writer.value(&Value::Int(*value)),
            Owned::UInt(value) => writer.value(&Value::UInt(*value)),
            Owned::Float(value) => writer.value(&Value::Float(*value)),
            Owned::Decimal(whole, part) => {
                writer.value(&Value::Decimal(&format!("{whole}.{part}")));
            }
            Owned::Text(text) => writer.value(&Value::Text(text)),
            Owned::Bytes(bytes) => writer.value(&Value::Bytes(bytes)),
            Owned::Uuid(bytes) => writer.value(&Value::Uuid(*bytes)),
            Owned::Timestamp(micros) => writer.value(&Value::Timestamp(*micros)),
        }
    }

    fn survives(value: &Owned, json: &serde_json::value::RawValue) -> bool {
        let text = || serde_json::from_str::<String>(json.get()).unwrap();
        match value {
            Owned::Bool(value) => json.get() == value.to_string(),
            Owned::Int(value) => json.get() == value.to_string(),
            Owned::UInt(value) => json.get() == value.to_string(),
            Owned::Float(value) if value.is_finite() => {
                json.get().parse::<f64>().unwrap().to_bits() == value.to_bits()
            }
            Owned::Float(value) => text() == infinite_word(*value).unwrap(),
            Owned::Null => json.get() == "null",
            Owned::Decimal(whole, part) => json.get() == format!("{whole}.{part}"),
            Owned::Text(value) => text() == *value,
            Owned::Bytes(bytes) => BASE64.decode(text()).unwrap() == *bytes,
            Owned::Uuid(bytes) => uuid::Uuid::parse_str(&text()).unwrap().as_bytes() == bytes,
            Owned::Timestamp(_) => text().contains('T'),
        }
    }

    proptest! {
        #[test]
        fn json_always_parses_and_every_value_survives(
            names in proptest::collection::hash_set(any::<String>(), 3),
            rows in proptest::collection::vec(proptest::collection::vec(any_value(), 3), 0..6),
        ) {
            let names: Vec<String> = names.into_iter().collect();
            let shape = Arc::new(Shape::new(names.clone(), Frame::List, Format::Json));
            let mut writer = RowWriter::new(shape, None);
            for row in &rows {
                prop_assert!(writer.begin_row());
                for value in row {
                    send(&mut writer, value);
                }
                writer.end_row();
            }
            let bytes = writer.finish(&Map::new());
            let list: std::collections::HashMap<
                String,
                Vec<indexmap::IndexMap<String, Box<serde_json::value::RawValue>>>,
            > = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(list["resource"].len(), rows.len());
            for (record, row) in list["resource"].iter().zip(&rows) {
                for (name, value) in names.iter().zip(row) {
                    prop_assert!(survives(value, &record[name]), "{:?}", value);
                }
            }
        }

        #[test]
        fn csv_reads_back_as_it_was(
            rows in proptest::collection::vec(proptest::collection::vec(any::<String>(), 2), 0..6),
        ) {
            let mut writer = RowWriter::new(
                Arc::new(shape(&["a", "b"], Frame::List, Format::Csv)),
                None,
            );
            for row in &rows {
                writer.begin_row();
                for value in row {
                    writer.value(&Value::Text(value));
                }
                writer.end_row();
            }
            let bytes = writer.finish(&Map::new());
            let read: Vec<Vec<String>> = csv::Reader::from_reader(&bytes[..])
                .records()
                .map(|record| record.unwrap().iter().map(str::to_owned).collect())
                .collect();
            prop_assert_eq!(read, rows);
        }
    }
}
