/** Posts the microphone's samples to the page: one channel, 20 ms at a time. */

/** `frame` is the sample clock at the first sample; it jumps where the sound card stopped. */
export interface CaptureReport {
  readonly samples: Float32Array<ArrayBuffer>;
  readonly frame: number;
}

const BATCH_S = 0.02;

class CaptureProcessor extends AudioWorkletProcessor {
  readonly #batch = Math.round(sampleRate * BATCH_S);
  #samples = new Float32Array(this.#batch);
  #filled = 0;
  #frame = 0;
  #isOpen = true;

  constructor() {
    super();
    this.port.onmessage = () => (this.#isOpen = false);
  }

  process(inputs: Float32Array[][]): boolean {
    const channels = inputs[0] ?? [];
    const count = channels[0]?.length ?? 0;
    for (let index = 0; index < count; index++) {
      if (this.#filled === 0) {
        this.#frame = currentFrame + index;
      }
      let sum = 0;
      for (const channel of channels) {
        sum += channel[index] ?? 0;
      }
      this.#samples[this.#filled++] = sum / channels.length;
      if (this.#filled === this.#batch) {
        const report: CaptureReport = { samples: this.#samples, frame: this.#frame };
        this.port.postMessage(report, [report.samples.buffer]);
        this.#samples = new Float32Array(this.#batch);
        this.#filled = 0;
      }
    }
    return this.#isOpen;
  }
}

registerProcessor("voice-capture", CaptureProcessor);
