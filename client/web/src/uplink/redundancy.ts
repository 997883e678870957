/** How often a frame is repeated, and how much later, by the loss that was measured. */

/** The highest loss at which 0, 1 and 2 repeats do: what is then lost with all its copies is about 1 frame in 50,000. */
const THRESHOLDS = [0.002, 0.0045, 0.027];
export const FARTHEST = 8;
const WINDOW = 250;
const LEAST = 50;
const BURSTS = 16;
const HOLD_MS = 2_000;

export class Redundancy {
  /** How many datagrams after its own a frame is repeated: the third time beyond a burst of loss as they come. */
  distances: readonly number[] = [1, 2];
  readonly #counts: { readonly sent: number; readonly received: number }[] = [{ sent: 0, received: 0 }];
  readonly #bursts: number[] = [];
  #mayFallAt: number | undefined;

  /** Of the first `sent` datagrams, `received` have arrived. */
  observe(sent: number, received: number, now: number): void {
    const last = this.#counts.at(-1)!;
    const burst = sent - last.sent - (received - last.received);
    if (burst > 0) {
      this.#bursts.push(Math.min(burst, FARTHEST));
      this.#bursts.splice(0, this.#bursts.length - BURSTS);
    }
    this.#counts.push({ sent, received });
    while (this.#counts.length > 2 && this.#counts[1]!.sent <= sent - WINDOW) {
      this.#counts.shift();
    }
    const before = this.#counts[0]!;
    const lost = Math.max(0, sent - before.sent - (received - before.received));
    const loss = (lost + 0.5) / Math.max(sent - before.sent, LEAST); // half of one for uncertainty
    this.#repeat(THRESHOLDS.filter((threshold) => loss > threshold).length, now);
  }

  /** More at once, fewer by one at most in 2 s. */
  #repeat(wanted: number, now: number): void {
    let repeats = this.distances.length;
    if (this.#mayFallAt === undefined || wanted > repeats) {
      this.#mayFallAt = now + HOLD_MS;
      repeats = Math.max(repeats, wanted);
    } else if (wanted < repeats && now >= this.#mayFallAt) {
      this.#mayFallAt = now + HOLD_MS;
      repeats--;
    }
    const lengths = this.#bursts.reduce((sum, burst) => sum + burst, 0);
    this.distances = [1, 2, Math.max(3, Math.ceil(lengths / (this.#bursts.length || 1)))].slice(0, repeats);
  }
}
