import { expect, test } from "vitest";
import { ackedOf, shareOf } from "./instruments.js";

test("the meter is logarithmic, from -60 dBFS to full scale", () => {
  expect(shareOf(0)).toBe(0);
  expect(shareOf(0.001)).toBeCloseTo(0);
  expect(shareOf(0.0316)).toBeCloseTo(0.5, 2);
  expect(shareOf(1)).toBe(1);
  expect(shareOf(7)).toBe(1);
});

test("what is unusual about the uplink is said", () => {
  const readings = { inputLevel: 0, bufferedMs: 0, rttMs: null, framesSent: 110, framesAcked: 100, framesRepaired: 3 };
  expect(ackedOf({ ...readings, uplink: "reliable" })).toMatch(/^100 of 110 frames, [^;]* unacked$/);
  expect(ackedOf({ ...readings, uplink: "hybrid" })).toMatch(/; hybrid, 3 repaired$/);
});
