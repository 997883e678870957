import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import recovery from "../../../../tests/vectors/traces/recovery.json";
import redundancy from "../../../../tests/vectors/traces/redundancy.json";
import sender from "../../../../tests/vectors/traces/sender.json";
import turns from "../../../../tests/vectors/traces/turns.json";
import { playRecovery, playRedundancy, playSender, playTurns, type Trace } from "./traces.js";

const traces = (recorded: unknown) => recorded as Trace[];

/** The two languages round a tenth of a millisecond each in its own way. */
function expectSame(actual: unknown, expected: unknown, where = ""): void {
  if (typeof expected === "number" && typeof actual === "number") {
    expect(Math.abs(actual - expected), `${where}: ${actual} for ${expected}`).toBeLessThan(0.11);
  } else if (Array.isArray(expected) && Array.isArray(actual)) {
    expect(actual.length, where).toBe(expected.length);
    expected.forEach((each, index) => expectSame(actual[index], each, `${where}[${index}]`));
  } else if (expected !== null && typeof expected === "object" && actual !== null && typeof actual === "object") {
    expect(Object.keys(actual).sort(), where).toEqual(Object.keys(expected).sort());
    for (const [name, each] of Object.entries(expected)) {
      expectSame((actual as Record<string, unknown>)[name], each, `${where}.${name}`);
    }
  } else {
    expect(actual, where).toEqual(expected);
  }
}

describe("the recorded traces of the uplink sender", () => {
  it.each(traces(sender))("$what", (trace) => expectSame(playSender(trace), trace.outputs));
});

describe("the recorded traces of redundancy", () => {
  it.each(traces(redundancy))("$what", (trace) => expectSame(playRedundancy(trace), trace.outputs));
});

describe("the recorded traces of turns", () => {
  it.each(traces(turns))("$what", (trace) => expectSame(playTurns(trace), trace.outputs));
});

describe("the recorded traces of recovery", () => {
  beforeEach(() => void vi.useFakeTimers({ now: 1_000_000 }));
  afterEach(() => void vi.useRealTimers());
  it.each(traces(recovery))("$what", async (trace) => expectSame(await playRecovery(trace), trace.outputs));
});
