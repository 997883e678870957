/** How loud samples are. */

/** Root of the mean square, 0 to 1. */
export function rms(samples: Float32Array): number {
  let sum = 0;
  for (const sample of samples) {
    sum += sample * sample;
  }
  return samples.length ? Math.sqrt(sum / samples.length) : 0;
}

/** Above -45 dBFS somebody speaks. */
export const VOICED_LEVEL = 10 ** (-45 / 20);
