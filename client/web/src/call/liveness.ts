/** How long a connection has owed an answer, by the clock of a page that may itself have stood still. */

/** A page that stood still for longer has heard nothing because it did not listen. */
const ASLEEP_MS = 400;

export class Liveness {
  #receivedAt = 0;
  #tickedAt = 0;
  #awakeAt = 0;

  /** A new connection is ready. */
  restart(now: number): void {
    this.#awakeAt = this.#tickedAt = now;
  }

  /** The server was heard. */
  received(now: number): void {
    this.#receivedAt = now;
  }

  /** The page is awake. */
  tick(now: number): void {
    if (now - this.#tickedAt > ASLEEP_MS) {
      this.#awakeAt = now;
    }
    this.#tickedAt = now;
  }

  /** `waitingSince` is when the oldest question was sent that has no answer. */
  stalledMs(now: number, waitingSince: number | undefined): number {
    return waitingSince === undefined ? 0 : Math.max(0, now - Math.max(waitingSince, this.#receivedAt, this.#awakeAt));
  }
}
