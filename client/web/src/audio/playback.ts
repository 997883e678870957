/**
 * The buffer of the agent's speech, and how much of it was played.
 *
 * Speech arrives faster than it is spoken and goes to the sink an utterance after the other. An interruption empties
 * both; what arrives late of an interrupted utterance is dropped. Positions are the sink's sample count.
 */
import type { AudioSink } from "./base.js";
import { firstVoiced } from "./loudness.js";

/** `positionMs` of an utterance have been played; `isComplete` once that is all of it. */
export interface Position {
  readonly utteranceId: number;
  readonly positionMs: number;
  readonly isComplete: boolean;
  /** When it was, as `performance.now()` counts; undefined where the sink does not know. */
  readonly at: number | undefined;
}

export interface PlaybackHandler {
  /** Worth telling the server: every utterance completed, and the present one each 200 ms. */
  progressed(position: Position): void;
  /** An utterance was cut off here. */
  cut(position: Position): void;
  /** An utterance's first sample left `agoMs` ago. */
  began(utteranceId: number, agoMs: number): void;
  /** An utterance's first audible sample left `agoMs` ago. */
  audible(utteranceId: number, agoMs: number): void;
}

const REPORT_MS = 200;
/** How much of what takes the place of held speech must have arrived beyond what is skipped of it. */
const REPLACEMENT_MS = 200;

interface Utterance {
  readonly number: number;
  /** Kept until it begins to play: the flush of an earlier utterance takes it out of the sink again. */
  chunks: Float32Array[];
  /** Where it begins at the sink; undefined while those before it have not ended. */
  start: number | undefined;
  samples: number;
  isEnded: boolean;
  hasBegun: boolean;
  reportedMs: number;
  /** How many samples from here on were played under another number, and are not given to the sink. */
  toSkip: number;
  /** Where its first audible sample is; null once that was reported. */
  audibleAt: number | null | undefined;
}

/** What was playing when the connection was lost, and what takes its place. */
interface Held {
  readonly utteranceId: number;
  readonly positionMs: number;
  /** Where at the sink the first sample of what takes its place belongs. */
  readonly start: number;
  replacement: number | undefined;
  isDropping: boolean;
}

export class Playback {
  /** How many samples arrived after their utterance was flushed. */
  lateSamples = 0;
  #queue: Utterance[] = [];
  #cut: Utterance[] = [];
  #newest = 0;
  #held: Held | undefined;
  #written = 0;
  #playedSamples = 0;

  constructor(
    private readonly sink: Pick<AudioSink, "write" | "flush" | "position" | "reachedAt">,
    private readonly rateHz: number,
    private readonly handler: PlaybackHandler,
  ) {}

  /** The newest utterance announced, 0 before the first. */
  get newest(): number {
    return this.#newest;
  }

  /** Whether speech is buffered, or more of what has begun may come. */
  get isActive(): boolean {
    return this.#queue.length > 0;
  }

  /** How much speech waits, all utterances together. */
  get bufferedMs(): number {
    const position = this.sink.position;
    const samples = this.#queue.reduce((total, each) => total + each.samples - this.#played(each, position), 0);
    return this.#toMs(samples);
  }

  get playedMs(): number {
    const position = this.sink.position;
    return this.#toMs(this.#queue.reduce((total, each) => total + this.#played(each, position), this.#playedSamples));
  }

