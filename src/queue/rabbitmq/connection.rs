//! One connection to the broker, kept up for ever.
//!
//! The client's own recovery stays off: it gives up in the end, can deliver twice the prefetch, and lets an old
//! acknowledgement hit a new channel. Here a broken connection is thrown away whole, and a new one made.

use std::io::ErrorKind;
use std::net::{Shutdown, TcpStream};
use std::os::fd::AsFd;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use lapin::tcp::{AsyncTcpStream, RustlsConnector, RustlsConnectorConfig};
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::watch;
use tokio::time::{Instant, interval, sleep, timeout};

use super::address::{Address, CA_SETTING};
use super::board::{Board, Role};
use super::topology::Queues;
use crate::queue::Connectivity;
use crate::tls;

/// For the connection with its handshake, and as long again for the queues. A broker under load takes seconds.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// For opening a channel.
const CHANNEL_TIMEOUT: Duration = Duration::from_secs(5);
/// For saying goodbye; then the socket is shut.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);
/// How often a connection is looked at, in case the client reports its end to nobody.
const CHECK_EVERY: Duration = Duration::from_secs(1);
/// Waits between attempts double from the first to the second, less up to a half at random.
const BACKOFF_FIRST: Duration = Duration::from_millis(100);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// A connection that comes and goes. Its supervisor makes it; publishers and consumers borrow it while it is there.
pub struct Link {
    role: Role,
    address: Address,
    queues: Queues,
    board: Arc<Board>,
    wire: watch::Sender<Option<Arc<Wire>>>,
}

impl Link {
    pub fn new(role: Role, address: Address, queues: Queues, board: Arc<Board>) -> Self {
        Self { role, address, queues, board, wire: watch::Sender::new(None) }
    }

    /// The connection, where there is one right now.
    pub fn wire(&self) -> Option<Arc<Wire>> {
        self.wire.borrow().as_ref().filter(|wire| wire.is_open()).cloned()
    }

    /// Waits for a connection, for ever.
    pub async fn wait(&self) -> Arc<Wire> {
        let mut wires = self.wire.subscribe();
        loop {
            if let Some(wire) = wires.borrow_and_update().as_ref().filter(|wire| wire.is_open()) {
                return Arc::clone(wire);
            }
            if wires.changed().await.is_err() {
                std::future::pending::<()>().await; // the sender is in self: it does not go away
            }
        }
    }

    /// Connects again and again until `closing`.
    pub async fn supervise(self: Arc<Self>, mut closing: watch::Receiver<bool>) {
        let mut backoff = Backoff::default();
        let mut connected_before = false;
        loop {
            let attempt = tokio::select! {
                biased;
                () = said(&mut closing) => break,
                attempt = self.connect() => attempt,
            };
            let reason = match attempt {
                Ok(wire) => {
                    if std::mem::replace(&mut connected_before, true) {
                        metrics::counter!("disconnectd_queue_reconnects_total", "connection" => self.role.as_str())
                            .increment(1);
                    }
                    let wire = Arc::new(wire);
                    self.wire.send_replace(Some(Arc::clone(&wire)));
                    self.board.set(self.role, Connectivity::Up);
                    let since = Instant::now();
                    let end = self.attend(&wire, &mut closing).await;
                    self.wire.send_replace(None);
                    if let End::Broken(reason) = &end {
                        self.board.set(self.role, Connectivity::Down(reason.clone()));
                        wire.give_up(reason.clone());
                    }
                    wire.hang_up().await;
                    match end {
                        End::Closing => break,
                        End::Broken(reason) => {
                            if since.elapsed() > BACKOFF_MAX {
                                backoff = Backoff::default(); // else it flaps
                            }
                            reason
                        }
                    }
                }
                Err(reason) => reason,
            };
            self.board.set(self.role, Connectivity::Down(reason));
            tokio::select! {
                biased;
                () = said(&mut closing) => break,
                () = sleep(backoff.next()) => {}
            }
        }
        self.board.close(self.role);
    }

