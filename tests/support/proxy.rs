//! A TCP proxy in front of a server, whose line can be cut, slow or silent, and which may come up late.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, watch};
use tokio::task::{JoinHandle, JoinSet};

/// A port that is taken, and answers nobody until [`Reserved::start`].
pub struct Reserved {
    socket: TcpSocket,
    pub at: SocketAddr,
}

impl Reserved {
    pub fn new() -> Self {
        Self::bind("127.0.0.1:0".parse().unwrap())
    }

    fn bind(at: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap(); // connections of a proxy that was there before may linger
        socket.bind(at).unwrap(); // not listening: connecting is refused
        let at = socket.local_addr().unwrap();
        Self { socket, at }
    }

    pub fn start(self, upstream: String) -> Proxy {
        Proxy::run(self.socket.listen(64).unwrap(), self.at, upstream)
    }
}

pub struct Proxy {
    pub at: SocketAddr,
    connections: Arc<Mutex<JoinSet<()>>>,
    accepting: JoinHandle<()>,
    /// Whether bytes pass.
    flowing: watch::Sender<bool>,
    /// Changes for connections that are to be forgotten.
    forgotten: watch::Sender<()>,
    line: Arc<Line>,
}

/// What becomes of the bytes on their way.
#[derive(Default)]
struct Line {
    /// How long each piece is held up.
    delay: Mutex<Duration>,
    /// The next connection that sends this ends behind it.
    ends_behind_commit: AtomicBool,
}

impl Proxy {
    pub fn start(upstream: String) -> Self {
        Reserved::new().start(upstream)
    }

    fn run(listener: TcpListener, at: SocketAddr, upstream: String) -> Self {
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let accepted = Arc::clone(&connections);
        let flowing = watch::Sender::new(true);
        let flow = flowing.subscribe();
        let forgotten = watch::Sender::new(());
        let forgetting = forgotten.clone();
        let line = Arc::new(Line::default());
        let lines = Arc::clone(&line);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (upstream, flow, mut forgotten) = (upstream.clone(), flow.clone(), forgetting.subscribe());
                let line = Arc::clone(&lines);
                accepted.lock().unwrap().spawn(async move {
                    if let Ok(server) = TcpStream::connect(&upstream).await {
                        let (mut from_client, mut to_client) = client.into_split();
                        let (mut from_server, mut to_server) = server.into_split();
                        let (ends, never) = (Notify::new(), Notify::new());
                        let both = async {
                            tokio::join!(
                                pass(&mut from_client, &mut to_server, flow.clone(), &line, &ends),
                                pass(&mut from_server, &mut to_client, flow, &line, &never),
                            )
                        };
                        tokio::select! {
                            _ = both => {}
                            () = ends.notified() => {}
                            _ = forgotten.changed() => {
                                drop((from_server, to_server));
                                std::future::pending::<()>().await; // the client's half stays open
                            }
                        }
                    }
                });
            }
        });
        Self { at, connections, accepting, flowing, forgotten, line }
    }

    /// Holds each piece up for so long, from now on; zero for no longer.
    pub fn delay(&self, by: Duration) {
        *self.line.delay.lock().unwrap() = by;
    }

    /// The next connection that sends a COMMIT ends right behind it: the server has it, and its answer is lost.
    pub fn end_behind_next_commit(&self) {
        self.line.ends_behind_commit.store(true, Ordering::SeqCst);
    }

    /// Breaks every connection, as a router that dies does. New ones are let through.
    pub fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }

    /// Connections stay open and new ones are taken, but no byte passes until [`Proxy::speak`].
    pub fn fall_silent(&self) {
        self.flowing.send_replace(false);
    }

    pub fn speak(&self) {
        self.flowing.send_replace(true);
    }

    /// The server loses every connection and the client is not told: what it asked is never answered. New ones are let
    /// through.
    pub fn forget(&self) {
        self.forgotten.send_replace(());
    }

    /// Breaks every connection and answers no more. The port stays taken, for a start later on.
    pub async fn stop(mut self) -> Reserved {
        self.accepting.abort();
        let _ = (&mut self.accepting).await; // gone, and its port with it
        self.cut();
        Reserved::bind(self.at)
    }
}

/// One direction of a connection, until its end or an error.
async fn pass(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut flow: watch::Receiver<bool>,
    line: &Line,
    ends: &Notify,
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let read = from.read(&mut buffer).await.unwrap_or(0);
        let delay = *line.delay.lock().unwrap();
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if flow.wait_for(|flowing| *flowing).await.is_err() {
            return;
        }
        if read == 0 {
            let _ = to.shutdown().await; // the other side may be gone as well
            return;
        }
        if to.write_all(&buffer[..read]).await.is_err() {
            return;
        }
        if line.ends_behind_commit.load(Ordering::SeqCst)
            && buffer[..read].windows(6).any(|bytes| bytes == b"COMMIT")
            && line.ends_behind_commit.swap(false, Ordering::SeqCst)
        {
            ends.notify_one();
        }
    }
}
