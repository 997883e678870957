// An agent host for Node.js 20 and newer, without packages: says every utterance back. The protocol is ../docs/hosts.md.
//
//   node node_host.mjs unix:agents.sock
//   node node_host.mjs tcp:127.0.0.1:7000
//
// Beyond this machine a host must serve TLS and ask for a token; this one refuses to listen there.
import { createHash } from "node:crypto";
import { existsSync, unlinkSync } from "node:fs";
import { createServer } from "node:http";

const VERSION = 1;
const CONTROL = 0;
const UPLINK_AUDIO = 1;
const DOWNLINK_AUDIO = 2;
const RATE_HZ = 16_000;
const HELLO = {
  type: "hello", version: VERSION, agent: "node-echo", input_rate_hz: RATE_HZ, output_rate_hz: RATE_HZ, audio_format: "pcm16",
};

// ---------------------------------------------------------------------------------------------- the agent: one call

const PIECE_BYTES = (RATE_HZ / 50) * 2;
const VOICE_RMS = 400;
const ONSET_PIECES = 5;
const PREROLL_PIECES = 20;
const PAUSE_PIECES = 33;

class EchoCall {
  constructor(opened, send) {
    this.send = send;
    this.utterances = opened.state?.utterances ?? 0;
    this.pieces = []; // of the present utterance, or of the time before one: {sequence, pcm}
    this.voiced = this.silent = this.unreported = 0;
    this.isSpeaking = false;
    this.last = opened.through_sequence ?? -1;
    this.said = null;
  }

  hear(sequence, audio) {
    for (let start = 0; start < Math.max(audio.length, 1); start += PIECE_BYTES) {
      // all but the last piece leave the frame pending: it must not be acknowledged with them
      const isLast = start + PIECE_BYTES >= audio.length;
      this.piece(isLast ? sequence : Math.max(sequence - 1, 0), audio.subarray(start, start + PIECE_BYTES));
    }
    this.last = sequence;
  }

  piece(sequence, pcm) {
    const isVoice = rms(pcm) > VOICE_RMS;
    this.voiced = isVoice ? this.voiced + 1 : 0;
    this.silent = isVoice ? 0 : this.silent + 1;
    this.pieces.push({ sequence, pcm: Buffer.from(pcm) });
    if (this.isSpeaking) {
      if (this.silent >= PAUSE_PIECES) this.end(sequence);
    } else if (this.voiced >= ONSET_PIECES) {
      this.isSpeaking = true;
      this.send({ type: "user_started_speaking", sequence: this.pieces[0].sequence });
    } else if (this.pieces.length > PREROLL_PIECES) {
      const dropped = this.pieces.shift();
      if (++this.unreported >= 25) {
        this.unreported = 0;
        this.send({ type: "no_speech_up_to", through_sequence: dropped.sequence });
      }
    }
  }

  end(sequence) {
    const pcm = Buffer.concat(this.pieces.map((each) => each.pcm));
    this.pieces = [];
    this.isSpeaking = false;
    this.voiced = this.silent = this.unreported = 0;
    this.utterances += 1;
    const text = `echo ${this.utterances}`;
    this.said = { text, pcm };
    const state = { kind: "echo", utterances: this.utterances };
    this.send({ type: "final_transcript", text, through_sequence: sequence, state });
    this.say(this.said);
  }

  say({ text, pcm }) {
    this.send({ type: "reply", text });
    for (let start = 0; start < pcm.length; start += 64_000) this.send(pcm.subarray(start, start + 64_000));
    this.send({ type: "reply_ended" });
  }

  take(message) {
    if (message.type === "say_again" && this.said?.text === message.text) this.say(this.said);
    if (message.type === "finish") {
      if (this.isSpeaking) this.end(this.last);
      else if (this.last >= 0) this.send({ type: "no_speech_up_to", through_sequence: this.last });
      this.send({ type: "finished" });
    }
    if (message.number !== undefined) this.send({ type: "state_changed", through_message: message.number });
  }
}

function rms(pcm) {
  let sum = 0;
  const samples = pcm.length >> 1;
  for (let at = 0; at < samples; at += 1) sum += pcm.readInt16LE(at * 2) ** 2;
  return samples ? Math.sqrt(sum / samples) : 0;
}

// ------------------------------------------------------------------------------------ the host protocol, for any agent

const calls = new Map(); // session -> {epoch, socket}
const watching = new Set();
let isDraining = false;
let lagMs = 0;

function load() {
  return { type: "load", calls: calls.size, lag_ms: lagMs, is_draining: isDraining };
}

