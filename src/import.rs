//! Reading CSV files into rows: in a thread of its own, in bounded memory, whatever the file holds.
//!
//! `records` cuts the bytes into records, `fields` reads the fields of one, this file reads the header and feeds the
//! rows to a store in chunks. What a row comes to is decided in [`crate::domain::import`].

mod fields;
mod records;

use std::fs::File;
use std::io::{self, Read};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::thread;

use tokio::sync::{mpsc, oneshot};

use self::fields::{Fields, Row};
use self::records::{Flaw, Records};
use crate::domain::campaign::cohort::MemberRow;
use crate::domain::import::{AccountRow, DebitRow, Problem};
use crate::store::{CHUNK_ROWS, Rows};

/// How many chunks wait for the store at most.
const CHUNKS_AHEAD: usize = 4;

/// Why there are no rows to read at all.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error("{name} can't be read: {error}")]
    Unreadable { name: String, error: io::Error },
    #[error("{name} is empty; its first line must be the header {header}")]
    Empty { name: String, header: String },
    /// With what is wrong.
    #[error("{name}, line {line}: {message}; the header must be {header}, in any order")]
    Header { name: String, line: u64, message: String, header: String },
}

/// Where a file comes from.
pub struct Source {
    /// As messages name it.
    pub name: String,
    /// In bytes, where it is known.
    pub length: Option<u64>,
    read: Box<dyn Read + Send>,
}

impl Source {
    /// A file, or standard input for `-`.
    ///
    /// # Errors
    /// It can't be opened.
    pub fn open(path: &Path) -> Result<Self, ImportError> {
        if path.as_os_str() == "-" {
            return Ok(Self::new("standard input", io::stdin()));
        }
        let name = path.display().to_string();
        match File::open(path) {
            Ok(file) => {
                let length = file.metadata().ok().filter(std::fs::Metadata::is_file).map(|metadata| metadata.len());
                Ok(Self { name, length, read: Box::new(file) })
            }
            Err(error) => Err(ImportError::Unreadable { name, error }),
        }
    }

    #[must_use]
    pub fn new(name: impl Into<String>, read: impl Read + Send + 'static) -> Self {
        Self { name: name.into(), length: None, read: Box::new(read) }
    }

    /// The same, read through `watch`: for a progress bar.
    #[must_use]
    pub fn watched(self, watch: impl FnOnce(Box<dyn Read + Send>) -> Box<dyn Read + Send>) -> Self {
        Self { read: watch(self.read), ..self }
    }
}

/// The rows of an accounts file. A row with several problems comes as several problems.
///
/// # Errors
/// The file can't be read, or its header is not an accounts file's.
pub async fn account_rows(source: Source) -> Result<Rows<AccountRow>, ImportError> {
    rows(source).await
}

/// The rows of a debits file. A row with several problems comes as several problems.
///
/// # Errors
/// The file can't be read, or its header is not a debits file's.
pub async fn debit_rows(source: Source) -> Result<Rows<DebitRow>, ImportError> {
    rows(source).await
}

/// The rows of a campaign's list. A row with several problems comes as several problems.
///
/// # Errors
/// The file can't be read, or its header is not a list's.
pub async fn member_rows(source: Source) -> Result<Rows<MemberRow>, ImportError> {
    rows(source).await
}

async fn rows<T: Row + Send + 'static>(source: Source) -> Result<Rows<T>, ImportError> {
    let (header, opened) = oneshot::channel();
    let (sender, receiver) = mpsc::channel(CHUNKS_AHEAD);
    let name = source.name.clone();
    // Not the runtime's blocking pool: a read of standard input that never ends must not hold up the end of the process.
    let reader = thread::Builder::new().name("import".into()).spawn(move || read(source, header, &sender));
    let unreadable = |error| ImportError::Unreadable { name, error };
    match reader {
        Err(error) => Err(unreadable(error)),
        Ok(_) => match opened.await {
            Ok(header) => header.map(|()| receiver),
            Err(_) => Err(unreadable(io::Error::other("its reader stopped"))),
        },
    }
}

type Sender<T> = mpsc::Sender<Vec<Result<T, Problem>>>;

