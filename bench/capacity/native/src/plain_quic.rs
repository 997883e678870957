//! One bidirectional QUIC stream of messages that the server echoes: kind (1 byte), number (4 bytes), payload.

use std::net::SocketAddr;
use std::rc::Rc;

use quinn::{Connection, Endpoint, SendStream, VarInt};
use tokio::task::spawn_local;

use crate::call::{Arrivals, Failure, Link, Played};
use crate::prefixed::{prefixed, Prefixed};
use crate::statistics::Datagrams;
use crate::tls;

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

    fn datagrams(&self) -> Option<Datagrams> {
        Some(datagrams(&self.connection))
    }

    async fn close(self) {
        self.connection.close(VarInt::from_u32(0), b"");
    }
}

/// What quinn counts.
pub fn datagrams(connection: &Connection) -> Datagrams {
    let stats = connection.stats();
    Datagrams {
        sent: stats.udp_tx.datagrams,
        received: stats.udp_rx.datagrams,
        sent_bytes: stats.udp_tx.bytes,
        received_bytes: stats.udp_rx.bytes,
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
