/** When sound was captured, by the place of its samples in time. */

const WINDOW_MS = 30_000;
/** No page delays frames for so long: the sound card had stopped, and counts on from there. */
const STOOD_STILL_MS = 500;

/**
 * Compares each frame with the fastest ones of the last 30 to 60 s, as the worker does for `uplink_ms`: a frame that came
 * later than its place in media time allows was delayed inside the page.
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
