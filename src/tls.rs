//! TLS to the database and to the broker: whom to trust, and what is wrong with a server's certificate, in words.
//!
//! There is no way to switch off that RabbitMQ's certificate is checked. How PostgreSQL's is, its URL says (`sslmode`).

use std::fs;
use std::io;
use std::path::Path;

use chrono::{DateTime, Utc};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::{AlertDescription, CertificateError, Error, RootCertStore};

/// The certificates of a PEM file, each good to be trusted.
///
/// # Errors
/// A sentence that names the file.
pub fn authorities(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let file = path.display();
    let text = fs::read(path).map_err(|error| format!("the file {file} can't be read: {error}"))?;
    let wrong = |why: &dyn ToString| {
        format!("the file {file} can't be used: {}; it takes the certificates of CAs, in PEM", why.to_string())
    };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = found.map_err(|error| wrong(&error))?;
    if found.is_empty() {
        return Err(wrong(&"there is no certificate in it"));
    }
    let mut store = RootCertStore::empty();
    for certificate in &found {
        store.add(certificate.clone()).map_err(|error| wrong(&error))?;
    }
    Ok(found)
}

/// What stands against a handshake, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Its certificate was refused: it stays so until somebody does something.
    Certificate(String),
    /// Anything else. It may pass: a server that is starting, or a proxy before it, says strange things.
    Handshake(String),
}

impl Trouble {
    /// `None` where it was something else that failed. `setting` is where a CA is named.
    #[must_use]
    pub fn of(error: &io::Error, setting: &str) -> Option<Self> {
        let error = error.get_ref()?.downcast_ref::<Error>()?;
        Some(Self::Handshake(match error {
            Error::InvalidCertificate(why) => return Some(Self::Certificate(of_certificate(why, setting))),
            Error::InvalidMessage(_) => {
                "what answers there speaks no TLS; check the port, or ask for no TLS in the URL".to_owned()
            }
            Error::AlertReceived(AlertDescription::HandshakeFailure | AlertDescription::ProtocolVersion) => format!(
                "the server accepts none of the ways of encryption that this program has ({error}); let it take TLS 1.2 or 1.3"
            ),
            error => format!("the TLS handshake failed: {error}"),
        }))
    }
}

fn of_certificate(why: &CertificateError, setting: &str) -> String {
    match why {
        CertificateError::NotValidForNameContext { expected, presented } => {
            let expected = expected.to_str();
            let names = match presented.as_slice() {
                [] => "has no name in its subjectAltName (its common name does not count)".to_owned(),
                names => format!("is for {}", names.iter().map(|name| plain(name)).collect::<Vec<_>>().join(", ")),
            };
            format!(
                "the server's certificate {names}, not for {expected}: name the server in the URL as its certificate does, \
                 or have {expected} put into the certificate's subjectAltName"
            )
        }
        CertificateError::ExpiredContext { not_after, .. } => format!(
            "the server's certificate, or one of those above it, expired at {}: renew it, or set this machine's clock if \
             that is wrong",
            instant(*not_after)
        ),
        CertificateError::NotValidYetContext { not_before, .. } => format!(
            "the server's certificate, or one of those above it, is not valid before {}: set this machine's clock if that \
             is wrong, or else wait or have another one made",
            instant(*not_before)
        ),
        CertificateError::UnknownIssuer | CertificateError::BadSignature => format!(
            "the server's certificate is not from a CA that is trusted here: if it is the right server, name the file with \
             the certificate of its CA in {setting}"
        ),
        CertificateError::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
            "the server's certificate is that of a CA itself: have one made for the server, by that CA".to_owned()
        }
        other => format!("the server's certificate can't be accepted: {other}; have another one made for it"),
    }
}

/// `DnsName("db.example.com")` and `IpAddress(10.0.0.1)`, without their kind.
fn plain(name: &str) -> &str {
    let inner = name.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')'));
    inner.map_or(name, |inner| inner.trim_matches('"'))
}

fn instant(at: UnixTime) -> String {
    let at = i64::try_from(at.as_secs()).ok().and_then(|seconds| DateTime::<Utc>::from_timestamp(seconds, 0));
    at.map_or_else(|| "an unknown time".to_owned(), |at| at.format("%Y-%m-%d %H:%M:%S UTC").to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustls::InvalidMessage;

    #[test]
    fn a_file_that_names_no_authority_is_refused_by_its_name() {
        let folder = tempfile::tempdir().unwrap();
        let missing = folder.path().join("missing.pem");
        assert!(authorities(&missing).unwrap_err().contains("missing.pem can't be read"));
        for (content, part) in [
            ("", "there is no certificate in it"),
            ("hello", "there is no certificate in it"),
            ("-----BEGIN CERTIFICATE-----\nhello\n", "in PEM"),
            ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "in PEM"),
        ] {
            let path = folder.path().join("ca.pem");
            fs::write(&path, content).unwrap();
            let error = authorities(&path).unwrap_err();
            assert!(error.contains("ca.pem") && error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_no_trouble_of_tls_is_left_to_others() {
        assert_eq!(Trouble::of(&io::ErrorKind::ConnectionRefused.into(), "x"), None);
        assert_eq!(Trouble::of(&io::Error::other("x"), "x"), None);
    }

    #[test]
    fn a_certificate_stays_refused_and_any_other_trouble_may_pass() {
        let of = |error| Trouble::of(&io::Error::other(error), "x").unwrap();
        assert!(matches!(of(Error::InvalidCertificate(CertificateError::UnknownIssuer)), Trouble::Certificate(_)));
        for passing in [
            Error::InvalidMessage(InvalidMessage::InvalidContentType),
            Error::AlertReceived(AlertDescription::InternalError),
            Error::AlertReceived(AlertDescription::HandshakeFailure),
            Error::General("cut off".into()),
        ] {
            assert!(matches!(of(passing), Trouble::Handshake(_)));
        }
    }

    #[test]
    fn names_are_shown_as_people_write_them() {
        assert_eq!(plain("DnsName(\"db.example.com\")"), "db.example.com");
        assert_eq!(plain("IpAddress(10.0.0.1)"), "10.0.0.1");
        assert_eq!(plain("DirectoryName"), "DirectoryName");
    }
}
