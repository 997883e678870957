/** Length prefixes, variable-length integers and audio frames. */
import { CLOCK_HZ, Codec, MAX_AUDIO_BYTES, Malformed } from "./codepoints.js";

/**
 * One packet of speech. `sequence` counts without gaps from 0 (uplink: in the session; downlink: in the utterance).
 * `timestamp` is the media time of the first sample in ticks of `CLOCK_HZ`; DTX leaves gaps in it.
 */
export interface AudioFrame {
  readonly sequence: number;
  readonly timestamp: number;
  readonly codec: Codec;
  readonly payload: Uint8Array;
}

const CODECS: ReadonlySet<number> = new Set(Object.values(Codec));

/** `codec | sequence | timestamp | payload`; on a stream send it through `lengthPrefixed`. */
export function encodeAudioFrame(frame: AudioFrame): Uint8Array {
  if (frame.payload.length > MAX_AUDIO_BYTES) {
    throw new RangeError(`an audio payload holds at most ${MAX_AUDIO_BYTES} bytes, got ${frame.payload.length}`);
  }
  return concat(Uint8Array.of(frame.codec), encodeVarint(frame.sequence), encodeVarint(frame.timestamp), frame.payload);
}

/** Read what `encodeAudioFrame` wrote. */
export function decodeAudioFrame(body: Uint8Array): AudioFrame | Malformed {
  const sequence = decodeVarint(body, 1);
  const timestamp = sequence && decodeVarint(body, sequence.end);
  if (!sequence || !timestamp) {
    return new Malformed(`audio frame: header cut short at ${body.length} bytes`);
  }
  const codec = body[0] ?? 0;
  if (!CODECS.has(codec)) {
    return new Malformed(`audio frame: unknown codec ${codec}`);
  }
  return {
    sequence: sequence.value,
    timestamp: timestamp.value,
    codec: codec as Codec,
    payload: body.subarray(timestamp.end),
  };
}

/** `body` behind its length. */
export function lengthPrefixed(body: Uint8Array): Uint8Array {
  return concat(encodeVarint(body.length), body);
}

/** Cuts a stream into the bodies that `lengthPrefixed` framed, each at most `maxBytes`. */
export class LengthPrefixedReader {
  #buffer = new Uint8Array(256);
  #start = 0;
  #end = 0;

  constructor(private readonly maxBytes: number) {}

  /** Take the stream's next bytes and return all bodies that are complete; drop the reader on `Malformed`. */
  feed(data: Uint8Array): Uint8Array[] | Malformed {
    this.#append(data);
    const bodies: Uint8Array[] = [];
    const waiting = this.#buffer.subarray(0, this.#end);
    for (let head = decodeVarint(waiting, this.#start); head; head = decodeVarint(waiting, this.#start)) {
      if (head.value > this.maxBytes) {
        return new Malformed(`length prefix is ${head.value}, the limit is ${this.maxBytes}`);
      }
      const end = head.end + head.value;
      if (end > this.#end) {
        break;
      }
      bodies.push(waiting.slice(head.end, end));
      this.#start = end;
    }
    return bodies;
  }

  /** Make room by moving what waits to the front, in a buffer of twice its size where need be. */
  #append(data: Uint8Array): void {
    if (this.#end + data.length > this.#buffer.length) {
      const waiting = this.#buffer.subarray(this.#start, this.#end);
      const wanted = waiting.length + data.length;
      const room = wanted * 2 > this.#buffer.length ? new Uint8Array(wanted * 2) : this.#buffer;
      room.set(waiting);
      this.#buffer = room;
      this.#start = 0;
      this.#end = waiting.length;
    }
    this.#buffer.set(data, this.#end);
    this.#end += data.length;
  }
}

/**
 * Encode a variable-length integer (RFC 9000 section 16), up to 2^53 - 1: what counts frames, ticks and bytes here
 * stays below that for six thousand years.
 */
export function encodeVarint(value: number): Uint8Array {
  if (!Number.isSafeInteger(value) || value < 0) {
    throw new RangeError(`a varint holds 0 to 2^53-1 here, got ${value}`);
  }
  const bytes = value < 1 << 6 ? 1 : value < 1 << 14 ? 2 : value < 2 ** 30 ? 4 : 8;
  const encoded = new Uint8Array(bytes);
  for (let index = bytes - 1, rest = value; index >= 0; index--, rest = Math.floor(rest / 256)) {
    encoded[index] = rest % 256;
  }
  encoded[0]! |= Math.log2(bytes) << 6;
  return encoded;
}

/** The value and the offset behind it, or undefined while bytes are missing; beyond 2^53 the value is rounded. */
export function decodeVarint(data: Uint8Array, offset: number): { value: number; end: number } | undefined {
  const first = data[offset];
  if (first === undefined) {
    return undefined;
  }
  const end = offset + (1 << (first >> 6));
  if (end > data.length) {
    return undefined;
  }
  let value = first & 0x3f;
  for (let index = offset + 1; index < end; index++) {
    value = value * 256 + data[index]!;
  }
  return { value, end };
}

/** Milliseconds of media time as ticks. */
export function ticks(milliseconds: number): number {
  return Math.round((milliseconds * CLOCK_HZ) / 1000);
}

/** The parts, one behind the other. */
export function concat(...parts: readonly Uint8Array[]): Uint8Array {
  const joined = new Uint8Array(parts.reduce((bytes, part) => bytes + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    joined.set(part, offset);
    offset += part.length;
  }
  return joined;
}
