/** A transport of Pipecat's client (`@pipecat-ai/client-js`) over a voice call: transcripts and speech become its events. */
import {
  type BotOutputData,
  type Participant,
  type PipecatClientOptions,
  RTVIError,
  type RTVIEventCallbacks,
  RTVIMessage,
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

export interface QuicTransportOptions {
  /**
   * How long to wait for `bot-ready` of an agent that speaks RTVI, in ms (default 1000). After that the session's own
   * events are passed on in its place, those of before too.
   */
  readonly rtviTimeoutMs?: number;
  /**
   * Whether the agent's voice is also a track, for a visualiser (default false). The call plays it itself: a page that
   * plays the track too (`PipecatClientAudio`) is heard twice.
   */
  readonly hasBotTrack?: boolean;
}

const NO_DEVICE: Record<string, never> = {};
const LABEL = "rtvi-ai";
const VERSION = "2.1.0";
const RTVI_TIMEOUT_MS = 1000;
const LOCAL: Participant = { id: "user", name: "", local: true };
const BOT: Participant = { id: "bot", name: "", local: false };

/**
 * `new PipecatClient({ transport: new QuicTransport() })`, then `client.connect({ url, security: { token } })`.
 *
 * An agent that is a Pipecat pipeline speaks RTVI itself, in messages of the application: those pass both ways as they
 * are, so client tools, `bot-output` and metrics are Pipecat's. For any other agent the session's events become RTVI:
 * transcripts, turns and the state as a server message; a client message reaches it as `{ t, d }`. Typed text and keys are
 * the session's own in both cases, so they outlive the connection. Device changes take effect with the next call.
 */
export class QuicTransport extends Transport {
  #state: TransportState = "disconnected";
  #call: VoiceClient | undefined;
  #mic: MediaDeviceInfo | undefined;
  #isMuted = false;
  #callbacks: RTVIEventCallbacks = {};
  #deliver: (message: RTVIMessage) => void = () => undefined;
  readonly #options: QuicTransportOptions;
  #rtvi: "asked" | "spoken" | "unknown" | "absent" = "unknown";
  #waiting: RTVIMessage[] = [];
  #timer: ReturnType<typeof setTimeout> | undefined;
  #isUserSpeaking = false;
  #segments = 0;
  #said: BotOutputData | undefined;
  #tracks: Tracks = { local: {} };

  constructor(options: QuicTransportOptions = {}) {
    super();
    this.#options = options;
  }

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
    const source = new Microphone(device);
    const sink = new Loudspeaker();
    const call = new VoiceClient(url, { ...options, audio: { ...options.audio, source, sink } });
    call.isMuted = this.#isMuted;
    this.#call = call;
    call.on("*", (event) => this.#happened(event));
    this.state = "connecting";
    this._abortController?.signal.addEventListener("abort", () => call.close());
    this.#rtvi = "unknown";
    this.#waiting = [];
    this.#isUserSpeaking = false;
    await call.connect();
    this.state = "connected";
    this.#callbacks.onConnected?.();
    this.#startTracks(source, sink);
  }

  async _disconnect(): Promise<void> {
    this.state = "disconnecting";
    clearTimeout(this.#timer);
    await this.#call?.finish().catch(() => this.#call?.close());
    this.#stopTracks();
    this.state = "disconnected";
  }

  /** Ask whether the agent speaks RTVI; where no answer comes, the session is what is ready. */
  sendReadyMessage(): void {
    this.state = "ready";
    if (this.#rtvi !== "unknown") {
      return;
    }
    this.#rtvi = "asked";
    this.#call?.sendMessage(plain(RTVIMessage.clientReady()));
    this.#timer = setTimeout(() => this.#beReady(), this.#options.rtviTimeoutMs ?? RTVI_TIMEOUT_MS);
  }

  sendMessage(message: RTVIMessage): void {
    const { type, data } = message;
    if (type === "send-text" && isTurn(data)) {
      this.#call?.sendText(data.content);
    } else if (type === "dtmf") {
      (data as { buttons: string[] }).buttons.forEach((digit) => this.#call?.sendDigit(digit));
    } else if (this.#rtvi !== "absent") {
      this.#call?.sendMessage(plain(message));
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
    return this.#tracks;
  }

  #startTracks(source: Microphone, sink: Loudspeaker): void {
    const local = source.track;
    const { context, output } = sink;
    let bot: MediaStreamTrack | undefined;
    if (this.#options.hasBotTrack && context !== undefined && output !== undefined) {
      const destination = context.createMediaStreamDestination();
      output.connect(destination);
      bot = destination.stream.getAudioTracks()[0];
    }
    this.#tracks = { local: local ? { audio: local } : {}, ...(bot ? { bot: { audio: bot } } : {}) };
    if (local) {
      this.#callbacks.onTrackStarted?.(local, LOCAL);
    }
    if (bot) {
      this.#callbacks.onTrackStarted?.(bot, BOT);
    }
  }

  #stopTracks(): void {
    const { local, bot } = this.#tracks;
    this.#tracks = { local: {} };
    if (local.audio) {
      this.#callbacks.onTrackStopped?.(local.audio, LOCAL);
    }
    if (bot?.audio) {
      this.#callbacks.onTrackStopped?.(bot.audio, BOT);
    }
  }

  #beReady(): void {
    this.#rtvi = "absent";
    this.#deliver(rtvi("bot-ready", { version: VERSION, about: { library: "quic-voice-client" } }));
    const waiting = this.#waiting;
    this.#waiting = [];
    waiting.forEach((message) => this.#deliver(message));
  }

  /** Pass on what the session tells, unless the agent tells it in RTVI. */
  #tell(type: string, data: unknown = {}): void {
    if (this.#rtvi === "absent") {
      this.#deliver(rtvi(type, data));
    } else if (this.#rtvi !== "spoken") {
      this.#waiting.push(rtvi(type, data));
    }
  }

  #userSpeaks(isSpeaking: boolean): void {
    if (isSpeaking !== this.#isUserSpeaking) {
      this.#isUserSpeaking = isSpeaking;
      this.#tell(isSpeaking ? "user-started-speaking" : "user-stopped-speaking");
    }
  }

  #happened(event: VoiceEvent): void {
    switch (event.type) {
      case "transcript": {
        const { role, text, isFinal } = event;
        if (role === "user") {
          this.#userSpeaks(!isFinal);
          const timestamp = new Date().toISOString();
          this.#tell("user-transcription", { text, final: isFinal, timestamp, user_id: "user" });
        } else {
          this.#said = { text, aggregated_by: "sentence", segment_id: ++this.#segments, will_be_spoken: true };
          this.#tell("bot-output", { ...this.#said, spoken_status: "new" });
        }
        break;
      }
      case "speech":
        this.#tell("bot-started-speaking");
        break;
      case "flushed":
        this.#userSpeaks(true);
        this.#tell("bot-stopped-speaking");
        break;
      case "speech-ended":
        if (this.#said !== undefined) {
          this.#tell("bot-output", { ...this.#said, spoken_status: "completed" });
          this.#said = undefined;
        }
        this.#tell("bot-stopped-speaking");
        break;
      case "state":
        this.#deliver(rtvi("server-message", { state: event.state }));
        break;
      case "message":
        this.#messageReceived(event.data);
        break;
      case "closed":
        this.state = event.error ? "error" : "disconnected";
        clearTimeout(this.#timer);
        this.#stopTracks();
        this.#callbacks.onDisconnected?.();
    }
  }

  #messageReceived(data: Readonly<Record<string, unknown>>): void {
    if (data["label"] !== LABEL) {
      this.#deliver(rtvi("server-message", data));
      return;
    }
    if (this.#rtvi !== "spoken") {
      this.#rtvi = "spoken";
      this.#waiting = [];
      clearTimeout(this.#timer);
    }
    this.#deliver(data as unknown as RTVIMessage);
  }
}

function rtvi(type: string, data: unknown): RTVIMessage {
  return { id: crypto.randomUUID(), label: LABEL, type, data };
}

function plain({ id, label, type, data }: RTVIMessage): Record<string, unknown> {
  return { id, label, type, data: data ?? {} };
}

/** Whether text is to be answered at once and aloud, as a turn; other text is the pipeline's. */
function isTurn(data: unknown): data is { content: string } {
  const { options } = data as { options?: { run_immediately?: boolean; audio_response?: boolean } };
  return options?.run_immediately !== false && options?.audio_response !== false;
}
