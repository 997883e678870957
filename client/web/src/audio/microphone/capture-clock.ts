/** When sound was captured, by the place of its samples in time. */

/** No page delays frames for so long: the sound card had stopped, and counts on from there. */
const STOOD_STILL_MS = 500;

/**
 * Compares each frame with the fastest ones of the last one to two windows, of 30 s as at the worker for `uplink_ms`: a
 * frame that came later than its place in media time allows was delayed inside the page.
 */
export class CaptureClock {
  #fastest = Infinity;
  #formerFastest = Infinity;
  #windowBegan = -Infinity;

  constructor(private readonly windowMs = 30_000) {}

  /** A frame of this media time is there `now`; returns when it would have been, had nothing held it up. */
  captured(mediaMs: number, now: number): number {
    const offset = now - mediaMs;
    if (offset > Math.min(this.#fastest, this.#formerFastest) + STOOD_STILL_MS) {
      this.#fastest = this.#formerFastest = offset;
    } else if (now - this.#windowBegan > this.windowMs) {
      this.#windowBegan = now;
      this.#formerFastest = this.#fastest;
      this.#fastest = offset;
    } else {
      this.#fastest = Math.min(this.#fastest, offset);
    }
    return mediaMs + Math.min(this.#fastest, this.#formerFastest);
  }

  /** The media time for which a frame would be there at this instant; undefined before the first frame. */
  mediaMs(at: number): number | undefined {
    const offset = Math.min(this.#fastest, this.#formerFastest);
    return Number.isFinite(offset) ? at - offset : undefined;
  }
}
