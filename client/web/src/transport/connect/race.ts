/** Several ways to connect, the best with a head start: the first to open carries the call. */
import { AccessRefused, Unreachable, VoiceError } from "../../errors.js";
import type { Attempt, TransportKind } from "../../events.js";
import type { Dial, Link, LinkHandler } from "../link.js";

export interface Runner {
  readonly kind: TransportKind;
  readonly dial: Dial;
}

/** None opened; `attempts` say why. */
export class RaceLost extends Error {
  constructor(readonly attempts: readonly Attempt[]) {
    super("no way to connect");
  }
}

/**
 * Start the first runner, the others `headStartMs` later or as soon as those before have failed. The losers are called
 * off. Rejects with `RaceLost`, or with the reason of `signal`. After `AccessRefused` on one way no other is tried.
 */
export async function race(
  runners: readonly Runner[],
  headStartMs: number,
  handler: LinkHandler,
  signal: AbortSignal,
): Promise<{ link: Link; attempts: readonly Attempt[]; tookMs: number }> {
  const startedAt = performance.now();
  const elapsed = () => Math.round(performance.now() - startedAt);
  const called = new AbortController();
  const callOff = () => called.abort(signal.reason);
  signal.addEventListener("abort", callOff);
  const attempts: Attempt[] = [];
  const running: Promise<Link>[] = [];
  let isWon = false;

  const run = async ({ kind, dial }: Runner): Promise<Link> => {
    const startedMs = elapsed();
    try {
      const link = await dial(handler, called.signal);
      if (isWon || called.signal.aborted) {
        link.leave();
        throw called.signal.reason ?? new Error("called off");
      }
      isWon = true;
      attempts.push({ transport: kind, startedMs, endedMs: elapsed() });
      return link;
    } catch (error) {
      if (!isWon || error instanceof VoiceError) {
        const failure = error instanceof VoiceError ? error : new Unreachable(String(error));
        attempts.push({ transport: kind, startedMs, endedMs: elapsed(), failure });
      }
      throw error;
    }
  };

  try {
    for (const runner of runners) {
      const begun = run(runner);
      begun.catch(() => undefined);
      running.push(begun);
      if (runner !== runners.at(-1)) {
        const first = Promise.any(running);
        await Promise.race([first.then(() => undefined, () => undefined), delay(headStartMs, called.signal)]);
        if (isWon || attempts.some(({ failure }) => failure instanceof AccessRefused)) {
          break;
        }
      }
    }
    const link = await Promise.any(running);
    return { link, attempts: [...attempts], tookMs: elapsed() };
  } catch {
    signal.throwIfAborted();
    throw new RaceLost(attempts);
  } finally {
    signal.removeEventListener("abort", callOff);
    called.abort(new Error("another connection was faster"));
  }
}

function delay(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      resolve();
    });
  });
}
