import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { CallLost } from "../errors.js";
import type { TurnMeasured } from "../events.js";
import { Bed } from "../testing/call-bed.js";

let bed: Bed;

beforeEach(async () => {
  vi.useFakeTimers({ now: 1_000_000 });
  bed = new Bed();
  await bed.begin();
});

afterEach(() => {
  bed.call.end(null);
  vi.useRealTimers();
});

it("tells where the time of a turn went, to the server as well", async () => {
  await bed.pass(300);
  bed.speak(1);
  await bed.pass(600);
  bed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
  bed.answer(1, 50, 0, 8_000);
  const served = { uplink_ms: 3, endpointing_ms: 400, stt_ms: 100, llm_ms: 50, tts_ms: 20 };
  bed.link.say({ type: "latency", turn: 1, generation: 1, sequence: 0, ...served });
  expect(bed.of("turn")).toEqual([]);
  await bed.pass(50);
  bed.sink.play(20);
  const [turn] = bed.of("turn");
  expect(turn).toMatchObject({ turn: 1, responseMs: 630, playoutMs: 30, endpointingMs: 400, ttsMs: 20 });
  const { uplinkAgeMs, endpointingMs, sttMs, llmMs, ttsMs, downlinkMs, playoutMs } = turn as TurnMeasured;
  const parts = [uplinkAgeMs, endpointingMs, sttMs, llmMs, ttsMs, downlinkMs, playoutMs].map(Number);
  expect(parts.reduce((sum, part) => sum + part, 0)).toBeCloseTo(630, 0);
  expect(bed.link.of("measured")).toEqual([
    { type: "measured", turn: 1, response_ms: 630, uplink_age_ms: uplinkAgeMs, playout_ms: 30 },
  ]);
});

it("measures how soon it fell silent for a caller who interrupts", async () => {
  bed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
  bed.answer(1, 50);
  bed.sink.play(200);
  bed.speak(1);
  await bed.pass(150);
  bed.link.say({ type: "flush", generation: 1, sequence: 0 });
  expect(bed.link.of("measured")).toEqual([{ type: "measured", turn: 1, barge_in_ms: 150 }]);
});

it("says how long it was gone, and how many frames went twice", async () => {
  bed.speak(5);
  bed.link.lose(new CallLost("cable"));
  bed.speak(2);
  await bed.pass(100);
  bed.link.ready(2);
  const [measured] = bed.link.of("measured");
  expect(measured).toMatchObject({ turn: 0, resume_gap_ms: 100, frames_replayed: 3 });
  expect(bed.of("turn")).toEqual([expect.objectContaining({ turn: 0, resumeGapMs: 100, framesReplayed: 3 })]);
});
