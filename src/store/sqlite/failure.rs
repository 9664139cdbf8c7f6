//! What SQLite's errors mean to the caller.

use crate::store::StoreError;

/// The primary result codes, <https://www.sqlite.org/rescode.html>. sqlx gives the extended ones, which hold these in
/// their lowest byte.
const ERROR: i32 = 1;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const NOMEM: i32 = 7;
const READONLY: i32 = 8;
const INTERRUPT: i32 = 9;
const IOERR: i32 = 10;
const CORRUPT: i32 = 11;
const FULL: i32 = 13;
const CANTOPEN: i32 = 14;
const PROTOCOL: i32 = 15;
const NOTADB: i32 = 26;

pub fn failure(error: sqlx::Error) -> StoreError {
    let text = error.to_string();
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().and_then(|code| code.parse::<i32>().ok()).unwrap_or(ERROR);
            database(code & 0xff, error.message())
        }
        sqlx::Error::PoolTimedOut => StoreError::Conflict("other work of this process kept it for long".into()),
        // A connection whose transaction ended by itself; it is replaced before it is used again.
        sqlx::Error::InvalidSavePointStatement | sqlx::Error::BeginFailed => StoreError::Conflict(text),
        sqlx::Error::PoolClosed | sqlx::Error::WorkerCrashed | sqlx::Error::Io(_) => StoreError::Unavailable(text),
        sqlx::Error::ColumnDecode { .. } | sqlx::Error::Decode(_) => unreadable(&text),
        _ => StoreError::Rejected(text),
    }
}

fn database(code: i32, message: &str) -> StoreError {
    let message = message.to_owned();
    match code {
        // PROTOCOL: too many began to read or write at the same moment; the next try comes through.
        BUSY | LOCKED | PROTOCOL => StoreError::Conflict(message),
        NOMEM | INTERRUPT | IOERR | FULL => StoreError::Unavailable(message),
        READONLY => StoreError::Unusable(format!(
            "the database can't be written: {message}; mind the rights of its file and of the folder, in which SQLite \
             keeps two more files beside it"
        )),
        CORRUPT => StoreError::Unusable(format!("the database is damaged: {message}; restore it from a backup")),
        CANTOPEN => StoreError::Unusable(format!(
            "the database can't be opened: {message}; its folder must be writable too, since SQLite keeps two more \
             files there"
        )),
        NOTADB => StoreError::Unusable("the file is not a SQLite database".into()),
        ERROR if message.starts_with("no such table") || message.starts_with("no such column") => {
            StoreError::Unusable(format!("the database is not migrated ({message}); run `disconnectd migrate`"))
        }
        _ => StoreError::Rejected(message),
    }
}

/// A value that this program did not write. It is the trouble of whatever it belongs to, not of the database.
pub fn unreadable(what: &str) -> StoreError {
    StoreError::Rejected(format!("what it holds can't be read: {what}"))
}
