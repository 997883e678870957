import { describe, expect, it } from "vitest";
import file from "../../../../tests/vectors/uplink_datagrams.json";
import { hex, unhex } from "../testing/vectors.js";
import { decodeUplinkDatagram } from "../testing/worker-uplink.js";
import { type Codec, Malformed } from "./codepoints.js";
import { decodeUplinkReport, encodeUplinkDatagram } from "./datagrams.js";

describe("the same bytes as the reference implementation's", () => {
  it.each(file.uplink_audio)("uplink audio: $name", ({ hex: bytes, number, first, frames }) => {
    const datagram = {
      number,
      first,
      frames: frames.map((each) => ({ ...each, codec: each.codec as Codec, payload: unhex(each.payload) })),
    };
    expect(hex(encodeUplinkDatagram(datagram))).toBe(bytes);
    expect(decodeUplinkDatagram(unhex(bytes))).toEqual(datagram);
  });

  it.each(file.uplink_report)("uplink report: $name", ({ hex: bytes, held_ms, next_sequence, newest, received, runs }) => {
    const report = { newest, received, heldMs: held_ms, nextSequence: next_sequence, runs };
    expect(decodeUplinkReport(unhex(bytes))).toEqual(report);
  });
});

it.each(file.malformed_uplink_report)("finds fault with a report: $name", ({ hex: bytes }) => {
  expect(decodeUplinkReport(unhex(bytes))).toBeInstanceOf(Malformed);
});

it.each(file.skipped)("skips $name", ({ hex: bytes }) => {
  expect(decodeUplinkReport(unhex(bytes))).toBeNull();
});

it("skips what goes the other way", () => {
  expect(decodeUplinkReport(unhex(file.uplink_audio[0]!.hex))).toBeNull();
});
