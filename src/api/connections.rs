//! Connections: no more at once than there is room for, and none that asks for nothing keeps its place.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::shutdown::Shutdown;

/// How many are open at once. Whoever comes then waits in the queue of the operating system.
const OPEN_MAX: usize = 512;

/// How long the head of a request may take to come, from its connection's begin or from the answer before it.
const HEAD_MAX: Duration = Duration::from_secs(10);

/// Where the system gives no connection (it has no files left), it is asked again after that long.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// Answers until `end`, then what is under way.
///
/// # Errors
/// None of one connection: those are its own.
pub async fn serve(router: Router, listener: TcpListener, end: Shutdown) -> io::Result<()> {
    let (room, graceful) = (Arc::new(Semaphore::new(OPEN_MAX)), GracefulShutdown::new());
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
            Err(error) => {
                tracing::debug!(%error, "no connection can be taken now");
                tokio::time::sleep(ACCEPT_AGAIN).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let mut builder = http1::Builder::new();
        let connection = builder.timer(TokioTimer::new()).header_read_timeout(HEAD_MAX);
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
