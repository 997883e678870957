/** An allowance of octets that grows with time: a token bucket. */

export class Allowance {
  readonly #octetsPerMs: number;
  #octets: number;

  /** It grows up to `mostOctets`, with which it begins. */
  constructor(
    bitsPerS: number,
    private readonly mostOctets: number,
    private countedAt: number,
  ) {
    this.#octetsPerMs = bitsPerS / 8_000;
    this.#octets = mostOctets;
  }

  /** The octets that may be spent now. */
  left(now: number): number {
    if (now > this.countedAt) {
      this.#octets = Math.min(this.mostOctets, this.#octets + (now - this.countedAt) * this.#octetsPerMs);
      this.countedAt = now;
    }
    return this.#octets;
  }

  /** Take what was used; what is not there is forgiven. */
  spend(octets: number, now: number): void {
    this.#octets = Math.max(0, this.left(now) - octets);
  }

  /** When so much will be left; the most there ever is, if that is less. */
  readyAt(octets: number): number {
    const missing = Math.min(octets + 1, this.mostOctets) - this.#octets; // one more, for rounding
    return this.countedAt + Math.max(0, missing) / this.#octetsPerMs;
  }
}
