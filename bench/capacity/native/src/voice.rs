//! The voice protocol of PROTOCOL.md over WebTransport (draft 02), as far as a load generator needs it.

use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use quinn::{Connection, Endpoint, RecvStream, SendStream, VarInt};
use tokio::task::spawn_local;
use tokio::time::timeout;

use crate::call::{Arrivals, Failure, Link, Played};
use crate::plain_quic::datagrams;
use crate::prefixed::{get_varint, prefixed, put_varint, Prefixed};
use crate::statistics::Datagrams;
use crate::tls;

const OPUS: u8 = 1;
const DOWNLINK_AUDIO: u64 = 2;
const UNI_STREAM: u64 = 0x54;
const TICKS_PER_MS: u64 = 48;
const FRAME_MS: u64 = 20;
const H3_NO_ERROR: VarInt = VarInt::from_u32(0x100);
/// WT_CLOSE_SESSION with code 0 and no reason, in a DATA frame.
const CLOSE_CAPSULE: &[u8] = &[0x00, 0x07, 0x68, 0x43, 0x04, 0, 0, 0, 0];

struct WebTransport {
    connection: Connection,
    settings: SendStream,
    request: SendStream,
    answer: RecvStream,
    session_id: u64,
    _endpoint: Endpoint,
}

pub struct VoiceLink {
    transport: WebTransport,
    control: SendStream,
    audio: SendStream,
}

/// Open a WebTransport session, without `start`, and close it.
pub async fn connect_and_close(server: SocketAddr) -> Result<(), Failure> {
    let transport = WebTransport::open(server).await?;
    transport.connection.close(H3_NO_ERROR, b"");
    Ok(())
}

impl WebTransport {
    async fn open(server: SocketAddr) -> Result<Self, Failure> {
        let mut endpoint = Endpoint::client(SocketAddr::new([127, 0, 0, 1].into(), 0))?;
        endpoint.set_default_client_config(tls::quic(b"h3"));
        let connection = endpoint.connect(server, "localhost")?.await?;
        let mut settings = connection.open_uni().await?;
        let mut values = vec![];
        for (key, value) in [(0x08, 1), (0x33, 1), (0x2b60_3742, 1), (0x01, 0), (0x07, 0)] {
            put_varint(&mut values, key);
            put_varint(&mut values, value);
        }
        let mut frame = vec![0x00, 0x04];
        frame.extend(prefixed(&values));
        settings.write_all(&frame).await?;
        let (mut request, mut answer) = connection.open_bi().await?;
        let mut frame = vec![0x01];
        frame.extend(prefixed(&connect_fields()));
        request.write_all(&frame).await?;
        let mut buffer = [0u8; 256];
        let length = answer.read(&mut buffer).await?.ok_or("the request was closed")?;
        if !buffer[..length].contains(&(0xc0 | 25)) {
            return Err(format!("CONNECT was answered {:02x?}", &buffer[..length]).into());
        }
        let session_id = request.id().into();
        Ok(Self { connection, settings, request, answer, session_id, _endpoint: endpoint })
    }
}

impl VoiceLink {
    /// Open the session and return once the worker said `ready`.
    pub async fn open(server: SocketAddr, arrivals: Rc<Arrivals>) -> Result<Self, Failure> {
        let transport = WebTransport::open(server).await?;
        let (mut control, from_worker) = transport.connection.open_bi().await?;
        let mut start = vec![0x40, 0x41];
        put_varint(&mut start, transport.session_id);
        start.extend(prefixed(b"\x82\xa4type\xa5start\xa6accept\x91\x01"));
        control.write_all(&start).await?;
        let mut messages = Prefixed::new(from_worker);
        match messages.next().await? {
            Some(first) if find(&first, b"\xa5ready").is_some() => {}
            Some(first) => return Err(String::from_utf8_lossy(&first).into_owned().into()),
            None => return Err("the worker closed the control stream".into()),
        }
        let mut audio = transport.connection.open_uni().await?;
        let mut header = vec![0x40, UNI_STREAM as u8];
        put_varint(&mut header, transport.session_id);
        header.push(1);
        audio.write_all(&header).await?;
        spawn_local(read_control(messages, arrivals.clone()));
        spawn_local(accept_audio(transport.connection.clone(), arrivals));
        Ok(Self { transport, control, audio })
    }

    async fn send_control(&mut self, message: &[u8]) -> Result<(), Failure> {
        Ok(self.control.write_all(&prefixed(message)).await?)
    }
}

impl Link for VoiceLink {
    async fn send_frame(&mut self, sequence: u64, tick: u64, payload: &[u8]) -> Result<(), Failure> {
        let mut body = vec![OPUS];
        put_varint(&mut body, sequence);
        put_varint(&mut body, tick);
        body.extend_from_slice(payload);
        Ok(self.audio.write_all(&prefixed(&body)).await?)
    }

