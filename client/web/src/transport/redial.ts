/** Dials again and again, for a connection that must come about. */
import { NoAnswer, VoiceError } from "../errors.js";
import type { Dial } from "./base.js";

const GROWTH = 1.3;
const LONGEST_TRY_MS = 4_000;

/**
 * A dial that gives each try a short time and a new source port: a load balancer may have chosen a worker that is gone.
 * A refusal is not repeated.
 */
export function persistently(dial: Dial, firstTryMs: number): Dial {
  return async (handler, signal) => {
    for (let tryMs = firstTryMs; ; tryMs = Math.min(tryMs * GROWTH, Math.max(LONGEST_TRY_MS, firstTryMs))) {
      const limit = new AbortController();
      const timer = setTimeout(() => limit.abort(new NoAnswer(`no answer within ${Math.round(tryMs)} ms`)), tryMs);
      const callOff = () => limit.abort(signal.reason);
      signal.addEventListener("abort", callOff);
      try {
        return await dial(handler, limit.signal);
      } catch (error) {
        signal.throwIfAborted();
        if (!limit.signal.aborted) {
          throw error;
        }
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", callOff);
      }
    }
  };
}

/** Delays that double, between half and one and a half of their length; `hurry` ends the present one. */
export class Backoff {
  #delayMs = 50;
  #end: (() => void) | undefined;

  constructor(
    private readonly longestMs: number,
    private readonly random: () => number = Math.random,
  ) {}

  wait(signal: AbortSignal): Promise<void> {
    const delayMs = this.#delayMs * (0.5 + this.random());
    this.#delayMs = Math.min(this.#delayMs * 2, this.longestMs);
    return new Promise((resolve) => {
      const end = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", end);
        resolve();
      };
      const timer = setTimeout(end, delayMs);
      signal.addEventListener("abort", end);
      this.#end = end;
    });
  }

  /** Something changed for the better: try now. */
  hurry(): void {
    this.#delayMs = 50;
    this.#end?.();
  }
}

/** Whether another try could end differently. */
export function isPassing(error: unknown): boolean {
  return !(error instanceof VoiceError) || (error.kind !== "access-refused" && error.kind !== "certificate-refused");
}
