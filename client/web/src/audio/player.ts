/** Plays the agent's frames: a decoder for each utterance, one `Playback` for all, and the sink. */
import { Malformed } from "../wire/codepoints.js";
import type { AudioFrame } from "../wire/framing.js";
import type { AudioSink } from "./base.js";
import { Playback, type PlaybackHandler } from "./playback.js";
import { FrameDecoder } from "./codec/frame-decoder.js";

export interface PlayerHandler extends PlaybackHandler {
  /** The server sent what cannot be played. */
  failed(fault: Malformed): void;
}

const MAX_BUFFERED_MS = 600_000;

export class Player {
  #playback: Playback | undefined;
  #rateHz = 0;
  #flushed = 0;
  readonly #incoming = new Map<number, { decoder: FrameDecoder; nextSequence: number }>();

  constructor(
    private readonly sink: AudioSink,
    private readonly handler: PlayerHandler,
  ) {}

  /** Get the sink ready; before that nothing may be pushed. */
  async open(): Promise<void> {
    const { sampleRate } = await this.sink.open({
      played: (position) => this.#playback?.played(position),
      flushed: (playedTo) => this.#playback?.flushed(playedTo),
    });
    this.#rateHz = sampleRate;
    this.#playback = new Playback(this.sink, sampleRate, this.handler);
  }

  get newest(): number {
    return this.#playback?.newest ?? 0;
  }

  get bufferedMs(): number {
    return this.#playback?.bufferedMs ?? 0;
  }

  get playedMs(): number {
    return this.#playback?.playedMs ?? 0;
  }

  begin(utteranceId: number): void {
    this.#playback?.begin(utteranceId);
  }

  /** Take a frame; it is dropped where it comes late, after its utterance was flushed. */
  push(utteranceId: number, frame: AudioFrame): void {
    if (utteranceId <= this.#flushed) {
      return;
    }
    this.begin(utteranceId);
    const incoming = this.#incoming.get(utteranceId) ?? this.#decode(utteranceId);
    if (frame.sequence !== incoming.nextSequence) {
      this.handler.failed(new Malformed(`downlink frame is ${frame.sequence}, expected ${incoming.nextSequence}`));
      return;
    }
    incoming.nextSequence++;
    incoming.decoder.push(frame);
    if (this.bufferedMs > MAX_BUFFERED_MS) {
      this.handler.failed(new Malformed("more than ten minutes of speech are waiting to be played"));
    }
  }

  /** No more of this utterance comes over its connection. */
  end(utteranceId: number): void {
    const incoming = this.#incoming.get(utteranceId);
    if (incoming) {
      this.#incoming.delete(utteranceId);
      incoming.decoder.end();
    } else {
      this.#playback?.end(utteranceId);
    }
  }

  /** Silence this utterance and all before. */
  flush(utteranceId: number, isQuiet = false): void {
    this.#flushed = Math.max(this.#flushed, utteranceId);
    for (const [number, { decoder }] of this.#incoming) {
      if (number <= utteranceId) {
        decoder.close();
        this.#incoming.delete(number);
      }
    }
    this.#playback?.flush(utteranceId, isQuiet);
  }

  /** The connection is lost: play what is buffered, and return the position from which the server repeats it. */
  hold(): { utteranceId: number; positionMs: number } {
    this.#forget();
    return this.#playback?.hold() ?? { utteranceId: 1, positionMs: 0 };
  }

  /** The server begins this utterance over the new connection: see `Playback.replaceHeld`. */
  replaceHeld(utteranceId: number, isAgain: boolean): void {
    this.#playback?.replaceHeld(utteranceId, isAgain);
  }

  close(): void {
    this.#forget();
    this.sink.close();
  }

  /** Drop all decoders. */
  #forget(): void {
    for (const { decoder } of this.#incoming.values()) {
      decoder.close();
    }
    this.#incoming.clear();
  }

  #decode(utteranceId: number): { decoder: FrameDecoder; nextSequence: number } {
    const decoder = new FrameDecoder(this.#rateHz, {
      decoded: (samples) => this.#playback?.push(utteranceId, samples),
      ended: () => this.#playback?.end(utteranceId),
      failed: (fault) => this.handler.failed(fault),
    });
    const incoming = { decoder, nextSequence: 0 };
    this.#incoming.set(utteranceId, incoming);
    return incoming;
  }
}