  /** The first utterance that was neither played to its end nor flushed, and how much of it was played. */
  get unplayed(): { utteranceId: number; positionMs: number; played: number } {
    const position = this.sink.position;
    for (const each of this.#queue) {
      const played = this.#played(each, position);
      if (!each.isEnded || played < each.samples) {
        return { utteranceId: each.number, positionMs: this.#toMs(played), played };
      }
    }
    return { utteranceId: this.#newest + 1, positionMs: 0, played: 0 };
  }

  /** Announce an utterance; `push` and `end` do so too. Those up to the newest one known are not taken again. */
  begin(utteranceId: number): void {
    if (utteranceId > this.#newest) {
      this.#newest = utteranceId;
      this.#queue.push({
        number: utteranceId,
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

  /** Append speech; false where it came after its utterance was flushed or had ended. */
  push(utteranceId: number, samples: Float32Array): boolean {
    this.begin(utteranceId);
    const target = this.#queue.find((each) => each.number === utteranceId);
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
   * The connection was lost: return the first utterance not played to its end, and the position there.
   *
   * What is buffered is played on. What is said again from that position, as `replaceHeld` announces, takes its place.
   */
  hold(): { utteranceId: number; positionMs: number } {
    this.played(this.sink.position);
    if (!this.#held) {
      const { utteranceId, positionMs, played } = this.unplayed;
      const begun = this.#queue.find((each) => each.number === utteranceId && each.start !== undefined);
      const ahead = played - Math.round((positionMs * this.rateHz) / 1000);
      const start = (begun ? begun.start! + played : this.#written) - ahead;
      this.#held = { utteranceId, positionMs, start, replacement: undefined, isDropping: false };
    }
    const { replacement } = this.#held;
    if (replacement !== undefined) {
      this.#queue = this.#queue.filter((each) => each.number < replacement);
      this.#held.replacement = undefined;
    }
    for (const each of this.#queue) {
      each.isEnded = true; // nothing more comes over the lost connection
    }
    this.#advance();
    return this.#held;
  }

  /** Take over from what is held where the server says it again (`isAgain`); else drop what is held. */
  replaceHeld(utteranceId: number, isAgain: boolean): void {
    if (!this.#held || this.#held.replacement !== undefined) {
      return; // what is said after the replacement follows it
    }
    if (isAgain) {
      this.#held.replacement = utteranceId;
    } else {
      this.flush(utteranceId - 1, true);
    }
  }

  /** No more speech of this utterance follows. */
  end(utteranceId: number): void {
    this.begin(utteranceId);
    const target = this.#queue.find((each) => each.number === utteranceId);
    if (target) {
      target.isEnded = true;
      this.#advance();
      this.#handOver();
      this.played(this.sink.position);
    }
  }

  /** Drop this utterance and all before; `cut` is called for each once the sink is silent, unless `isQuiet`. */
  flush(utteranceId: number, isQuiet = false): void {
    this.played(this.sink.position);
    this.#newest = Math.max(this.#newest, utteranceId);
    this.#held = undefined;
    const dropped = this.#queue.filter((each) => each.number <= utteranceId);
    if (!dropped.length) {
      return;
    }
    this.#queue = this.#queue.filter((each) => each.number > utteranceId);
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
        this.handler.progressed(this.#position(head, positionMs, true));
        continue;
      }
      if (positionMs - head.reportedMs >= REPORT_MS) {
        head.reportedMs = positionMs;
        this.handler.progressed(this.#position(head, positionMs, false));
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
      this.handler.cut(this.#position(each, this.#toMs(played), false));
    }
  }

  /** Once there is enough of the replacement, or nothing else, drop what the sink holds of those before. */
  #handOver(): void {
    const held = this.#held;
    const replacement = held?.replacement === undefined ? undefined : this.#queue.find((each) => each.number === held.replacement);
    if (!held || !replacement || held.isDropping) {
      return;
    }
    const position = this.sink.position;
    const enough = position - held.start + (REPLACEMENT_MS * this.rateHz) / 1000;
    if (position >= this.#written || replacement.isEnded || replacement.samples >= enough) {
      held.isDropping = true;
      this.sink.flush();
    }
  }

  /** Those before the replacement are out of the sink, which played them to here; the replacement goes on from there. */
  #handedOver(held: Held, playedTo: number): void {
    const before = this.#queue.filter((each) => each.number < held.replacement!);
    this.#playedSamples += before.reduce((total, each) => total + this.#played(each, playedTo), 0);
    this.#queue = this.#queue.slice(before.length);
    this.#held = undefined;
    const replacement = this.#queue[0];
    if (replacement) {
      replacement.toSkip = Math.max(0, playedTo - held.start);
      this.#playedSamples -= replacement.toSkip; // counted with those before
      replacement.start = this.#written - replacement.toSkip;
      replacement.chunks.forEach((chunk) => this.#write(replacement, chunk));
      this.#advance();
    }
  }

  /** Hand the next utterance to the sink once those before it have ended. */
  #advance(): void {
    for (const each of this.#queue) {
      if (each.number === this.#held?.replacement) {
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

  #write(utterance: Utterance, samples: Float32Array): void {
    const skipped = Math.min(utterance.toSkip, samples.length);
    utterance.toSkip -= skipped;
    if (skipped < samples.length) {
      this.#written += samples.length - skipped;
      this.sink.write(samples.subarray(skipped));
    }
  }

  #played(utterance: Utterance, position: number): number {
    return utterance.start === undefined ? 0 : Math.max(0, Math.min(utterance.samples, position - utterance.start));
  }

  #position({ number, start }: Utterance, positionMs: number, isComplete: boolean): Position {
    const at = start === undefined ? undefined : this.sink.reachedAt?.(start + (positionMs * this.rateHz) / 1000);
    return { utteranceId: number, positionMs, isComplete, at };
  }

  #toMs(samples: number): number {
    return Math.floor((samples * 1000) / this.rateHz);
  }
}
