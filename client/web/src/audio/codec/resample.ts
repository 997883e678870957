/** Sample rate conversion: between a codec's rate and that of the source or the sink, any to any. */

const TAPS = 24;
const ROLLOFF = 0.92;

/** Converts a stream of mono samples by windowed-sinc interpolation; the last 12 of the slower rate wait. */
export class Resampler {
  readonly #step: number;
  readonly #scale: number;
  readonly #half: number;
  #input: Float32Array;
  #at: number;

  constructor(fromHz: number, toHz: number) {
    this.#step = fromHz / toHz;
    this.#scale = Math.min(1, toHz / fromHz) * ROLLOFF;
    this.#half = Math.ceil(TAPS / 2 / Math.min(1, toHz / fromHz));
    this.#input = new Float32Array(this.#half);
    this.#at = this.#half;
  }

  /** Take the next samples and return those that are ready. */
  push(samples: Float32Array): Float32Array {
    if (this.#step === 1) {
      return samples;
    }
    const input = new Float32Array(this.#input.length + samples.length);
    input.set(this.#input);
    input.set(samples, this.#input.length);
    const ready = Math.max(0, Math.ceil((input.length - this.#half - this.#at) / this.#step));
    const output = new Float32Array(ready);
    for (let index = 0; index < ready; index++) {
      output[index] = this.#interpolate(input, this.#at + index * this.#step);
    }
    this.#at += ready * this.#step;
    const used = Math.max(0, Math.floor(this.#at) - this.#half);
    this.#input = input.slice(used);
    this.#at -= used;
    return output;
  }

  /** The samples that waited for what follows them. */
  flush(): Float32Array {
    return this.#step === 1 ? new Float32Array(0) : this.push(new Float32Array(this.#half));
  }

  #interpolate(input: Float32Array, at: number): number {
    const first = Math.floor(at) - this.#half + 1;
    let sum = 0;
    for (let index = first; index < first + 2 * this.#half; index++) {
      const distance = at - index;
      const window = 0.5 + 0.5 * Math.cos((Math.PI * distance) / this.#half);
      sum += (input[index] ?? 0) * window * this.#scale * sinc(distance * this.#scale);
    }
    return sum;
  }
}

function sinc(x: number): number {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** Samples of -1 to 1 as signed 16-bit little-endian bytes. */
export function toPcm16(samples: Float32Array): Uint8Array {
  const view = new DataView(new ArrayBuffer(samples.length * 2));
  samples.forEach((sample, index) => {
    view.setInt16(index * 2, Math.round(Math.max(-1, Math.min(1, sample)) * 32767), true);
  });
  return new Uint8Array(view.buffer);
}

/** What `toPcm16` wrote. */
export function fromPcm16(bytes: Uint8Array): Float32Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Float32Array.from({ length: bytes.length >> 1 }, (_, index) => view.getInt16(index * 2, true) / 32768);
}
