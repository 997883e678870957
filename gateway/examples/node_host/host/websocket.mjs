// The server's side of a WebSocket (RFC 6455): binary messages, without extensions.
import { createHash } from "node:crypto";

const MOST_BYTES = 8 << 20;
const MOST_WAITING_BYTES = 16 << 20;
const ACCEPT_SUFFIX = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"; // RFC 6455 section 1.3

/** Answers an HTTP upgrade with the WebSocket of `stream`. */
export function accept(request, stream) {
  const key = request.headers["sec-websocket-key"] ?? "";
  const digest = createHash("sha1").update(`${key}${ACCEPT_SUFFIX}`).digest("base64");
  const fields = ["Upgrade: websocket", "Connection: Upgrade", `Sec-WebSocket-Accept: ${digest}`];
  stream.write(["HTTP/1.1 101 Switching Protocols", ...fields, "", ""].join("\r\n"));
  return new WebSocket(stream);
}

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
    if (!this.stream.writable) return;
    this.stream.write(Buffer.concat([front, payload]));
    if (this.stream.writableLength > MOST_WAITING_BYTES) this.stream.destroy(); // the worker reads no more
  }

  send(payload) {
    this.write(2, payload);
  }

  close() {
    this.write(8, Buffer.alloc(0));
    this.stream.end();
  }
}
