// A caller in a browser that knows of the gateway what PROTOCOL.md says: it speaks a recording of 16 kHz PCM, hears the
// answers, says bye, and returns what happened.
async function call(url, hash, recording) {
  const did = { ready: 0, final: [], state: null, sent: 0, spoken: 0, answers: 0, byeFrames: null, closed: null, draining: false };
  const FRAME = 640, TICKS = 960, PCM16_16K = 2;
  const pcm = new Uint8Array(await (await fetch(recording)).arrayBuffer());
  const value = Uint8Array.from(hash.match(/../g), (pair) => parseInt(pair, 16));
  const transport = new WebTransport(url, { serverCertificateHashes: [{ algorithm: "sha-256", value }] });
  if (transport.draining) transport.draining.then(() => { did.draining = true; }, () => {});
  await transport.ready;
  const control = await transport.createBidirectionalStream();
  const out = control.writable.getWriter();
  const say = (message) => { const body = encode(message); return out.write(join(varint(body.length), body)); };
  let readied, ended, failed;
  const ready = new Promise((resolve, reject) => { readied = resolve; failed = reject; });
  const bye = new Promise((resolve) => { ended = resolve; });
  listen();
  hear();
  await say({ type: "start", accept: [PCM16_16K] });
  await ready;
  const uplink = (await transport.createUnidirectionalStream()).getWriter();
  await uplink.write(join(varint(1)));
  const began = performance.now();
  for (let sequence = 0; (sequence + 1) * FRAME <= pcm.length; sequence++) {
    const samples = pcm.subarray(sequence * FRAME, (sequence + 1) * FRAME);
    const frame = join([PCM16_16K], varint(sequence), varint(sequence * TICKS), samples);
    await uplink.write(join(varint(frame.length), frame));
    if (sequence % 20 === 0) await say({ type: "ping", id: sequence });
    did.sent = sequence + 1;
    const due = began + did.sent * 20 - performance.now();
    if (due > 0) await new Promise((resolve) => setTimeout(resolve, due));
  }
  await say({ type: "bye", frames: did.sent });
  await bye;
  did.closed = (await transport.closed).closeCode;
  return did;

  async function listen() {
    for await (const body of bodies(control.readable)) {
      const message = decode(body);
      if (message.type === "ready") { did.ready++; readied(); }
      if (message.type === "transcript" && message.role === "user" && message.is_final) did.final.push(message.text);
      if (message.type === "state") did.state = message.state;
      if (message.type === "error") failed(new Error(`error ${message.code}: ${message.message}`));
      if (message.type === "bye") { did.byeFrames = message.frames; ended(); }
    }
  }

  async function hear() {
    const streams = transport.incomingUnidirectionalStreams.getReader();
    for (let next = await streams.read(); !next.done; next = await streams.read()) utterance(next.value).catch(() => {});
  }

  async function utterance(stream) {
    const head = {};
    let frames = 0;
    for await (const frame of bodies(stream, head)) { did.spoken += frame.length; frames++; }
    did.answers++;
    await say({ type: "played", generation: head.generation, position_ms: frames * 20, is_complete: true });
  }

  // Cut what is behind its length out of a stream; a downlink stream begins with its type and utterance ID.
  async function* bodies(stream, head) {
    const reader = stream.getReader();
    let buffer = new Uint8Array(0), at = 0;
    const number = async () => {
      await need(1);
      const size = 1 << (buffer[at] >> 6);
      await need(size);
      let n = buffer[at] & 0x3f;
      for (let i = 1; i < size; i++) n = n * 256 + buffer[at + i];
      at += size;
      return n;
    };
    const need = async (count) => {
      while (buffer.length - at < count) {
        const { value, done } = await reader.read();
        if (done) throw null;
        buffer = join(buffer.subarray(at), value);
        at = 0;
      }
    };
    try {
      if (head) { head.kind = await number(); head.generation = await number(); }
      for (;;) {
        const length = await number();
        await need(length);
        yield buffer.slice(at, at + length);
        at += length;
      }
    } catch (end) {
      if (end !== null) throw end;
    }
  }

  function join(...parts) {
    const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
    let at = 0;
    for (const part of parts) { whole.set(part, at); at += part.length; }
    return whole;
  }

  function varint(n) {
    if (n < 64) return [n];
    if (n < 16384) return [0x40 | n >> 8, n & 255];
    return [0x80 | n >>> 24, n >> 16 & 255, n >> 8 & 255, n & 255];
  }

  // As much of MessagePack as section 4 needs
  function encode(item) {
    if (item === null) return [0xc0];
    if (typeof item === "boolean") return [item ? 0xc3 : 0xc2];
    if (typeof item === "number") return item < 128 ? [item] : [0xce, item >>> 24, item >> 16 & 255, item >> 8 & 255, item & 255];
    if (typeof item === "string") { const text = new TextEncoder().encode(item); return join([0xd9, text.length], text); }
    if (Array.isArray(item)) return join([0x90 | item.length], ...item.map(encode));
    const fields = Object.entries(item);
    return join([0x80 | fields.length], ...fields.flatMap((field) => field.map(encode)));
  }

  function decode(bytes) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let at = 0;
    const uint = (size) => { let n = 0; for (let i = 0; i < size; i++) n = n * 256 + bytes[at++]; return n; };
    const text = (size) => new TextDecoder().decode(bytes.subarray(at, at += size));
    const items = (size) => Array.from({ length: size }, item);
    const fields = (size) => Object.fromEntries(Array.from({ length: size }, () => [item(), item()]));
    const signed = (size) => { const n = size === 8 ? Number(view.getBigInt64(at)) : view[`getInt${size * 8}`](at); at += size; return n; };
    function item() {
      const head = bytes[at++];
      if (head < 0x80) return head;
      if (head >= 0xe0) return head - 256;
      if (head < 0x90) return fields(head & 15);
      if (head < 0xa0) return items(head & 15);
      if (head < 0xc0) return text(head & 31);
      if (head === 0xc0) return null;
      if (head === 0xc2 || head === 0xc3) return head === 0xc3;
      if (head === 0xca) return view.getFloat32((at += 4) - 4);
      if (head === 0xcb) return view.getFloat64((at += 8) - 8);
      if (head >= 0xcc && head <= 0xcf) return uint(1 << head - 0xcc);
      if (head >= 0xd0 && head <= 0xd3) return signed(1 << head - 0xd0);
      if (head >= 0xd9 && head <= 0xdb) return text(uint(1 << head - 0xd9));
      if (head === 0xdc || head === 0xdd) return items(uint(2 << head - 0xdc));
      if (head === 0xde || head === 0xdf) return fields(uint(2 << head - 0xde));
      throw new Error(`no message holds the MessagePack type ${head}`);
    }
    return item();
  }
}
