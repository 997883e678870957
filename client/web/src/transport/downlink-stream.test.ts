import { expect, it } from "vitest";
import { unhex } from "../testing/vectors.js";
import { Codec } from "../wire/codepoints.js";
import { type AudioFrame, concat, encodeAudioFrame, encodeVarint, lengthPrefixed } from "../wire/framing.js";
import { DownlinkStream } from "./downlink-stream.js";

const frame = (sequence: number) => ({
  sequence,
  timestamp: sequence * 960,
  codec: Codec.OPUS,
  payload: Uint8Array.of(sequence),
});
const onStream = (...sequences: number[]) =>
  concat(encodeVarint(2), encodeVarint(200), ...sequences.map((each) => lengthPrefixed(encodeAudioFrame(frame(each)))));

it("reads an utterance byte by byte", () => {
  const stream = new DownlinkStream();
  const read = [...onStream(0, 1, 2)].flatMap((byte) => stream.feed(Uint8Array.of(byte)) as AudioFrame[]);
  expect(stream.utteranceId).toBe(200);
  expect(read).toEqual([0, 1, 2].map(frame));
});

it("skips streams of a type that it does not know", () => {
  const foreign = new DownlinkStream();
  expect(foreign.feed(unhex("09ffffff"))).toEqual([]);
  expect(foreign.isForeign).toBe(true);
});
