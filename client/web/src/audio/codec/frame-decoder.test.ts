import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { CLOCK_HZ, Codec } from "../../wire/codepoints.js";
import { Resampler, toPcm16 } from "./resample.js";
import { Pcm16FrameEncoder } from "./frame-encoder.js";
import { FrameDecoder } from "./frame-decoder.js";

const TONE_HZ = 500;
const SINK_RATES = [8_000, 16_000, 22_050, 24_000, 44_100, 48_000, 96_000];

function tone(rateHz: number, seconds: number, startS = 0): Float32Array {
  return Float32Array.from({ length: Math.round(rateHz * seconds) }, (_, index) =>
    0.5 * Math.sin(2 * Math.PI * TONE_HZ * (startS + index / rateHz)),
  );
}

/** The frequency heard at `rateHz`, by its zero crossings. */
function pitch(samples: Float32Array, rateHz: number): number {
  const inner = samples.subarray(Math.round(rateHz / 50), -Math.round(rateHz / 50));
  let crossings = 0;
  for (let index = 1; index < inner.length; index++) {
    crossings += inner[index - 1]! < 0 !== inner[index]! < 0 ? 1 : 0;
  }
  return (crossings * rateHz) / (2 * inner.length);
}

function loudness(samples: Float32Array): number {
  return Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
}

/** WebCodecs' Opus: 20 ms of the tone for each packet, at the rate of the decoder, 48 kHz. */
class FakeAudioDecoder {
  static rateHz = CLOCK_HZ;
  state = "unconfigured";

  constructor(private readonly init: { output(data: unknown): void }) {}

  configure(): void {
    this.state = "configured";
  }

  decode({ timestamp }: { timestamp: number }): void {
    const sampleRate = FakeAudioDecoder.rateHz;
    const samples = tone(sampleRate, 0.02, timestamp / 1e6);
    this.init.output({
      timestamp,
      sampleRate,
      numberOfFrames: samples.length,
      copyTo: (target: Float32Array) => target.set(samples),
      close: () => undefined,
    });
  }

  flush(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    this.state = "closed";
  }
}

beforeEach(() => {
  FakeAudioDecoder.rateHz = CLOCK_HZ;
  vi.stubGlobal("AudioDecoder", FakeAudioDecoder);
  vi.stubGlobal("EncodedAudioChunk", class {
    readonly timestamp: number;
    constructor({ timestamp }: { timestamp: number }) {
      this.timestamp = timestamp;
    }
  });
});

afterEach(() => {
  vi.unstubAllGlobals();
});

/** What a sink of this rate gets of a second of the tone, the frames from `left` to `right` left out. */
async function heard(codec: Codec, sinkHz: number, left = 0, right = 0): Promise<Float32Array> {
  const parts: Float32Array[] = [];
  const rateHz = { [Codec.PCM16_16K]: 16_000, [Codec.PCM16_24K]: 24_000 }[codec as number] ?? CLOCK_HZ;
  await new Promise<void>((resolve, reject) => {
    const decoder = new FrameDecoder(sinkHz, {
      decoded: (samples) => void parts.push(samples),
      ended: resolve,
      failed: (fault) => reject(new Error(fault.reason)),
    });
    let sequence = 0;
    for (let index = 0; index < 50; index++) {
      if (index >= left && index < right) {
        continue;
      }
      const payload = codec === Codec.OPUS ? Uint8Array.of(0x4b) : toPcm16(tone(rateHz, 0.02, index / 50));
      decoder.push({ sequence: sequence++, timestamp: index * 960, codec, payload });
    }
    decoder.end();
  });
  const whole = new Float32Array(parts.reduce((total, part) => total + part.length, 0));
  parts.reduce((at, part) => (whole.set(part, at), at + part.length), 0);
  return whole;
}