    async fn send_ping(&mut self, id: u64) -> Result<(), Failure> {
        let mut message = b"\x82\xa4type\xa4ping\xa2id".to_vec();
        put_integer(&mut message, id);
        self.send_control(&message).await
    }

    async fn send_played(&mut self, report: Played) -> Result<(), Failure> {
        let mut message = b"\x84\xa4type\xa6played\xaageneration".to_vec();
        put_integer(&mut message, report.utterance_id);
        message.extend_from_slice(b"\xabposition_ms");
        put_integer(&mut message, report.position_ms);
        message.extend_from_slice(b"\xabis_complete");
        message.push(if report.is_complete { 0xc3 } else { 0xc2 });
        self.send_control(&message).await
    }

    fn datagrams(&self) -> Option<Datagrams> {
        Some(datagrams(&self.transport.connection))
    }

    async fn close(mut self) {
        let _ = self.transport.request.write_all(CLOSE_CAPSULE).await;
        let _ = self.transport.request.finish();
        let _ = timeout(Duration::from_millis(500), self.transport.answer.read_to_end(4096)).await;
        let _ = self.transport.settings.reset(H3_NO_ERROR);
        self.transport.connection.close(H3_NO_ERROR, b"");
    }
}

async fn read_control(mut messages: Prefixed, arrivals: Rc<Arrivals>) {
    loop {
        match messages.next().await {
            Ok(Some(message)) => {
                if let Some(at) = find(&message, b"\xa2id").filter(|_| find(&message, b"\xa4pong").is_some()) {
                    arrivals.pong(get_integer(&message[at + 3..]));
                } else if find(&message, b"\xa4type\xa5error").is_some() {
                    return arrivals.failed(String::from_utf8_lossy(&message));
                }
            }
            Ok(None) => return,
            Err(failure) => return arrivals.failed(failure),
        }
    }
}

async fn accept_audio(connection: Connection, arrivals: Rc<Arrivals>) {
    while let Ok(stream) = connection.accept_uni().await {
        spawn_local(read_audio(stream, arrivals.clone()));
    }
}

/// Read one stream of the worker's: that of an utterance, or one of HTTP/3's own.
async fn read_audio(stream: RecvStream, arrivals: Rc<Arrivals>) {
    let mut reader = Prefixed::new(stream);
    let Ok(Some(kind)) = reader.varint().await else { return };
    if kind != UNI_STREAM {
        return reader.discard().await;
    }
    let mut header = [0; 3];
    for value in &mut header {
        match reader.varint().await {
            Ok(Some(read)) => *value = read,
            _ => return,
        }
    }
    let [_, kind, utterance_id] = header;
    if kind != DOWNLINK_AUDIO {
        return reader.discard().await;
    }
    loop {
        match reader.next().await {
            Ok(Some(frame)) => {
                let Some((sequence, at)) = get_varint(&frame[1..]) else { return };
                let Some((tick, _)) = get_varint(&frame[1 + at..]) else { return };
                arrivals.frame(sequence, frame.len());
                arrivals.heard(utterance_id, tick / TICKS_PER_MS + FRAME_MS);
            }
            Ok(None) => return arrivals.ended(utterance_id, true),
            Err(_) => return arrivals.ended(utterance_id, false),
        }
    }
}

/// The field section of CONNECT: no dynamic table, no Huffman code.
fn connect_fields() -> Vec<u8> {
    let mut fields = vec![0, 0, 0xc0 | 15, 0xc0 | 23]; // :method CONNECT, :scheme https
    for (index, value) in [(0, "localhost"), (1, "/v1/voice")] {
        fields.push(0x50 | index);
        fields.push(value.len() as u8);
        fields.extend_from_slice(value.as_bytes());
    }
    for (name, value) in [(":protocol", "webtransport"), ("sec-webtransport-http3-draft02", "1")] {
        if name.len() < 7 {
            fields.push(0x20 | name.len() as u8);
        } else {
            fields.extend([0x27, name.len() as u8 - 7]);
        }
        fields.extend_from_slice(name.as_bytes());
        fields.push(value.len() as u8);
        fields.extend_from_slice(value.as_bytes());
    }
    fields
}

fn find(bytes: &[u8], part: &[u8]) -> Option<usize> {
    bytes.windows(part.len()).position(|each| each == part)
}

/// A MessagePack integer that is not negative.
fn put_integer(out: &mut Vec<u8>, value: u64) {
    match value {
        0..=0x7f => out.push(value as u8),
        0x80..=0xffff => {
            out.push(0xcd);
            out.extend((value as u16).to_be_bytes());
        }
        _ => {
            out.push(0xce);
            out.extend((value as u32).to_be_bytes());
        }
    }
}

fn get_integer(bytes: &[u8]) -> u64 {
    let number = |size: usize| bytes[1..=size].iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    match bytes[0] {
        0xcc => number(1),
        0xcd => number(2),
        0xce => number(4),
        0xcf => number(8),
        small => u64::from(small),
    }
}
