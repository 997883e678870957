/** How loud samples are. */

/** Root of the mean square, 0 to 1. */
export function rms(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) {
    sum += sample * sample;
  }
  return samples.length ? Math.sqrt(sum / samples.length) : 0;
}

/** Above -45 dBFS counts as voice. */
export const VOICED_LEVEL = 10 ** (-45 / 20);

/** Where the first window with voice begins; undefined where there is none. */
export function firstVoiced(samples: Float32Array, window: number): number | undefined {
  for (let start = 0; start < samples.length; start += window) {
    if (rms(samples.subarray(start, start + window)) > VOICED_LEVEL) {
      return start;
    }
  }
  return undefined;
}
