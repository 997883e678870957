/** Plays the ring buffer at the pace of the sound card, and says how far it is. */
import { RingBuffer } from "./ring-buffer.js";

/** To the worklet, where memory cannot be shared. */
export type PlaybackCommand = { write: Float32Array } | { flush: true } | { close: true };
/** From the worklet: positions as `RingBuffer` counts them. */
export interface PlaybackReport {
  readonly position: number;
  /** Sound begins after silence: at this position, as the context's frame was `frame`. */
  readonly from?: number;
  readonly frame?: number;
  /** Nothing is left to play. */
  readonly isEmpty?: boolean;
  /** Where a flush found it, and how many flushes that makes. */
  readonly flushedFrom?: number;
  readonly flushes?: number;
}
export interface PlaybackOptions {
  /** Shared memory of a `RingBuffer`, or the capacity of one that the worklet keeps to itself. */
  readonly buffer: SharedArrayBuffer | number;
}

const REPORT_SAMPLES = 960;

class PlaybackProcessor extends AudioWorkletProcessor {
  readonly #ring: RingBuffer;
  #reported = 0;
  /** The context's frame less the position: constant while sound goes on. */
  #offset: number | undefined;
  #isOpen = true;

  constructor(options: AudioWorkletNodeOptions) {
    super();
    const { buffer } = options.processorOptions as PlaybackOptions;
    this.#ring = new RingBuffer(typeof buffer === "number" ? new ArrayBuffer(RingBuffer.bytes(buffer)) : buffer);
    this.port.onmessage = ({ data }: MessageEvent<PlaybackCommand>) => this.#execute(data);
  }

  process(_inputs: Float32Array[][], outputs: Float32Array[][]): boolean {
    const [first, ...others] = outputs[0] ?? [];
    if (first === undefined) {
      return this.#isOpen;
    }
    const from = this.#ring.position;
    const { count, flushedFrom } = this.#ring.read(first);
    for (const channel of others) {
      channel.set(first);
    }
    const { position } = this.#ring;
    const isEmpty = count > 0 && position === this.#ring.written;
    const offset = (currentFrame - from) | 0;
    if (count > 0 && offset !== this.#offset) {
      this.#offset = offset;
      this.#report({ position: from, from, frame: currentFrame });
    }
    if (flushedFrom !== undefined) {
      this.#report({ position, flushedFrom, flushes: this.#ring.flushes });
    } else if (isEmpty || ((position - this.#reported) | 0) >= REPORT_SAMPLES) {
      this.#report({ position, isEmpty });
    }
    return this.#isOpen;
  }

  #report(report: PlaybackReport): void {
    this.#reported = report.position;
    this.port.postMessage(report);
  }

  #execute(command: PlaybackCommand): void {
    if ("write" in command) {
      this.#ring.write(command.write);
    } else if ("flush" in command) {
      this.#ring.flush();
    } else {
      this.#isOpen = false;
    }
  }
}

registerProcessor("voice-playback", PlaybackProcessor);
