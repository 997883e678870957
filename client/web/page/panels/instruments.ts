/** Needles that move by themselves: they are read from the call a few times a second. */
import type { UplinkMode } from "../../src/wire/codepoints.js";
import { part, write } from "../document.js";
import { inWords } from "../view.js";

/** What a call is asked for. */
export interface Readings {
  readonly inputLevel: number;
  readonly bufferedMs: number;
  readonly rttMs: number | null;
  readonly framesSent: number;
  readonly framesAcked: number;
  readonly uplink: UplinkMode | null;
  readonly framesRepaired: number;
}

const FULL_S = 10;
const FLOOR_DB = -60;

export class Instruments {
  readonly #level = part("level", HTMLElement);
  readonly #call = part("call", HTMLButtonElement);
  readonly #ahead = part("ahead", HTMLElement);
  readonly #aheadText = part("ahead-text", HTMLOutputElement);
  readonly #roundTrip = part("round-trip", HTMLElement);
  readonly #acked = part("acked", HTMLElement);

  show(readings: Readings | null): void {
    const loudness = readings === null ? 0 : shareOf(readings.inputLevel);
    this.#level.style.setProperty("--share", loudness.toFixed(3));
    this.#level.dataset["loud"] = String(loudness > 0.92);
    this.#level.setAttribute("aria-valuenow", String(Math.round(loudness * 100)));
    this.#call.style.setProperty("--voice", loudness.toFixed(3));
    const aheadS = (readings?.bufferedMs ?? 0) / 1000;
    this.#ahead.style.setProperty("--share", Math.min(1, aheadS / FULL_S).toFixed(3));
    this.#ahead.setAttribute("aria-valuenow", aheadS.toFixed(1));
    write(this.#aheadText, `${aheadS.toFixed(1)} s`);
    if (readings === null) return;
    write(this.#roundTrip, readings.rttMs === null ? "–" : inWords(readings.rttMs));
    write(this.#acked, ackedOf(readings));
  }
}

/** How many frames are acked, and how they travel where that is not one stream. */
export function ackedOf({ framesSent, framesAcked, uplink, framesRepaired }: Readings): string {
  const acked = `${framesAcked} of ${framesSent} frames, ${inWords((framesSent - framesAcked) * 20)} unacked`;
  return uplink === null || uplink === "reliable" ? acked : `${acked}; ${uplink}, ${framesRepaired} repaired`;
}

/** Where a loudness (RMS, 0 to 1) is on the scale of a meter in decibels. */
export function shareOf(rms: number): number {
  const decibels = 20 * Math.log10(Math.max(rms, 1e-6));
  return Math.min(1, Math.max(0, 1 - decibels / FLOOR_DB));
}
