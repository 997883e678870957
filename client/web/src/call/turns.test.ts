import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { CallLost } from "../errors.js";
import type { TurnMeasured } from "../events.js";
import { CallTestbed } from "../testing/call-testbed.js";

let testbed: CallTestbed;

beforeEach(async () => {
  vi.useFakeTimers({ now: 1_000_000 });
  testbed = new CallTestbed();
  await testbed.begin();
});

afterEach(() => {
  testbed.call.end(null);
  vi.useRealTimers();
});

it("reports where the time of a turn went, to the server as well", async () => {
  await testbed.pass(300);
  testbed.speak(1);
  await testbed.pass(600);
  testbed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
  testbed.answer(1, 50, 0, 8_000);
  const parts = { uplink_ms: 3, endpointing_ms: 400, stt_ms: 100, llm_ms: 50, tts_ms: 20 };
  testbed.link.say({ type: "latency", turn: 1, generation: 1, sequence: 0, ...parts });
  expect(testbed.of("turn")).toEqual([]);
  await testbed.pass(50);
  testbed.sink.play(20);
  const [turn] = testbed.of("turn");
  expect(turn).toMatchObject({ turn: 1, responseMs: 630, playoutMs: 30, endpointingMs: 400, ttsMs: 20 });
  const { uplinkAgeMs, endpointingMs, sttMs, llmMs, ttsMs, downlinkMs, playoutMs } = turn as TurnMeasured;
  const known = [uplinkAgeMs, endpointingMs, sttMs, llmMs, ttsMs, downlinkMs, playoutMs].map(Number);
  expect(known.reduce((sum, part) => sum + part, 0)).toBeCloseTo(630, 0);
  expect(testbed.link.of("measured")).toEqual([
    { type: "measured", turn: 1, response_ms: 630, uplink_age_ms: uplinkAgeMs, playout_ms: 30 },
  ]);
});

it("measures how soon it fell silent for a caller who interrupts", async () => {
  testbed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
  testbed.answer(1, 50);
  testbed.sink.play(200);
  testbed.speak(1);
  await testbed.pass(150);
  testbed.link.say({ type: "flush", generation: 1, sequence: 0 });
  expect(testbed.link.of("measured")).toEqual([{ type: "measured", turn: 1, barge_in_ms: 150 }]);
});

it("says how long it was gone, and how many frames went twice", async () => {
  testbed.speak(5);
  testbed.link.lose(new CallLost("cable"));
  testbed.speak(2);
  await testbed.pass(100);
  testbed.link.ready(2);
  const [measured] = testbed.link.of("measured");
  expect(measured).toMatchObject({ turn: 0, resume_gap_ms: 100, frames_replayed: 3 });
  expect(testbed.of("turn")).toEqual([expect.objectContaining({ turn: 0, resumeGapMs: 100, framesReplayed: 3 })]);
});
