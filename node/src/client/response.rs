//! Reading an HTTP/1.1 response (RFC 9112) from our own server.

use std::io::{self, BufRead, BufReader, Read};
use std::os::unix::net::UnixStream;

use super::ClientError;

/// Longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 32;

/// The body of an answer.
#[derive(Debug)]
pub struct Body {
    reader: BufReader<UnixStream>,
    framing: Framing,
}

#[derive(Debug)]
enum Framing {
    /// So many bytes are left.
    Length(u64),
    /// In chunks, of the current one of which so many bytes are left.
    Chunked(u64),
    /// Until the connection ends.
    ToEnd,
    /// Nothing is left.
    Done,
}

impl Body {
    /// From now on a read waits as long as it takes.
    ///
    /// # Errors
    /// What the system says.
    pub fn wait_for_ever(&self) -> io::Result<()> {
        self.reader.get_ref().set_read_timeout(None)
    }

    fn next_chunk(&mut self) -> io::Result<u64> {
        let mut line = String::new();
        // The line end of the chunk before, if there was one, is an empty line.
        while line.trim().is_empty() {
            line.clear();
            if self.reader.by_ref().take(64).read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let size = line.split(';').next().unwrap_or_default().trim();
        u64::from_str_radix(size, 16).map_err(|_| io::Error::other("a chunk's size is no number"))
    }

    fn read_at_most(&mut self, buffer: &mut [u8], left: u64) -> io::Result<u64> {
        let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        match self.reader.read(&mut buffer[..most])? {
            0 if most > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            count => Ok(count as u64),
        }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if let Framing::Chunked(0) = self.framing {
            self.framing = match self.next_chunk()? {
                0 => Framing::Done,
                size => Framing::Chunked(size),
            };
        }
        let (count, framing) = match self.framing {
            Framing::Done | Framing::Length(0) => (0, Framing::Done),
            Framing::ToEnd => return self.reader.read(buffer),
            Framing::Length(left) => {
                let count = self.read_at_most(buffer, left)?;
                (count, Framing::Length(left - count))
            }
            Framing::Chunked(left) => {
                let count = self.read_at_most(buffer, left)?;
                (count, Framing::Chunked(left - count))
            }
        };
        self.framing = framing;
        // At most the buffer's length.
        Ok(usize::try_from(count).unwrap_or(buffer.len()))
    }
}

/// Reads the head; the status and the body that follows.
pub(super) fn read(stream: UnixStream) -> Result<(u16, Body), ClientError> {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let left = HEAD_BYTES_MAX.saturating_sub(head.len()) as u64;
        if reader.by_ref().take(left).read_until(b'\n', &mut head)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
    }
    let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
    let mut response = httparse::Response::new(&mut headers);
    response.parse(&head).map_err(|error| ClientError::Answer(error.to_string()))?;
    let status = response.code.unwrap_or_default();
    let value = |name: &str| {
        let header = response.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
        header.and_then(|header| std::str::from_utf8(header.value).ok()).map(str::trim)
    };
    let framing = if status == 204 || status == 304 {
        Framing::Done
    } else if value("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        Framing::Chunked(0)
    } else if let Some(length) = value("content-length") {
        let length = length.parse().map_err(|_| ClientError::Answer("its length is no number".to_owned()))?;
        Framing::Length(length)
    } else {
        Framing::ToEnd
    };
    Ok((status, Body { reader, framing }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn respond(text: &[u8]) -> Result<(u16, Vec<u8>), String> {
        let (mut server, client) = UnixStream::pair().unwrap();
        server.write_all(text).unwrap();
        drop(server);
        let (status, mut body) = read(client).map_err(|error| error.to_string())?;
        let mut bytes = Vec::new();
        body.read_to_end(&mut bytes).map_err(|error| error.to_string())?;
        Ok((status, bytes))
    }

    #[test]
    fn bodies_end_where_their_framing_says() {
        let ok = |text: &[u8]| respond(text).unwrap();
        assert_eq!(ok(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi!"), (200, b"hi".to_vec()));
        assert_eq!(ok(b"HTTP/1.1 200 OK\r\n\r\nhi!"), (200, b"hi!".to_vec()));
        assert_eq!(ok(b"HTTP/1.1 204 No Content\r\n\r\n"), (204, vec![]));
        let chunks = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\nA;x=y\r\n0123456789\r\n0\r\n\r\n";
        assert_eq!(ok(chunks), (200, b"hi0123456789".to_vec()));
    }

    #[test]
    fn what_is_cut_short_or_wrong_is_an_error() {
        for text in [
            &b""[..],
            b"HTTP/1.1 200 OK\r\n",
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\nhi",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhi",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nhi",
        ] {
            assert!(respond(text).is_err(), "{}", String::from_utf8_lossy(text));
        }
        assert!(respond(&vec![b'x'; 2 * HEAD_BYTES_MAX]).is_err());
    }
}
