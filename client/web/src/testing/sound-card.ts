/** A sound card for tests: runs the real worklets, a quantum at a time, where there is no browser. */

interface Port {
  onmessage: ((event: { data: unknown }) => void) | null;
  postMessage(data: unknown, transfer?: Transferable[]): void;
}
interface Processor {
  readonly port: Port;
  process(inputs: Float32Array[][], outputs: Float32Array[][]): boolean;
}
type ProcessorClass = new (options: unknown) => Processor;

const QUANTUM = 128;
const registered = new Map<string, ProcessorClass>();
let portForNext: Port | undefined;

/** Two ports that hand each other messages at once; what is transferred is gone from the sender, as in a browser. */
function ports(): [Port, Port] {
  const send = (port: () => Port) => (data: unknown, transfer: Transferable[] = []) => {
    port().onmessage?.({ data: structuredClone(data, { transfer }) });
  };
  const near: Port = { onmessage: null, postMessage: send(() => far) };
  const far: Port = { onmessage: null, postMessage: send(() => near) };
  return [near, far];
}

/** Put the worklet globals in place, then import the worklets. */
export async function installSoundCard(isIsolated: boolean): Promise<SoundCard> {
  const card = new SoundCard();
  Object.assign(globalThis, {
    crossOriginIsolated: isIsolated,
    sampleRate: 48_000,
    currentFrame: 0,
    AudioWorkletProcessor: class {
      readonly port = portForNext;
    },
    registerProcessor: (name: string, processor: ProcessorClass) => registered.set(name, processor),
    AudioContext: class {
      readonly sampleRate = 48_000;
      readonly destination = {};
      readonly getOutputTimestamp = () => ({ contextTime: card.frame / 48_000, performanceTime: card.performanceMs });
      readonly audioWorklet = { addModule: () => Promise.resolve() };
      state = "running";
      resume = () => Promise.resolve();
      close = () => Promise.resolve();
    },
    AudioWorkletNode: class {
      readonly port: Port;
      constructor(_context: unknown, name: string, options: unknown) {
        const [near, far] = ports();
        this.port = near;
        portForNext = far;
        card.processors.push(new (registered.get(name)!)(options));
      }
      connect(): void {}
      disconnect(): void {}
    },
  });
  await import("../audio/loudspeaker/playback-worklet.js");
  await import("../audio/microphone/capture-worklet.js");
  return card;
}

export class SoundCard {
  readonly processors: Processor[] = [];
  /** The context's clock, as it stands at the loudspeaker after so many samples. */
  frame = 0;

  /** What `performance.now()` says at that moment. */
  get performanceMs(): number {
    return 5_000 + this.frame / 48;
  }

  /** Let the newest worklet run this many samples, rounded up to quanta; returns what it played. */
  run(samples: number): Float32Array {
    const quanta = Math.ceil(samples / QUANTUM);
    const played = new Float32Array(quanta * QUANTUM);
    for (let index = 0; index < quanta; index++) {
      const output = played.subarray(index * QUANTUM, (index + 1) * QUANTUM);
      Object.assign(globalThis, { currentFrame: this.frame });
      this.processors.at(-1)?.process([], [[output]]);
      this.frame += QUANTUM;
    }
    return played;
  }
}
