//! QUIC's variable-length integers (RFC 9000, section 16), and messages behind their length.

use quinn::RecvStream;

use crate::call::Failure;

pub fn put_varint(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x3f => out.push(value as u8),
        0x40..=0x3fff => out.extend((value as u16 | 0x4000).to_be_bytes()),
        0x4000..=0x3fff_ffff => out.extend((value as u32 | 0x8000_0000).to_be_bytes()),
        _ => out.extend((value | 0xc000_0000_0000_0000).to_be_bytes()),
    }
}

/// The value and its size; `None` where bytes are missing.
pub fn get_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let first = *bytes.first()?;
    let size = 1usize << (first >> 6);
    let rest = bytes.get(1..size)?;
    Some((rest.iter().fold(u64::from(first & 0x3f), |value, byte| value << 8 | u64::from(*byte)), size))
}

/// The body behind its length.
pub fn prefixed(body: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 4);
    put_varint(&mut out, body.len() as u64);
    out.extend_from_slice(body);
    out
}

/// A stream of messages, each behind its length.
pub struct Prefixed {
    stream: RecvStream,
    buffer: Vec<u8>,
    read: usize,
}

impl Prefixed {
    pub fn new(stream: RecvStream) -> Self {
        Self { stream, buffer: vec![], read: 0 }
    }

    /// The next message; `None` at the stream's end.
    pub async fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            if let Some((length, size)) = get_varint(&self.buffer[self.read..]) {
                let (from, to) = (self.read + size, self.read + size + length as usize);
                if self.buffer.len() >= to {
                    self.read = to;
                    return Ok(Some(self.buffer[from..to].to_vec()));
                }
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    pub async fn varint(&mut self) -> Result<Option<u64>, Failure> {
        loop {
            if let Some((value, size)) = get_varint(&self.buffer[self.read..]) {
                self.read += size;
                return Ok(Some(value));
            }
            if !self.more().await? {
                return Ok(None);
            }
        }
    }

    pub async fn discard(&mut self) {
        while let Ok(true) = self.more().await {
            self.read = self.buffer.len();
        }
    }

    async fn more(&mut self) -> Result<bool, Failure> {
        self.buffer.drain(..self.read);
        self.read = 0;
        match self.stream.read_chunk(65_536, true).await? {
            Some(chunk) => {
                self.buffer.extend_from_slice(&chunk.bytes);
                Ok(true)
            }
            None => Ok(false),
        }
    }
}
