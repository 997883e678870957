//! A WebSocket over TLS (RFC 6455) whose server echoes binary messages: those of `plain_quic`.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;

use rustls::pki_types::ServerName;
use tokio::io::{split, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};
use tokio::net::TcpStream;
use tokio::task::spawn_local;
use tokio_rustls::client::TlsStream;
use tokio_rustls::TlsConnector;

use crate::call::{Arrivals, Failure, Link, Played};
use crate::plain_quic::{message, take, FRAME, PING};
use crate::statistics::Datagrams;
use crate::tls;

const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const FINAL: u8 = 0x80;
const MASKED: u8 = 0x80;
const MASK: [u8; 4] = [0x5a, 0x17, 0xc3, 0x08];

pub struct SocketLink {
    writer: WriteHalf<TlsStream<TcpStream>>,
}

async fn connect(server: SocketAddr) -> Result<TlsStream<TcpStream>, Failure> {
    let tcp = TcpStream::connect(server).await?;
    tcp.set_nodelay(true)?;
    let name = ServerName::try_from("localhost")?;
    let mut stream = TlsConnector::from(Arc::new(tls::tls(b""))).connect(name, tcp).await?;
    let request = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                   Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n";
    stream.write_all(request.as_bytes()).await?;
    let mut answer = vec![];
    while !answer.ends_with(b"\r\n\r\n") {
        answer.push(stream.read_u8().await?);
    }
    if !answer.starts_with(b"HTTP/1.1 101") {
        return Err(String::from_utf8_lossy(&answer).into_owned().into());
    }
    Ok(stream)
}

pub async fn connect_and_close(server: SocketAddr) -> Result<(), Failure> {
    let mut stream = connect(server).await?;
    stream.write_all(&masked(CLOSE, &1000u16.to_be_bytes())).await?;
    let _ = stream.shutdown().await;
    Ok(())
}

impl SocketLink {
    pub async fn open(server: SocketAddr, arrivals: Rc<Arrivals>) -> Result<Self, Failure> {
        let (reader, writer) = split(connect(server).await?);
        spawn_local(async move {
            let failure = read(reader, &arrivals).await;
            arrivals.failed(failure);
        });
        Ok(Self { writer })
    }

    async fn send(&mut self, body: &[u8]) -> Result<(), Failure> {
        self.writer.write_all(&masked(BINARY, body)).await?;
        Ok(self.writer.flush().await?)
    }
}

impl Link for SocketLink {
    async fn send_frame(&mut self, sequence: u64, _: u64, payload: &[u8]) -> Result<(), Failure> {
        self.send(&message(FRAME, sequence, payload)).await
    }

    async fn send_ping(&mut self, id: u64) -> Result<(), Failure> {
        self.send(&message(PING, id, b"")).await
    }

    async fn send_played(&mut self, _: Played) -> Result<(), Failure> {
        Ok(())
    }

    fn datagrams(&self) -> Option<Datagrams> {
        None
    }

    async fn close(mut self) {
        let _ = self.writer.write_all(&masked(CLOSE, &1000u16.to_be_bytes())).await;
        let _ = self.writer.shutdown().await;
    }
}

/// Take messages until the connection ends, and return why it did.
async fn read(mut reader: ReadHalf<TlsStream<TcpStream>>, arrivals: &Arrivals) -> String {
    let mut buffer = vec![];
    loop {
        let mut at = 0;
        while let Some((opcode, from, to)) = frame(&buffer[at..]) {
            if opcode == CLOSE {
                return "the server closed the WebSocket".into();
            }
            take(&buffer[at + from..at + to], arrivals);
            at += to;
        }
        buffer.drain(..at);
        match reader.read_buf(&mut buffer).await {
            Ok(0) => return "the connection ended".into(),
            Ok(_) => {}
            Err(failure) => return failure.to_string(),
        }
    }
}

/// Opcode, and where the payload of the first whole frame begins and ends.
fn frame(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, short) = (buffer.first()? & 0x0f, *buffer.get(1)? as usize & 0x7f);
    let (from, length) = match short {
        126 => (4, u16::from_be_bytes(buffer.get(2..4)?.try_into().ok()?) as usize),
        127 => (10, u64::from_be_bytes(buffer.get(2..10)?.try_into().ok()?) as usize),
        _ => (2, short),
    };
    (buffer.len() >= from + length).then_some((opcode, from, from + length))
}

fn masked(opcode: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![FINAL | opcode];
    if body.len() < 126 {
        out.push(MASKED | body.len() as u8);
    } else {
        out.push(MASKED | 126);
        out.extend((body.len() as u16).to_be_bytes());
    }
    out.extend(MASK);
    out.extend(body.iter().enumerate().map(|(index, byte)| byte ^ MASK[index % 4]));
    out
}
