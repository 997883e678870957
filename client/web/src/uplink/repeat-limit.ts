/** How many repeats of a frame the path carries, by the queue and the losses that they cause. */

export const FIRST_LIMIT = 1;
export const MOST_REPEATS = 3;
/** One repeat more is allowed once datagrams sent so long after the last change were reported, and there is no queue. */
const PROOF_MS = 300;
const FIRST_BACKOFF_MS = 2_000;
const LONGEST_BACKOFF_MS = 64_000;
/** A number that did well for so long counts as carried; above one that failed, the next is tried only then. */
const CARRIED_AFTER_MS = 2_000;
const FORGIVEN_AFTER_MS = 10_000;

export const QUEUE_MS = 60;
const DRAINED_MS = 30;
/** What delay is left so long after it last fell, without a repeat, is the path's own. */
const STABLE_MS = 2_000;
/** Delay that stays so long after the repeats ended is not theirs: their queue drains. */
const CONSTANT_MS = 300;
const CONSTANT_WITHIN_MS = 20;
const FALL_MS = 10;
const RECENT_MS = 120;
const RECENT_SAMPLES = 4;

const HIGH_LOSS = 0.15;
/** Repeats without which so much less is lost are too many. */
const LESS_LOSS = 0.15;
/** The pause after a trial that found the repeats innocent, unless the loss grows; twice that after the next one. */
const TRIAL_INTERVAL_MS = 30_000;
const SPAN = 12;
const SPANS = 8;
const TRIAL_SPANS = 4;

/**
 * Whether a queue stands: all recent round trips are longer than the shortest one, as in CoDel (RFC 8289).
 *
 * Its observer repeats nothing while one stands.
 */
export class QueueingDelay {
  isStanding = false;
  /** One of the recent round trips was about as short as any. */
  isEmpty = true;
  /** Of the last queue that stood: its delay did not change without repeats, as that of a longer path. */
  isPathLonger = false;
  #shortestMs = Infinity;
  readonly #recent: { readonly at: number; readonly rttMs: number }[] = [];
  #lowestMs = Infinity;
  #lowestAt = 0;
  #standsSince = 0;
  #withoutRepeats: { readonly since: number; readonly firstMs: number } | undefined;

  /** Take the round trip of a datagram. */
  observe(rttMs: number, now: number): void {
    this.#shortestMs = Math.min(this.#shortestMs, rttMs);
    this.#recent.push({ at: now, rttMs });
    while (this.#recent.length > RECENT_SAMPLES && this.#recent[1]!.at <= now - RECENT_MS) {
      this.#recent.shift();
    }
    if (this.#recent.length < RECENT_SAMPLES || this.#recent[0]!.at > now - RECENT_MS) {
      return;
    }
    const recentMs = Math.min(...this.#recent.map((each) => each.rttMs));
    this.isEmpty = recentMs <= this.#shortestMs + DRAINED_MS;
    if (!this.isStanding) {
      this.isStanding = recentMs > this.#shortestMs + QUEUE_MS;
      this.isPathLonger = false;
      this.#lowestMs = recentMs;
      this.#lowestAt = this.#standsSince = now;
      this.#withoutRepeats = undefined;
    } else if (this.isEmpty) {
      this.isStanding = false;
    } else if (this.#isConstant(recentMs, now)) {
      this.isPathLonger = true;
      this.isStanding = false;
      this.#shortestMs = recentMs;
    } else if (recentMs < this.#lowestMs - FALL_MS) {
      this.#lowestMs = recentMs;
      this.#lowestAt = now;
    } else if (now >= this.#lowestAt + STABLE_MS) {
      this.isStanding = false;
      this.#shortestMs = recentMs;
    }
  }

  /** Whether it is, as soon as that can be known; once for each queue. */
  #isConstant(recentMs: number, now: number): boolean {
    if (!this.#withoutRepeats) {
      const { at, rttMs } = this.#recent[0]!;
      if (at - rttMs >= this.#standsSince) {
        this.#withoutRepeats = { since: now, firstMs: recentMs };
      }
      return false;
    }
    const { since, firstMs } = this.#withoutRepeats;
    if (now < since + CONSTANT_MS) {
      return false;
    }
    this.#withoutRepeats = { since: Infinity, firstMs };
    return Math.abs(recentMs - firstMs) <= CONSTANT_WITHIN_MS;
  }
}

