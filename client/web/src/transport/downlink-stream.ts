/** One utterance of the agent as it arrives on its stream. */
import { Malformed, MAX_AUDIO_BYTES, StreamType } from "../wire/codepoints.js";
import { type AudioFrame, concat, decodeAudioFrame, decodeVarint, LengthPrefixedReader } from "../wire/framing.js";

const FRAME_HEAD_BYTES = 17;

/** Reads `stream type | utterance ID | frames` from a stream that the server opened. */
export class DownlinkStream {
  /** The utterance ID (`utterance` on the wire), undefined until the stream's head has arrived. */
  utteranceId: number | undefined;
  /** Whether the stream is of a type that this version does not know: its bytes are skipped. */
  isForeign = false;
  #head: Uint8Array = new Uint8Array(0);
  readonly #reader = new LengthPrefixedReader(MAX_AUDIO_BYTES + FRAME_HEAD_BYTES);

  /** Take the next bytes and return the frames that are complete; drop the stream on `Malformed`. */
  feed(data: Uint8Array): AudioFrame[] | Malformed {
    if (this.isForeign) {
      return [];
    }
    if (this.utteranceId === undefined) {
      this.#head = concat(this.#head, data);
      data = this.#readHead();
    }
    const bodies = this.#reader.feed(data);
    if (bodies instanceof Malformed) {
      return bodies;
    }
    const frames: AudioFrame[] = [];
    for (const body of bodies) {
      const frame = decodeAudioFrame(body);
      if (frame instanceof Malformed) {
        return frame;
      }
      frames.push(frame);
    }
    return frames;
  }

  #readHead(): Uint8Array {
    const type = decodeVarint(this.#head, 0);
    const utterance = type && decodeVarint(this.#head, type.end);
    this.isForeign = type !== undefined && type.value !== StreamType.DOWNLINK_AUDIO;
    if (this.isForeign || !utterance) {
      return new Uint8Array(0);
    }
    this.utteranceId = utterance.value;
    return this.#head.subarray(utterance.end);
  }
}
