/** Speech on its way out: samples in, payloads with their media time out. */
import { Unsupported } from "../../errors.js";
import { CLOCK_HZ, Codec } from "../../wire/codepoints.js";
import { Resampler, toPcm16 } from "./resample.js";

/** Takes the next payload; `timestamp` is in ticks. */
export type Emit = (timestamp: number, payload: Uint8Array) => void;

export interface FrameEncoder {
  readonly codec: Codec;
  /** Take samples; `frame` is their place on the source's sample clock, from 0. */
  push(samples: Float32Array, frame: number): void;
  /** Emit all that was pushed. */
  flush(): Promise<void>;
  close(): void;
}

const FRAME_TICKS = CLOCK_HZ / 50;
/** In silence one frame in five is sent: the listener can tell that time passes. */
const SILENCE_FRAMES = 5;
/** For 800 ms all are: by then the listener has found that a turn is over, and none of them may keep it waiting. */
const FRAMES_BEFORE_SILENCE = 40;
const BITRATE = 24_000;
// the table of contents and SILK's header (RFC 6716 sections 3.1 and 4.2.3)
const FIRST_CELT_CONFIG = 16;
const VOICE_FLAG = 0x80;

/** Opus where the browser has it, else PCM16. */
export async function openEncoder(wanted: "opus" | "pcm16", sampleRate: number, emit: Emit): Promise<FrameEncoder> {
  if (wanted === "opus" && typeof AudioEncoder !== "undefined") {
    const config = opusConfig(sampleRate);
    const { supported } = await AudioEncoder.isConfigSupported(config).catch(() => ({ supported: false }));
    if (supported) {
      return new OpusFrameEncoder(config, emit);
    }
  }
  return new Pcm16FrameEncoder(sampleRate, emit);
}

function opusConfig(sampleRate: number): AudioEncoderConfig {
  // not in TypeScript's library yet: signal, application and usedtx (WebCodecs Opus registration)
  const opus = { frameDuration: 20_000, application: "voip", signal: "voice", usedtx: false } as OpusEncoderConfig;
  return { codec: "opus", sampleRate, numberOfChannels: 1, bitrate: BITRATE, opus };
}

/**
 * WebCodecs' Opus with discontinuous transmission of our own. An encoder that leaves out silence itself does not say that
 * it did: one that is late looks the same, and Chromium's timestamps stand still meanwhile.
 */
export class OpusFrameEncoder implements FrameEncoder {
  readonly codec = Codec.OPUS;
  readonly #encoder: AudioEncoder;
  readonly #sampleRate: number;
  readonly #emit: Emit;
  readonly #clock: EncoderClock;
  #framesWithoutVoice = 0;
  /** Left out so far, since the last that was sent: a voice that begins softly was in them already. */
  readonly #held: [number, Uint8Array][] = [];

  constructor(config: AudioEncoderConfig, emit: Emit) {
    this.#sampleRate = config.sampleRate;
    this.#emit = emit;
    this.#clock = new EncoderClock(config.sampleRate);
    this.#encoder = new AudioEncoder({
      output: (chunk) => this.#encoded(chunk),
      // the next push throws the codec's failure
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
    this.#clock.pushed(samples.length, frame);
    this.#encoder.encode(data);
    data.close();
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
    const at = this.#clock.encoded();
    this.#framesWithoutVoice = hasVoice(payload) ? 0 : this.#framesWithoutVoice + 1;
    const silentFor = this.#framesWithoutVoice - FRAMES_BEFORE_SILENCE;
    if (silentFor > 0 && silentFor % SILENCE_FRAMES !== 0) {
      this.#held.push([at, payload]);
      return;
    }
    if (silentFor <= 0) {
      for (const held of this.#held) {
        this.#emit(...held);
      }
    }
    this.#held.length = 0;
    this.#emit(at, payload);
  }
}

/**
 * The media time of an encoder's packets: the n-th holds the n-th 20 ms of its input; timestamps of the input are ignored.
 * Chromium counts on where the sound card had stopped.
 */
class EncoderClock {
  readonly #sampleRate: number;
  /** From this sample given on the source's clock is so far ahead: the oldest that still counts, and later ones. */
  readonly #jumps: { readonly from: number; readonly ahead: number }[] = [];
  #given = 0;
  #packets = 0;

  constructor(sampleRate: number) {
    this.#sampleRate = sampleRate;
  }

  pushed(samples: number, frame: number): void {
    const ahead = frame - this.#given;
    if (ahead !== this.#jumps.at(-1)?.ahead) {
      this.#jumps.push({ from: this.#given, ahead });
    }
    this.#given += samples;
  }

  /** When the next packet begins, in ticks. */
  encoded(): number {
    const samples = (this.#packets++ * this.#sampleRate * FRAME_TICKS) / CLOCK_HZ;
    while (this.#jumps[1] && this.#jumps[1].from <= samples) {
      this.#jumps.shift();
    }
    return Math.round(((samples + (this.#jumps[0]?.ahead ?? 0)) * CLOCK_HZ) / this.#sampleRate);
  }
}

/** PCM16 at 16 kHz, 20 ms at a time. */
export class Pcm16FrameEncoder implements FrameEncoder {
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
    if (due - this.#next > SILENCE_FRAMES * FRAME_TICKS) {
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

/**
 * Whether the encoder found a voice in a packet's first frame: the first bit of SILK's header (section 4.2.3). CELT does
 * not say, and counts as voice.
 */
export function hasVoice(packet: Uint8Array): boolean {
  const [toc = 0, header = 0] = packet;
  return toc >> 3 >= FIRST_CELT_CONFIG || header >= VOICE_FLAG;
}
