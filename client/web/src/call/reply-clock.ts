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

  announced(generation: number, turn: number): void {
    this.#turns.set(generation, turn);
  }

  /** A frame of an answer came. */
  arrived(generation: number, now: number): void {
    if (generation > this.#newest) {
      this.#newest = generation;
      if (this.#voicedAt !== undefined) {
        this.#arrivals.set(generation, { voicedAt: this.#voicedAt, arrivedAt: now });
        this.#voicedAt = undefined;
      }
    }
  }

  /** An answer began to sound at `startedAt`; undefined where it answers nothing that was said since the last one. */
  began(generation: number, startedAt: number): Reply | undefined {
    const arrival = this.#arrivals.get(generation);
    if (!arrival) {
      return undefined;
    }
    this.#arrivals.delete(generation);
    const arrivalMs = Math.round(arrival.arrivedAt - arrival.voicedAt);
    const latencyMs = Math.max(arrivalMs, Math.round(startedAt - arrival.voicedAt));
    this.latenciesMs.push(latencyMs);
    return { type: "reply", generation, turn: this.#turns.get(generation) ?? 0, latencyMs, arrivalMs };
  }

  /** An answer was played to its end or flushed. */
  over(generation: number): void {
    this.#turns.delete(generation);
  }

  /** The answers announced so far come no more: they will be said again under new numbers. */
  forget(): void {
    this.#turns.clear();
  }
}
