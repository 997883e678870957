/** The round trip of datagrams, by what the other side reports of them. */

const INITIAL_TIMEOUT_MS = 500;
const REPORT_DELAY_MS = 60;

/** Smoothed as RFC 9002 section 5.3 does it. */
export class RoundTrip {
  #smoothedMs: number | undefined;
  #deviationMs = 0;
  #sentAt: number[] = [];
  #oldest = 0;
  #pathSince = -Infinity;

  /** When the datagram behind the newest reported one was sent; undefined if there is none. */
  get oldestUnreportedAt(): number | undefined {
    return this.#sentAt[0];
  }

  /** How long a report may take to come. */
  get reportTimeoutMs(): number {
    return this.#smoothedMs === undefined
      ? INITIAL_TIMEOUT_MS
      : this.#smoothedMs + 4 * this.#deviationMs + REPORT_DELAY_MS;
  }

  /** Datagrams are numbered without gaps. */
  sent(number: number, now: number): void {
    if (!this.#sentAt.length) {
      this.#oldest = number;
    }
    this.#sentAt.push(now);
  }

  /** Measure anew, by what is sent from now on (RFC 9000 section 9.4). */
  pathChanged(now: number): void {
    this.#pathSince = now;
    this.#smoothedMs = undefined;
  }

  /** Of all reported datagrams this is the newest; returns its round trip, undefined where it is not new, or took the path before. */
  reported(newest: number, heldMs: number, now: number): number | undefined {
    const sentAt = this.#sentAt[newest - this.#oldest];
    if (sentAt === undefined) {
      return undefined;
    }
    this.#sentAt = this.#sentAt.slice(newest - this.#oldest + 1);
    this.#oldest = newest + 1;
    if (sentAt < this.#pathSince) {
      return undefined;
    }
    const sampleMs = Math.max(now - sentAt - heldMs, 0);
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = sampleMs;
      this.#deviationMs = sampleMs / 2;
    } else {
      this.#deviationMs += (Math.abs(this.#smoothedMs - sampleMs) - this.#deviationMs) / 4;
      this.#smoothedMs += (sampleMs - this.#smoothedMs) / 8;
    }
    return sampleMs;
  }
}