    /// One attempt: a connection with the queues declared, or why not.
    async fn connect(&self) -> Result<Wire, String> {
        let address = &self.address;
        let plug = Arc::new(Plug::default());
        let weak = Arc::downgrade(&plug);
        let runtime = lapin::runtime::default_runtime().map_err(|e| address.explain(&e))?;
        let connector = match address.uri.scheme {
            AMQPScheme::AMQP => None,
            AMQPScheme::AMQPS => {
                Some(connector(address.ca_file.as_deref()).map_err(|reason| address.untrusting(&reason))?)
            }
        };
        let properties = ConnectionProperties::default()
            .with_connection_name(format!("disconnectd {} {}", self.role.as_str(), self.queues.single).into());
        // Runs on the client's own thread, which nothing else could end: hence a timeout of its own in here, and the
        // plug, by which the socket is shut when this attempt was given up or the handshake never ends.
        let connecting = Connection::connector(
            address.uri.clone(),
            runtime,
            async move |uri: AMQPUri, runtime| {
                let host = uri.authority.host.as_str();
                let opened = timeout(CONNECT_TIMEOUT, async {
                    let addresses: Vec<_> = tokio::net::lookup_host((host, uri.authority.port)).await?.collect();
                    let stream = AsyncTcpStream::connect(&runtime, addresses).await?;
                    match (&stream, weak.upgrade()) {
                        (AsyncTcpStream::Plain(socket), Some(plug)) => {
                            plug.hold(socket.get_ref().as_fd().try_clone_to_owned()?.into())?;
                        }
                        _ => return Err(ErrorKind::ConnectionAborted.into()),
                    }
                    match &connector {
                        None => Ok(stream),
                        Some(connector) => stream.into_rustls(connector, host).await,
                    }
                });
                opened.await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into())).map_err(lapin::Error::from)
            },
            properties,
        );
        let connection = match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connection) => connection.map_err(|e| address.explain_connecting(&e))?,
            Err(_) => return Err(address.timed_out("connecting")),
        };
        let wire = Wire {
            connection,
            plug,
            address: address.clone(),
            given_up: watch::Sender::new(None),
            confirming: Mutex::default(),
        };
        match timeout(CONNECT_TIMEOUT, super::declare(&wire, &self.queues)).await {
            Ok(Ok(_)) => Ok(wire),
            Ok(Err(reason)) => {
                wire.hang_up().await;
                Err(reason)
            }
            Err(_) => Err(address.timed_out("declaring the queues")),
        }
    }

    /// Watches a connection until it ends.
    async fn attend(&self, wire: &Wire, closing: &mut watch::Receiver<bool>) -> End {
        let mut events = std::pin::pin!(wire.connection.events_listener());
        let mut checks = interval(CHECK_EVERY);
        let mut last_error = None;
        loop {
            tokio::select! {
                biased;
                () = said(closing) => return End::Closing,
                reason = wire.given_up() => return End::Broken(reason),
                event = events.next() => match event {
                    // Nothing can be published meanwhile, and nothing says for how long.
                    Some(Event::ConnectionBlocked(reason)) => self.board.set(self.role, Connectivity::Down(format!(
                        "RabbitMQ takes no messages at the moment: {reason}. It needs memory or disk space"
                    ))),
                    Some(Event::ConnectionUnblocked) => self.board.set(self.role, Connectivity::Up),
                    Some(Event::Error(error)) => last_error = Some(error), // perhaps a channel's only
                    Some(_) => {}
                    None => return End::Broken(self.address.explain(&lost())),
                },
                _ = checks.tick() => {}
            }
            if !wire.connection.status().connected() {
                return End::Broken(self.address.explain(&last_error.unwrap_or_else(lost)));
            }
        }
    }
}

