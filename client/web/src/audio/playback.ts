/**
 * What of the agent's speech waits for the ear, and how much has reached it.
 *
 * Speech arrives faster than it is spoken and goes to the sink a generation after the other. An interruption empties
 * both; what arrives late of an interrupted generation is dropped. Positions are the sink's sample count.
 */
import type { AudioSink } from "./base.js";

/** `positionMs` of a generation have been played; `isComplete` once that is all of it. */
export interface Position {
  readonly generation: number;
  readonly positionMs: number;
  readonly isComplete: boolean;
}

export interface PlaybackHandler {
  /** Worth telling the server: every generation completed, and the present one each 200 ms. */
  progressed(position: Position): void;
  /** A generation was cut off here. */
  cut(position: Position): void;
  /** A generation's first sample left `agoMs` ago. */
  began(generation: number, agoMs: number): void;
}

const REPORT_MS = 200;

interface Generation {
  readonly number: number;
  /** Kept until it begins to play: the flush of an earlier generation takes it out of the sink again. */
  chunks: Float32Array[];
  /** Where it begins at the sink; undefined while those before it have not ended. */
  start: number | undefined;
  samples: number;
  isEnded: boolean;
  hasBegun: boolean;
  reportedMs: number;
}

export class Playback {
  /** How many samples arrived after their generation was flushed. */
  lateSamples = 0;
  #queue: Generation[] = [];
  #cut: Generation[] = [];
  #newest = 0;
  #written = 0;
  #playedSamples = 0;

  constructor(
    private readonly sink: Pick<AudioSink, "write" | "flush" | "position">,
    private readonly rateHz: number,
    private readonly handler: PlaybackHandler,
  ) {}

  /** The newest generation announced, 0 before the first. */
  get newest(): number {
    return this.#newest;
  }

  /** Whether speech is buffered, or more of what has begun may come. */
  get isActive(): boolean {
    return this.#queue.length > 0;
  }

  /** How much speech waits, all generations together. */
  get bufferedMs(): number {
    const position = this.sink.position;
    const samples = this.#queue.reduce((total, each) => total + each.samples - this.#played(each, position), 0);
    return this.#toMs(samples);
  }

  get playedMs(): number {
    const position = this.sink.position;
    return this.#toMs(this.#queue.reduce((total, each) => total + this.#played(each, position), this.#playedSamples));
  }

  /** The first generation that was neither played to its end nor flushed, and how much of it was played. */
  get unplayed(): { generation: number; positionMs: number } {
    const position = this.sink.position;
    for (const each of this.#queue) {
      const played = this.#played(each, position);
      if (!each.isEnded || played < each.samples) {
        return { generation: each.number, positionMs: this.#toMs(played) };
      }
    }
    return { generation: this.#newest + 1, positionMs: 0 };
  }

  /** Announce a generation; `push` and `end` do so too. Those up to the newest one known are not taken again. */
  begin(generation: number): void {
    if (generation > this.#newest) {
      this.#newest = generation;
      this.#queue.push({
        number: generation,
        chunks: [],
        start: undefined,
        samples: 0,
        isEnded: false,
        hasBegun: false,
        reportedMs: 0,
      });
      this.#advance();
    }
  }

  /** Append speech; false where it came after its generation was flushed or had ended. */
  push(generation: number, samples: Float32Array): boolean {
    this.begin(generation);
    const target = this.#queue.find((each) => each.number === generation);
    if (!target || target.isEnded) {
      this.lateSamples += samples.length;
      return false;
    }
    target.samples += samples.length;
    if (!target.hasBegun) {
      target.chunks.push(samples);
    }
    if (target.start !== undefined) {
      this.#write(samples);
    }
    return true;
  }

  /** No more speech of this generation follows. */
  end(generation: number): void {
    this.begin(generation);
    const target = this.#queue.find((each) => each.number === generation);
    if (target) {
      target.isEnded = true;
      this.#advance();
      this.played(this.sink.position);
    }
  }

  /** Drop this generation and all before; `cut` is called for each once the sink is silent, unless `isQuiet`. */
  flush(generation: number, isQuiet = false): void {
    this.played(this.sink.position);
    this.#newest = Math.max(this.#newest, generation);
    const dropped = this.#queue.filter((each) => each.number <= generation);
    if (!dropped.length) {
      return;
    }
    this.#queue = this.#queue.filter((each) => each.number > generation);
    if (isQuiet) {
      const position = this.sink.position;
      this.#playedSamples += dropped.reduce((total, each) => total + this.#played(each, position), 0);
    } else {
      this.#cut.push(...dropped);
    }
    this.sink.flush();
    for (const each of this.#queue) {
      each.start = undefined; // the sink has dropped it too
    }
    this.#advance();
  }

  /** The sink has come to `position`. */
  played(position: number): void {
    for (let head = this.#queue[0]; head?.start !== undefined; head = this.#queue[0]) {
      const played = this.#played(head, position);
      if (played > 0 && !head.hasBegun) {
        head.hasBegun = true;
        head.chunks = [];
        this.handler.began(head.number, this.#toMs(position - head.start));
      }
      const positionMs = this.#toMs(played);
      if (head.isEnded && played >= head.samples) {
        this.#queue.shift();
        this.#playedSamples += played;
        this.handler.progressed({ generation: head.number, positionMs, isComplete: true });
        continue;
      }
      if (positionMs - head.reportedMs >= REPORT_MS) {
        head.reportedMs = positionMs;
        this.handler.progressed({ generation: head.number, positionMs, isComplete: false });
      }
      return;
    }
  }

  /** The sink has dropped what it held: `playedTo` is how far it had come. */
  flushed(playedTo: number): void {
    for (const each of this.#cut.splice(0)) {
      const played = this.#played(each, playedTo);
      this.#playedSamples += played;
      this.handler.cut({ generation: each.number, positionMs: this.#toMs(played), isComplete: false });
    }
  }

  /** Hand the next generation to the sink once those before it have ended. */
  #advance(): void {
    for (const each of this.#queue) {
      if (each.start === undefined) {
        each.start = this.#written;
        each.chunks.forEach((chunk) => this.#write(chunk));
      }
      if (!each.isEnded) {
        return;
      }
    }
  }

  #write(samples: Float32Array): void {
    this.#written += samples.length;
    this.sink.write(samples);
  }

  #played(generation: Generation, position: number): number {
    return generation.start === undefined ? 0 : Math.max(0, Math.min(generation.samples, position - generation.start));
  }

  #toMs(samples: number): number {
    return Math.floor((samples * 1000) / this.rateHz);
  }
}
