/** Pings at a steady rate: middleboxes keep the address, round trips are measured, a silent connection is detected. */

const KEPT_PINGS = 64;
/** A page that was suspended for longer received nothing because it did not run. */
const SUSPENDED_MS = 400;

export class Heartbeat {
  rttMs: number | null = null;
  /** How long an answer takes on this connection: its newest round trip, or before the first one its opening. */
  answerMs = 0;
  readonly #sentAt = new Map<number, number>();
  readonly #measuring = new Map<number, (rttMs: number) => void>();
  #nextId = 0;
  #beatAt = -Infinity;

  constructor(
    private readonly send: (id: number) => void,
    private readonly intervalMs: number,
  ) {}

  /** When the oldest ping was sent that has no answer; undefined where none is open. */
  get waitingSince(): number | undefined {
    return this.#sentAt.values().next().value;
  }

  /** A new connection, opened within `openingMs`: what was under way may be lost; what is measured is asked again. */
  restart(now: number, openingMs: number): void {
    this.answerMs = openingMs;
    this.#sentAt.clear();
    for (const id of this.#measuring.keys()) {
      this.#sentAt.set(id, now);
      this.send(id);
    }
    this.#ping(now);
  }

  /** Send a ping where one is due. */
  tick(now: number): void {
    if (now - this.#beatAt >= this.intervalMs) {
      this.#ping(now);
    }
  }

  /** Send a ping now, and call `done` with its round trip. */
  measure(now: number, done: (rttMs: number) => void): void {
    this.#measuring.set(this.#nextId, done);
    this.#ping(now);
  }

  /** Note an answer; false where no ping had this ID. */
  pong(id: number, now: number): boolean {
    const sentAt = this.#sentAt.get(id);
    if (sentAt === undefined) {
      return id < this.#nextId;
    }
    for (const earlier of this.#sentAt.keys()) {
      if (earlier <= id) {
        this.#sentAt.delete(earlier);
      }
    }
    this.rttMs = this.answerMs = now - sentAt;
    this.#measuring.get(id)?.(this.rttMs);
    this.#measuring.delete(id);
    return true;
  }

  #ping(now: number): void {
    if (this.#sentAt.size >= KEPT_PINGS) {
      this.#sentAt.delete(this.#sentAt.keys().next().value!);
    }
    this.#beatAt = now;
    this.#sentAt.set(this.#nextId, now);
    this.send(this.#nextId++);
  }
}

/** How long a connection has owed an answer; time in which the page was suspended does not count. */
export class Liveness {
  #receivedAt = 0;
  #tickedAt = 0;
  #resumedAt = 0;

  /** A new connection is ready. */
  restart(now: number): void {
    this.#resumedAt = this.#tickedAt = now;
  }

  /** Something has arrived from the server. */
  received(now: number): void {
    this.#receivedAt = now;
  }

  /** The page runs. */
  tick(now: number): void {
    if (now - this.#tickedAt > SUSPENDED_MS) {
      this.#resumedAt = now;
    }
    this.#tickedAt = now;
  }

  /** `waitingSince` is when the oldest ping without a pong was sent. */
  stalledMs(now: number, waitingSince: number | undefined): number {
    return waitingSince === undefined ? 0 : Math.max(0, now - Math.max(waitingSince, this.#receivedAt, this.#resumedAt));
  }
}
