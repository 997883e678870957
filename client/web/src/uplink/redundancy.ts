/** How often a frame is repeated, and how much later, by the measured loss and what the path carries. */
import { RepeatLimit, type Reported, SustainedLoss } from "./repeat-limit.js";

const INITIALLY_WANTED = 2;
/** The highest loss at which 0, 1 and 2 repeats do: what is then lost with all its copies is about 1 frame in 50,000. */
const THRESHOLDS = [0.002, 0.0045, 0.027];
export const FARTHEST = 8;
const WINDOW = 250;
const LEAST = 50;
const BURSTS = 16;
const HOLD_MS = 2_000;

/** The repeats that are wanted by the loss rise at once, and fall by one at most in 2 s; `limit` caps them. */
export class Redundancy {
  limit = new RepeatLimit();
  /** How many datagrams after its own a frame is repeated: the third time beyond a burst of loss as they come. */
  distances: readonly number[] = [1, 2].slice(0, this.limit.repeats);
  #wanted = INITIALLY_WANTED;
  readonly #counts: { readonly sent: number; readonly received: number }[] = [{ sent: 0, received: 0 }];
  readonly #bursts: number[] = [];
  #mayFallAt: number | undefined;

  /** From now on datagrams take another path: learn anew what it carries, and expect losses. */
  pathChanged(now: number): void {
    const { sent, received } = this.#counts.at(-1)!;
    this.limit = new RepeatLimit(new SustainedLoss(sent, received), now);
    this.#wanted = Math.max(this.#wanted, INITIALLY_WANTED);
    this.#mayFallAt = now + HOLD_MS;
    this.#place();
  }

  /** Take a report. */
  observe(reported: Reported, now: number): void {
    const { sent, received } = reported;
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
    this.#want(THRESHOLDS.filter((threshold) => loss > threshold).length, now);
    this.limit.observe(reported, this.#wanted, now);
    this.#place();
  }

  #place(): void {
    const lengths = this.#bursts.reduce((sum, each) => sum + each, 0);
    const beyond = Math.max(3, Math.ceil(lengths / (this.#bursts.length || 1)));
    this.distances = [1, 2, beyond].slice(0, Math.min(this.#wanted, this.limit.repeats));
  }

  /** More at once, fewer by one at most in 2 s. */
  #want(wanted: number, now: number): void {
    if (this.#mayFallAt === undefined || wanted > this.#wanted) {
      this.#mayFallAt = now + HOLD_MS;
      this.#wanted = Math.max(this.#wanted, wanted);
    } else if (wanted < this.#wanted && now >= this.#mayFallAt) {
      this.#mayFallAt = now + HOLD_MS;
      this.#wanted--;
    }
  }
}
