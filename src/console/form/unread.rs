//! What has come of a form in parts and is none of its parts yet: bounded.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, ready};

use axum::body::Body;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http_body_util::{BodyExt, Limited};

/// How much of a form in parts may come and be none of them, in bytes: the head of a part, and what stands before the first.
const UNREAD_MAX: usize = 256 * 1024;

/// How much has come of a form in parts since a part, or a piece of one, was made of it. What reads it would keep for as
/// long as it finds no end of a head whatever comes, and look through all of it again with each piece.
#[derive(Debug, Clone, Default)]
pub struct Unread(Arc<AtomicUsize>);

impl Unread {
    /// Something was made of it.
    pub fn is_read(&self) {
        self.0.store(0, Ordering::Relaxed);
    }

    /// The same body, in which there is never more than one piece at hand: whoever reads it takes all there is before
    /// it looks at any.
    pub fn one_by_one(&self, body: Limited<Body>) -> Body {
        let (unread, mut pieces, mut is_given) = (self.0.clone(), body.into_data_stream(), false);
        Body::from_stream(stream::poll_fn(move |context| {
            if is_given {
                is_given = false;
                context.waker().wake_by_ref();
                return Poll::Pending;
            }
            let piece = ready!(pieces.poll_next_unpin(context));
            is_given = true;
            let length = piece.as_ref().map_or(0, |piece| piece.as_ref().map_or(0, Bytes::len));
            if unread.fetch_add(length, Ordering::Relaxed) + length > UNREAD_MAX {
                return Poll::Ready(Some(Err("no part of a form is as long as that before it begins".into())));
            }
            Poll::Ready(piece)
        }))
    }
}
