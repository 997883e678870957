/** A token bucket, counted in bytes. */

export class TokenBucket {
  readonly #bytesPerMs: number;
  #bytes: number;

  /** Begins full, with `mostBytes`. */
  constructor(
    bitsPerS: number,
    private readonly mostBytes: number,
    private countedAt: number,
  ) {
    this.#bytesPerMs = bitsPerS / 8_000;
    this.#bytes = mostBytes;
  }

  /** The bytes that may be spent now. */
  left(now: number): number {
    if (now > this.countedAt) {
      this.#bytes = Math.min(this.mostBytes, this.#bytes + (now - this.countedAt) * this.#bytesPerMs);
      this.countedAt = now;
    }
    return this.#bytes;
  }

  /** Take what was used; what is not there is forgiven. */
  spend(bytes: number, now: number): void {
    this.#bytes = Math.max(0, this.left(now) - bytes);
  }

  /** When so much will be left; the most there ever is, if that is less. */
  readyAt(bytes: number): number {
    const missing = Math.min(bytes + 1, this.mostBytes) - this.#bytes; // one more, for rounding
    return this.countedAt + Math.max(0, missing) / this.#bytesPerMs;
  }
}
