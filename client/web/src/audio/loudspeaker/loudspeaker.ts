/** The default sink: a playback worklet before the sound card. */
import { Unsupported } from "../../errors.js";
import type { AudioSink, SinkHandler } from "../base.js";
import type { PlaybackOptions, PlaybackCommand, PlaybackReport } from "./playback-worklet.js";
import { RingBuffer } from "./ring-buffer.js";

/** Opus' own rate, so that nothing is resampled before the sound card. */
const RATE_HZ = 48_000;
const KEPT_STRETCHES = 8;

/** From `position`, which was given to the sound card as the context's frame was `frame`, sound went on to `end`. */
interface Stretch {
  readonly position: number;
  readonly frame: number;
  end: number;
}

export interface LoudspeakerOptions {
  readonly workletUrl?: string | URL;
  /** False: by messages even where memory could be shared. */
  readonly isShared?: boolean;
  /** How much is handed over ahead of time (default 30 s): a page that is stopped for as long goes on speaking. */
  readonly aheadS?: number;
}

export class Loudspeaker implements AudioSink {
  /** The node that plays, for a meter or a recording; there once the sink is open. */
  output: AudioNode | undefined;
  context: AudioContext | undefined;
  readonly #options: LoudspeakerOptions;
  readonly #capacity: number;
  readonly #ring: RingBuffer | undefined;
  readonly #buffer: SharedArrayBuffer | number;
  readonly #waiting: Float32Array[] = [];
  readonly #dropped: number[] = [];
  #port: MessagePort | undefined;
  #flushes = 0;
  #written = 0;
  #raw = 0;
  #position = 0;
  #handler: SinkHandler | undefined;
  readonly #stretches: Stretch[] = [];

  constructor(options: LoudspeakerOptions = {}) {
    this.#options = options;
    this.#capacity = Math.round((options.aheadS ?? 30) * RATE_HZ);
    const isShared = (options.isShared ?? true) && globalThis.crossOriginIsolated === true;
    this.#buffer = isShared ? new SharedArrayBuffer(RingBuffer.bytes(this.#capacity)) : this.#capacity;
    this.#ring = typeof this.#buffer === "number" ? undefined : new RingBuffer(this.#buffer);
  }

  async open(handler: SinkHandler): Promise<{ sampleRate: number }> {
    if (typeof AudioContext === "undefined" || typeof AudioWorkletNode === "undefined") {
      throw new Unsupported("this browser has no AudioWorklet, or the page was not loaded over HTTPS");
    }
    this.#handler = handler;
    const context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
    this.context = context;
    // starts once a person has touched the page; not waited for, so that a call without playback still goes on
    void context.resume();
    context.onstatechange = () => {
      if ((context.state as string) === "interrupted") {
        void context.resume();
      }
    };
    await context.audioWorklet.addModule(
      this.#options.workletUrl ?? new URL("./playback-worklet.js", import.meta.url),
    );
    const processorOptions: PlaybackOptions = { buffer: this.#buffer };
    const node = new AudioWorkletNode(context, "voice-playback", {
      numberOfInputs: 0,
      outputChannelCount: [1],
      processorOptions,
    });
    node.port.onmessage = ({ data }: MessageEvent<PlaybackReport>) => this.#reported(data);
    node.connect(context.destination);
    this.#port = node.port;
    this.output = node;
    this.#feed();
    return { sampleRate: context.sampleRate };
  }

  get position(): number {
    return this.#ring === undefined ? this.#position : this.#advanced(this.#ring.position);
  }

  reachedAt(position: number): number | undefined {
    const stretch = this.#stretches.findLast((each) => each.position < position);
    const { contextTime, performanceTime } = this.context?.getOutputTimestamp?.() ?? {};
    if (!stretch || position > stretch.end || !contextTime || performanceTime === undefined) {
      return undefined;
    }
    const frame = stretch.frame + position - stretch.position;
    return performanceTime + (frame / this.context!.sampleRate - contextTime) * 1_000;
  }

  write(samples: Float32Array): void {
    this.#waiting.push(samples);
    this.#feed();
  }

  flush(): void {
    this.#dropped.push(this.#waiting.reduce((total, samples) => total + samples.length, 0));
    this.#waiting.length = 0;
    if (this.#ring) {
      this.#ring.flush();
    } else {
      this.#command({ flush: true });
    }
  }

  close(): void {
    this.#command({ close: true });
    this.#handler = undefined;
    this.output?.disconnect();
    if (this.context && this.context.state !== "closed") {
      void this.context.close();
    }
  }

  /** Fill the worklet's buffer as far as it goes. */
  #feed(): void {
    for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) {
      const count = this.#ring ? this.#ring.write(next) : this.#post(next);
      this.#written = (this.#written + count) | 0;
      if (count < next.length) {
        this.#waiting.unshift(next.subarray(count));
        return;
      }
    }
  }

  #post(samples: Float32Array): number {
    const room = this.#capacity - ((this.#written - this.#raw) | 0);
    const count = this.#port ? Math.min(room, samples.length) : 0;
    if (count) {
      const part = samples.slice(0, count);
      this.#command({ write: part }, [part.buffer]);
    }
    return count;
  }

  #command(command: PlaybackCommand, transfer: Transferable[] = []): void {
    this.#port?.postMessage(command, transfer);
  }

  #reported({ position, from, frame, isEmpty, flushedFrom, flushes = 0 }: PlaybackReport): void {
    if (from !== undefined && frame !== undefined) {
      this.#stretches.push({ position: this.#advanced(from), frame, end: Infinity });
      this.#stretches.splice(0, this.#stretches.length - KEPT_STRETCHES);
      return;
    }
    const stretch = this.#stretches.at(-1);
    if (stretch && (isEmpty || flushedFrom !== undefined)) {
      stretch.end = this.#advanced(flushedFrom ?? position);
    }
    if (flushedFrom !== undefined) {
      const playedTo = this.#advanced(flushedFrom);
      const dropped = this.#dropped.splice(0, flushes - this.#flushes);
      this.#flushes = flushes;
      this.#position = this.#advanced(position) + dropped.reduce((total, each) => total + each, 0);
      this.#raw = position;
      this.#handler?.flushed(playedTo, this.#position);
    } else {
      this.#position = this.#advanced(position);
      this.#raw = position;
      this.#handler?.played(this.#position);
    }
    this.#feed();
  }

  /** The worklet's wrapping position, in samples since the beginning. */
  #advanced(raw: number): number {
    return this.#position + Math.max(0, (raw - this.#raw) | 0);
  }
}
