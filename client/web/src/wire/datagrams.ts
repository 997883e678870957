/** The datagrams of a WebTransport session: uplink frames one way, reports of their arrival the other (PROTOCOL.md 11). */
import { DatagramType, Malformed } from "./codepoints.js";
import { type AudioFrame, concat, decodeVarint, encodeVarint } from "./framing.js";

export const MAX_DATAGRAM_FRAMES = 64;
export const MAX_REPORT_RUNS = 32;

/**
 * Frames in rising order of sequence and timestamp, all of one codec; there may be none. `number` counts the datagrams of
 * a connection from 0. Frames before `first` are never sent again: they were reported to have arrived, or given up.
 */
export interface UplinkDatagram {
  readonly number: number;
  readonly first: number;
  readonly frames: readonly AudioFrame[];
}

/**
 * What has arrived: `received` datagrams, the `newest` of them `heldMs` ago; every frame before `nextSequence`. `runs`
 * goes on from there: frames missing, then frames received, in turn, as far as it goes.
 */
export interface UplinkReport {
  readonly newest: number;
  readonly received: number;
  readonly heldMs: number;
  readonly nextSequence: number;
  readonly runs: readonly (readonly [missing: number, present: number])[];
}

/** `1 | number | first | codec | frames`, each frame `skip | advance | length | payload`. */
export function encodeUplinkDatagram({ number, first, frames }: UplinkDatagram): Uint8Array {
  const parts = [DatagramType.UPLINK_AUDIO, number, first].map(encodeVarint);
  const codec = frames[0]?.codec;
  if (codec !== undefined) {
    parts.push(Uint8Array.of(codec));
  }
  let next = first;
  let latest = 0;
  for (const { sequence, timestamp, payload } of frames) {
    parts.push(encodeVarint(sequence - next), encodeVarint(timestamp - latest), encodeVarint(payload.length), payload);
    next = sequence + 1;
    latest = timestamp;
  }
  return concat(...parts);
}

/** Read `2 | newest | received | held | next sequence | runs`; null is a datagram of another type, to be skipped. */
export function decodeUplinkReport(body: Uint8Array): UplinkReport | Malformed | null {
  const type = decodeVarint(body, 0);
  if (type && type.value !== DatagramType.UPLINK_REPORT) {
    return null;
  }
  const values: number[] = [];
  for (let offset = 0; offset < body.length; ) {
    const field = decodeVarint(body, offset);
    if (!field) {
      return new Malformed(`uplink report: cut short at ${body.length} bytes`);
    }
    values.push(field.value);
    offset = field.end;
  }
  const [, newest, received, heldMs, nextSequence, ...lengths] = values;
  if (newest === undefined || received === undefined || heldMs === undefined || nextSequence === undefined) {
    return new Malformed(`uplink report: header cut short at ${body.length} bytes`);
  }
  if (lengths.length % 2 || lengths.includes(0) || lengths.length > 2 * MAX_REPORT_RUNS) {
    return new Malformed(`uplink report: ${lengths.length} lengths are not at most ${MAX_REPORT_RUNS} pairs above 0`);
  }
  const runs = Array.from({ length: lengths.length / 2 }, (_, run) => [lengths[2 * run]!, lengths[2 * run + 1]!] as const);
  return { newest, received, heldMs, nextSequence, runs };
}
