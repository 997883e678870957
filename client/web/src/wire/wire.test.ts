import { describe, expect, it } from "vitest";
import { hex, unhex, vectors } from "../testing/vectors.js";
import { CloseCode, Codec, Malformed } from "./codepoints.js";
import {
  type AudioFrame,
  concat,
  decodeAudioFrame,
  decodeVarint,
  encodeAudioFrame,
  encodeVarint,
  lengthPrefixed,
  LengthPrefixedReader,
} from "./framing.js";
import { type ClientMessage, decodeServerMessage, encodeMessage } from "./messages.js";

const frames = vectors.frames.map(
  (each) => ({ ...each, payload: unhex(each.payload) }) as unknown as AudioFrame & { bytes: string; on_stream: string },
);

describe("the same bytes as the reference implementation's", () => {
  it.each(vectors.varints)("varint $value", ({ value, bytes }) => {
    expect(hex(encodeVarint(value))).toBe(bytes);
    expect(decodeVarint(unhex(bytes), 0)).toEqual({ value, end: bytes.length / 2 });
  });

  it.each(frames)("frame $sequence", (frame) => {
    const { sequence, timestamp, codec, payload } = frame;
    const bytes = encodeAudioFrame(frame);
    expect(hex(bytes)).toBe(frame.bytes);
    expect(hex(lengthPrefixed(bytes))).toBe(frame.on_stream);
    expect(decodeAudioFrame(unhex(frame.bytes))).toEqual({ sequence, timestamp, codec, payload });
  });

  it.each(vectors.client_messages)("client message $message", ({ message, bytes }) => {
    expect(hex(encodeMessage(message as ClientMessage))).toBe(bytes);
  });

  it.each(vectors.server_messages)("server message $message", ({ message, bytes }) => {
    expect(decodeServerMessage(unhex(bytes))).toEqual(message);
  });

  it("close codes and codecs", () => {
    expect(CloseCode).toEqual(vectors.close_codes);
    expect(Codec).toEqual(vectors.codecs);
  });
});

it.each(vectors.skipped)("skips an unknown message %s", (bytes) => {
  expect(decodeServerMessage(unhex(bytes))).toBeNull();
});

it.each(vectors.malformed)("finds fault with %s", (bytes) => {
  expect(decodeServerMessage(unhex(bytes))).toBeInstanceOf(Malformed);
});

it("does not take what every object has for a message", () => {
  expect(decodeServerMessage(unhex("81a474797065ab636f6e7374727563746f72"))).toBeNull();
});

it("cuts a stream into bodies wherever its bytes are cut", () => {
  const bodies = [new Uint8Array(0), unhex("01"), new Uint8Array(100).fill(7), new Uint8Array(20_000).fill(9)];
  const stream = concat(...bodies.map(lengthPrefixed));
  for (const step of [1, 2, 63, 4_096, stream.length]) {
    const reader = new LengthPrefixedReader(20_000);
    const found: Uint8Array[] = [];
    for (let offset = 0; offset < stream.length; offset += step) {
      found.push(...(reader.feed(stream.subarray(offset, offset + step)) as Uint8Array[]));
    }
    expect(found.map(hex)).toEqual(bodies.map(hex));
  }
});

it("takes no body longer than the limit", () => {
  expect(new LengthPrefixedReader(10).feed(unhex("0b"))).toBeInstanceOf(Malformed);
});

it("refuses what cannot be sent", () => {
  expect(() => encodeVarint(-1)).toThrow(RangeError);
  expect(() => encodeVarint(2 ** 53)).toThrow(RangeError);
  expect(() => encodeAudioFrame({ sequence: 0, timestamp: 0, codec: 1, payload: new Uint8Array(16_385) })).toThrow(
    RangeError,
  );
});
