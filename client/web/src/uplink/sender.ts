/** Sends uplink frames in datagrams: at once, repeated as the loss calls for, again where they were lost. */
import { type Codec, Malformed } from "../wire/codepoints.js";
import { encodeUplinkDatagram, MAX_DATAGRAM_FRAMES, type UplinkReport } from "../wire/datagrams.js";
import type { AudioFrame } from "../wire/framing.js";
import { TokenBucket } from "./token-bucket.js";
import { Redundancy } from "./redundancy.js";
import { RoundTrip } from "./round-trip.js";

/** What repeats and repairs may use together, on the wire. */
const REPAIR_BITS_PER_S = 128_000;
const REPAIR_BURST_BYTES = 4_000;
/** Repairs that would wait longer for tokens go on the stream. */
const LONGEST_REPAIR_MS = 500;
export const LAST_RESORT_LOSSES = 4;
export const TAIL_MS = 30;
export const PROBE_INTERVAL_MS = 40;
export const PROBE_FRAMES = 8;
const PROBE_BACK_MS = 80;
const PROBE_EAGERLY_MS = 4_000;
const PROBE_LONGEST_MS = 1_000;

const PACKET_BYTES = 60; // IP, UDP, QUIC and DATAGRAM headers
const HEADER_BYTES = 20;
const FRAME_BYTES = 14; // the header of a frame, at its longest in any call of less than six hours

/** A datagram, or a frame for the stream. */
export type Outgoing = Uint8Array | AudioFrame;

/** Of one call, over all its connections. */
export interface UplinkCounters {
  /** Frames given up. */
  givenUp: number;
  /** How many times a frame was sent again because it was lost. */
  repaired: number;
}

/** What a call brings to each of its connections. */
export interface UplinkTerms {
  /** In the mode "deadline" frames that were not reported for so long are given up. */
  readonly limitMs: number;
  readonly counters: UplinkCounters;
}

/** A frame in datagrams; `number` is the last one that held it, `since` the one that held it first, or again. */
interface Unreported {
  readonly frame: AudioFrame;
  readonly madeAt: number;
  number: number;
  since: number;
  losses: number;
  isWaiting: boolean;
}

/**
 * Of one connection, from the frame `nextSequence` on. Send what each call returns; call `tick` at `deadline`.
 *
 * `maxBytes` returns the size of the largest datagram. With `limitMs` frames that were not reported for so long are given up, but for
 * those on the stream.
 */
export class UplinkSender {
  readonly redundancy = new Redundancy();
  readonly #roundTrip = new RoundTrip();
  readonly #tokens: TokenBucket;
  readonly #frames = new Map<number, Unreported>(); // in rising order of sequence
  readonly #onStream = new Set<number>();
  #first: number;
  #next: number;
  #reportedNext: number;
  #latestTimestamp = 0;
  #number = 0;
  #reportedAt: number;
  #sentAt: number;
  #probeAt: number | undefined;
  #probeIntervalMs = PROBE_INTERVAL_MS;
  #silentSince: number;
  #isAnnouncementDue = false;

  constructor(
    nextSequence: number,
    private readonly maxBytes: () => number,
    private readonly counters: UplinkCounters,
    now: number,
    private readonly limitMs?: number,
  ) {
    this.#tokens = new TokenBucket(REPAIR_BITS_PER_S, REPAIR_BURST_BYTES, now);
    this.#first = this.#next = this.#reportedNext = nextSequence;
    this.#reportedAt = this.#sentAt = this.#silentSince = now;
  }

