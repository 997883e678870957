/** An uplink without a network: the sender, a worker's side, and a link with faults, on a clock of its own. */
import { type Outgoing, type UplinkCounters, UplinkSender } from "../uplink/sender.js";
import { Codec, Malformed } from "../wire/codepoints.js";
import { decodeUplinkReport, type UplinkReport } from "../wire/datagrams.js";
import type { AudioFrame } from "../wire/framing.js";
import { WorkerUplink } from "./worker-uplink.js";

export const FRAME_MS = 20;
const STREAM_DELAY_MS = 150;
const PACKET_BYTES = 60; // IP, UDP and QUIC headers

/** For a datagram sent at that time, upwards or not: after how long each of its copies arrives. */
export type NetworkFaults = (now: number, isUp: boolean) => readonly number[];

export function spoken(sequence: number, bytes = 60, codec: Codec = Codec.OPUS): AudioFrame {
  const payload = Uint8Array.from({ length: bytes }, (_, index) => (index % 2 ? sequence & 0xff : 0x48));
  return { sequence, timestamp: sequence * 960, codec, payload };
}

/** Random numbers from 0 to 1 that a seed repeats (mulberry32). */
export function seeded(seed: number): () => number {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let mixed = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Happening {
  readonly at: number;
  readonly what: () => void;
}

/** A link of so many bytes in a second and a queue, in bytes, headers included; what finds no room is dropped. */
export class Bottleneck {
  #freeAt = 0;

  constructor(
    public bytesPerS: number,
    private readonly queueBytes: number,
  ) {}

  /** When a datagram has left; undefined where it was dropped. */
  leavesAt(now: number, bytes: number): number | undefined {
    const begin = Math.max(now, this.#freeAt);
    if (((begin - now) * this.bytesPerS) / 1_000 + bytes + PACKET_BYTES > this.queueBytes) {
      return undefined;
    }
    this.#freeAt = begin + (1_000 * (bytes + PACKET_BYTES)) / this.bytesPerS;
    return this.#freeAt;
  }
}

/** `say` frames, `runUntil` some time, and look at `delivered`. */
export class UplinkOverLink {
  readonly counters: UplinkCounters = { givenUp: 0, repaired: 0 };
  readonly sender: UplinkSender;
  readonly worker = new WorkerUplink();
  readonly delivered: { readonly at: number; readonly frame: AudioFrame }[] = [];
  readonly madeAt: number[] = [];
  /** The bytes of each datagram sent upwards. */
  readonly datagrams: { readonly at: number; readonly bytes: number }[] = [];
  readonly streamed: number[] = [];
  now = 100_000;
  readonly #happenings: Happening[] = [];
  #streamFreeAt = 0;

  constructor(
    private readonly faults: NetworkFaults,
    private readonly bottleneck?: Bottleneck,
  ) {
    this.sender = new UplinkSender(0, () => 1_180, this.counters, this.now);
  }

  /** So many frames more, one each 20 ms. */
  say(frames: number, at = this.now): void {
    for (let index = 0; index < frames; index++) {
      const frame = spoken(this.madeAt.length);
      this.madeAt.push(at + index * FRAME_MS);
      this.#at(at + index * FRAME_MS, () => this.#carry(this.sender.append(frame, this.now)));
    }
  }

  runUntil(end: number): void {
    for (let at = this.#nextAt(); at <= end; at = this.#nextAt()) {
      this.now = Math.max(this.now, at);
      if ((this.#happenings[0]?.at ?? Infinity) <= this.now) {
        this.#happenings.shift()!.what();
      } else if ((this.worker.reportAt ?? Infinity) <= this.now) {
        const report = decodeUplinkReport(this.worker.report(this.now)) as UplinkReport;
        this.#send(false, () => this.#carry(this.sender.reportReceived(report, this.now)));
      } else {
        this.#carry(this.sender.tick(this.now));
      }
    }
    this.now = end;
  }

  /** Of each delivered frame, beyond the way itself. */
  latenessMs(oneWayMs: number): number[] {
    return this.delivered.map(({ at, frame }) => at - this.madeAt[frame.sequence]! - oneWayMs);
  }

  #nextAt(): number {
    return Math.min(
      this.sender.deadline ?? Infinity,
      this.worker.reportAt ?? Infinity,
      this.#happenings[0]?.at ?? Infinity,
    );
  }

  #deliver(frames: readonly AudioFrame[]): void {
    this.delivered.push(...frames.map((frame) => ({ at: this.now, frame })));
  }

  #carry(outgoing: readonly Outgoing[] | Malformed): void {
    if (outgoing instanceof Malformed) {
      throw new Error(outgoing.reason);
    }
    for (const each of outgoing) {
      if (each instanceof Uint8Array) {
        this.datagrams.push({ at: this.now, bytes: each.length });
        const leavesAt = this.bottleneck ? this.bottleneck.leavesAt(this.now, each.length) : this.now;
        if (leavesAt !== undefined) {
          this.#send(true, () => this.#deliver(this.worker.datagramReceived(each, this.now)), leavesAt);
        }
      } else {
        this.streamed.push(each.sequence);
        this.#streamFreeAt = Math.max(this.now + STREAM_DELAY_MS, this.#streamFreeAt);
        this.#at(this.#streamFreeAt, () => this.#deliver(this.worker.frameReceived(each)));
      }
    }
  }

  #send(isUp: boolean, arrived: () => void, leavesAt = this.now): void {
    for (const delayMs of this.faults(this.now, isUp)) {
      this.#at(leavesAt + delayMs, arrived);
    }
  }

  #at(at: number, what: () => void): void {
    const place = this.#happenings.findIndex((each) => each.at > at);
    this.#happenings.splice(place < 0 ? this.#happenings.length : place, 0, { at, what });
  }
}
