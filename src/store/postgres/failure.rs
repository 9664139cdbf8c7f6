//! What went wrong, in the words of the port.

use crate::domain::refusal::Refusal;
use crate::store::StoreError;
use crate::tls::Trouble;

/// Inside a verb: what the database answered, or what is to be answered.
#[derive(Debug)]
pub(super) enum Failure {
    Sql(sqlx::Error),
    Store(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self::Store(StoreError::Refused(refusal))
    }
}

impl From<Failure> for StoreError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Sql(error) => store_error(error),
            Failure::Store(error) => error,
        }
    }
}

/// Holds a write to the number of rows that it was to touch. Less or more means that something else than the locks
/// allow has written.
pub(super) fn expect_rows(what: &str, expected: usize, found: u64) -> Result<(), Failure> {
    if u64::try_from(expected) == Ok(found) {
        return Ok(());
    }
    Err(StoreError::Rejected(format!("{what}: {found} rows were touched where it should be {expected}")).into())
}

/// Where a CA is named that vouches for the server.
const CA_SETTING: &str = "sslrootcert in the database URL";

/// What an error of the driver or the server means to the caller.
pub(super) fn store_error(error: sqlx::Error) -> StoreError {
    match error {
        sqlx::Error::Database(error) => {
            let code = error.code().unwrap_or_default();
            of_sqlstate(&code, error.message().to_owned())
        }
        sqlx::Error::PoolTimedOut => {
            let seconds = super::ACQUIRE_TIMEOUT.as_secs();
            StoreError::Unavailable(format!("no connection could be made, or came free, within {seconds} s"))
        }
        sqlx::Error::PoolClosed => StoreError::Unavailable("its connections are closed".into()),
        sqlx::Error::Io(error) => match Trouble::of(&error, CA_SETTING) {
            Some(Trouble::Certificate(why)) => {
                StoreError::Unusable(format!("the database's server cannot be trusted: {why}"))
            }
            Some(Trouble::Handshake(why)) => {
                StoreError::Unavailable(format!("the database can't be reached over TLS: {why}"))
            }
            None => StoreError::Unavailable(sqlx::Error::Io(error).to_string()),
        },
        sqlx::Error::Tls(error) => StoreError::Unusable(format!(
            "the database can't be reached over TLS, as its URL asks for ({error}): switch it on at the server (ssl = on), \
             or correct sslmode and sslrootcert in the database URL"
        )),
        error @ (sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed | sqlx::Error::BeginFailed) => {
            StoreError::Unavailable(error.to_string())
        }
        sqlx::Error::Configuration(error) => StoreError::Unusable(format!("the database can't be used: {error}")),
        error => StoreError::Rejected(error.to_string()),
    }
}

/// Source: PostgreSQL 15, appendix A, "PostgreSQL Error Codes".
fn of_sqlstate(code: &str, message: String) -> StoreError {
    match code {
        // Serialization failure, deadlock, lock timeout.
        "40001" | "40P01" | "55P03" => StoreError::Conflict(message),
        // Connection exceptions; out of resources; shutdown, crash and start; I/O; the idle transaction that was ended;
        // a server that turned into a standby.
        _ if ["08", "53", "57", "58"].contains(&code.get(..2).unwrap_or_default()) => StoreError::Unavailable(message),
        // 40003: nobody knows whether the statement was completed.
        "25P03" | "25006" | "40003" => StoreError::Unavailable(message),
        // Somebody migrated meanwhile; the next time it is planned afresh.
        "0A000" if message.contains("cached plan") => StoreError::Conflict(message),
        "XX001" | "XX002" => StoreError::Unusable(format!(
            "the database is damaged: {message}; restore it from a backup, or ask who looks after the server"
        )),
        "28000" if message.contains("no encryption") => StoreError::Unusable(format!(
            "the database refuses the login ({message}): it may take this user over TLS alone, so write \
             ?sslmode=verify-full at the end of the database URL"
        )),
        _ if code.starts_with("28") => StoreError::Unusable(format!(
            "the database refuses the login ({message}): check the user and the password in the database URL"
        )),
        "3D000" => StoreError::Unusable(format!("{message}: create it, or check the name in the database URL")),
        // An unknown table, column, function or schema.
        "42P01" | "42703" | "42883" | "3F000" => StoreError::Unusable(format!(
            "the database does not have the schema that this program needs ({message}): run `disconnectd migrate`"
        )),
        "42501" => StoreError::Unusable(format!(
            "{message}: the user in the database URL needs the right to do it (config/postgres-roles.sql grants what the \
             program needs, and is run again after `disconnectd migrate`)"
        )),
        "22021" => StoreError::Rejected(format!("a text has a character that PostgreSQL can't keep: {message}")),
        _ => StoreError::Rejected(message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sqlstate_says_whether_to_try_again() {
        for code in ["40001", "40P01", "55P03", "57P01", "57P03", "53300", "08006", "25P03", "25006", "40003"] {
            assert!(of_sqlstate(code, "x".into()).is_transient(), "{code}");
        }
        let replanned = of_sqlstate("0A000", "cached plan must not change result type".into());
        assert!(matches!(replanned, StoreError::Conflict(_)), "{replanned:?}");
        for code in ["28P01", "28000", "3D000", "42P01", "42501", "XX001", "XX002"] {
            assert!(matches!(of_sqlstate(code, "x".into()), StoreError::Unusable(_)), "{code}");
        }
        for code in ["22003", "22021", "23505", "23001", "P0001", "42601", "0A000", "XX000", ""] {
            assert!(matches!(of_sqlstate(code, "x".into()), StoreError::Rejected(_)), "{code}");
        }
    }
}