describe.each([
  ["Opus", Codec.OPUS],
  ["PCM16 at 16 kHz", Codec.PCM16_16K],
  ["PCM16 at 24 kHz", Codec.PCM16_24K],
  ["PCM16 at 48 kHz", Codec.PCM16_48K],
])("%s", (_, codec) => {
  it.each(SINK_RATES)("plays a second in a second, at its pitch, on a sink of %i Hz", async (sinkHz) => {
    const samples = await heard(codec, sinkHz);
    expect(Math.abs(samples.length - sinkHz)).toBeLessThanOrEqual(2);
    expect(pitch(samples, sinkHz)).toBeCloseTo(TONE_HZ, -1);
    expect(loudness(samples)).toBeCloseTo(0.5 / Math.SQRT2, 1);
  });

  it.each(SINK_RATES)("keeps a pause as long as it was on a sink of %i Hz", async (sinkHz) => {
    const samples = await heard(codec, sinkHz, 20, 30);
    expect(Math.abs(samples.length - sinkHz)).toBeLessThanOrEqual(2);
    expect(loudness(samples.subarray(Math.round(0.42 * sinkHz), Math.round(0.58 * sinkHz)))).toBeLessThan(0.01);
    expect(loudness(samples.subarray(Math.round(0.62 * sinkHz), Math.round(0.98 * sinkHz)))).toBeGreaterThan(0.3);
  });
});

it("takes Opus at the rate that the browser decodes it at", async () => {
  FakeAudioDecoder.rateHz = 16_000;
  const samples = await heard(Codec.OPUS, 24_000);
  expect(Math.abs(samples.length - 24_000)).toBeLessThanOrEqual(2);
  expect(pitch(samples, 24_000)).toBeCloseTo(TONE_HZ, -1);
});

it("drops what is decoded after it was closed", async () => {
  let count = 0;
  const decoder = new FrameDecoder(24_000, {
    decoded: () => void count++,
    ended: () => void count++,
    failed: () => void count++,
  });
  decoder.close();
  decoder.push({ sequence: 0, timestamp: 0, codec: Codec.PCM16_16K, payload: new Uint8Array(640) });
  decoder.end();
  await Promise.resolve();
  expect(count).toBe(0);
});

describe("a source", () => {
  it.each(SINK_RATES)("of %i Hz is sent as PCM16 at 16 kHz, at its pitch and in its time", (sourceHz) => {
    const sent: [number, Uint8Array][] = [];
    const encoder = new Pcm16FrameEncoder(sourceHz, (timestamp, payload) => void sent.push([timestamp, payload]));
    const samples = tone(sourceHz, 1);
    for (let at = 0; at < samples.length; at += 128) {
      encoder.push(samples.subarray(at, at + 128), at);
    }
    void encoder.flush();
    expect(sent.length).toBeGreaterThanOrEqual(50);
    expect(sent.length).toBeLessThanOrEqual(51);
    expect(sent.map(([timestamp]) => timestamp)).toEqual(sent.map((_each, index) => index * 960));
    const whole = new Float32Array(sent.length * 320);
    sent.forEach(([, payload], index) => {
      const view = new DataView(payload.buffer);
      for (let at = 0; at < 320; at++) {
        whole[index * 320 + at] = view.getInt16(at * 2, true) / 32_768;
      }
    });
    expect(pitch(whole.subarray(0, 15_600), 16_000)).toBeCloseTo(TONE_HZ, -1);
  });
});

it("converts any cut of the input alike", () => {
  const samples = tone(44_100, 0.5);
  const whole = new Resampler(44_100, 16_000).push(samples);
  const cut = new Resampler(44_100, 16_000);
  const parts: number[] = [];
  for (let at = 0; at < samples.length; at += 97) {
    parts.push(...cut.push(samples.subarray(at, at + 97)));
  }
  expect(parts.length).toBe(whole.length);
  expect(Math.max(...parts.map((sample, index) => Math.abs(sample - whole[index]!)))).toBeLessThan(1e-6);
});
