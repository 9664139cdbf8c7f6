//! Connections: no more at once than there is room for, and none that neither asks nor reads keeps its place.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::Sleep;

use crate::shutdown::Shutdown;

/// How long what is not used is kept, and how much of it.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How many are open at once. Whoever comes then waits in the queue of the operating system.
    open: usize,
    /// How long the head of a request may take to come, from its connection's begin or from the answer before it.
    head: Duration,
    /// How long nothing of an answer may be taken.
    answer: Duration,
}

impl Limits {
    /// A proxy keeps what it does not use for a minute, mostly, and would now and then send a request into the end of what
    /// is kept for less.
    pub const USUAL: Self = Self { open: 512, head: Duration::from_secs(75), answer: Duration::from_secs(30) };
}

/// How much of a request is held before its head is whole, in bytes: no more for each of those that are open. A browser's
/// cookies and the longest link of a page are a fraction of it.
const HEAD_MAX: usize = 64 * 1024;

/// Where the system gives no connection (it has no files left), it is asked again after that long.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Answers until `end`, then what is under way.
///
/// # Errors
/// None of one connection: those are its own.
pub async fn serve(router: Router, listener: TcpListener, limits: Limits, end: Shutdown) -> io::Result<()> {
    let (room, graceful) = (Arc::new(Semaphore::new(limits.open)), GracefulShutdown::new());
    let mut is_told = false;
    loop {
        let accepted = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            accepted = accepted => accepted,
            () = end.asked() => break,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            // It went away before it was its turn.
            Err(error) if matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset) => {
                continue;
            }
            Err(error) => {
                if !is_told {
                    tracing::error!(%error, "no connection can be taken; it is tried again");
                }
                is_told = true;
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        is_told = false;
        let stream = Timed { stream, stalled: None, limit: limits.answer };
        let service = TowerToHyperService::new(router.clone());
        let mut builder = http1::Builder::new();
        let connection = builder.timer(TokioTimer::new()).header_read_timeout(limits.head).max_buf_size(HEAD_MAX);
        let connection = graceful.watch(connection.serve_connection(TokioIo::new(stream), service));
        tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::trace!(%error, "a connection ended");
            }
            drop(place);
        });
    }
    drop(listener);
    graceful.shutdown().await;
    Ok(())
}

/// A connection whose writes are timed: one that nobody takes anything of for as long as the limit fails.
struct Timed {
    stream: TcpStream,
    stalled: Option<Pin<Box<Sleep>>>,
    limit: Duration,
}

impl Timed {
    /// What became of a write, and how long it waits already.
    fn within<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.stalled = None;
            return written;
        }
        let limit = self.limit;
        let stalled = self.stalled.get_or_insert_with(|| Box::pin(tokio::time::sleep(limit)));
        ready!(stalled.as_mut().poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "nobody reads the answer")))
    }
}

impl AsyncRead for Timed {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.get_mut().stream).poll_read(context, to)
    }
}

impl AsyncWrite for Timed {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = pin!(&mut this.stream).poll_write(context, bytes);
        this.within(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = pin!(&mut this.stream).poll_write_vectored(context, bytes);
        this.within(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let flushed = pin!(&mut this.stream).poll_flush(context);
        this.within(context, flushed)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        pin!(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::time::timeout;

    use super::*;

    const QUICK: Limits = Limits { open: 4, head: Duration::from_millis(500), answer: Duration::from_millis(500) };

    /// Long enough for a busy machine.
    const SOON: Duration = Duration::from_secs(20);

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n";

    /// Where it is served until the handle is dropped.
    async fn served() -> (std::net::SocketAddr, crate::shutdown::StopHandle) {
        let router = Router::new().fallback(get(|| async { "a".repeat(64 * 1_024) }));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = Shutdown::new();
        tokio::spawn(serve(router, listener, QUICK, stopped));
        (address, stop)
    }

    async fn is_closed(stream: &mut TcpStream) -> bool {
        timeout(SOON, stream.read_to_end(&mut Vec::new())).await.is_ok()
    }

    #[tokio::test]
    async fn whoever_does_not_ask_to_the_end_is_not_waited_for() {
        let (address, _stop) = served().await;
        let mut slow = Vec::new();
        for begin in [b"".as_slice(), b"GET / HTTP/1.1\r\nX-Slow:", REQUEST].into_iter().cycle().take(3 * QUICK.open) {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(begin).await.unwrap();
            slow.push(stream);
        }
        // Its turn comes behind those who were there before.
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        let mut begin = [0; 12];
        timeout(SOON, stream.read_exact(&mut begin)).await.unwrap().unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200");
        for stream in &mut slow {
            assert!(is_closed(stream).await);
        }
    }

    #[tokio::test]
    async fn whoever_asks_and_does_not_read_is_not_waited_for() {
        let (address, _stop) = served().await;
        let mut deaf = Vec::new();
        for _ in 0..QUICK.open {
            let mut stream = TcpStream::connect(address).await.unwrap();
            // More than the buffers of the system take.
            stream.write_all(&REQUEST.repeat(1_000)).await.unwrap();
            deaf.push(stream);
        }
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(REQUEST).await.unwrap();
        let mut begin = [0; 12];
        timeout(SOON, stream.read_exact(&mut begin)).await.unwrap().unwrap();
        assert_eq!(&begin, b"HTTP/1.1 200", "there is room again");
    }
}
