//! The file that all problems of a list are written to.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// How many names are tried before somebody has to clear them away.
const NAMES_MAX: u32 = 1_000;

/// A CSV file (line, column, message) that is made when the first problem comes, and never over another one.
pub struct ProblemsFile {
    wanted: PathBuf,
    written: Mutex<Written>,
}

enum Written {
    Nothing,
    To(PathBuf, Box<csv::Writer<BufWriter<File>>>),
    Broken(String),
}

impl ProblemsFile {
    /// With this name, or where there is such a file, with the next that is free: `a.csv`, `a-2.csv`, `a-3.csv`.
    #[must_use]
    pub fn beside(wanted: &Path) -> Self {
        Self { wanted: wanted.to_owned(), written: Mutex::new(Written::Nothing) }
    }

    pub fn add(&self, problem: &crate::domain::import::Problem) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if matches!(*written, Written::Nothing) {
            *written = match open(&self.wanted) {
                Ok((path, file)) => Written::To(path, Box::new(csv::Writer::from_writer(BufWriter::new(file)))),
                Err(error) => Written::Broken(broken(&self.wanted, &error)),
            };
        }
        let line = if problem.line == 0 { String::new() } else { problem.line.to_string() };
        if let Written::To(path, file) = &mut *written
            && let Err(error) = file.write_record([line.as_str(), problem.column, problem.message.as_str()])
        {
            *written = Written::Broken(broken(path, &error.into()));
        }
    }

    /// Where they are; `None` where there was no problem.
    ///
    /// # Errors
    /// A sentence: they could not be written.
    pub fn end(self) -> Result<Option<PathBuf>, String> {
        match self.written.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Written::Nothing => Ok(None),
            Written::Broken(error) => Err(error),
            Written::To(path, mut file) => match file.flush() {
                Ok(()) => Ok(Some(path)),
                Err(error) => Err(broken(&path, &error)),
            },
        }
    }
}

fn broken(path: &Path, error: &io::Error) -> String {
    format!("the problems can't be written to {}: {error}; --problems FILE names another file", path.display())
}

fn open(wanted: &Path) -> io::Result<(PathBuf, File)> {
    let mut path = wanted.to_owned();
    // A device or a pipe is what it is.
    if wanted.metadata().is_ok_and(|metadata| !metadata.is_file() && !metadata.is_dir()) {
        let file = OpenOptions::new().write(true).open(wanted)?;
        return with_header(path, file);
    }
    for i in 2..=NAMES_MAX {
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(file) => return with_header(path, file),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                let mut name: OsString = wanted.file_stem().unwrap_or_default().to_owned();
                name.push(format!("-{i}"));
                if let Some(extension) = wanted.extension() {
                    name.push(".");
                    name.push(extension);
                }
                path.set_file_name(name);
            }
            Err(error) => return Err(error),
        }
    }
    Err(io::Error::new(ErrorKind::AlreadyExists, "there are too many such files; move them away"))
}

fn with_header(path: PathBuf, mut file: File) -> io::Result<(PathBuf, File)> {
    io::Write::write_all(&mut file, b"line,column,message\n")?;
    Ok((path, file))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::import::Problem;

    #[test]
    fn problems_never_go_over_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let wanted = folder.path().join("bad rows.csv");
        for name in ["bad rows.csv", "bad rows-2.csv", "bad rows-3.csv"] {
            let file = ProblemsFile::beside(&wanted);
            assert!(!folder.path().join(name).exists(), "it is made when there is something to say");
            file.add(&Problem::new(3, "date", "`=1` is not a date, \"sorry\""));
            file.add(&Problem::new(4, "", "this row has 2 fields"));
            assert_eq!(file.end(), Ok(Some(folder.path().join(name))));
            let text = std::fs::read_to_string(folder.path().join(name)).unwrap();
            assert_eq!(
                text,
                "line,column,message\n3,date,\"`=1` is not a date, \"\"sorry\"\"\"\n4,,this row has 2 fields\n"
            );
        }
        assert_eq!(ProblemsFile::beside(&wanted).end(), Ok(None));
    }

    #[test]
    fn a_place_that_can_not_be_written_is_said() {
        let file = ProblemsFile::beside(Path::new("/nowhere/at/all.csv"));
        file.add(&Problem::new(3, "date", "x"));
        file.add(&Problem::new(4, "date", "x"));
        assert!(file.end().unwrap_err().contains("--problems FILE names another"));
    }
}
