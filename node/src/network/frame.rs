//! How a request or an answer lies on a stream: its length as four bytes, big-endian, then that
//! many bytes.

use std::io;

use futures::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use libp2p::StreamProtocol;
use libp2p::request_response::Codec;

/// Memory taken on the word of a length alone; the rest grows with the bytes that arrive.
const BYTES_TRUSTED: usize = 16 * 1024;

/// Reads and writes frames, refusing any that is larger than its limit.
#[derive(Debug, Clone)]
pub(super) struct FrameCodec {
    pub(super) request_bytes_max: usize,
    pub(super) response_bytes_max: usize,
}

impl Codec for FrameCodec {
    type Protocol = StreamProtocol;
    type Request = Vec<u8>;
    type Response = Vec<u8>;

    async fn read_request<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_frame(io, self.request_bytes_max).await
    }

    async fn read_response<T>(&mut self, _: &StreamProtocol, io: &mut T) -> io::Result<Vec<u8>>
    where
        T: AsyncRead + Unpin + Send,
    {
        read_frame(io, self.response_bytes_max).await
    }

    async fn write_request<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        body: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &body, self.request_bytes_max).await
    }

    async fn write_response<T>(
        &mut self,
        _: &StreamProtocol,
        io: &mut T,
        body: Vec<u8>,
    ) -> io::Result<()>
    where
        T: AsyncWrite + Unpin + Send,
    {
        write_frame(io, &body, self.response_bytes_max).await
    }
}

async fn read_frame<T>(io: &mut T, bytes_max: usize) -> io::Result<Vec<u8>>
where
    T: AsyncRead + Unpin + Send,
{
    let mut prefix = [0; 4];
    io.read_exact(&mut prefix).await?;
    let length = u32::from_be_bytes(prefix);
    let bytes = usize::try_from(length).unwrap_or(usize::MAX);
    if bytes > bytes_max {
        return Err(too_large(bytes, bytes_max));
    }
    let mut body = Vec::with_capacity(bytes.min(BYTES_TRUSTED));
    io.take(u64::from(length)).read_to_end(&mut body).await?;
    if body.len() < bytes {
        let text = format!("the frame has {bytes} bytes, {} arrived", body.len());
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
    }
    Ok(body)
}

async fn write_frame<T>(io: &mut T, body: &[u8], bytes_max: usize) -> io::Result<()>
where
    T: AsyncWrite + Unpin + Send,
{
    let prefix = u32::try_from(body.len())
        .ok()
        .filter(|_| body.len() <= bytes_max)
        .ok_or_else(|| too_large(body.len(), bytes_max))?;
    io.write_all(&prefix.to_be_bytes()).await?;
    io.write_all(body).await
}

fn too_large(bytes: usize, bytes_max: usize) -> io::Error {
    let text = format!("the frame has {bytes} bytes, at most {bytes_max} are allowed");
    io::Error::new(io::ErrorKind::InvalidData, text)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use futures::io::Cursor;

    use super::*;

    #[tokio::test]
    async fn a_frame_comes_back_as_it_was_written() {
        for body in [vec![], vec![7], vec![42; 100_000]] {
            let mut wire = Cursor::new(Vec::new());
            write_frame(&mut wire, &body, 100_000).await.unwrap();
            wire.set_position(0);
            assert_eq!(read_frame(&mut wire, 100_000).await.unwrap(), body);
        }
    }

    #[tokio::test]
    async fn an_oversized_frame_is_refused_before_it_is_read() {
        let mut wire = Cursor::new(u32::MAX.to_be_bytes().to_vec());
        let error = read_frame(&mut wire, 1024).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
        let error = write_frame(&mut Cursor::new(vec![]), &[0; 1025], 1024).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }

    #[tokio::test]
    async fn a_frame_cut_short_is_an_error() {
        let mut wire = Cursor::new(vec![0, 0, 0, 9, 1, 2, 3]);
        let error = read_frame(&mut wire, 1024).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }
}
