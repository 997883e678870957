import { describe, expect, it } from "vitest";
import { clock, columnsOf, sharesOf } from "./call.js";

describe("a recorded call", () => {
  it("shows times as minutes, seconds and tenths, rounded over the minute", () => {
    expect([clock(0), clock(9.95), clock(59.96), clock(61.25)]).toEqual(["0:00.0", "0:10.0", "1:00.0", "1:01.3"]);
  });

  it("keeps the loudest peak of each column", () => {
    expect([...columnsOf([0, 50, 100, 20], 2, 2, 2)]).toEqual([0.5, 1]);
    expect([...columnsOf([0, 50, 100, 20, 7], 2, 2, 2)]).toEqual([0.5, 1]);
  });

  it("leaves no column of a short call without its peak", () => {
    expect([...columnsOf([50, 100], 1, 2, 4)]).toEqual([0.5, 0.5, 1, 1]);
  });

  it("ends the bar of a turn behind its budget, or at its whole", () => {
    const stages = [{ stage: "endpointing", ms: 500 }];
    const within = { total_ms: 500, is_measured: true, is_over: false, stages };
    expect(sharesOf(within, 800)).toEqual({ mark: 0.8, shares: [0.5] });
    expect(sharesOf({ ...within, total_ms: 1_600 }, 800).mark).toBe(0.5);
  });
});
