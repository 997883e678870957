/** Pings at a steady rate: a dead connection is noticed, boxes on the way keep the address, round trips get measured. */

const KEPT_PINGS = 64;

export class Heartbeat {
  rttMs: number | null = null;
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

  /** A new connection: what was under way may be lost, and what is being measured is asked again. */
  restart(now: number): void {
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
    this.rttMs = now - sentAt;
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
