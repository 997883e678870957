/** Attempts to connect, their timeouts, and the pauses between them. */
import { NoAnswer, Unreachable, VoiceError } from "../errors.js";
import type { Dial } from "./link.js";

const GROWTH = 1.3;
const LONGEST_TRY_MS = 4_000;
const FIRST_PAUSE_MS = 100;
/** A browser lets each further attempt wait twice as long after failures (Chromium does): so make few. */
const BACKOFF_GROWTH = 3;

/**
 * A dial that gives each try a short time and a new source port: a load balancer may have chosen a worker that is gone.
 * A refusal is not repeated. What fails at once is tried again for `retryForMs`: there may be no route just now.
 */
export function retrying(dial: Dial, firstTryMs: number, retryForMs = 0): Dial {
  return async (handler, signal) => {
    const beganAt = performance.now();
    let pauseMs = FIRST_PAUSE_MS;
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
          if (!(error instanceof Unreachable) || performance.now() + pauseMs - beganAt > retryForMs) {
            throw error;
          }
          await passed(pauseMs, signal);
          signal.throwIfAborted();
          pauseMs *= 2;
        }
      } finally {
        clearTimeout(timer);
        signal.removeEventListener("abort", callOff);
      }
    }
  };
}

/** Timeout of a dial's first attempt after `lostRaces`. */
export function firstTimeoutMs(firstTryMs: number, lostRaces: number): number {
  return Math.min(firstTryMs * 1.5 ** lostRaces, Math.max(LONGEST_TRY_MS, firstTryMs));
}

/** Delays that treble, between half and one and a half of their length; `hurry` ends the present one. */
export class Backoff {
  #delayMs = 50;
  #end: (() => void) | undefined;

  constructor(
    private readonly longestMs: number,
    private readonly random: () => number = Math.random,
  ) {}

  wait(signal: AbortSignal): Promise<void> {
    const delayMs = Math.min(this.#delayMs * (0.5 + this.random()), this.longestMs);
    this.#delayMs = Math.min(this.#delayMs * BACKOFF_GROWTH, this.longestMs);
    return passed(delayMs, signal, (end) => (this.#end = end));
  }

  /** End the present delay, and begin with the shortest again. */
  hurry(): void {
    this.#delayMs = 50;
    this.#end?.();
  }
}

/** A pause; `signal`, or the function that `give` gets, ends it early. */
function passed(ms: number, signal: AbortSignal, give?: (end: () => void) => void): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    signal.addEventListener("abort", end);
    give?.(end);
  });
}

/** Whether another attempt may succeed. */
export function isTransient(error: unknown): boolean {
  return !(error instanceof VoiceError) || (error.kind !== "access-refused" && error.kind !== "certificate-refused");
}