function connected(socket) {
  let call = null;
  let together = null; // what was emitted while a message is handled, sent as one message: the worker gets all or nothing
  const control = (body) => socket.send(Buffer.concat([Buffer.of(CONTROL), encode(body)]));
  const flush = () => {
    if (together?.length) control(together.length === 1 ? together[0] : together);
    if (together) together = [];
  };
  const send = (event) => {
    if (Buffer.isBuffer(event)) {
      flush();
      socket.send(Buffer.concat([Buffer.of(DOWNLINK_AUDIO), event]));
    } else if (together) together.push(event);
    else control(event);
  };
  const first = (message) => {
    if (message.version !== VERSION) {
      const reason = `this host speaks version ${VERSION} of the host protocol, got ${message.version}`;
      control({ type: "refused", reason, is_final: true });
      socket.close();
    } else if (message.type === "watch") {
      control(HELLO);
      control(load());
      watching.add(control);
    } else if (isDraining) {
      control({ type: "refused", reason: "this host is going away" });
      socket.close();
    } else {
      const former = calls.get(message.session);
      if (former && former.epoch >= message.epoch) {
        const reason = `the session is open under epoch ${former.epoch}, got ${message.epoch}`;
        control({ type: "refused", reason, is_final: true });
        socket.close();
        return;
      }
      former?.socket.close();
      calls.set(message.session, { epoch: message.epoch, socket });
      control(HELLO);
      call = { session: message.session, agent: new EchoCall(message, send) };
    }
  };
  socket.onMessage = (raw) => {
    if (raw[0] === UPLINK_AUDIO && call) {
      const [sequence, start] = varint(raw, 1);
      together = [];
      call.agent.hear(sequence, raw.subarray(start));
    } else if (raw[0] === CONTROL) {
      const body = decode(raw.subarray(1));
      for (const message of Array.isArray(body) ? body : [body]) {
        if (message.type === "watch" || message.type === "open") {
          first(message);
        } else if (call) {
          together ??= [];
          call.agent.take(message);
          if (message.id !== undefined) together.push({ type: "handled", id: message.id });
        }
      }
    }
    flush();
    together = null;
  };
  socket.onClose = () => {
    watching.delete(control);
    if (call && calls.get(call.session)?.socket === socket) calls.delete(call.session);
    if (isDraining && calls.size === 0) process.exit(0);
  };
}

let expected = Date.now() + 250;
setInterval(() => {
  lagMs = Math.max(0, Date.now() - expected);
  expected = Date.now() + 250;
  for (const control of watching) control(load());
}, 250);

function varint(raw, at) {
  const bytes = 1 << (raw[at] >> 6);
  let value = raw[at] & 0x3f;
  for (let index = 1; index < bytes; index += 1) value = value * 256 + raw[at + index];
  return [value, at + bytes];
}

// ------------------------------------------------------------------------------------------------------- MessagePack

function encode(value) {
  if (value === null || value === undefined) return Buffer.of(0xc0);
  if (typeof value === "boolean") return Buffer.of(value ? 0xc3 : 0xc2);
  if (typeof value === "number") {
    const out = Buffer.alloc(9);
    if (Number.isSafeInteger(value)) {
      out[0] = 0xd3;
      out.writeBigInt64BE(BigInt(value), 1);
    } else {
      out[0] = 0xcb;
      out.writeDoubleBE(value, 1);
    }
    return out;
  }
  if (typeof value === "string") {
    const text = Buffer.from(value);
    return Buffer.concat([head(0xdb, text.length), text]);
  }
  if (Array.isArray(value)) return Buffer.concat([head(0xdd, value.length), ...value.map(encode)]);
  const entries = Object.entries(value).filter(([, each]) => each !== undefined);
  return Buffer.concat([head(0xdf, entries.length), ...entries.flatMap(([key, each]) => [encode(key), encode(each)])]);
}

function head(type, length) {
  const out = Buffer.alloc(5);
  out[0] = type;
  out.writeUInt32BE(length, 1);
  return out;
}

function decode(raw) {
  let at = 0;
  const number = (bytes, read) => {
    at += bytes;
    return read.call(raw, at - bytes);
  };
  const u8 = () => number(1, raw.readUInt8);
  const u16 = () => number(2, raw.readUInt16BE);
  const u32 = () => number(4, raw.readUInt32BE);
  const bytes = (length) => {
    at += length;
    return raw.subarray(at - length, at);
  };
  const array = (length) => Array.from({ length }, () => value());
  const map = (length) => Object.fromEntries(Array.from({ length }, () => [value(), value()]));
  const value = () => {
    const type = u8();
    if (type < 0x80) return type;
    if (type < 0x90) return map(type & 0x0f);
    if (type < 0xa0) return array(type & 0x0f);
    if (type < 0xc0) return bytes(type & 0x1f).toString();
    if (type >= 0xe0) return type - 256;
    switch (type) {
      case 0xc0: return null;
      case 0xc2: return false;
      case 0xc3: return true;
      case 0xc4: return bytes(u8());
      case 0xc5: return bytes(u16());
      case 0xc6: return bytes(u32());
      case 0xca: return number(4, raw.readFloatBE);
      case 0xcb: return number(8, raw.readDoubleBE);
      case 0xcc: return u8();
      case 0xcd: return u16();
      case 0xce: return u32();
      case 0xcf: return Number(number(8, raw.readBigUInt64BE));
      case 0xd0: return number(1, raw.readInt8);
      case 0xd1: return number(2, raw.readInt16BE);
      case 0xd2: return number(4, raw.readInt32BE);
      case 0xd3: return Number(number(8, raw.readBigInt64BE));
      case 0xd9: return bytes(u8()).toString();
      case 0xda: return bytes(u16()).toString();
      case 0xdb: return bytes(u32()).toString();
      case 0xdc: return array(u16());
      case 0xdd: return array(u32());
      case 0xde: return map(u16());
      case 0xdf: return map(u32());
      default: throw new Error(`MessagePack type ${type} is not read here`);
    }
  };
  return value();
}

