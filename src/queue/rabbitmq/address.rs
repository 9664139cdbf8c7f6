//! Where the broker is, and how its refusals are put into words. The password appears in none of them.

use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use lapin::ErrorKind;
use lapin::uri::{AMQPScheme, AMQPUri};
use url::Url;

use crate::tls::Trouble;

/// Seconds between heartbeats where the URL asks for no other: a peer that fell silent is noticed after twice as long.
/// RabbitMQ's own default is 60.
const HEARTBEAT_SECONDS: u16 = 10;

/// Where a CA is named that vouches for the broker.
pub const CA_SETTING: &str = "queue.ca_file, or in DISCONNECTD_QUEUE_CA_FILE";

/// Why a broker's URL can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    #[error("the queue's URL must begin with amqp:// or amqps://")]
    Scheme,
    #[error(
        "the queue's URL cannot be read: {0}. It has the form amqp://user:password@host:port/vhost; characters like \
         / # ? @ : in the password or the vhost are written percent-encoded (%2F for /)"
    )]
    Unreadable(String),
    #[error("the installation's id {0:?} cannot name queues: it must have 1 to 100 letters, digits, dashes or dots")]
    Installation(String),
}

#[derive(Debug, Clone)]
pub struct Address {
    pub uri: AMQPUri,
    /// Who vouches for the broker, in place of the CAs that the machine trusts.
    pub ca_file: Option<PathBuf>,
}

impl FromStr for Address {
    type Err = AddressError;

    fn from_str(text: &str) -> Result<Self, AddressError> {
        if !text.starts_with("amqp://") && !text.starts_with("amqps://") {
            return Err(AddressError::Scheme);
        }
        let unreadable = |reason: &dyn ToString| AddressError::Unreadable(reason.to_string());
        let url = Url::parse(text).map_err(|e| unreadable(&e))?;
        let mut uri = AMQPUri::from_str(text).map_err(|e| unreadable(&e))?;
        match url.host() {
            None | Some(url::Host::Domain("")) => return Err(unreadable(&"it names no host")),
            Some(url::Host::Domain(_)) => {}
            // The client reads names only, and would go to localhost for these.
            Some(url::Host::Ipv4(ip)) => uri.authority.host = ip.to_string(),
            Some(url::Host::Ipv6(ip)) => uri.authority.host = ip.to_string(),
        }
        if uri.vhost.is_empty() {
            "/".clone_into(&mut uri.vhost); // amqp://host/ means the default one to whoever writes it
        }
        uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
        Ok(Self { uri, ca_file: None })
    }
}

impl Address {
    fn host(&self) -> String {
        format!("{}:{}", self.uri.authority.host, self.uri.authority.port)
    }

    /// The error as a sentence for the person on call.
    pub fn explain(&self, error: &lapin::Error) -> String {
        let host = self.host();
        let user = &self.uri.authority.userinfo.username;
        match error.kind() {
            ErrorKind::ProtocolError(refusal) => {
                let said = refusal.get_message();
                match refusal.get_id() {
                    403 => format!(
                        "RabbitMQ at {host} refuses user {user:?}: {said}. Check the user, the password and the \
                         permissions on queues named disconnectd.*"
                    ),
                    530 => format!(
                        "RabbitMQ at {host} does not open the virtual host {:?} to user {user:?}: {said}. Create it, \
                         grant access to it, or name another one in the queue's URL",
                        self.uri.vhost
                    ),
                    _ => format!("RabbitMQ at {host} ended it: {said}"),
                }
            }
            ErrorKind::IOError(e) if self.uri.scheme == AMQPScheme::AMQPS => match Trouble::of(e, CA_SETTING) {
                Some(Trouble::Certificate(why)) => format!("RabbitMQ at {host} cannot be trusted: {why}"),
                Some(Trouble::Handshake(why)) => format!("RabbitMQ at {host} cannot be reached over TLS: {why}"),
                None => format!("RabbitMQ at {host} cannot be reached over TLS: {e}"),
            },
            ErrorKind::IOError(e) => format!("RabbitMQ at {host} cannot be reached: {e}"),
            ErrorKind::MissingHeartbeatError => format!("RabbitMQ at {host} fell silent: no heartbeat came"),
            _ => format!("the connection to RabbitMQ at {host} was lost: {error}"),
        }
    }

    /// Of a connection that was never there.
    pub fn explain_connecting(&self, error: &lapin::Error) -> String {
        let is_cut_off = match error.kind() {
            ErrorKind::ParsingError(_) => true,
            ErrorKind::IOError(e) => matches!(
                e.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::UnexpectedEof
            ),
            _ => false,
        };
        let explained = self.explain(error);
        // What a server answers that was not greeted as TLS begins; a restart looks alike.
        if is_cut_off && self.uri.scheme == AMQPScheme::AMQP {
            return format!("{explained}; if it takes TLS alone, begin the queue's URL with amqps://");
        }
        explained
    }

    pub fn untrusting(&self, reason: &str) -> String {
        format!("RabbitMQ at {} is not tried: {reason}", self.host())
    }

    pub fn timed_out(&self, doing: &str) -> String {
        format!("RabbitMQ at {} did not answer in time while {doing}", self.host())
    }
}

/// Installation ids go into queue names, which RabbitMQ limits to 255 bytes.
pub fn check_installation(id: &str) -> Result<(), AddressError> {
    let fits = (1..=100).contains(&id.len());
    if fits && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)) {
        return Ok(());
    }
    Err(AddressError::Installation(id.chars().take(100).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_its_writer_means_it() {
        let read = |text: &str| Address::from_str(text).map(|a| a.uri);
        let uri = read("amqp://u:p%2F@broker/").unwrap();
        assert_eq!((uri.authority.host.as_str(), uri.authority.port, uri.vhost.as_str()), ("broker", 5672, "/"));
        assert_eq!(uri.authority.userinfo.password, "p/");
        assert_eq!(uri.query.heartbeat, Some(HEARTBEAT_SECONDS));
        assert_eq!(read("amqp://u:p@[::1]:7/x").unwrap().authority.host, "::1");
        assert_eq!(read("amqp://127.0.0.1/%2f?heartbeat=30").unwrap().query.heartbeat, Some(30));
        assert_eq!(read("amqps://broker/v").unwrap().authority.port, 5671);
    }

    #[test]
    fn an_unreadable_address_is_explained_without_the_password() {
        for bad in ["http://u:sesame@h", "sesame", "amqp:u:sesame", "amqp://u:sesame#@h", "amqp://u:sesame@", "amqp://"]
        {
            let error = Address::from_str(bad).unwrap_err().to_string();
            assert!(!error.contains("sesame"), "{error}");
            assert!(error.contains("amqp://"), "{error}");
        }
    }

    #[test]
    fn an_installation_id_fits_into_a_queue_name() {
        assert_eq!(check_installation("0198c3e2-7f6a"), Ok(()));
        for bad in ["", "a b", "ü", &"x".repeat(101)] {
            assert!(check_installation(bad).is_err());
        }
    }
}
