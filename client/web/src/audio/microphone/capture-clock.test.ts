import { expect, it } from "vitest";
import { CaptureClock } from "./capture-clock.js";

it("does not count what a busy page held up", () => {
  const clock = new CaptureClock();
  expect(clock.captured(0, 1_000)).toBe(1_000);
  expect(clock.captured(20, 1_020)).toBe(1_020);
  expect(clock.captured(40, 1_160)).toBe(1_040);
  expect(clock.captured(60, 1_055)).toBe(1_055); // faster than any before
  expect(clock.captured(80, 1_080)).toBe(1_075);
});

it("follows a clock that drifts, within a minute", () => {
  const clock = new CaptureClock();
  for (let mediaMs = 0; mediaMs < 120_000; mediaMs += 20) {
    const now = mediaMs * 1.001;
    expect(now - clock.captured(mediaMs, now)).toBeLessThanOrEqual(61);
  }
});

it("says what the media time is at an instant", () => {
  const clock = new CaptureClock();
  expect(clock.mediaMs(1_000)).toBeUndefined();
  clock.captured(20, 1_025);
  clock.captured(40, 1_040);
  clock.captured(60, 1_190);
  expect(clock.mediaMs(1_500)).toBe(500);
});

it("says so to 1.5 ms while the sound card drifts by 100 ppm", () => {
  for (const drift of [1 - 1e-4, 1 + 1e-4]) {
    const clock = new CaptureClock(7_500);
    for (let mediaMs = 0; mediaMs < 120_000; mediaMs += 20) {
      const now = mediaMs * drift;
      clock.captured(mediaMs, now);
      expect(Math.abs(clock.mediaMs(now)! - mediaMs)).toBeLessThanOrEqual(1.51);
    }
  }
});

it("begins again where the sound card stood still", () => {
  const clock = new CaptureClock();
  clock.captured(0, 1_000);
  expect(clock.captured(20, 9_020)).toBe(9_020);
  expect(clock.captured(40, 9_045)).toBe(9_040);
});