/** The loss of the last 96 datagrams, in spans of 12, so that a burst or an outage does not count as high loss. */
export class SustainedLoss {
  #spans: number[] = [];
  #sent: number;
  #received: number;

  constructor(sent = 0, received = 0) {
    this.#sent = sent;
    this.#received = received;
  }

  /** How many there were lately. */
  get spans(): number {
    return this.#spans.length;
  }

  /** Of what was sent in these spans. */
  get share(): number {
    return this.#sum / this.#spans.length;
  }

  /** Whether it is, even without the worst span. */
  get isHigh(): boolean {
    return this.#spans.length === SPANS && this.#sum - Math.max(...this.#spans) > HIGH_LOSS * (SPANS - 1);
  }

  /** Of the first `sent` datagrams, `received` have arrived. */
  observe(sent: number, received: number): void {
    const count = sent - this.#sent;
    if (count >= SPAN) {
      this.#spans = [...this.#spans, Math.max(0, 1 - (received - this.#received) / count)].slice(-SPANS);
      this.#sent = sent;
      this.#received = received;
    }
  }

  /** Forget the loss before these. */
  restart(sent: number, received: number): void {
    this.#spans = [];
    this.#sent = sent;
    this.#received = received;
  }

  get #sum(): number {
    return this.#spans.reduce((sum, loss) => sum + loss, 0);
  }
}

/** No repeats for some time, to see whether the loss is their doing. */
interface Trial {
  readonly repeats: number;
  readonly loss: number;
  readonly beganAt: number;
  isCounting: boolean;
}

/** The repeats that were allowed, and those that were sent, when a queue began to stand. */
interface Held {
  readonly repeats: number;
  readonly used: number;
}

/** What a report says: of the first `sent` datagrams, `received` have arrived, the last one after `rttMs` there and back. */
export interface Reported {
  readonly sent: number;
  readonly received: number;
  readonly rttMs: number;
}

/**
 * `repeats` is 0 while a queue stands, and rises by one at a time while more are wanted and none stands.
 *
 * A number that brought the queue, or most of the loss, is tried again after 2 s, and after twice that each time it fails.
 * A path begins with one repeat; it is in use `since` then, undefined for the first report.
 */
export class RepeatLimit {
  repeats = FIRST_LIMIT;
  readonly #queue = new QueueingDelay();
  readonly #loss: SustainedLoss;
  #held: Held | undefined;
  #trustsFrom = -Infinity;
  #trial: Trial | undefined;
  #nextTrialAt = -Infinity;
  #innocentLoss = 1;
  #trialIntervalMs = TRIAL_INTERVAL_MS;
  #changedAt: number | undefined;
  #tooMany = MOST_REPEATS + 1;
  #failed = MOST_REPEATS + 1;
  #carried = 0;
  #retryAt = -Infinity;
  #backoffMs = FIRST_BACKOFF_MS / 2;

  constructor(loss = new SustainedLoss(), since?: number) {
    this.#loss = loss;
    this.#changedAt = since;
  }

  /** Datagrams were reported, and nothing shows that the path carries no more than the frames themselves. */
  get hasHeadroom(): boolean {
    return this.#changedAt !== undefined && this.repeats > 0;
  }

