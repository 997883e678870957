/** When sound was captured, by the place of its samples in time. */

const WINDOW_MS = 30_000;
/** Nothing is held up in a page for so long: the sound card stood still, and counts on from there. */
const STOOD_STILL_MS = 500;

/**
 * The frames that came through fastest of late tell when any other was captured: what came later than they was held up
 * on its way through the page. *Of late* is the last 30 to 60 s, as in the worker's `uplink_ms`.
 */
export class CaptureClock {
  #fastest = Infinity;
  #formerFastest = Infinity;
  #windowBegan = -Infinity;

  /** A frame of this media time is there `now`; returns when it would have been, had nothing held it up. */
  captured(mediaMs: number, now: number): number {
    const offset = now - mediaMs;
    if (offset > Math.min(this.#fastest, this.#formerFastest) + STOOD_STILL_MS) {
      this.#fastest = this.#formerFastest = offset;
    } else if (now - this.#windowBegan > WINDOW_MS) {
      this.#windowBegan = now;
      this.#formerFastest = this.#fastest;
      this.#fastest = offset;
    } else {
      this.#fastest = Math.min(this.#fastest, offset);
    }
    return mediaMs + Math.min(this.#fastest, this.#formerFastest);
  }
}