fn read<T: Row>(source: Source, header: oneshot::Sender<Result<(), ImportError>>, sender: &Sender<T>) {
    let mut records = Records::new(source.read);
    let order = match read_header::<T, _>(&mut records, &source.name) {
        Ok(order) => order,
        Err(error) => {
            let _ = header.send(Err(error)); // nobody waits for it any more
            return;
        }
    };
    if header.send(Ok(())).is_err() {
        return;
    }
    // The end of the channel is the end of the file, so a reader that broke must not look like one that is done.
    let broken = catch_unwind(AssertUnwindSafe(|| feed(&mut records, &order, sender))).is_err();
    if broken {
        let problem = Problem::new(records.line(), "", "the reader of this file broke here, which is a bug");
        let _ = sender.blocking_send(vec![Err(problem)]); // the store has given up already
    }
}

/// Sends all rows, until the store gives up.
fn feed<T: Row, R: Read>(records: &mut Records<R>, order: &[Option<usize>], sender: &Sender<T>) {
    let mut chunk = Vec::with_capacity(CHUNK_ROWS);
    loop {
        match records.next() {
            Ok(None) => break,
            Ok(Some(record)) if record.is_blank() => {}
            Ok(Some(record)) => match Fields::of(&record, T::COLUMNS, order) {
                Ok(mut fields) => match T::read(&mut fields) {
                    Some(row) if fields.problems.is_empty() => chunk.push(Ok(row)),
                    _ => chunk.extend(fields.problems.into_iter().map(Err)),
                },
                Err(problem) => chunk.push(Err(problem)),
            },
            Err(flaw) => chunk.push(Err(Problem::new(flaw.line(), "", flaw.to_string()))),
        }
        if chunk.len() >= CHUNK_ROWS
            && sender.blocking_send(std::mem::replace(&mut chunk, Vec::with_capacity(CHUNK_ROWS))).is_err()
        {
            return;
        }
    }
    if !chunk.is_empty() {
        let _ = sender.blocking_send(chunk); // the store has given up already
    }
}

/// Where in a record the columns stand, in the order of [`Row::COLUMNS`]; `None` where one was left out.
fn read_header<T: Row, R: Read>(records: &mut Records<R>, name: &str) -> Result<Vec<Option<usize>>, ImportError> {
    let right = right_header::<T>();
    let wrong = |line, message| ImportError::Header { name: name.into(), line, message, header: right.clone() };
    let record = match records.next() {
        Ok(Some(record)) => record,
        Ok(None) => return Err(ImportError::Empty { name: name.into(), header: right }),
        Err(Flaw::Unreadable { error, .. }) => return Err(ImportError::Unreadable { name: name.into(), error }),
        Err(flaw) => return Err(wrong(flaw.line(), flaw.to_string())),
    };
    let mut titles = Vec::new();
    for field in record.fields() {
        let title = std::str::from_utf8(field).map_err(|_| wrong(record.line, fields::NOT_UTF8.into()))?.trim();
        let title = T::ALIASES.iter().find(|(alias, _)| *alias == title).map_or(title, |(_, column)| *column);
        if titles.contains(&title) {
            return Err(wrong(record.line, format!("the column `{title}` is there twice")));
        }
        if !T::COLUMNS.contains(&title) {
            let title: String = title.chars().take(TITLE_SHOWN).collect();
            let hint = if title.contains([';', '\t']) { " (columns are separated by commas)" } else { "" };
            return Err(wrong(record.line, format!("there is no column `{title}`{hint}")));
        }
        titles.push(title);
    }
    let place = |column: &&str| {
        let at = titles.iter().position(|title| title == column);
        if at.is_none() && !T::OPTIONAL.contains(column) {
            return Err(wrong(record.line, format!("the column `{column}` is missing")));
        }
        Ok(at)
    };
    T::COLUMNS.iter().map(place).collect()
}

/// As messages show it, with brackets around what may be left out.
fn right_header<T: Row>() -> String {
    let column = |column: &&str| if T::OPTIONAL.contains(column) { format!("[{column}]") } else { (*column).into() };
    T::COLUMNS.iter().map(column).collect::<Vec<_>>().join(",")
}

/// How many characters of a title that is none are shown.
const TITLE_SHOWN: usize = 120;

#[cfg(test)]
mod tests;
