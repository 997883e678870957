/** The default source: the microphone, echo cancelled, through a capture worklet. */
import { MicrophoneDenied, type MicrophoneError, MicrophoneFailed, MicrophoneMissing, Unsupported } from "../../errors.js";
import type { AudioSource, SourceHandler } from "../base.js";
import type { CaptureReport } from "./capture-worklet.js";
import { rms } from "../loudness.js";

const RATE_HZ = 48_000;

export interface MicrophoneOptions {
  readonly workletUrl?: string | URL;
  /** What else to ask of `getUserMedia`: a device, other processing. */
  readonly constraints?: MediaTrackConstraints;
}

export class Microphone implements AudioSource {
  level = 0;
  readonly #options: MicrophoneOptions;
  #stream: MediaStream | undefined;
  #context: AudioContext | undefined;
  #port: MessagePort | undefined;

  constructor(options: MicrophoneOptions = {}) {
    this.#options = options;
  }

  /** The track that is captured, once the source is open. */
  get track(): MediaStreamTrack | undefined {
    return this.#stream?.getAudioTracks()[0];
  }

  async open(handler: SourceHandler): Promise<{ sampleRate: number }> {
    if (!globalThis.navigator?.mediaDevices?.getUserMedia) {
      throw new Unsupported("this page may not use a microphone: it must be loaded over HTTPS, or from localhost");
    }
    const stream = await askForMicrophone(this.#options.constraints);
    this.#stream = stream;
    const track = stream.getAudioTracks()[0];
    track?.addEventListener("ended", () => handler.ended(new MicrophoneFailed("the microphone was disconnected")));
    const { context, source } = join(stream);
    this.#context = context;
    void context.resume();
    await context.audioWorklet.addModule(this.#options.workletUrl ?? new URL("./capture-worklet.js", import.meta.url));
    const node = new AudioWorkletNode(context, "voice-capture", { numberOfOutputs: 0 });
    node.port.onmessage = ({ data }: MessageEvent<CaptureReport>) => {
      this.level = rms(data.samples);
      handler.samples(data.samples, data.frame);
    };
    this.#port = node.port;
    source.connect(node);
    return { sampleRate: context.sampleRate };
  }

  close(): void {
    this.#port?.postMessage("close");
    for (const track of this.#stream?.getTracks() ?? []) {
      track.stop();
    }
    if (this.#context && this.#context.state !== "closed") {
      void this.#context.close();
    }
    this.level = 0;
  }
}

/** Connect the stream to a context at Opus' rate, or at the device's where the browser does not resample. */
function join(stream: MediaStream): { context: AudioContext; source: MediaStreamAudioSourceNode } {
  const context = new AudioContext({ sampleRate: RATE_HZ, latencyHint: "interactive" });
  try {
    return { context, source: context.createMediaStreamSource(stream) };
  } catch {
    void context.close();
    const native = new AudioContext({ latencyHint: "interactive" });
    return { context: native, source: native.createMediaStreamSource(stream) };
  }
}

async function askForMicrophone(constraints: MediaTrackConstraints | undefined): Promise<MediaStream> {
  try {
    return await navigator.mediaDevices.getUserMedia({
      audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1, ...constraints },
    });
  } catch (error) {
    throw microphoneError(error);
  }
}

/** What `getUserMedia` threw, as a sentence. */
export function microphoneError(error: unknown): MicrophoneError {
  const name = error instanceof Error || error instanceof DOMException ? error.name : "";
  switch (name) {
    case "NotFoundError":
    case "OverconstrainedError":
      return new MicrophoneMissing("no microphone was found");
    case "NotAllowedError":
    case "SecurityError":
      return new MicrophoneDenied("the microphone may not be used: allow it for this page, then call again");
    default:
      return new MicrophoneFailed(`the microphone cannot be used: ${name || String(error)}`);
  }
}
