//! One bidirectional QUIC stream of messages that the server echoes: kind (1 byte), number (4 bytes), payload.

use std::net::SocketAddr;
use std::rc::Rc;

use quinn::{Connection, Endpoint, SendStream, VarInt};
use tokio::task::spawn_local;

use crate::call::{Arrivals, Failure, Link, Played};
use crate::tls;
use crate::voice::Prefixed;

pub const FRAME: u8 = 1;
pub const PING: u8 = 2;

pub struct QuicLink {
    connection: Connection,
    stream: SendStream,
    _endpoint: Endpoint,
}

async fn connect(server: SocketAddr) -> Result<(Endpoint, Connection), Failure> {
    let mut endpoint = Endpoint::client(SocketAddr::new([127, 0, 0, 1].into(), 0))?;
    endpoint.set_default_client_config(tls::quic(b"echo"));
    let connection = endpoint.connect(server, "localhost")?.await?;
    Ok((endpoint, connection))
}

pub async fn connect_and_close(server: SocketAddr) -> Result<(), Failure> {
    let (_endpoint, connection) = connect(server).await?;
    connection.close(VarInt::from_u32(0), b"");
    Ok(())
}

impl QuicLink {
    pub async fn open(server: SocketAddr, arrivals: Rc<Arrivals>) -> Result<Self, Failure> {
        let (endpoint, connection) = connect(server).await?;
        let (stream, echo) = connection.open_bi().await?;
        let mut messages = Prefixed::new(echo);
        spawn_local(async move {
            loop {
                match messages.next().await {
                    Ok(Some(message)) => take(&message, &arrivals),
                    Ok(None) => return arrivals.failed("the server ended the stream"),
                    Err(failure) => return arrivals.failed(failure),
                }
            }
        });
        Ok(Self { connection, stream, _endpoint: endpoint })
    }
}

impl Link for QuicLink {
    async fn send_frame(&mut self, sequence: u64, _: u64, payload: &[u8]) -> Result<(), Failure> {
        Ok(self.stream.write_all(&prefixed(&message(FRAME, sequence, payload))).await?)
    }

    async fn send_ping(&mut self, id: u64) -> Result<(), Failure> {
        Ok(self.stream.write_all(&prefixed(&message(PING, id, b""))).await?)
    }

    async fn send_played(&mut self, _: Played) -> Result<(), Failure> {
        Ok(())
    }

    async fn close(self) {
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

pub fn message(kind: u8, number: u64, payload: &[u8]) -> Vec<u8> {
    let mut message = vec![kind];
    message.extend((number as u32).to_be_bytes());
    message.extend_from_slice(payload);
    message
}

/// Take an echoed message.
pub fn take(message: &[u8], arrivals: &Arrivals) {
    if message.len() < 5 {
        return;
    }
    let number = u64::from(u32::from_be_bytes(message[1..5].try_into().expect("four bytes")));
    match message[0] {
        FRAME => arrivals.frame(number, message.len()),
        _ => arrivals.pong(number),
    }
}

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