  /** Take a report; `wanted` repeats are sent as far as they are allowed. */
  observe(reported: Reported, wanted: number, now: number): void {
    const sentAt = now - reported.rttMs;
    this.#changedAt ??= sentAt;
    const provenMs = sentAt - this.#changedAt;
    this.#queue.observe(reported.rttMs, now);
    this.#loss.observe(reported.sent, reported.received);
    const used = Math.min(wanted, this.repeats);
    if (this.#queue.isStanding) {
      this.#trial = undefined;
      this.#held ??= { repeats: this.repeats, used }; // nothing is repeated while a queue stands
      this.#set(0, now);
    } else if (this.#held) {
      this.#goOnAfter(this.#held, now);
    } else if (this.#trial) {
      this.#goOnWith(this.#trial, reported, now);
    } else if (used && this.#loss.isHigh && this.#isTrialDue(now)) {
      this.#trial = { repeats: used, loss: this.#loss.share, beganAt: now, isCounting: false };
      this.#set(0, now);
    } else {
      this.#rise(wanted, provenMs, now);
    }
  }

  /** Take the repeats for the cause of the queue that is gone, unless the path is longer; once in 10 s. */
  #goOnAfter(held: Held, now: number): void {
    this.#held = undefined;
    if (this.#queue.isPathLonger && now >= this.#trustsFrom) {
      this.#trustsFrom = now + FORGIVEN_AFTER_MS;
      this.#set(Math.min(held.repeats, FIRST_LIMIT), now);
      return;
    }
    if (held.used) {
      this.#tooManyWere(held.used);
    }
    this.#retryAt = now + this.#backoffMs;
  }

  /** Allow one more, where those allowed now were sent for `provenMs` without harm. */
  #rise(wanted: number, provenMs: number, now: number): void {
    if (wanted >= this.repeats && this.repeats > this.#carried && provenMs >= CARRIED_AFTER_MS) {
      this.#carried = this.repeats;
      this.#tooMany = Math.max(this.#tooMany, this.#carried + 1);
    }
    if (this.#carried >= this.#failed && provenMs >= FORGIVEN_AFTER_MS) {
      this.#tooMany = this.#failed = MOST_REPEATS + 1;
      this.#backoffMs = FIRST_BACKOFF_MS / 2;
    }
    const mayRetry = this.repeats < this.#tooMany && now >= this.#retryAt;
    const isAllowed = this.repeats + 1 < this.#tooMany || mayRetry;
    if (wanted > this.repeats && isAllowed && provenMs >= PROOF_MS && this.#queue.isEmpty) {
      this.#set(this.repeats + 1, now);
    }
  }

  #isTrialDue(now: number): boolean {
    return now >= this.#nextTrialAt || this.#loss.share > this.#innocentLoss + LESS_LOSS;
  }

  #goOnWith(trial: Trial, { sent, received, rttMs }: Reported, now: number): void {
    if (!trial.isCounting) {
      if (now - rttMs >= trial.beganAt) {
        trial.isCounting = true;
        this.#loss.restart(sent, received);
      }
      return;
    }
    if (this.#loss.spans < TRIAL_SPANS) {
      return;
    }
    this.#trial = undefined;
    if (this.#loss.share < trial.loss - LESS_LOSS) {
      this.#trialIntervalMs = TRIAL_INTERVAL_MS;
      this.#tooManyWere(trial.repeats);
      this.#retryAt = now + this.#backoffMs;
      this.#set(0, now);
    } else {
      this.#innocentLoss = trial.loss;
      this.#nextTrialAt = now + this.#trialIntervalMs;
      this.#trialIntervalMs *= 2;
      this.#set(trial.repeats, now);
    }
  }

  #tooManyWere(repeats: number): void {
    if (repeats <= this.#carried) {
      this.#carried = 0;
    }
    this.#failed = repeats;
    this.#tooMany = Math.max(Math.floor((repeats + 1) / 2), this.#carried + 1);
    this.#backoffMs = Math.min(2 * this.#backoffMs, LONGEST_BACKOFF_MS);
  }

  #set(repeats: number, now: number): void {
    this.repeats = repeats;
    this.#changedAt = now;
  }
}
