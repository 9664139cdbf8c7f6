//! A TCP proxy in front of the broker, whose line can be cut, and which may come up late.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// A port that is taken, and answers nobody until [`Reserved::start`].
pub struct Reserved {
    socket: tokio::net::TcpSocket,
    pub at: SocketAddr,
}

impl Reserved {
    pub fn new() -> Self {
        Self::at("127.0.0.1:0".parse().unwrap())
    }

    /// Where a proxy was before.
    pub fn at(at: SocketAddr) -> Self {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap(); // its old connections are remembered for a while
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
}

impl Proxy {
    pub fn start(upstream: String) -> Self {
        Reserved::new().start(upstream)
    }

    fn run(listener: TcpListener, at: SocketAddr, upstream: String) -> Self {
        let connections = Arc::new(Mutex::new(JoinSet::new()));
        let accepted = Arc::clone(&connections);
        let accepting = tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                let upstream = upstream.clone();
                accepted.lock().unwrap().spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(&upstream).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { at, connections, accepting }
    }

    /// Breaks every connection, as a router that dies does. New ones are let through.
    pub fn cut(&self) {
        self.connections.lock().unwrap().abort_all();
    }

    /// Breaks every connection and answers no more.
    pub async fn stop(mut self) {
        self.accepting.abort();
        let _ = (&mut self.accepting).await; // gone, and its port with it
        self.cut();
    }
}