/// Trusts the CAs of the file and no others, else those of the machine. The file is read for each connection, so that
/// a renewed one needs no restart.
fn connector(ca_file: Option<&Path>) -> Result<RustlsConnector, String> {
    let config = match ca_file {
        Some(path) => RustlsConnectorConfig::default().with_parsable_certificates(tls::authorities(path)?),
        None => RustlsConnectorConfig::new_with_native_certs()
            .map_err(|error| format!("this machine has no CAs that it trusts ({error}); name one in {CA_SETTING}"))?,
    };
    config.connector_with_no_client_auth().map_err(|error| error.to_string())
}

enum End {
    Closing,
    Broken(String),
}

fn lost() -> lapin::Error {
    std::io::Error::from(ErrorKind::ConnectionAborted).into()
}

/// Waits until `flag` says true. The end of its sender counts: nobody is left to work for.
pub async fn said(flag: &mut watch::Receiver<bool>) {
    let _ = flag.wait_for(|said| *said).await;
}

/// A connection that is there.
pub struct Wire {
    connection: Connection,
    plug: Arc<Plug>,
    pub address: Address,
    given_up: watch::Sender<Option<String>>,
    /// Channels with confirms switched on that no publish uses right now.
    pub confirming: Mutex<Vec<Channel>>,
}

impl Wire {
    pub fn is_open(&self) -> bool {
        self.connection.status().connected() && self.given_up.borrow().is_none()
    }

    /// Whether the broker takes no messages at the moment (it is out of memory or disk space).
    pub fn is_blocked(&self) -> bool {
        self.connection.status().blocked()
    }

    pub async fn open_channel(&self) -> Result<Channel, String> {
        match timeout(CHANNEL_TIMEOUT, self.connection.create_channel()).await {
            Ok(channel) => channel.map_err(|e| self.address.explain(&e)),
            Err(_) => Err(self.address.timed_out("opening a channel")),
        }
    }

    /// Called by whoever finds that the connection is of no use any more. Its supervisor makes another one.
    pub fn give_up(&self, reason: String) {
        self.given_up.send_if_modified(|given_up| {
            let first = given_up.is_none();
            given_up.get_or_insert(reason);
            first
        });
    }

    /// Waits until somebody gave it up, and says why.
    pub async fn given_up(&self) -> String {
        let mut given_up = self.given_up.subscribe();
        let reason = given_up.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| reason.clone()).unwrap_or_default() // the sender is in self: never an error
    }

    /// Ends it, gently where the broker still listens. What was queued before, acknowledgements too, goes out first.
    async fn hang_up(&self) {
        if self.connection.status().connected() {
            let _ = timeout(CLOSE_TIMEOUT, self.connection.close(200, "OK".into())).await;
        }
        self.plug.pull();
    }
}

/// Asks for the channel to be closed and does not wait for the answer.
pub fn close_quietly(channel: &Channel) {
    let closing = futures_util::FutureExt::now_or_never(channel.close(200, "OK".into())); // sent by the first poll
    drop(closing);
}

/// A second handle on a connection's socket, to shut it where the client can't: while it hangs in a handshake, or may
/// not write because the broker blocked it.
#[derive(Default)]
struct Plug(OnceLock<TcpStream>);

impl Plug {
    fn hold(&self, socket: TcpStream) -> std::io::Result<()> {
        socket.set_nodelay(true)?; // acknowledgements are small and wait for nothing
        let _ = self.0.set(socket); // one connection, one socket: it was empty
        Ok(())
    }

    fn pull(&self) {
        if let Some(socket) = self.0.get() {
            let _ = socket.shutdown(Shutdown::Both); // an error means that it is shut
        }
    }
}

impl Drop for Plug {
    fn drop(&mut self) {
        self.pull();
    }
}

/// The waits between attempts.
pub struct Backoff(Duration);

impl Default for Backoff {
    fn default() -> Self {
        Self(BACKOFF_FIRST)
    }
}

impl Backoff {
    pub fn next(&mut self) -> Duration {
        let wait = self.0;
        self.0 = wait.saturating_mul(2).min(BACKOFF_MAX);
        wait.mul_f64(rand::random_range(0.5..=1.0)) // so that a fleet does not come back in step
    }
}

/// A lock that a panic elsewhere does not take away.
pub fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
