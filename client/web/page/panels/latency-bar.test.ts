import { expect, test } from "vitest";
import { inText, partsOf } from "./latency-bar.js";

const TURN = {
  type: "turn",
  turn: 1,
  responseMs: 640,
  uplinkAgeMs: 12.4,
  endpointingMs: 480,
  sttMs: 31,
  llmMs: null,
  ttsMs: 60,
  downlinkMs: 5,
  playoutMs: 42,
  bargeInMs: null,
  resumeGapMs: null,
  framesReplayed: 0,
} as const;

test("the parts of a latency have the field's names, and the network is both ways", () => {
  expect(inText(TURN)).toBe("network 17 ms, end of turn 480 ms, speech-to-text 31 ms, text-to-speech 60 ms, playout 42 ms");
});

test("a network known in one direction is shown, an unknown one is not", () => {
  expect(partsOf({ ...TURN, downlinkMs: null })[0]).toEqual({ key: "network", name: "network", ms: 12.4 });
  expect(partsOf({ ...TURN, uplinkAgeMs: null, downlinkMs: null })[0]?.key).toBe("endpointing");
});
