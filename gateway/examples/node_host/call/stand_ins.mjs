// Stand-ins for speech to text and text to speech, which take no model and no processor: for benchmarks and tests.
import { setImmediate as othersTurn } from "node:timers/promises";

const RATE_HZ = 16_000;
const TONE_SAMPLES = RATE_HZ / 20;

/**
 * Returns a function that understands no speech: of `words`, which take `utteranceS` seconds as a whole, it says as many as
 * the utterance is long. What was lost of an utterance is missing from its words.
 */
export function recogniserByLength(words, utteranceS) {
  const all = words.split(" ");
  return async (pcm) => {
    const share = Math.min(1, pcm.length / 2 / RATE_HZ / utteranceS);
    return all.slice(0, Math.round(all.length * share)).join(" ");
  };
}

/** Yields PCM16 at 16 kHz: a tone of 50 ms for each character. */
export async function* tones(text) {
  const tone = Buffer.alloc(TONE_SAMPLES * 2);
  for (let at = 0; at < TONE_SAMPLES; at += 1) tone.writeInt16LE(Math.round(Math.sin(at / 13) * 4_000), at * 2);
  for (let index = 0; index < text.length; index += 1) {
    yield tone;
    await othersTurn(); // an interruption is read between two pieces, as with speech that takes time to make
  }
}
