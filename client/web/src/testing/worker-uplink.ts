/** The worker's side of the uplink in datagrams (PROTOCOL.md 11), as far as tests of the client's need it. */
import { type Codec, DatagramType } from "../wire/codepoints.js";
import { MAX_REPORT_RUNS, type UplinkDatagram, type UplinkReport } from "../wire/datagrams.js";
import { type AudioFrame, concat, decodeVarint, encodeVarint } from "../wire/framing.js";

export const REPORT_INTERVAL_MS = 40;

/** Read what `encodeUplinkDatagram` wrote; throws for anything else. */
export function decodeUplinkDatagram(body: Uint8Array): UplinkDatagram {
  let offset = 0;
  const varint = (): number => {
    const field = decodeVarint(body, offset);
    if (!field) {
      throw new RangeError(`no varint at ${offset} of ${body.length} bytes`);
    }
    offset = field.end;
    return field.value;
  };
  if (varint() !== DatagramType.UPLINK_AUDIO) {
    throw new RangeError("another type of datagram");
  }
  const [number, first] = [varint(), varint()];
  const frames: AudioFrame[] = [];
  const codec = body[offset++] as Codec;
  for (let [next, latest] = [first, 0]; offset < body.length; ) {
    const [sequence, timestamp, length] = [next + varint(), latest + varint(), varint()];
    frames.push({ sequence, timestamp, codec, payload: body.slice(offset, offset + length) });
    [next, latest, offset] = [sequence + 1, timestamp, offset + length];
  }
  return { number, first, frames };
}

export function encodeUplinkReport({ newest, received, heldMs, nextSequence, runs }: UplinkReport): Uint8Array {
  return concat(...[DatagramType.UPLINK_REPORT, newest, received, heldMs, nextSequence, ...runs.flat()].map(encodeVarint));
}

/** Puts frames in order; send `report` when `reportAt` has come. */
export class WorkerUplink {
  reportAt: number | undefined;
  nextSequence = 0;
  readonly numbers = new Set<number>();
  readonly #held = new Map<number, AudioFrame>();
  #newest = -1;
  #newestAt = 0;
  #reportedAt = -Infinity;

  /** Take a frame of the stream, and return those that are next. */
  frameReceived(frame: AudioFrame): AudioFrame[] {
    if (frame.sequence >= this.nextSequence && !this.#held.has(frame.sequence)) {
      this.#held.set(frame.sequence, frame);
    }
    const frames: AudioFrame[] = [];
    for (let next = this.#held.get(this.nextSequence); next; next = this.#held.get(this.nextSequence)) {
      this.#held.delete(this.nextSequence++);
      frames.push(next);
    }
    return frames;
  }

  /** Take a datagram, and return the frames that are next. */
  datagramReceived(body: Uint8Array, now: number): AudioFrame[] {
    const { number, frames } = decodeUplinkDatagram(body);
    const dueAt = number === this.#newest + 1 ? Math.max(now, this.#reportedAt + REPORT_INTERVAL_MS) : now;
    this.reportAt = Math.min(this.reportAt ?? Infinity, dueAt);
    if (number > this.#newest) {
      this.#newest = number;
      this.#newestAt = now;
    }
    this.numbers.add(number);
    return frames.flatMap((frame) => this.frameReceived(frame));
  }

  report(now: number): Uint8Array {
    this.reportAt = undefined;
    this.#reportedAt = now;
    const heldMs = Math.round(now - this.#newestAt);
    const { nextSequence, numbers } = this;
    return encodeUplinkReport({ newest: this.#newest, received: numbers.size, heldMs, nextSequence, runs: this.#runs() });
  }

  #runs(): [number, number][] {
    const runs: [number, number][] = [];
    let end = this.nextSequence;
    for (const sequence of [...this.#held.keys()].sort((one, other) => one - other)) {
      const last = runs.at(-1);
      if (last && sequence === end) {
        last[1]++;
      } else if (runs.length < MAX_REPORT_RUNS) {
        runs.push([sequence - end, 1]);
      } else {
        break;
      }
      end = sequence + 1;
    }
    return runs;
  }
}
