/** The caller's frames until the server acknowledges them: it has saved their effect. */
import { UplinkFull } from "../errors.js";
import { CLOCK_HZ, type Codec } from "../wire/codepoints.js";
import type { AudioFrame } from "../wire/framing.js";

/** Numbers frames from 0 without gaps, and keeps each until it is acked; `keepS` is how much media time, in s, may be unacked. */
export class Uplink {
  /** How many frames were numbered. */
  sent = 0;
  /** How many of them the server has acknowledged. */
  acked = 0;
  #kept: AudioFrame[] = [];

  constructor(private readonly keepS = 120) {}

  /** Number a frame, keep it, and return it to be sent; throws `UplinkFull`. */
  append(codec: Codec, timestamp: number, payload: Uint8Array): AudioFrame {
    const oldest = this.#kept[0];
    if (oldest && timestamp - oldest.timestamp > this.keepS * CLOCK_HZ) {
      throw new UplinkFull(`the server has not acknowledged the last ${this.keepS} s of audio`);
    }
    const frame = { sequence: this.sent++, timestamp, codec, payload };
    this.#kept.push(frame);
    return frame;
  }

  /** Forget the frames up to `sequence`; false where the server acknowledges what was never sent. */
  acknowledge(sequence: number): boolean {
    if (sequence >= this.sent) {
      return false;
    }
    this.acked = Math.max(this.acked, sequence + 1);
    const firstUnacked = this.#kept.findIndex((each) => each.sequence >= this.acked);
    this.#kept = firstUnacked < 0 ? [] : this.#kept.slice(firstUnacked);
    return true;
  }

  /** Every frame from `nextSequence` on; undefined where that is none of those kept, or the next. */
  again(nextSequence: number): AudioFrame[] | undefined {
    if (nextSequence < this.acked || nextSequence > this.sent) {
      return undefined;
    }
    return this.#kept.filter((each) => each.sequence >= nextSequence);
  }
}
