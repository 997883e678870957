import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { hasVoice, openEncoder, type FrameEncoder } from "./frame-encoder.js";

const TICKS = 960;
const TOC = 0x4b;
const VOICE = Uint8Array.of(TOC, 0x80, 2);
const NO_VOICE = Uint8Array.of(TOC, 0x00, 2);

/** Chromium's Opus: a packet for each 20 ms, when it gets round to it, on a clock that no gap advances. */
class FakeAudioEncoder {
  state = "unconfigured";
  hasVoice = true;
  isBusy = false;
  wantsDtx: boolean | undefined;
  readonly #waiting: Uint8Array[] = [];
  #packets = 0;

  static async isConfigSupported(): Promise<{ supported: boolean }> {
    return { supported: true };
  }

  constructor(private readonly init: { output(chunk: unknown): void }) {
    encoder = this;
  }

  configure(config: { opus?: { usedtx?: boolean } }): void {
    this.state = "configured";
    this.wantsDtx = config.opus?.usedtx;
  }

  encode(): void {
    this.#waiting.push(this.hasVoice ? VOICE : NO_VOICE);
    if (!this.isBusy) {
      this.answer();
    }
  }

  answer(): void {
    for (const packet of this.#waiting.splice(0)) {
      const copyTo = (bytes: Uint8Array) => bytes.set(packet);
      this.init.output({ timestamp: this.#packets++ * 20_000, byteLength: packet.length, copyTo });
    }
  }
}

let encoder: FakeAudioEncoder;
let speech: FrameEncoder;
let batchSize: number;
let frame: number;
const emitted: number[] = [];

/** The indices of the frames emitted. */
function indices(): number[] {
  return emitted.map((timestamp) => timestamp / TICKS);
}

function upTo(end: number, first = 0): number[] {
  return Array.from({ length: end - first }, (_, index) => first + index);
}

/** So many batches of 20 ms. */
function push(batches: number): void {
  for (let batch = 0; batch < batches; batch++) {
    speech.push(new Float32Array(batchSize), frame);
    frame += batchSize;
  }
}

async function open(sampleRate: number): Promise<void> {
  batchSize = sampleRate / 50;
  speech = await openEncoder("opus", sampleRate, (timestamp) => void emitted.push(timestamp));
}

beforeEach(async () => {
  vi.stubGlobal("AudioEncoder", FakeAudioEncoder);
  vi.stubGlobal("AudioData", class {
    close(): void {}
  });
  frame = 0;
  emitted.length = 0;
  await open(48_000);
});

afterEach(() => void vi.unstubAllGlobals());

it("emits what the encoder does, in its place in time", () => {
  push(3);
  expect(indices()).toEqual([0, 1, 2]);
});

it("lets the encoder leave nothing out", () => {
  expect(encoder.wantsDtx).toBe(false);
});

it("sends 800 ms of silence, and then one frame in five", () => {
  push(2);
  encoder.hasVoice = false;
  push(67);
  expect(indices()).toEqual([...upTo(42), 46, 51, 56, 61, 66]);
});

it("sends what came just before a voice along with it", () => {
  encoder.hasVoice = false;
  push(53);
  encoder.hasVoice = true;
  push(2);
  expect(indices()).toEqual([...upTo(40), 44, ...upTo(55, 49)]);
});

it("takes each pause by itself", () => {
  for (let word = 0; word < 5; word++) {
    encoder.hasVoice = true;
    push(1);
    encoder.hasVoice = false;
    push(30);
  }
  expect(indices()).toEqual(upTo(155));
});

it("takes no busy encoder for silence, however often there was some", () => {
  encoder.hasVoice = false;
  push(48);
  encoder.hasVoice = true;
  push(5);
  const before = indices().length;
  encoder.isBusy = true;
  push(16);
  expect(indices().length).toBe(before);
  encoder.answer();
  encoder.isBusy = false;
  push(5);
  expect(indices().slice(before)).toEqual(upTo(74, 53));
});

it.each([48_000, 44_100])("leaves a gap where the sound card stopped, at %i Hz", async (sampleRate) => {
  await open(sampleRate);
  encoder.isBusy = true;
  push(3);
  frame += 4 * batchSize;
  push(2);
  frame += 50 * batchSize;
  push(1);
  encoder.answer();
  expect(indices()).toEqual([0, 1, 2, 7, 8, 59]);
});

it.each([
  ["SILK, voice", [0x48, 0x80], true],
  ["SILK, none", [0x48, 0x7f], false],
  ["hybrid, voice", [0x78, 0xc3, 1], true],
  ["hybrid, none", [0x78, 0x03, 1], false],
  ["CELT, which does not say", [0x80, 0x00], true],
  ["a packet of DTX", [0x48], false],
])("finds voice in an Opus packet by SILK's header: %s", (_, bytes, expected) => {
  expect(hasVoice(Uint8Array.from(bytes))).toBe(expected);
});
