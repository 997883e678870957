/** How long a caller waits for each answer. */
import type { Reply } from "../events.js";

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

  /** The caller's voice was heard. */
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
