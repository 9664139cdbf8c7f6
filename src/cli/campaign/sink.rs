//! Where rows go that come one chunk after the other: a file, which is there once it is whole, or standard output.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::{Builder, TempPath};
use tokio::sync::mpsc;

use super::super::screen::Screen;
use super::super::session::CliError;
use super::is_standard_output;
use crate::export::{Format, Rows};
use crate::store::StoreResult;

/// How many chunks wait to be written at most.
const CHUNKS_AHEAD: usize = 4;

/// Writes what `read` sends as it comes. Answers how many rows there are, and what the writer knows in the end; `None`
/// where the reader of standard output has gone away.
pub async fn written<W: Rows, R: Future<Output = StoreResult<()>>>(
    mut sink: Sink<'_>,
    begin: impl FnOnce(&mut dyn Write) -> io::Result<W>,
    read: impl FnOnce(mpsc::Sender<Vec<W::Row>>) -> R,
) -> Result<Option<(u64, W::End)>, CliError> {
    let mut chunk = Vec::new();
    let mut writer = begin(&mut chunk).map_err(|error| sink.broken(&error))?;
    let (sender, mut receiver) = mpsc::channel(CHUNKS_AHEAD);
    let reading = read(sender);
    let writing = async {
        let mut written = 0_u64;
        let mut is_read = sink.write(&chunk)?;
        while is_read && let Some(rows) = receiver.recv().await {
            chunk.clear();
            writer.rows(&rows, &mut chunk).map_err(|error| sink.broken(&error))?;
            is_read = sink.write(&chunk)?;
            written += rows.len() as u64;
        }
        // So that the store does not wait for somebody who takes more.
        drop(receiver);
        Ok::<_, CliError>(is_read.then_some(written))
    };
    let (read, written) = tokio::join!(reading, writing);
    read?;
    let Some(rows) = written? else { return Ok(None) };
    chunk.clear();
    let end = writer.end(&mut chunk).map_err(|error| sink.broken(&error))?;
    let is_read = sink.write(&chunk)?;
    sink.end()?;
    Ok(is_read.then_some((rows, end)))
}

pub struct Sink<'s> {
    to: To,
    format: Format,
    screen: &'s Screen,
}

enum To {
    StandardOutput,
    /// A device or a pipe, or a file in a folder that takes no other.
    Itself(PathBuf, BufWriter<File>),
    /// A file beside it, which gets its name in the end: so what bears the name is whole.
    Beside(PathBuf, BufWriter<File>, TempPath),
}

impl<'s> Sink<'s> {
    pub fn open(path: Option<&Path>, format: Format, screen: &'s Screen) -> Result<Self, CliError> {
        let to = match path.filter(|path| !is_standard_output(path)) {
            None => To::StandardOutput,
            Some(path) => To::open(path)
                .map_err(|error| CliError::Failed(format!("{} can't be written: {error}", path.display())))?,
        };
        Ok(Self { to, format, screen })
    }

    /// `false` where its reader has gone away.
    fn write(&mut self, chunk: &[u8]) -> Result<bool, CliError> {
        let written = match &mut self.to {
            To::Itself(_, file) | To::Beside(_, file, _) => file.write_all(chunk),
            To::StandardOutput => {
                // What is written here is text, cut at the ends of rows.
                let text = String::from_utf8_lossy(chunk);
                return match self.format {
                    Format::Csv => self.screen.stream(&text),
                    Format::Json => self.screen.stream_json(&text),
                };
            }
        };
        match written {
            Ok(()) => Ok(true),
            // A pipe with a name.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
            Err(error) => Err(self.broken(&error)),
        }
    }

    fn end(mut self) -> Result<(), CliError> {
        let ended = match &mut self.to {
            To::StandardOutput => Ok(()),
            To::Itself(_, file) | To::Beside(_, file, _) => file.flush(),
        };
        match ended {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
            Err(error) => return Err(self.broken(&error)),
        }
        match self.to {
            To::Beside(path, _, beside) => beside.persist(&path).map_err(|error| broken(&path, &error.error)),
            To::StandardOutput | To::Itself(..) => Ok(()),
        }
    }

    fn broken(&self, error: &io::Error) -> CliError {
        match &self.to {
            To::StandardOutput => broken(Path::new("the answer"), error),
            To::Itself(path, _) | To::Beside(path, ..) => broken(path, error),
        }
    }
}

fn broken(path: &Path, error: &io::Error) -> CliError {
    CliError::Failed(format!("{} could not be written to its end: {error}", path.display()))
}

impl To {
    fn open(path: &Path) -> io::Result<Self> {
        let (path, permissions) = match path.metadata() {
            // Where a link leads to, since it is to stay one.
            Ok(metadata) if metadata.is_file() => {
                OpenOptions::new().write(true).open(path)?;
                (fs::canonicalize(path)?, metadata.permissions())
            }
            Ok(_) => return Self::itself(path),
            // What the process's mask leaves of it.
            Err(error) if error.kind() == ErrorKind::NotFound => (path.to_owned(), Permissions::from_mode(0o666)),
            Err(error) => return Err(error),
        };
        match beside(&path, permissions) {
            Ok((file, beside)) => Ok(Self::Beside(path, BufWriter::new(file), beside)),
            Err(_) => Self::itself(&path),
        }
    }

    fn itself(path: &Path) -> io::Result<Self> {
        Ok(Self::Itself(path.to_owned(), BufWriter::new(File::create(path)?)))
    }
}

fn beside(path: &Path, permissions: Permissions) -> io::Result<(File, TempPath)> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut name: OsString = path.file_name().unwrap_or_default().to_owned();
    name.push(".part-");
    let file = Builder::new().prefix(&name).permissions(permissions).tempfile_in(folder)?;
    Ok(file.into_parts())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(path: &Path, screen: &Screen, end: bool) -> Vec<u8> {
        let mut sink = Sink::open(Some(path), Format::Csv, screen).unwrap();
        assert!(sink.write(b"new").unwrap());
        if end {
            sink.end().unwrap();
        }
        fs::read(path).unwrap_or_default()
    }

    #[test]
    fn a_file_is_there_once_it_is_whole() {
        let folder = tempfile::tempdir().unwrap();
        let screen = Screen::of(false, io::sink(), io::sink(), None);
        let (path, link) = (folder.path().join("report.csv"), folder.path().join("link.csv"));
        assert_eq!(sink(&path, &screen, false), b"");
        assert!(!path.exists(), "it broke off");
        assert_eq!(sink(&path, &screen, true), b"new");

        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        assert_eq!(sink(&link, &screen, false), b"old");
        assert_eq!(sink(&link, &screen, true), b"new");
        assert!(link.symlink_metadata().unwrap().is_symlink());
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
        let names = fs::read_dir(folder.path()).unwrap().count();
        assert_eq!(names, 2, "nothing else stays");
        assert_eq!(sink(Path::new("/dev/null"), &screen, true), b"", "a device is what it is");
        assert!(Sink::open(Some(folder.path()), Format::Csv, &screen).is_err());
    }
}
