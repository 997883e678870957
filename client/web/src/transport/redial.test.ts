import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { AccessRefused, Unreachable } from "../errors.js";
import { FakeLink } from "../testing/fake-link.js";
import type { Dial, LinkHandler } from "./link.js";
import { Backoff, firstTimeoutMs, retrying } from "./redial.js";

const handler = {} as LinkHandler;
const forever = new AbortController().signal;

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

/** Fails at once so many times, then opens. */
function failing(times: number, error: Error = new Unreachable("no route")): { dial: Dial; tries: number[] } {
  const tries: number[] = [];
  const dial: Dial = () => {
    tries.push(performance.now());
    return tries.length > times ? Promise.resolve(new FakeLink("webtransport", handler)) : Promise.reject(error);
  };
  return { dial, tries };
}

it("tries again where there is no route for a moment, and not for longer than it may", async () => {
  const short = failing(2);
  const opened = retrying(short.dial, 600, 500)(handler, forever);
  await vi.advanceTimersByTimeAsync(500);
  await expect(opened).resolves.toBeInstanceOf(FakeLink);
  const long = failing(9);
  const refused = retrying(long.dial, 600, 500)(handler, forever);
  refused.catch(() => undefined);
  await vi.advanceTimersByTimeAsync(500);
  await expect(refused).rejects.toBeInstanceOf(Unreachable);
  expect(long.tries.map((each) => each - long.tries[0]!)).toEqual([0, 100, 300]);
});

it("takes the first failure where nothing may be tried again, and a refusal in any case", async () => {
  await expect(retrying(failing(1).dial, 600)(handler, forever)).rejects.toBeInstanceOf(Unreachable);
  const refusing = failing(1, new AccessRefused("expired"));
  await expect(retrying(refusing.dial, 600, 500)(handler, forever)).rejects.toBeInstanceOf(AccessRefused);
});

it("is called off in a pause as well", async () => {
  const calling = new AbortController();
  const { dial, tries } = failing(9);
  const opened = retrying(dial, 600, 500)(handler, calling.signal);
  opened.catch(() => undefined);
  await vi.advanceTimersByTimeAsync(50);
  calling.abort(new Error("another was faster"));
  await expect(opened).rejects.toThrow("another was faster");
  expect(tries.length).toBe(1);
});

it("is more patient the more races were lost, within limits", () => {
  expect([0, 1, 4, 20].map((lost) => firstTimeoutMs(600, lost))).toEqual([600, 900, 3_037.5, 4_000]);
  expect(firstTimeoutMs(5_000, 3)).toBe(5_000);
});

it("waits two seconds at most between two races, for each random number", async () => {
  const backoff = new Backoff(2_000, () => 0.999);
  for (let round = 0; round < 10; round++) {
    const waited = backoff.wait(forever);
    await vi.advanceTimersByTimeAsync(2_000);
    await waited; // hangs where it is longer
  }
  const waited = backoff.wait(forever);
  backoff.hurry();
  await waited;
});