// ------------------------------------------------------------------------------- a WebSocket server (RFC 6455, binary)

const MOST_BYTES = 8 << 20;

class WebSocket {
  constructor(stream) {
    this.stream = stream;
    this.buffer = Buffer.alloc(0);
    this.fragments = [];
    this.onMessage = this.onClose = () => {};
    stream.setNoDelay?.(true);
    stream.on("data", (data) => this.received(data));
    stream.on("end", () => stream.end()); // the worker is gone, or has left this host
    stream.on("close", () => this.onClose());
    stream.on("error", () => stream.destroy());
  }

  received(data) {
    this.buffer = this.buffer.length ? Buffer.concat([this.buffer, data]) : data;
    for (let frame = this.frame(); frame; frame = this.frame()) {
      const { isFinal, opcode, payload } = frame;
      if (opcode === 8) this.close();
      else if (opcode === 9) this.write(10, payload);
      else if (opcode <= 2) {
        this.fragments.push(payload);
        if (isFinal) this.onMessage(Buffer.concat(this.fragments.splice(0)));
      }
    }
  }

  frame() {
    const raw = this.buffer;
    if (raw.length < 2) return null;
    let length = raw[1] & 0x7f;
    let at = 2;
    if (length >= 126) {
      at = length === 126 ? 4 : 10;
      if (raw.length < at) return null;
      length = at === 4 ? raw.readUInt16BE(2) : Number(raw.readBigUInt64BE(2));
    }
    if (length > MOST_BYTES || !(raw[1] & 0x80)) {
      this.stream.destroy(); // too large, or not masked as clients must
      return null;
    }
    if (raw.length < at + 4 + length) return null;
    const mask = raw.subarray(at, at + 4);
    const payload = Buffer.from(raw.subarray(at + 4, at + 4 + length));
    for (let index = 0; index < length; index += 1) payload[index] ^= mask[index & 3];
    this.buffer = raw.subarray(at + 4 + length);
    return { isFinal: (raw[0] & 0x80) !== 0, opcode: raw[0] & 0x0f, payload };
  }

  write(opcode, payload) {
    const length = payload.length;
    const front = Buffer.alloc(length < 126 ? 2 : length < 65_536 ? 4 : 10);
    front[0] = 0x80 | opcode;
    if (front.length === 2) front[1] = length;
    else if (front.length === 4) [front[1]] = [126, front.writeUInt16BE(length, 2)];
    else [front[1]] = [127, front.writeBigUInt64BE(BigInt(length), 2)];
    if (!this.stream.destroyed) this.stream.write(Buffer.concat([front, payload]));
  }

  send(payload) {
    this.write(2, payload);
  }

  close() {
    this.write(8, Buffer.alloc(0));
    this.stream.end();
  }
}

const server = createServer((request, response) => {
  const isReady = request.url === "/readyz" && !isDraining;
  response.writeHead(isReady || request.url === "/healthz" ? 200 : 503).end();
});
server.on("upgrade", (request, stream) => {
  const key = request.headers["sec-websocket-key"] ?? "";
  const accept = createHash("sha1").update(`${key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest("base64");
  const status = request.url === "/v1/agent" ? "101 Switching Protocols" : "404 Not Found";
  const fields = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${accept}`];
  stream.write([`HTTP/1.1 ${status}`, ...fields, "", ""].join("\r\n"));
  if (status.startsWith("101")) connected(new WebSocket(stream));
  else stream.end();
});

const listen = process.argv[2] ?? "";
const [, path] = listen.match(/^unix:(.+)$/) ?? [];
const [, host, port] = listen.match(/^tcp:(127\.0\.0\.1|localhost|\[::1\]):(\d+)$/) ?? [];
if (!path && !port) {
  console.error(`usage: node node_host.mjs unix:PATH | tcp:127.0.0.1:PORT, got ${listen || "nothing"}`);
  process.exit(1);
}
if (path && existsSync(path)) unlinkSync(path);
process.umask(0o117); // the socket is for this user and group
server.listen(path ? { path } : { host: host.replace(/[[\]]/g, ""), port: Number(port) });
process.on("SIGTERM", () => {
  isDraining = true;
  server.close(); // frees the address for the next host; connections stay
  for (const control of watching) control(load());
  if (calls.size === 0) process.exit(0);
  setTimeout(() => process.exit(0), 30_000).unref();
});
