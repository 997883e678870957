/**
 * Samples on their way from the page to the playback worklet: one writer, one reader, no locks.
 *
 * The same class works over a SharedArrayBuffer, with the two on different threads, and over a plain buffer inside the
 * worklet. Positions count samples for ever and wrap at 2^32; a difference of two is good to 2^31 (twelve hours).
 */
const WRITE = 0;
const READ = 1;
const FLUSH_TO = 2;
const FLUSHES_ASKED = 3;
const FLUSHES_DONE = 4;
const HEAD_BYTES = 5 * Int32Array.BYTES_PER_ELEMENT;

/** What a call of `read` did: `flushedFrom` is where a flush found the reader, undefined where there was none. */
export interface ReadResult {
  readonly count: number;
  readonly flushedFrom: number | undefined;
}

export class RingBuffer {
  readonly capacity: number;
  readonly #head: Int32Array;
  readonly #samples: Float32Array;

  /** Bytes to allocate for `capacity` samples. */
  static bytes(capacity: number): number {
    return HEAD_BYTES + capacity * Float32Array.BYTES_PER_ELEMENT;
  }

  constructor(buffer: ArrayBufferLike) {
    this.#head = new Int32Array(buffer, 0, HEAD_BYTES / Int32Array.BYTES_PER_ELEMENT);
    this.#samples = new Float32Array(buffer, HEAD_BYTES);
    this.capacity = this.#samples.length;
  }

  /** Where the writer is. */
  get written(): number {
    return Atomics.load(this.#head, WRITE);
  }

  /** Where the reader is. */
  get position(): number {
    return Atomics.load(this.#head, READ);
  }

  /** How many flushes the reader has carried out; several that were asked at once are one jump. */
  get flushes(): number {
    return Atomics.load(this.#head, FLUSHES_DONE);
  }

  // The writer's

  /** Append as many samples as there is room for, and return how many. */
  write(samples: Float32Array): number {
    const write = this.written;
    const count = Math.min(samples.length, this.capacity - ((write - this.position) | 0));
    const start = (write >>> 0) % this.capacity;
    const first = Math.min(count, this.capacity - start);
    this.#samples.set(samples.subarray(0, first), start);
    this.#samples.set(samples.subarray(first, count), 0);
    Atomics.store(this.#head, WRITE, (write + count) | 0);
    return count;
  }

  /** Have the reader skip all that is written up to now. */
  flush(): void {
    Atomics.store(this.#head, FLUSH_TO, this.written);
    Atomics.add(this.#head, FLUSHES_ASKED, 1);
  }

  // The reader's

  /** Fill `output` from its beginning; what a flush cuts off fades out within this one call. */
  read(output: Float32Array): ReadResult {
    const asked = Atomics.load(this.#head, FLUSHES_ASKED);
    const isFlush = asked !== Atomics.load(this.#head, FLUSHES_DONE);
    const read = this.position;
    const count = Math.min(output.length, (this.written - read) | 0);
    const start = (read >>> 0) % this.capacity;
    const first = Math.min(count, this.capacity - start);
    output.set(this.#samples.subarray(start, start + first));
    output.set(this.#samples.subarray(0, count - first), first);
    if (!isFlush) {
      Atomics.store(this.#head, READ, (read + count) | 0);
      return { count, flushedFrom: undefined };
    }
    const target = Atomics.load(this.#head, FLUSH_TO);
    const faded = Math.max(0, Math.min(count, (target - read) | 0));
    for (let index = 0; index < count; index++) {
      output[index]! *= index < faded ? 1 - index / faded : 0;
    }
    Atomics.store(this.#head, READ, ((target - read) | 0) > 0 ? target : read);
    Atomics.store(this.#head, FLUSHES_DONE, asked);
    return { count: faded, flushedFrom: (read + faded) | 0 };
  }
}
