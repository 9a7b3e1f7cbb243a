//! Compresses the response of a unary call.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut as _, Bytes, BytesMut};
use http::Response;
use http_body::{Body as _, Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

use super::frames::PREFIX_BYTES;
use crate::grpc::compression::{ENCODING, Wanted};

/// Longer messages are compressed on another thread, as it would take longer than a turn may.
const OWN_THREAD_BYTES: usize = 64 * 1024;

/// Compresses the one message of the response, if it is long enough and gets shorter.
pub(super) async fn deflated(response: Response<Body>, wanted: Wanted) -> Response<Body> {
    if response.headers().contains_key("grpc-status") {
        // There is no message.
        return response;
    }
    let (mut head, mut body) = response.into_parts();
    let mut first = poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await;
    if let Some(Ok(frame)) = &first
        && let Some(bytes) = frame.data_ref()
        && bytes.len() > PREFIX_BYTES.saturating_add(wanted.from_bytes)
        && let Some(compressed) = compressed(bytes.clone(), wanted).await
    {
        head.headers.insert(ENCODING, wanted.encoding.header());
        first = Some(Ok(Frame::data(compressed)));
    }
    Response::from_parts(head, Body::new(Looked { first, body }))
}

/// Compresses a message with its prefix.
async fn compressed(bytes: Bytes, wanted: Wanted) -> Option<Bytes> {
    let length = bytes.len();
    let compress = move || {
        let (prefix, message) = bytes.split_at_checked(PREFIX_BYTES)?;
        // There is exactly one message.
        let announced = prefix.split_first_chunk::<1>().and_then(|(_, length)| length.first_chunk::<4>());
        let is_whole =
            announced.is_some_and(|length| usize::try_from(u32::from_be_bytes(*length)) == Ok(message.len()));
        let compressed = wanted.encoding.compress(message).filter(|_| is_whole)?;
        let mut framed = BytesMut::with_capacity(PREFIX_BYTES.saturating_add(compressed.len()));
        framed.put_u8(1);
        framed.put_u32(u32::try_from(compressed.len()).ok()?);
        framed.put_slice(&compressed);
        Some(framed.freeze())
    };
    if length > OWN_THREAD_BYTES { tokio::task::spawn_blocking(compress).await.ok().flatten() } else { compress() }
}

/// A body whose first frame was already taken.
struct Looked {
    first: Option<Result<Frame<Bytes>, Status>>,
    body: Body,
}

impl http_body::Body for Looked {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.first.take() {
            Some(first) => Poll::Ready(Some(first)),
            None => Pin::new(&mut self.body).poll_frame(context),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.first.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        if self.first.is_none() { self.body.size_hint() } else { SizeHint::default() }
    }
}
