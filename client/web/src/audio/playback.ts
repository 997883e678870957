/**
 * What of the agent's speech waits for the ear, and how much has reached it.
 *
 * Speech arrives faster than it is spoken and goes to the sink a generation after the other. An interruption empties
 * both; what arrives late of an interrupted generation is dropped. Positions are the sink's sample count.
 */
import type { AudioSink } from "./base.js";
import { firstVoiced } from "./loudness.js";

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
  /** A generation's first audible sample left `agoMs` ago. */
  audible(generation: number, agoMs: number): void;
}

const REPORT_MS = 200;
/** How much of what takes the place of held speech must have arrived beyond what is skipped of it. */
const HEIR_MS = 200;

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
  /** How many samples from here on were played under another number, and are not given to the sink. */
  toSkip: number;
  /** Where its first audible sample is; null once that was told. */
  audibleAt: number | null | undefined;
}

/** What was playing when the connection was lost, and what takes its place. */
interface Held {
  readonly generation: number;
  readonly positionMs: number;
  /** Where at the sink the first sample of what takes its place belongs. */
  readonly start: number;
  heir: number | undefined;
  isDropping: boolean;
}

export class Playback {
  /** How many samples arrived after their generation was flushed. */
  lateSamples = 0;
  #queue: Generation[] = [];
  #cut: Generation[] = [];
  #newest = 0;
  #held: Held | undefined;
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
  get unplayed(): { generation: number; positionMs: number; played: number } {
    const position = this.sink.position;
    for (const each of this.#queue) {
      const played = this.#played(each, position);
      if (!each.isEnded || played < each.samples) {
        return { generation: each.number, positionMs: this.#toMs(played), played };
      }
    }
    return { generation: this.#newest + 1, positionMs: 0, played: 0 };
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
        toSkip: 0,
        audibleAt: undefined,
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
    if (target.audibleAt === undefined) {
      const voiced = firstVoiced(samples, Math.round(this.rateHz / 100));
      target.audibleAt = voiced === undefined ? undefined : target.samples + voiced;
    }
    target.samples += samples.length;
    if (!target.hasBegun) {
      target.chunks.push(samples);
    }
    if (target.start !== undefined) {
      this.#write(target, samples);
    }
    this.#handOver();
    return true;
  }

  /**
   * The connection was lost: return the first generation not played to its end, and the position there.
   *
   * What is buffered is played on. What is said again from that position, as `inherit` announces, takes its place.
   */
  hold(): { generation: number; positionMs: number } {
    this.played(this.sink.position);
    if (!this.#held) {
      const { generation, positionMs, played } = this.unplayed;
      const begun = this.#queue.find((each) => each.number === generation && each.start !== undefined);
      const ahead = played - Math.round((positionMs * this.rateHz) / 1000);
      const start = (begun ? begun.start! + played : this.#written) - ahead;
      this.#held = { generation, positionMs, start, heir: undefined, isDropping: false };
    }
    const { heir } = this.#held;
    if (heir !== undefined) {
      this.#queue = this.#queue.filter((each) => each.number < heir);
      this.#held.heir = undefined;
    }
    for (const each of this.#queue) {
      each.isEnded = true; // nothing more comes over the lost connection
    }
    this.#advance();
    return this.#held;
  }

  /** The server begins to say this over the new connection: the rest of what is held, or something else. */
  inherit(generation: number, isAgain: boolean): void {
    if (!this.#held || this.#held.heir !== undefined) {
      return; // what is said after the heir follows it
    }
    if (isAgain) {
      this.#held.heir = generation;
    } else {
      this.flush(generation - 1, true);
    }
  }

  /** No more speech of this generation follows. */
  end(generation: number): void {
    this.begin(generation);
    const target = this.#queue.find((each) => each.number === generation);
    if (target) {
      target.isEnded = true;
      this.#advance();
      this.#handOver();
      this.played(this.sink.position);
    }
  }

  /** Drop this generation and all before; `cut` is called for each once the sink is silent, unless `isQuiet`. */
  flush(generation: number, isQuiet = false): void {
    this.played(this.sink.position);
    this.#newest = Math.max(this.#newest, generation);
    this.#held = undefined;
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
      if (typeof head.audibleAt === "number" && played > head.audibleAt) {
        this.handler.audible(head.number, this.#toMs(position - head.start - head.audibleAt));
        head.audibleAt = null;
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
      break;
    }
    this.#handOver();
  }

  /** The sink has dropped what it held: `playedTo` is how far it had come. */
  flushed(playedTo: number): void {
    if (this.#held?.isDropping) {
      this.#handedOver(this.#held, playedTo);
    }
    for (const each of this.#cut.splice(0)) {
      const played = this.#played(each, playedTo);
      this.#playedSamples += played;
      this.handler.cut({ generation: each.number, positionMs: this.#toMs(played), isComplete: false });
    }
  }

  /** Once there is enough of the heir, or nothing else, drop what the sink holds of those before. */
  #handOver(): void {
    const held = this.#held;
    const heir = held?.heir === undefined ? undefined : this.#queue.find((each) => each.number === held.heir);
    if (!held || !heir || held.isDropping) {
      return;
    }
    const position = this.sink.position;
    const enough = position - held.start + (HEIR_MS * this.rateHz) / 1000;
    if (position >= this.#written || heir.isEnded || heir.samples >= enough) {
      held.isDropping = true;
      this.sink.flush();
    }
  }

  /** Those before the heir are out of the sink, which played them to here; the heir goes on from there. */
  #handedOver(held: Held, playedTo: number): void {
    const before = this.#queue.filter((each) => each.number < held.heir!);
    this.#playedSamples += before.reduce((total, each) => total + this.#played(each, playedTo), 0);
    this.#queue = this.#queue.slice(before.length);
    this.#held = undefined;
    const heir = this.#queue[0];
    if (heir) {
      heir.toSkip = Math.max(0, playedTo - held.start);
      this.#playedSamples -= heir.toSkip; // counted with those before
      heir.start = this.#written - heir.toSkip;
      heir.chunks.forEach((chunk) => this.#write(heir, chunk));
      this.#advance();
    }
  }

  /** Hand the next generation to the sink once those before it have ended. */
  #advance(): void {
    for (const each of this.#queue) {
      if (each.number === this.#held?.heir) {
        return;
      }
      if (each.start === undefined) {
        each.start = this.#written;
        each.chunks.forEach((chunk) => this.#write(each, chunk));
      }
      if (!each.isEnded) {
        return;
      }
    }
  }

  #write(generation: Generation, samples: Float32Array): void {
    const skipped = Math.min(generation.toSkip, samples.length);
    generation.toSkip -= skipped;
    if (skipped < samples.length) {
      this.#written += samples.length - skipped;
      this.sink.write(samples.subarray(skipped));
    }
  }

  #played(generation: Generation, position: number): number {
    return generation.start === undefined ? 0 : Math.max(0, Math.min(generation.samples, position - generation.start));
  }

  #toMs(samples: number): number {
    return Math.floor((samples * 1000) / this.rateHz);
  }
}
