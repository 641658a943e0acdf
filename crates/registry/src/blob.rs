use std::fmt;

use bytes::Bytes;
use reqwest::header::CONTENT_RANGE;
use reqwest::{Response, StatusCode};
use tokio::time::sleep;
use types::{Digest, Reference};

use crate::client::{Client, Target};
use crate::http::{shown, unreachable};
use crate::{Auth, Error};

/// The bytes of one blob from an offset to its end; takes up a dropped connection where it broke.
pub struct BlobStream {
    client: Client,
    reference: Reference,
    digest: Digest,
    auth: Auth,
    size: u64,
    /// Where the next byte belongs.
    position: u64,
    /// Bytes to pass over: the registry ignored the range.
    skip: u64,
    response: Option<Response>,
    /// Drops since the last byte came.
    drops: u32,
}

impl fmt::Debug for BlobStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlobStream")
            .field("digest", &self.digest)
            .field("position", &self.position)
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

impl BlobStream {
    pub(crate) async fn open(
        client: Client,
        reference: &Reference,
        digest: &Digest,
        size: u64,
        offset: u64,
        auth: Option<&Auth>,
    ) -> Result<Self, Error> {
        let mut stream = Self {
            client,
            reference: reference.clone(),
            digest: digest.clone(),
            auth: auth.cloned().unwrap_or_default(),
            size,
            position: offset.min(size),
            skip: 0,
            response: None,
            drops: 0,
        };
        if stream.position < size {
            stream.connect(stream.position).await?;
        }
        Ok(stream)
    }

    /// Returns the length of the whole blob in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Returns the next bytes; none at the end, which is reached only at the promised length.
    ///
    /// # Errors
    /// Unavailable once taking it up again does not help either; Invalid if the blob is longer than promised.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Error> {
        while self.position < self.size {
            if self.response.is_none() {
                self.connect(self.position).await?;
            }
            let Some(response) = &mut self.response else { continue };
            let url = response.url().clone();
            match response.chunk().await {
                Ok(Some(chunk)) => {
                    if let Some(bytes) = self.accept(chunk)? {
                        return Ok(Some(bytes));
                    }
                }
                Ok(None) => {
                    let actual = self.position;
                    let short = self.wrong_length(actual);
                    self.dropped(short).await?;
                }
                Err(error) => self.dropped(unreachable("read", &url, error)).await?,
            }
        }
        self.response = None;
        Ok(None)
    }

    /// Passes over what is here already, and refuses what is beyond the end.
    fn accept(&mut self, mut chunk: Bytes) -> Result<Option<Bytes>, Error> {
        let skipped = self.skip.min(chunk.len() as u64);
        self.skip -= skipped;
        let _ = chunk.split_to(usize::try_from(skipped).unwrap_or(chunk.len()));
        if chunk.is_empty() {
            return Ok(None);
        }
        let end = self.position + chunk.len() as u64;
        if end > self.size {
            return Err(self.wrong_length(end));
        }
        self.position = end;
        self.drops = 0;
        Ok(Some(chunk))
    }

    fn wrong_length(&self, actual: u64) -> Error {
        Error::WrongLength { digest: self.digest.clone(), expected: self.size, actual }
    }

    async fn dropped(&mut self, error: Error) -> Result<(), Error> {
        self.response = None;
        self.drops += 1;
        let patience = self.client.patience();
        if self.drops >= patience.attempts {
            return Err(error);
        }
        tracing::debug!(blob = %self.digest, position = self.position, %error, "blob taken up again");
        sleep(patience.pause_after(self.drops - 1)).await;
        Ok(())
    }

    async fn connect(&mut self, from: u64) -> Result<(), Error> {
        let mut response = self.request(from).await?;
        if response.status() == StatusCode::RANGE_NOT_SATISFIABLE {
            response = self.request(0).await?;
        }
        self.skip = match response.status() {
            StatusCode::PARTIAL_CONTENT if range_start(&response) == Some(from) => 0,
            StatusCode::OK => from,
            status => {
                return Err(Error::Protocol {
                    url: shown(response.url()),
                    reason: format!("status {status} with another range than the one asked for"),
                });
            }
        };
        self.response = Some(response);
        Ok(())
    }

    async fn request(&self, range_from: u64) -> Result<Response, Error> {
        let target = Target {
            reference: &self.reference,
            auth: &self.auth,
            verb: "get",
            path: format!("blobs/{}", self.digest),
            range_from,
        };
        self.client.fetch(&target).await
    }
}

/// `Content-Range: bytes 100-199/200`
fn range_start(response: &Response) -> Option<u64> {
    let text = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    text.strip_prefix("bytes ")?.split('-').next()?.trim().parse().ok()
}
