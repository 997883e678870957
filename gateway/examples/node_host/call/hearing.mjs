// Finds what a caller says by its loudness: enough for a quiet room. A model of voice activity would stand in `isVoice`.
const RATE_HZ = 16_000;
const PIECE_BYTES = (RATE_HZ / 50) * 2; // 20 ms
const VOICE_RMS = 400;
const ONSET_PIECES = 5;
const PREROLL_PIECES = 20;
const PAUSE_PIECES = 33;
const REPORT_PIECES = 25;

/**
 * Takes frames of PCM16 at 16 kHz. Calls of its listener `userStarted(sequence)` at an onset, `userSpeaks(pcm)`, if it
 * has it, each 0.5 s of an utterance with all of it so far, `userSaid(pcm, throughSequence)` after a pause, and
 * `noSpeech(throughSequence)` for frames that belong to no utterance.
 */
export class Hearing {
  constructor(listener, { through_sequence: through }) {
    this.listener = listener;
    this.last = through ?? -1;
    this.isSpeaking = false;
    this.clear();
  }

  clear() {
    this.pieces = []; // of the present utterance, or of the time before one: {sequence, pcm}
    this.voiced = this.silent = this.unreported = 0;
  }

  hear(sequence, audio) {
    for (let start = 0; start < Math.max(audio.length, 1); start += PIECE_BYTES) {
      // all but the last piece leave the frame pending: it must not be acknowledged with them
      const isLast = start + PIECE_BYTES >= audio.length;
      this.piece(isLast ? sequence : Math.max(sequence - 1, 0), audio.subarray(start, start + PIECE_BYTES));
    }
    this.last = sequence;
  }

  piece(sequence, pcm) {
    const isVoiced = isVoice(pcm);
    this.voiced = isVoiced ? this.voiced + 1 : 0;
    this.silent = isVoiced ? 0 : this.silent + 1;
    this.pieces.push({ sequence, pcm: Buffer.from(pcm) });
    if (this.isSpeaking) {
      if (this.silent >= PAUSE_PIECES) this.end(sequence);
      else if (this.pieces.length % REPORT_PIECES === 0) this.listener.userSpeaks?.(this.pcm());
    } else if (this.voiced >= ONSET_PIECES) {
      this.isSpeaking = true;
      this.listener.userStarted(this.pieces[0].sequence);
    } else if (this.pieces.length > PREROLL_PIECES) {
      const dropped = this.pieces.shift();
      if (++this.unreported >= REPORT_PIECES) {
        this.unreported = 0;
        this.listener.noSpeech(dropped.sequence);
      }
    }
  }

  /** No more audio comes: the utterance, if there is one, is over. */
  finish() {
    if (this.isSpeaking) this.end(this.last);
    else if (this.last >= 0) this.listener.noSpeech(this.last);
  }

  end(sequence) {
    const pcm = this.pcm();
    this.isSpeaking = false;
    this.clear();
    this.listener.userSaid(pcm, sequence);
  }

  pcm() {
    return Buffer.concat(this.pieces.map((each) => each.pcm));
  }
}

function isVoice(pcm) {
  let sum = 0;
  const samples = pcm.length >> 1;
  for (let at = 0; at < samples; at += 1) sum += pcm.readInt16LE(at * 2) ** 2;
  return samples > 0 && Math.sqrt(sum / samples) > VOICE_RMS;
}
