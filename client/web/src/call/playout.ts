/** Reports what leaves the loudspeaker to the server and the application, and how long the caller waited for it. */
import type { PlayerHandler } from "../audio/player.js";
import type { Position } from "../audio/playback.js";
import type { Reply, VoiceEvent } from "../events.js";
import type { Turns } from "./turns.js";
import { CLOCK_HZ, type Malformed } from "../wire/codepoints.js";
import type { ClientMessage } from "../wire/messages.js";

/** The parts of a call that depend on what was played. */
export interface PlayoutHandler {
  readonly replies: ReplyClock;
  readonly turns: Turns;
  /** Where the clock of the uplink frames' timestamps stands at an instant of `performance.now()`, if that is known. */
  timestamp(at: number): number | undefined;
  send(message: ClientMessage): void;
  emit(event: VoiceEvent): void;
  fault(fault: Malformed): void;
}

/** By how much the clocks of a page are unsteady: an answer that is less late than before has not paused. */
const UNSTEADY_TICKS = (3 * CLOCK_HZ) / 1_000;

export class Playout implements PlayerHandler {
  /** Where the beginning of this utterance lies in media time. */
  #anchor: { readonly utteranceId: number; readonly ticks: number } | undefined;

  constructor(private readonly call: PlayoutHandler) {}

  progressed(position: Position): void {
    const { utteranceId, positionMs, isComplete } = position;
    this.#report(position);
    if (isComplete) {
      this.call.replies.over(utteranceId);
      this.call.emit({ type: "speech-ended", utteranceId, playedMs: positionMs });
    }
  }

  cut(position: Position): void {
    const { utteranceId, positionMs } = position;
    this.call.replies.over(utteranceId);
    this.call.turns.silent(performance.now());
    this.#report(position);
    this.call.emit({ type: "flushed", utteranceId, playedMs: positionMs });
  }

  began(utteranceId: number, agoMs: number): void {
    const reply = this.call.replies.began(utteranceId, performance.now() - agoMs);
    if (reply) {
      this.call.emit(reply);
    }
  }

  audible(utteranceId: number, agoMs: number): void {
    this.call.turns.audible(utteranceId, performance.now() - agoMs);
  }

  failed(fault: Malformed): void {
    this.call.fault(fault);
  }

  #report({ utteranceId, positionMs, isComplete, at }: Position): void {
    const timestamp = at === undefined ? undefined : this.#steady(utteranceId, positionMs, this.call.timestamp(at));
    this.call.send({ type: "played", generation: utteranceId, position_ms: positionMs, is_complete: isComplete, timestamp });
  }

  #steady(utteranceId: number, positionMs: number, timestamp: number | undefined): number | undefined {
    if (timestamp === undefined) {
      return undefined;
    }
    const played = (positionMs * CLOCK_HZ) / 1_000;
    const ticks = timestamp - played;
    const isSame = this.#anchor?.utteranceId === utteranceId && Math.abs(ticks - this.#anchor.ticks) < UNSTEADY_TICKS;
    const anchor = isSame ? this.#anchor! : { utteranceId, ticks };
    this.#anchor = anchor;
    return anchor.ticks + played;
  }
}

/** How long the caller waits for each answer. */
export class ReplyClock {
  readonly latenciesMs: number[] = [];
  readonly #turns = new Map<number, number>();
  readonly #arrivals = new Map<number, { voicedAt: number; arrivedAt: number }>();
  #voicedAt: number | undefined;
  #newest = 0;

  /** Whether an answer was announced that has not been played to its end or flushed. */
  get isAgentSpeaking(): boolean {
    return this.#turns.size > 0;
  }

  /** The caller spoke. */
  voiced(now: number): void {
    this.#voicedAt = now;
  }

  announced(utteranceId: number, turn: number): void {
    this.#turns.set(utteranceId, turn);
  }

  /** A frame of an answer came. */
  arrived(utteranceId: number, now: number): void {
    if (utteranceId > this.#newest) {
      this.#newest = utteranceId;
      if (this.#voicedAt !== undefined) {
        this.#arrivals.set(utteranceId, { voicedAt: this.#voicedAt, arrivedAt: now });
        this.#voicedAt = undefined;
      }
    }
  }

  /** An answer began to sound at `startedAt`; undefined where it answers nothing that was said since the last one. */
  began(utteranceId: number, startedAt: number): Reply | undefined {
    const arrival = this.#arrivals.get(utteranceId);
    if (!arrival) {
      return undefined;
    }
    this.#arrivals.delete(utteranceId);
    const arrivalMs = Math.round(arrival.arrivedAt - arrival.voicedAt);
    const latencyMs = Math.max(arrivalMs, Math.round(startedAt - arrival.voicedAt));
    this.latenciesMs.push(latencyMs);
    return { type: "reply", utteranceId, turn: this.#turns.get(utteranceId) ?? 0, latencyMs, arrivalMs };
  }

  /** An answer was played to its end or flushed. */
  over(utteranceId: number): void {
    this.#turns.delete(utteranceId);
  }

  /** The answers announced so far come no more: they will be said again under new numbers. */
  forget(): void {
    this.#turns.clear();
  }
}
