/** The caller's frames from their making until the server has heard them. */
import { UplinkFull } from "./errors.js";
import { CLOCK_HZ, type Codec } from "./wire/codepoints.js";
import { encodeAudioFrame } from "./wire/framing.js";

interface Kept {
  readonly sequence: number;
  readonly timestamp: number;
  readonly octets: Uint8Array;
}

/** Numbers frames from 0 without gaps, and keeps each until `heard`; `keepS` is how much media time may wait. */
export class Uplink {
  /** How many frames were numbered. */
  sent = 0;
  /** How many of them the server has heard. */
  heard = 0;
  #kept: Kept[] = [];

  constructor(private readonly keepS = 120) {}

  /** Number a frame, keep it, and return its octets; throws `UplinkFull`. */
  append(codec: Codec, timestamp: number, payload: Uint8Array): Uint8Array {
    const oldest = this.#kept[0];
    if (oldest && timestamp - oldest.timestamp > this.keepS * CLOCK_HZ) {
      throw new UplinkFull(`the server has not heard the last ${this.keepS} s of audio`);
    }
    const octets = encodeAudioFrame({ sequence: this.sent, timestamp, codec, payload });
    this.#kept.push({ sequence: this.sent++, timestamp, octets });
    return octets;
  }

  /** Forget the frames up to `sequence`; false where the server claims to have heard what was never sent. */
  acknowledge(sequence: number): boolean {
    if (sequence >= this.sent) {
      return false;
    }
    this.heard = Math.max(this.heard, sequence + 1);
    const firstUnheard = this.#kept.findIndex((each) => each.sequence >= this.heard);
    this.#kept = firstUnheard < 0 ? [] : this.#kept.slice(firstUnheard);
    return true;
  }

  /** The octets of every frame from `nextSequence` on; undefined where that is none of those kept, or the next. */
  again(nextSequence: number): Uint8Array[] | undefined {
    if (nextSequence < this.heard || nextSequence > this.sent) {
      return undefined;
    }
    return this.#kept.filter((each) => each.sequence >= nextSequence).map((each) => each.octets);
  }
}
