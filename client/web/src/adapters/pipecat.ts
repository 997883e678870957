/** A transport of Pipecat's client (`@pipecat-ai/client-js`) over a voice call: transcripts and speech become its events. */
import {
  type PipecatClientOptions,
  RTVIError,
  type RTVIEventCallbacks,
  type RTVIMessage,
  type Tracks,
  Transport,
  type TransportState,
} from "@pipecat-ai/client-js";
import { InvalidSetting, Loudspeaker, Microphone, VoiceClient, type VoiceEvent, type VoiceOptions } from "../index.js";
import { grouped } from "../options.js";

/** What `PipecatClient.connect` takes. */
export interface QuicConnectionParams extends Omit<VoiceOptions, "source" | "sink"> {
  readonly url: string;
}

const NO_DEVICE: Record<string, never> = {};

/**
 * `new PipecatClient({ transport: new QuicTransport() })`, then `client.connect({ url, security: { token } })`.
 *
 * The gateway's agent speaks no RTVI: what the session says is passed to the callbacks, `sendText` becomes typed text, a
 * client message a message `{ t, d }` of the application, and its messages come as server messages. Other kinds go
 * nowhere. Device changes take effect with the next call.
 */
export class QuicTransport extends Transport {
  #state: TransportState = "disconnected";
  #call: VoiceClient | undefined;
  #mic: MediaDeviceInfo | undefined;
  #isMuted = false;
  #callbacks: RTVIEventCallbacks = {};
  #deliver: (message: RTVIMessage) => void = () => undefined;

  /** The call, once there is one. */
  get call(): VoiceClient | undefined {
    return this.#call;
  }

  initialize(options: PipecatClientOptions, messageHandler: (message: RTVIMessage) => void): void {
    this._options = options;
    this._callbacks = options.callbacks ?? {};
    this.#callbacks = this._callbacks;
    this.#deliver = messageHandler;
    this.#isMuted = options.enableMic === false;
    this.state = "disconnected";
  }

  initDevices(): Promise<void> {
    this.state = "initializing";
    this.state = "initialized";
    return Promise.resolve();
  }

  _validateConnectionParams(params?: unknown): QuicConnectionParams {
    if (typeof params !== "object" || params === null || typeof (params as { url?: unknown }).url !== "string") {
      throw new RTVIError("connect takes { url: \"https://host/v1/voice\" }");
    }
    return params as QuicConnectionParams;
  }

  async _connect(params?: unknown): Promise<void> {
    const { url, ...given } = this._validateConnectionParams(params);
    const options = grouped(given);
    const device = this.#mic ? { constraints: { deviceId: { exact: this.#mic.deviceId } } } : {};
    const call = new VoiceClient(url, {
      ...options,
      audio: { ...options.audio, source: new Microphone(device), sink: new Loudspeaker() },
    });
    call.isMuted = this.#isMuted;
    this.#call = call;
    call.on("*", (event) => this.#happened(event));
    this.state = "connecting";
    this._abortController?.signal.addEventListener("abort", () => call.close());
    await call.connect();
    this.state = "connected";
    this.#callbacks.onConnected?.();
  }

  async _disconnect(): Promise<void> {
    this.state = "disconnecting";
    await this.#call?.finish().catch(() => this.#call?.close());
    this.state = "disconnected";
  }

  /** The gateway is ready when the session is. */
  sendReadyMessage(): void {
    this.state = "ready";
    this.#deliver(rtvi("bot-ready", { version: "1.0.0", about: { library: "quic-voice-client" } }));
  }

  sendMessage({ type, data }: RTVIMessage): void {
    if (type === "send-text") {
      this.#call?.sendText((data as { content: string }).content);
    } else if (type === "client-message") {
      this.#call?.sendMessage(data as Record<string, unknown>);
    }
  }

  get state(): TransportState {
    return this.#state;
  }

  set state(state: TransportState) {
    if (state !== this.#state) {
      this.#state = state;
      this.#callbacks.onTransportStateChanged?.(state);
    }
  }

  async getAllMics(): Promise<MediaDeviceInfo[]> {
    return (await navigator.mediaDevices.enumerateDevices()).filter(({ kind }) => kind === "audioinput");
  }

  getAllCams(): Promise<MediaDeviceInfo[]> {
    return Promise.resolve([]);
  }

  getAllSpeakers(): Promise<MediaDeviceInfo[]> {
    return Promise.resolve([]);
  }

  updateMic(micId: string): void {
    void this.getAllMics().then((mics) => {
      this.#mic = mics.find(({ deviceId }) => deviceId === micId);
      if (this.#mic) {
        this.#callbacks.onMicUpdated?.(this.#mic);
      }
    });
  }

  updateCam(): void {
    throw new InvalidSetting("a voice call has no camera");
  }

  updateSpeaker(): void {
    throw new InvalidSetting("answers go to the system's loudspeaker");
  }

  get selectedMic(): MediaDeviceInfo | Record<string, never> {
    return this.#mic ?? NO_DEVICE;
  }

  get selectedCam(): Record<string, never> {
    return NO_DEVICE;
  }

  get selectedSpeaker(): Record<string, never> {
    return NO_DEVICE;
  }

  enableMic(isEnabled: boolean): void {
    this.#isMuted = !isEnabled;
    if (this.#call) {
      this.#call.isMuted = this.#isMuted;
    }
  }

  enableCam(): void {
    throw new InvalidSetting("a voice call has no camera");
  }

  enableScreenShare(): void {
    throw new InvalidSetting("a voice call shares no screen");
  }

  get isMicEnabled(): boolean {
    return !this.#isMuted;
  }

  get isCamEnabled(): boolean {
    return false;
  }

  get isSharingScreen(): boolean {
    return false;
  }

  tracks(): Tracks {
    return { local: {} };
  }

  #happened(event: VoiceEvent): void {
    switch (event.type) {
      case "transcript": {
        const { role, text, isFinal } = event;
        const timestamp = new Date().toISOString();
        this.#deliver(
          role === "user"
            ? rtvi("user-transcription", { text, final: isFinal, timestamp, user_id: "user" })
            : rtvi("bot-transcription", { text }),
        );
        break;
      }
      case "speech":
        this.#deliver(rtvi("bot-started-speaking", {}));
        break;
      case "speech-ended":
      case "flushed":
        this.#deliver(rtvi("bot-stopped-speaking", {}));
        break;
      case "state":
        this.#deliver(rtvi("server-message", { state: event.state }));
        break;
      case "message":
        this.#deliver(rtvi("server-message", event.data));
        break;
      case "closed":
        this.state = event.error ? "error" : "disconnected";
        this.#callbacks.onDisconnected?.();
    }
  }
}

function rtvi(type: string, data: unknown): RTVIMessage {
  return { id: crypto.randomUUID(), label: "rtvi-ai", type, data };
}
