import { expect, test } from "vitest";
import { shareOf } from "./instruments.js";

test("the meter is logarithmic, from -60 dBFS to full scale", () => {
  expect(shareOf(0)).toBe(0);
  expect(shareOf(0.001)).toBeCloseTo(0);
  expect(shareOf(0.0316)).toBeCloseTo(0.5, 2);
  expect(shareOf(1)).toBe(1);
  expect(shareOf(7)).toBe(1);
});
