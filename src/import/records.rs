//! Cuts bytes into CSV records, in bounded memory.
//!
//! It is `csv-core` with what the `csv` crate leaves out: records have a largest size, a quote that is still open at
//! the end of the file is an error, and a record's line is the one that it begins in, whatever the line ends are.

use std::io::{self, ErrorKind, Read};

use csv_core::ReadRecordResult;

/// A record is at most this long, in bytes without its quotes. A row of ten fields at their longest fits.
const RECORD_MAX: usize = 64 * 1024;

/// A record has at most this many fields; no header has as many.
const FIELDS_MAX: usize = 256;

const BUFFER: usize = 64 * 1024;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

pub struct Records<R> {
    input: R,
    parser: csv_core::Reader,
    buffer: Box<[u8]>,
    /// What of the buffer is not parsed yet.
    unread: std::ops::Range<usize>,
    /// The line that the next unread byte stands in, from 1.
    line: u64,
    state: State,
    bytes: Box<[u8]>,
    ends: Box<[usize]>,
}

#[derive(PartialEq)]
enum State {
    /// Nothing is read; there may be a byte order mark.
    Fresh,
    Reading,
    /// The last byte was read.
    AtEnd,
    /// Nothing more will come.
    Done,
}

/// One record, as bytes.
pub struct Record<'r> {
    /// The line that it begins in.
    pub line: u64,
    bytes: &'r [u8],
    ends: &'r [usize],
}

impl<'r> Record<'r> {
    pub fn fields(&self) -> impl Iterator<Item = &'r [u8]> + use<'r> {
        let bytes = self.bytes;
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(self.ends).map(move |(start, end)| &bytes[start..*end])
    }

    /// Nothing but blanks and commas, as a spreadsheet leaves behind its last row.
    pub fn is_blank(&self) -> bool {
        self.bytes.iter().all(u8::is_ascii_whitespace)
    }
}

/// What is no record.
#[derive(Debug, thiserror::Error)]
pub enum Flaw {
    #[error("the file can't be read on: {error}")]
    Unreadable { line: u64, error: io::Error },
    #[error("the file ends within the quotes that are opened in this row; it is cut short, or a quote is missing")]
    CutShort { line: u64 },
    #[error("this row is longer than {RECORD_MAX} bytes or has more than {FIELDS_MAX} fields; is a quote missing?")]
    TooLong { line: u64 },
}

impl Flaw {
    pub fn line(&self) -> u64 {
        match self {
            Self::Unreadable { line, .. } | Self::CutShort { line } | Self::TooLong { line } => *line,
        }
    }
}

impl<R: Read> Records<R> {
    pub fn new(input: R) -> Self {
        Self {
            input,
            parser: csv_core::Reader::new(),
            buffer: vec![0; BUFFER].into(),
            unread: 0..0,
            line: 1,
            state: State::Fresh,
            bytes: vec![0; RECORD_MAX].into(),
            ends: vec![0; FIELDS_MAX].into(),
        }
    }

    pub fn line(&self) -> u64 {
        self.line
    }

    /// The next record; empty lines are passed over. After [`Flaw::TooLong`] there may be more.
    pub fn next(&mut self) -> Result<Option<Record<'_>>, Flaw> {
        if self.state == State::Done || !self.skip_line_ends()? {
            self.state = State::Done;
            return Ok(None);
        }
        let line = self.line;
        let (mut bytes, mut ends, mut is_too_long) = (0, 0, false);
        loop {
            if self.unread.is_empty() {
                self.fill()?;
            }
            // A file need not end with a line end, so one is added. An open quote takes it in, and nothing else does.
            let is_last = self.unread.is_empty();
            let input = if is_last { b"\n" } else { &self.buffer[self.unread.clone()] };
            let line_before = self.parser.line();
            let (result, read, written, ended) =
                self.parser.read_record(input, &mut self.bytes[bytes..], &mut self.ends[ends..]);
            if !is_last {
                self.line += self.parser.line() - line_before;
                self.unread.start += read;
            }
            bytes += written;
            ends += ended;
            match result {
                ReadRecordResult::Record if is_too_long => return Err(Flaw::TooLong { line }),
                ReadRecordResult::Record => {
                    return Ok(Some(Record { line, bytes: &self.bytes[..bytes], ends: &self.ends[..ends] }));
                }
                ReadRecordResult::InputEmpty | ReadRecordResult::End if is_last => {
                    self.state = State::Done;
                    return Err(Flaw::CutShort { line });
                }
                ReadRecordResult::InputEmpty | ReadRecordResult::End => {}
                // Its end is looked for all the same, in the same memory.
                ReadRecordResult::OutputFull | ReadRecordResult::OutputEndsFull => {
                    (bytes, ends, is_too_long) = (0, 0, true);
                }
            }
        }
    }

    /// To the first byte of the next record. `false` where there is none.
    fn skip_line_ends(&mut self) -> Result<bool, Flaw> {
        loop {
            if self.unread.is_empty() {
                self.fill()?;
            }
            match self.buffer[self.unread.clone()].first() {
                None => return Ok(false),
                Some(b'\r') => {}
                Some(b'\n') => self.line += 1,
                Some(_) => return Ok(true),
            }
            self.unread.start += 1;
        }
    }

    /// Reads on. The buffer stays empty at the end of the file.
    fn fill(&mut self) -> Result<(), Flaw> {
        if matches!(self.state, State::AtEnd | State::Done) {
            return Ok(());
        }
        let mut filled = self.read(0)?;
        if self.state == State::Fresh {
            self.state = State::Reading;
            while filled > 0 && filled < BYTE_ORDER_MARK.len() {
                match self.read(filled)? {
                    0 => break,
                    more => filled += more,
                }
            }
            if self.buffer[..filled].starts_with(BYTE_ORDER_MARK) {
                self.unread = BYTE_ORDER_MARK.len()..filled;
                return if self.unread.is_empty() { self.fill() } else { Ok(()) };
            }
        }
        if filled == 0 {
            self.state = State::AtEnd;
        }
        self.unread = 0..filled;
        Ok(())
    }

    fn read(&mut self, at: usize) -> Result<usize, Flaw> {
        loop {
            match self.input.read(&mut self.buffer[at..]) {
                Ok(read) => return Ok(read),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => {
                    self.state = State::Done;
                    return Err(Flaw::Unreadable { line: self.line, error });
                }
            }
        }
    }
}
