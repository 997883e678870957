/** One answer on its way in: frames in, samples at the sink's rate out, in order. */
import { CLOCK_HZ, Codec, Malformed } from "../../wire/codepoints.js";
import type { AudioFrame } from "../../wire/framing.js";
import { fromPcm16, Resampler } from "./resample.js";

export interface DecoderHandler {
  decoded(samples: Float32Array): void;
  /** All that was pushed before `end` is decoded. */
  ended(): void;
  failed(fault: Malformed): void;
}

const PCM_RATES: ReadonlyMap<Codec, number> = new Map<Codec, number>([
  [Codec.PCM16_16K, 16_000],
  [Codec.PCM16_24K, 24_000],
  [Codec.PCM16_48K, 48_000],
]);
/** More than an encoder's rounding. */
const GAP_TICKS = CLOCK_HZ / 200;
const MAX_GAP_TICKS = 10 * CLOCK_HZ;

/** The codecs a client can play, most wanted first. */
export async function playableCodecs(wanted: "opus" | "pcm16"): Promise<Codec[]> {
  const hasOpus =
    typeof AudioDecoder !== "undefined" &&
    (await AudioDecoder.isConfigSupported(OPUS_CONFIG).then(
      ({ supported }) => supported === true,
      () => false,
    ));
  if (!hasOpus) {
    return [Codec.PCM16_24K];
  }
  return wanted === "opus" ? [Codec.OPUS, Codec.PCM16_24K] : [Codec.PCM16_24K, Codec.OPUS];
}

const OPUS_CONFIG: AudioDecoderConfig = { codec: "opus", sampleRate: CLOCK_HZ, numberOfChannels: 1 };

/** Decodes an utterance from its codec's rate to the sink's; a gap in the timestamps comes out as silence. */
export class FrameDecoder {
  readonly #rateHz: number;
  readonly #handler: DecoderHandler;
  #opus: AudioDecoder | undefined;
  #resampler: { fromHz: number; resampler: Resampler } | undefined;
  #next: number | undefined;
  #isClosed = false;

  constructor(rateHz: number, handler: DecoderHandler) {
    this.#rateHz = rateHz;
    this.#handler = handler;
  }

  push(frame: AudioFrame): void {
    const rateHz = PCM_RATES.get(frame.codec);
    if (frame.codec === Codec.OPUS) {
      this.#decodeOpus(frame);
    } else if (rateHz === undefined) {
      this.#handler.failed(new Malformed(`downlink codec ${frame.codec} was not asked for`));
    } else {
      this.#emit(frame.timestamp, rateHz, fromPcm16(frame.payload));
    }
  }

  /** No more frames follow. */
  end(): void {
    if (this.#opus?.state === "configured") {
      this.#opus.flush().then(
        () => this.#ended(),
        () => this.#ended(),
      );
    } else {
      this.#ended();
    }
  }

  /** Drop frames that are not decoded yet. */
  close(): void {
    this.#isClosed = true;
    if (this.#opus && this.#opus.state !== "closed") {
      this.#opus.close();
    }
  }

  #ended(): void {
    if (!this.#isClosed) {
      this.#give(this.#resampler?.resampler.flush());
      this.close();
      this.#handler.ended();
    }
  }

  #decodeOpus(frame: AudioFrame): void {
    if (this.#opus === undefined) {
      this.#opus = new AudioDecoder({
        output: (data) => this.#decoded(data),
        error: (error) => this.#handler.failed(new Malformed(`opus: ${error.message}`)),
      });
      this.#opus.configure(OPUS_CONFIG);
    }
    if (this.#opus.state === "configured" && frame.payload.length) {
      const timestamp = Math.round((frame.timestamp * 1e6) / CLOCK_HZ);
      this.#opus.decode(new EncodedAudioChunk({ type: "key", timestamp, data: frame.payload as Uint8Array<ArrayBuffer> }));
    }
  }

  #decoded(data: AudioData): void {
    const samples = new Float32Array(data.numberOfFrames);
    data.copyTo(samples, { planeIndex: 0, format: "f32-planar" });
    this.#emit(Math.round((data.timestamp * CLOCK_HZ) / 1e6), data.sampleRate, samples);
    data.close();
  }

  /** Samples of `rateHz` that begin at `timestamp`, behind the silence before them. */
  #emit(timestamp: number, rateHz: number, samples: Float32Array): void {
    if (this.#isClosed) {
      return;
    }
    const gap = this.#next === undefined ? 0 : timestamp - this.#next;
    const resampler = this.#from(rateHz);
    if (gap > GAP_TICKS && gap <= MAX_GAP_TICKS) {
      this.#give(resampler.push(new Float32Array(Math.round((gap * rateHz) / CLOCK_HZ))));
    }
    this.#next = timestamp + (samples.length * CLOCK_HZ) / rateHz;
    this.#give(resampler.push(samples));
  }

  #from(rateHz: number): Resampler {
    if (this.#resampler?.fromHz !== rateHz) {
      this.#give(this.#resampler?.resampler.flush());
      this.#resampler = { fromHz: rateHz, resampler: new Resampler(rateHz, this.#rateHz) };
    }
    return this.#resampler.resampler;
  }

  #give(samples: Float32Array | undefined): void {
    if (samples?.length) {
      this.#handler.decoded(samples);
    }
  }
}
