class Recorder extends AudioWorkletProcessor {
  #chunk = new Float32Array(4096);
  #used = 0;
  #frame = currentFrame;

  process([[samples]]) {
    if (samples === undefined) samples = new Float32Array(128);
    if (this.#used === 0) this.#frame = currentFrame;
    this.#chunk.set(samples, this.#used);
    this.#used += samples.length;
    if (this.#used === this.#chunk.length) {
      this.port.postMessage({ frame: this.#frame, samples: this.#chunk.slice() });
      this.#used = 0;
    }
    return true;
  }
}

registerProcessor("recorder", Recorder);
