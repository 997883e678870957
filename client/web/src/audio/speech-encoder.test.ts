import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { OpusSpeechEncoder } from "./speech-encoder.js";

const BATCH = 960;
const TOC = 0x4b;

/** WebCodecs' Opus: swallows silence, and answers when the page gets round to it. */
class FakeAudioEncoder {
  state = "unconfigured";
  isSilent = false;
  isBusy = false;
  readonly #waiting: number[] = [];

  constructor(private readonly init: { output(chunk: unknown): void }) {
    encoder = this;
  }

  configure(): void {
    this.state = "configured";
  }

  encode({ timestamp }: { timestamp: number }): void {
    if (!this.isSilent) {
      this.#waiting.push(timestamp);
    }
    if (!this.isBusy) {
      this.answer();
    }
  }

  answer(): void {
    for (const timestamp of this.#waiting.splice(0)) {
      const copyTo = (octets: Uint8Array) => octets.set([TOC, 1, 2]);
      this.init.output({ timestamp, byteLength: 3, copyTo });
    }
  }
}

let encoder: FakeAudioEncoder;
let speech: OpusSpeechEncoder;
let frame: number;
const emitted: { timestamp: number; octets: number }[] = [];

/** So many batches of 20 ms, handed over each 20 ms, or all at once. */
function push(batches: number, everyMs = 20): void {
  for (let batch = 0; batch < batches; batch++) {
    vi.advanceTimersByTime(everyMs);
    speech.push(new Float32Array(BATCH), frame);
    frame += BATCH;
  }
}

beforeEach(() => {
  vi.useFakeTimers({ now: 0 });
  vi.stubGlobal("AudioEncoder", FakeAudioEncoder);
  vi.stubGlobal("AudioData", class {
    readonly timestamp: number;
    constructor({ timestamp }: { timestamp: number }) {
      this.timestamp = timestamp;
    }
    close(): void {}
  });
  frame = 0;
  emitted.length = 0;
  const config = { codec: "opus", sampleRate: 48_000, numberOfChannels: 1 };
  speech = new OpusSpeechEncoder(config, (timestamp, { length: octets }) => void emitted.push({ timestamp, octets }));
});

afterEach(() => {
  vi.unstubAllGlobals();
  vi.useRealTimers();
});

it("emits what the encoder does, in its place in time", () => {
  push(3);
  expect(emitted).toEqual([0, 960, 1_920].map((timestamp) => ({ timestamp, octets: 3 })));
});

it("stands in for a packet of silence each 100 ms", () => {
  push(2);
  encoder.isSilent = true;
  push(50);
  encoder.isSilent = false;
  push(1);
  const silence = emitted.filter(({ octets }) => octets === 1).map(({ timestamp }) => timestamp);
  expect(silence.length).toBe(9);
  expect(new Set(silence.slice(1).map((each, index) => each - silence[index]!))).toEqual(new Set([5 * BATCH]));
  expect(emitted.at(-1)).toEqual({ timestamp: 52 * BATCH, octets: 3 });
});

it("takes no busy page for silence", () => {
  push(5);
  encoder.isBusy = true;
  push(1);
  vi.advanceTimersByTime(300);
  push(15, 0);
  encoder.answer();
  encoder.isBusy = false;
  push(5);
  expect(emitted).toEqual(Array.from({ length: 26 }, (_, index) => ({ timestamp: index * BATCH, octets: 3 })));
});