  /** When `tick` is due. */
  get deadline(): number | undefined {
    const instants = [this.#silenceEndsAt, this.#tailAt, this.#repairsAt, this.#tooOldAt].filter((at) => at !== undefined);
    return instants.length ? Math.min(...instants) : undefined;
  }

  /** This frame, the next one, was sent on the stream. */
  onStream({ sequence }: AudioFrame): void {
    this.#onStream.add(sequence);
    this.#next = sequence + 1;
  }

  /** Send the next frame; on the stream if the connection has no room for it in a datagram. */
  append(frame: AudioFrame, now: number, hasRoom = true): Outgoing[] {
    const isRising = frame.timestamp >= this.#latestTimestamp;
    this.#latestTimestamp = Math.max(this.#latestTimestamp, frame.timestamp);
    if (!hasRoom || !isRising || !this.#isFit(frame)) {
      this.onStream(frame);
      return [frame];
    }
    this.#next = frame.sequence + 1;
    const number = this.#number;
    const sent = { frame, madeAt: now, number, since: number, losses: 0, isWaiting: false };
    this.#frames.set(frame.sequence, sent);
    return [this.#datagram([...this.#repeats(sizeOf(sent), frame.codec, now), sent], now)];
  }

  /** What is sent from now on takes another path, as after a change of network (RFC 9000 section 9.4). */
  pathChanged(now: number): void {
    this.#roundTrip.pathChanged(now);
    this.redundancy.pathChanged(now);
  }

  /** Take the worker's report; what it shows to be lost is sent again. */
  reportReceived(report: UplinkReport, now: number): Outgoing[] | Malformed {
    const { newest, received, heldMs, nextSequence } = report;
    if (newest >= this.#number || nextSequence > this.#next) {
      return new Malformed(`a report of datagram ${newest} and frame ${nextSequence}, never sent`);
    }
    this.#acknowledge(report);
    const rttMs = this.#roundTrip.reported(newest, heldMs, now);
    if (rttMs !== undefined) {
      this.redundancy.observe({ sent: newest + 1, received, rttMs }, now);
    }
    this.#reportedAt = now;
    this.#probeAt = undefined;
    const outgoing: Outgoing[] = [];
    for (const sent of this.#frames.values()) {
      if (sent.number <= newest && !sent.isWaiting) {
        sent.losses++;
        sent.isWaiting = true;
        if (sent.losses >= LAST_RESORT_LOSSES && this.limitMs === undefined) {
          outgoing.push(this.#toStream(sent));
        }
      }
    }
    return [...outgoing, ...this.tick(now)];
  }

  /** Do what is due: give up, repair, repeat, probe. */
  tick(now: number): Outgoing[] {
    this.#giveUp(now);
    const outgoing = this.#repair(now);
    if (now >= (this.#silenceEndsAt ?? Infinity)) {
      outgoing.push(this.#probe(now));
    }
    if (now >= (this.#tailAt ?? Infinity)) {
      const codec = [...this.#frames.values()].at(-1)?.frame.codec;
      outgoing.push(this.#datagram(this.#repeats(PACKET_BYTES, codec, now), now));
    }
    return outgoing;
  }

  #acknowledge({ nextSequence, runs }: UplinkReport): void {
    this.#reportedNext = Math.max(this.#reportedNext, nextSequence);
    for (const waiting of [this.#frames, this.#onStream]) {
      for (const sequence of waiting.keys()) {
        if (sequence < nextSequence) {
          waiting.delete(sequence);
        }
      }
    }
    let position = nextSequence;
    for (const [missing, present] of runs) {
      position += missing;
      const end = position + present;
      for (; position < Math.min(end, this.#next); position++) {
        this.#frames.delete(position);
        this.#onStream.delete(position);
      }
      position = end;
    }
    this.#moveFirst();
  }

  #moveFirst(): void {
    while (this.#first < this.#next && !this.#frames.has(this.#first) && !this.#onStream.has(this.#first)) {
      this.#first++;
    }
  }

  #isFit(frame: AudioFrame): boolean {
    return sizeOf({ frame }) + HEADER_BYTES <= this.maxBytes();
  }

  #toStream({ frame }: Unreported): AudioFrame {
    this.#frames.delete(frame.sequence);
    this.#onStream.add(frame.sequence);
    return frame;
  }

  // Frames too old

  get #tooOldAt(): number | undefined {
    const [oldest] = this.#frames.values();
    return oldest && this.limitMs !== undefined ? oldest.madeAt + this.limitMs : undefined;
  }

  #giveUp(now: number): void {
    while (now >= (this.#tooOldAt ?? Infinity)) {
      const [oldest] = this.#frames.keys();
      this.#frames.delete(oldest!);
      this.counters.givenUp++;
      this.#isAnnouncementDue = true;
    }
    this.#moveFirst();
  }

  // Repairs

  get #waiting(): Unreported[] {
    return [...this.#frames.values()].filter((sent) => sent.isWaiting);
  }

  get #repairsAt(): number | undefined {
    const [oldest] = this.#waiting;
    return oldest && this.#tokens.readyAt(sizeOf(oldest) + PACKET_BYTES);
  }

  /** Send what waits, oldest first, as far as the token bucket allows. */
  #repair(now: number): Outgoing[] {
    const outgoing: Outgoing[] = [];
    let waiting = this.#waiting;
    while (waiting.length) {
      const batch = this.#fitting(waiting, this.#tokens.left(now) - PACKET_BYTES);
      if (!batch.length) {
        break;
      }
      for (const sent of batch) {
        sent.isWaiting = false;
        sent.since = this.#number;
      }
      this.counters.repaired += batch.length;
      this.#tokens.spend(bytesOf(batch) + PACKET_BYTES, now);
      outgoing.push(this.#datagram(batch, now));
      waiting = waiting.slice(batch.length);
    }
    if (waiting[0] && !this.#isFit(waiting[0].frame)) {
      outgoing.push(this.#toStream(waiting.shift()!)); // datagrams have become smaller
    }
    if (this.limitMs === undefined) {
      let allowedBytes = (LONGEST_REPAIR_MS * REPAIR_BITS_PER_S) / 8_000;
      for (const sent of waiting) {
        allowedBytes -= sizeOf(sent);
        if (allowedBytes < 0) {
          outgoing.push(this.#toStream(sent));
        }
      }
    }
    return outgoing;
  }

  /** The first ones, of one codec, that one datagram can hold and the token bucket covers. */
  #fitting(frames: readonly Unreported[], bytes: number, most = MAX_DATAGRAM_FRAMES): Unreported[] {
    let room = Math.min(this.maxBytes() - HEADER_BYTES, bytes);
    const batch: Unreported[] = [];
    for (const sent of frames.slice(0, most)) {
      room -= sizeOf(sent);
      if (room < 0 || sent.frame.codec !== frames[0]!.frame.codec) {
        break;
      }
      batch.push(sent);
    }
    return batch;
  }

  // Repeats

  #isRepeated(sent: Unreported): boolean {
    return !sent.isWaiting && this.redundancy.distances.includes(this.#number - sent.since);
  }

  /** Those that belong into the next datagram beside what takes so many bytes, as far as the token bucket allows. */
  #repeats(taken: number, codec: Codec | undefined, now: number): Unreported[] {
    if (this.#isSilent) {
      return [];
    }
    const wanted = [...this.#frames.values()]
      .filter((sent) => this.#isRepeated(sent) && sent.frame.codec === codec)
      .reverse();
    const room = Math.min(this.maxBytes() - HEADER_BYTES - taken, this.#tokens.left(now));
    const batch = this.#fitting(wanted, room, MAX_DATAGRAM_FRAMES - 1);
    this.#tokens.spend(bytesOf(batch), now);
    return batch;
  }

  /** When repeats that no new frame took along go by themselves, or frames given up are announced. */
  get #tailAt(): number | undefined {
    if (this.#isSilent) {
      return undefined;
    }
    const isDue = this.#isAnnouncementDue || [...this.#frames.values()].some((sent) => this.#isRepeated(sent));
    return isDue ? this.#sentAt + TAIL_MS : undefined;
  }

  // Silence

  get #isSilent(): boolean {
    return this.#probeAt !== undefined;
  }

  /** When the oldest frames are sent again although nothing is known of them. */
  get #silenceEndsAt(): number | undefined {
    const { oldestUnreportedAt, reportTimeoutMs } = this.#roundTrip;
    const isReported = !this.#frames.size && this.#reportedNext >= this.#first;
    if (this.#isSilent || isReported || oldestUnreportedAt === undefined) {
      return this.#probeAt;
    }
    return Math.max(oldestUnreportedAt, this.#reportedAt) + reportTimeoutMs;
  }

  #probe(now: number): Uint8Array {
    if (!this.#isSilent) {
      this.#silentSince = now;
      this.#probeIntervalMs = PROBE_INTERVAL_MS;
    } else if (now - this.#silentSince > PROBE_EAGERLY_MS || !this.redundancy.limit.hasHeadroom) {
      this.#probeIntervalMs = Math.min(2 * this.#probeIntervalMs, PROBE_LONGEST_MS);
    }
    this.#probeAt = now + this.#probeIntervalMs;
    const unreported = [...this.#frames.values()];
    // what was made before has most likely arrived, and only the report of it was lost
    const since = unreported.filter((sent) => sent.madeAt >= this.#reportedAt - PROBE_BACK_MS);
    const oldest = this.#fitting(since.length ? since : unreported, this.maxBytes(), PROBE_FRAMES);
    this.#tokens.spend(bytesOf(oldest) + PACKET_BYTES, now);
    return this.#datagram(oldest, now);
  }

  #datagram(batch: readonly Unreported[], now: number): Uint8Array {
    const number = this.#number++;
    this.#sentAt = now;
    this.#isAnnouncementDue = false;
    this.#roundTrip.sent(number, now);
    for (const sent of batch) {
      sent.number = number;
    }
    const frames = batch.map((sent) => sent.frame).sort((one, other) => one.sequence - other.sequence);
    return encodeUplinkDatagram({ number, first: this.#first, frames });
  }
}

function sizeOf({ frame }: { readonly frame: AudioFrame }): number {
  return frame.payload.length + FRAME_BYTES;
}

function bytesOf(batch: readonly Unreported[]): number {
  return batch.reduce((bytes, sent) => bytes + sizeOf(sent), 0);
}
