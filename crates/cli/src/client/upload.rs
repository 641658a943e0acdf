//! Bodies that are read from a blocking source while they are sent.

use std::io::{self, Read};
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Frame;
use tokio::sync::mpsc;

use super::Body;

const PIECE_BYTES: usize = 128 * 1024;

/// Where a thread puts the pieces of a body.
pub(crate) struct Pieces(mpsc::Sender<io::Result<Frame<Bytes>>>);

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = Ok(Frame::data(Bytes::copy_from_slice(bytes)));
        self.0.blocking_send(piece).map_err(|_| io::ErrorKind::BrokenPipe)?;
        Ok(bytes.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A body that `fill` writes on a thread of its own; its failure breaks the request off.
pub(crate) fn written_by(
    fill: impl FnOnce(&mut Pieces) -> io::Result<()> + Send + 'static,
) -> Body {
    let (sender, mut receiver) = mpsc::channel(8);
    thread::spawn(move || {
        let mut pieces = Pieces(sender);
        if let Err(error) = fill(&mut pieces) {
            let _ = pieces.0.blocking_send(Err(error));
        }
    });
    StreamBody::new(futures_util::stream::poll_fn(move |context| receiver.poll_recv(context)))
        .boxed()
}

/// A body that is `source` to its end.
pub(crate) fn read_from(mut source: impl Read + Send + 'static) -> Body {
    written_by(move |pieces| {
        let mut buffer = vec![0; PIECE_BYTES];
        loop {
            match source.read(&mut buffer)? {
                0 => return Ok(()),
                read => io::Write::write_all(pieces, &buffer[..read])?,
            }
        }
    })
}
