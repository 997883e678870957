//! Datagrams that the server sends back as they came, as large and as often as those of a QUIC call, and nothing else.
//!
//! Each is a message of `plain_quic` and zeros in place of what QUIC adds. The caller acknowledges as the worker asks
//! for (README.md, "What acknowledging seldom costs speech"): an acknowledgement goes with whatever is sent next, and in
//! a datagram of its own behind `ACK_EVERY` datagrams or after `ACK_DELAY`. No acknowledgement is answered.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::task::{spawn_local, JoinHandle};
use tokio::time::{timeout_at, Instant};

use crate::call::{Arrivals, Failure, Link, Played};
use crate::plain_quic::{message, take, FRAME, PING};
use crate::statistics::Datagrams;

const ACK: u8 = 0;
const HELLO: u8 = 3;
const ACK_EVERY: u32 = 3;
const ACK_DELAY: Duration = Duration::from_millis(60);
const IDLE: Duration = Duration::from_secs(3600);
/// What the worker's datagrams have around a message, as the mean of both directions: the short header with its connection
/// ID, the headers of the STREAM frame and of the audio frame, an ACK frame now and then, the AEAD tag.
const QUIC_BYTES: usize = 48;
/// An ACK frame in place of stream and message.
const ACK_BYTES: usize = 43;

pub struct UdpLink {
    path: Rc<Path>,
    reader: JoinHandle<()>,
}

struct Path {
    socket: UdpSocket,
    datagrams: Cell<Datagrams>,
    unacked: Cell<Unacked>,
}

/// Datagrams that have come since the caller last sent one, and when they are to be acknowledged.
#[derive(Clone, Copy, Default)]
struct Unacked {
    count: u32,
    ack_at: Option<Instant>,
}

/// A datagram there and back says that the server is up.
async fn connect(server: SocketAddr) -> Result<Path, Failure> {
    let socket = UdpSocket::bind(SocketAddr::new([127, 0, 0, 1].into(), 0)).await?;
    socket.connect(server).await?;
    socket.send(&message(HELLO, 0, b"")).await?;
    socket.recv(&mut [0; 16]).await?;
    Ok(Path { socket, datagrams: Cell::default(), unacked: Cell::default() })
}

pub async fn connect_and_close(server: SocketAddr) -> Result<(), Failure> {
    connect(server).await.map(drop)
}

impl Path {
    async fn send(&self, mut datagram: Vec<u8>, size: usize) -> Result<(), Failure> {
        datagram.resize(size, 0);
        self.unacked.set(Unacked::default());
        self.socket.send(&datagram).await?;
        self.datagrams.set(self.datagrams.get().and_sent(size));
        Ok(())
    }

    async fn send_message(&self, kind: u8, number: u64, payload: &[u8]) -> Result<(), Failure> {
        let message = message(kind, number, payload);
        let size = message.len() + QUIC_BYTES;
        self.send(message, size).await
    }

    /// Take what comes, and acknowledge it, until the server is gone.
    async fn read(&self, arrivals: &Arrivals) -> Result<(), Failure> {
        let mut buffer = [0; 2048];
        loop {
            let until = self.unacked.get().ack_at.unwrap_or_else(|| Instant::now() + IDLE);
            if let Ok(received) = timeout_at(until, self.socket.recv(&mut buffer)).await {
                let datagram = &buffer[..received?];
                self.datagrams.set(self.datagrams.get().and_received(datagram.len()));
                let Unacked { count, ack_at } = self.unacked.get();
                let ack_at = ack_at.unwrap_or_else(|| Instant::now() + ACK_DELAY);
                self.unacked.set(Unacked { count: count + 1, ack_at: Some(ack_at) });
                take(datagram, arrivals);
            }
            let Unacked { count, ack_at } = self.unacked.get();
            if count >= ACK_EVERY || ack_at.is_some_and(|at| at <= Instant::now()) {
                self.send(vec![ACK], ACK_BYTES).await?;
            }
        }
    }
}

impl UdpLink {
    pub async fn open(server: SocketAddr, arrivals: Rc<Arrivals>) -> Result<Self, Failure> {
        let path = Rc::new(connect(server).await?);
        let reading = path.clone();
        let reader = spawn_local(async move {
            if let Err(failure) = reading.read(&arrivals).await {
                arrivals.failed(failure);
            }
        });
        Ok(Self { path, reader })
    }
}

impl Drop for UdpLink {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Link for UdpLink {
    async fn send_frame(&mut self, sequence: u64, _: u64, payload: &[u8]) -> Result<(), Failure> {
        self.path.send_message(FRAME, sequence, payload).await
    }

    async fn send_ping(&mut self, id: u64) -> Result<(), Failure> {
        self.path.send_message(PING, id, b"").await
    }

    async fn send_played(&mut self, _: Played) -> Result<(), Failure> {
        Ok(())
    }

    fn datagrams(&self) -> Option<Datagrams> {
        Some(self.path.datagrams.get())
    }

    async fn close(self) {}
}
