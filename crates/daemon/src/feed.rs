//! Answers that come in pieces while something goes on.

use bytes::Bytes;
use serde::Serialize;
use tokio::sync::mpsc;

use crate::body::Body;

/// How far a producer may be ahead of its client.
const DEPTH: usize = 64;

/// The producer's end of an answer.
#[derive(Clone)]
pub(crate) struct Feed(mpsc::Sender<Bytes>);

impl Feed {
    /// Makes the two ends.
    pub(crate) fn new() -> (Self, Body) {
        let (sender, receiver) = mpsc::channel(DEPTH);
        (Self(sender), Body::Pieces(receiver))
    }

    /// Sends an object and a newline; false when the client is gone.
    pub(crate) async fn line<T: Serialize>(&self, value: &T) -> bool {
        let Ok(mut bytes) = serde_json::to_vec(value) else { return false };
        bytes.push(b'\n');
        self.0.send(bytes.into()).await.is_ok()
    }

    /// Waits until the client is gone.
    pub(crate) async fn gone(&self) {
        self.0.closed().await;
    }
}
