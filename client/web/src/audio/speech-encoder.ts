/** Speech on its way out: samples in, payloads with their media time out. */
import { Unsupported } from "../errors.js";
import { CLOCK_HZ, Codec } from "../wire/codepoints.js";
import { Resampler, toPcm16 } from "./resample.js";

/** Takes the next payload; `timestamp` is in ticks. */
export type Emit = (timestamp: number, payload: Uint8Array) => void;

export interface SpeechEncoder {
  readonly codec: Codec;
  /** Take samples; `frame` is their place on the source's sample clock, from 0. */
  push(samples: Float32Array, frame: number): void;
  /** Emit all that was pushed. */
  flush(): Promise<void>;
  close(): void;
}

const FRAME_TICKS = CLOCK_HZ / 50;
/** In silence one frame in five is sent: the listener can tell that time passed, and ends a turn, 100 ms late at most. */
const MAX_SILENCE_TICKS = 5 * FRAME_TICKS;
/** By then the encoder has answered, unless it swallowed what it was given. */
const ENCODED_AFTER_MS = 25;
const BITRATE = 24_000;

/** Opus where the browser has it, else PCM16. */
export async function openEncoder(wanted: "opus" | "pcm16", sampleRate: number, emit: Emit): Promise<SpeechEncoder> {
  if (wanted === "opus" && typeof AudioEncoder !== "undefined") {
    const config = opusConfig(sampleRate);
    const { supported } = await AudioEncoder.isConfigSupported(config).catch(() => ({ supported: false }));
    if (supported) {
      return new OpusSpeechEncoder(config, emit);
    }
  }
  return new Pcm16SpeechEncoder(sampleRate, emit);
}

function opusConfig(sampleRate: number): AudioEncoderConfig {
  // not in TypeScript's library yet: signal, application and usedtx (WebCodecs Opus registration)
  const opus = { frameDuration: 20_000, application: "voip", signal: "voice", usedtx: true } as OpusEncoderConfig;
  return { codec: "opus", sampleRate, numberOfChannels: 1, bitrate: BITRATE, opus };
}

/** WebCodecs' Opus with discontinuous transmission. */
export class OpusSpeechEncoder implements SpeechEncoder {
  readonly codec = Codec.OPUS;
  readonly #encoder: AudioEncoder;
  readonly #sampleRate: number;
  readonly #emit: Emit;
  /** What the encoder may still be at work on: where it ends, and since when. */
  readonly #pushed: { readonly end: number; readonly at: number }[] = [];
  #next = 0;
  #toc = 0;

  constructor(config: AudioEncoderConfig, emit: Emit) {
    this.#sampleRate = config.sampleRate;
    this.#emit = emit;
    this.#encoder = new AudioEncoder({
      output: (chunk) => this.#encoded(chunk),
      // the codec's failure is told by the next push, which throws
      error: () => undefined,
    });
    this.#encoder.configure(config);
  }

  push(samples: Float32Array, frame: number): void {
    if (this.#encoder.state !== "configured") {
      throw new Unsupported("the browser's Opus encoder failed");
    }
    const data = new AudioData({
      format: "f32-planar",
      sampleRate: this.#sampleRate,
      numberOfChannels: 1,
      numberOfFrames: samples.length,
      timestamp: Math.round((frame * 1e6) / this.#sampleRate),
      data: samples as Float32Array<ArrayBuffer>,
    });
    this.#encoder.encode(data);
    data.close();
    const now = performance.now();
    this.#pushed.push({ end: Math.round(((frame + samples.length) * CLOCK_HZ) / this.#sampleRate), at: now });
    this.#bridgeSilence(now);
  }

  async flush(): Promise<void> {
    if (this.#encoder.state === "configured") {
      await this.#encoder.flush();
    }
  }

  close(): void {
    if (this.#encoder.state !== "closed") {
      this.#encoder.close();
    }
  }

  #encoded(chunk: EncodedAudioChunk): void {
    const payload = new Uint8Array(chunk.byteLength);
    chunk.copyTo(payload);
    this.#toc = payload[0] ?? 0;
    this.#send(Math.round((chunk.timestamp * CLOCK_HZ) / 1e6), payload);
  }

  /**
   * WebCodecs swallows the packets of silence: stand in for one each 100 ms (RFC 6716: a packet of its TOC alone). What a
   * page that was busy pushes all at once is no silence, only because the encoder has not answered yet.
   */
  #bridgeSilence(now: number): void {
    const underWay = this.#pushed.findIndex(({ at }) => now - at < ENCODED_AFTER_MS);
    const encoded = this.#pushed.splice(0, underWay).at(-1);
    if (this.#toc && encoded && encoded.end - this.#next >= MAX_SILENCE_TICKS) {
      this.#send(encoded.end - FRAME_TICKS, Uint8Array.of(this.#toc & 0xfc));
    }
  }

  #send(timestamp: number, payload: Uint8Array): void {
    const at = Math.max(timestamp, this.#next);
    this.#next = at + FRAME_TICKS;
    this.#emit(at, payload);
  }
}

/** PCM16 at 16 kHz, 20 ms at a time. */
export class Pcm16SpeechEncoder implements SpeechEncoder {
  readonly codec = Codec.PCM16_16K;
  readonly #resampler: Resampler;
  readonly #samples = new Float32Array(320);
  #filled = 0;
  #next = 0;

  constructor(
    private readonly sampleRate: number,
    private readonly emit: Emit,
  ) {
    this.#resampler = new Resampler(sampleRate, 16_000);
  }

  push(samples: Float32Array, frame: number): void {
    const due = Math.round((frame * CLOCK_HZ) / this.sampleRate) - this.#filled * 3;
    if (due - this.#next > MAX_SILENCE_TICKS) {
      this.#next = due; // the source stood still: a gap in time
    }
    for (const sample of this.#resampler.push(samples)) {
      this.#samples[this.#filled++] = sample;
      if (this.#filled === this.#samples.length) {
        this.#send();
      }
    }
  }

  flush(): Promise<void> {
    if (this.#filled) {
      this.#samples.fill(0, this.#filled);
      this.#send();
    }
    return Promise.resolve();
  }

  close(): void {
    this.#filled = 0;
  }

  #send(): void {
    this.emit(this.#next, toPcm16(this.#samples));
    this.#next += FRAME_TICKS;
    this.#filled = 0;
  }
}
