/** The client that applications use. */
import { Player } from "./audio/player.js";
import type { AudioSink, AudioSource } from "./audio/base.js";
import { Loudspeaker } from "./audio/loudspeaker/loudspeaker.js";
import { rms, VOICED_LEVEL } from "./audio/loudness.js";
import { Microphone } from "./audio/microphone/microphone.js";
import { playableCodecs } from "./audio/codec/frame-decoder.js";
import { openEncoder, type FrameEncoder } from "./audio/codec/frame-encoder.js";
import { Call } from "./call/call.js";
import { type Tool, Tools } from "./call/tools.js";
import { warnRenamed } from "./deprecation.js";
import { CallLost, InvalidSetting, VoiceError } from "./errors.js";
import { EventStream } from "./event-stream.js";
import type { EventOf, Heard, Resumed, Status, Transcript, TransportKind, TurnMeasured, VoiceEvent } from "./events.js";
import { checkSettings, grouped, type Settings, type VoiceOptions } from "./options.js";
import { connector, timedOut } from "./transport/connect/connect.js";
import { CloseCode, type UplinkMode } from "./wire/codepoints.js";

const TICK_MS = 50;
const FINISH_TIMEOUT_MS = 60_000;

/**
 * A call to a voice gateway: `connect`, speak, `finish`.
 *
 * `url` is `https://host:port/v1/voice`. A call whose connection is lost goes on over another one by itself. Settings
 * that cannot be used throw `InvalidSetting` here.
 */
export class VoiceClient {
  /** Send silence in place of the microphone, or no longer. */
  isMuted = false;
  /** Where speech comes from. */
  readonly source: AudioSource;
  /** Where answers go; the default one is a `Loudspeaker`, whose `output` can be tapped. */
  readonly sink: AudioSink;
  readonly #settings: Settings;
  readonly #events = new EventStream();
  readonly #tools = new Tools();
  #status: Status = "idle";
  #call: Call | undefined;
  #player: Player | undefined;
  #encoder: FrameEncoder | undefined;
  #release = new AbortController();

  constructor(url: string, options: VoiceOptions = {}) {
    const groups = grouped(options);
    this.#settings = checkSettings(url, groups);
    Object.entries(groups.tools ?? {}).forEach(([name, tool]) => this.#tools.register(name, tool));
    const { source, sink, workletUrls: { capture, playback } = {} } = groups.audio ?? {};
    this.source = source ?? new Microphone(capture === undefined ? {} : { workletUrl: capture });
    this.sink = sink ?? new Loudspeaker(playback === undefined ? {} : { workletUrl: playback });
  }

  // Beginning and end

  /**
   * Ask for the microphone, connect, and return once the session exists. Call it from a click: browsers let no page
   * sound before. Rejects with a `MicrophoneError`, a `ConnectError` or `Unsupported`.
   */
  async connect(): Promise<void> {
    if (this.#status !== "idle") {
      throw new InvalidSetting("a VoiceClient is for one call: make another one");
    }
    this.#changed("connecting");
    try {
      await this.#connect();
    } catch (error) {
      const failure = this.#call?.error ?? (error instanceof VoiceError ? error : new CallLost(String(error)));
      if (this.#call) {
        this.#call.end(failure);
      } else if (this.status !== "closed") {
        this.#closed();
        this.#events.emit({ type: "closed", error: failure });
      }
      throw failure;
    }
  }

  /** Say bye; resolves once every frame is acked, every answer played and the server said bye; rejects with why not. */
  async finish(timeoutMs = FINISH_TIMEOUT_MS): Promise<void> {
    const call = this.#entered;
    if (!call.isOver && !call.hasSaidBye) {
      this.#changed("finishing");
      this.source.close();
      await this.#encoder?.flush();
      call.sayBye();
      let timer: ReturnType<typeof setTimeout> | undefined;
      const limit = new Promise<never>((_, reject) => {
        timer = setTimeout(() => reject(new CallLost(`the server said no bye within ${timeoutMs / 1000} s`)), timeoutMs);
      });
      await Promise.race([call.closed, limit]).finally(() => clearTimeout(timer));
    }
    await call.closed;
    if (call.error) {
      throw call.error;
    }
  }

  /** End the call now, dropping frames and answers under way; does nothing after `finish`. */
  close(): void {
    if (this.#call) {
      this.#call.end(new CallLost("the call was ended before it was finished"), CloseCode.NORMAL, "the caller hung up");
    } else if (this.#status !== "closed") {
      this.#closed();
      this.#events.emit({ type: "closed", error: new CallLost("the call was ended before it began") });
    }
  }

  // Listening

  /** Call `listener` for each event of this type, or of every type with `"*"`; returns what ends that. */
  on<T extends VoiceEvent["type"]>(type: T, listener: (event: EventOf<T>) => void): () => void;
  on(type: "*", listener: (event: VoiceEvent) => void): () => void;
  /** @deprecated Listen to `acked`. */
  on(type: "heard", listener: (event: Heard) => void): () => void;
  on(type: string, listener: (event: never) => void): () => void {
    if (type === "heard") {
      warnRenamed("the event heard", "acked");
      return this.#events.on("acked", (event) => (listener as (event: object) => void)({ ...event, type }));
    }
    return this.#events.on(type, listener as (event: VoiceEvent) => void);
  }

  /** Iterate over what happened and happens, until `closed`. A later iterator gets the last thousand first. */
  events(): AsyncIterableIterator<VoiceEvent> {
    return this.#events.iterate();
  }

  // Doing

  /** Drop the connection as a change of network does, and go on over another one; `transport` picks its kind. */
  simulateNetworkChange(transport?: TransportKind): void {
    this.#entered.dropConnection(performance.now(), transport);
  }

  /** Press a key of a telephone: one of 0123456789ABCD*#. */
  sendDigit(digit: string): void {
    if (!/^[0-9A-D*#]$/.test(digit)) {
      throw new InvalidSetting(`a key of a telephone is one of 0123456789ABCD*#, got ${digit}`);
    }
    this.#entered.sendDigit(digit);
  }

  /**
   * Offer the agent a tool, which gets the arguments and a signal that aborts when the agent waits no more, and returns a
   * plain value or a promise of one; what it throws the agent gets as an error. Each call runs once, also where the server
   * has to ask again. Returns what ends the offer.
   */
  tool(name: string, tool: Tool): () => void {
    this.#tools.register(name, tool);
    return () => this.#tools.remove(name, tool);
  }

  /**
   * Type a text of 1 to 4,000 characters: a turn, as if it were spoken; interrupts the agent. Sent again after a loss until
   * the server has saved its effect. Throws `MessageError` where it cannot be sent.
   */
  sendText(text: string): void {
    this.#entered.sendNumbered({ type: "text", text });
  }

  /** Send an object of plain values, of 16 kB at most, to the agent, as `sendText`; the agent's own come as `message`. */
  sendMessage(data: Readonly<Record<string, unknown>>): void {
    this.#entered.sendNumbered({ type: "app", data });
  }

  /** Measure a round trip to the session, in ms. */
  ping(): Promise<number> {
    const call = this.#entered;
    return new Promise((resolve, reject) => {
      call.heartbeat.measure(performance.now(), resolve);
      void call.closed.then(() => reject(call.error ?? new CallLost("the call is over")));
    });
  }

  // Seeing

  get status(): Status {
    return this.#status;
  }

  /** What carries the call now; null between two connections. */
  get transport(): TransportKind | null {
    return this.#call?.transport ?? null;
  }

  get session(): string | null {
    return this.#call?.conversation.session ?? null;
  }

  /** The name of the worker that serves the call. */
  get worker(): string | null {
    return this.#call?.conversation.worker ?? null;
  }

  /** What was said, in order. */
  get transcript(): readonly Transcript[] {
    return this.#call?.conversation.transcript ?? [];
  }

  /** The agent's state, as the server sent it last. */
  get state(): Readonly<Record<string, unknown>> {
    return this.#call?.conversation.state ?? {};
  }

  get framesSent(): number {
    return this.#call?.uplink.sent ?? 0;
  }

  /** How many of them the server has acknowledged: their effect is saved. */
  get framesAcked(): number {
    return this.#call?.uplink.acked ?? 0;
  }

  /** @deprecated The former name of `framesAcked`. */
  get framesHeard(): number {
    warnRenamed("VoiceClient.framesHeard", "framesAcked");
    return this.framesAcked;
  }

  /** How frames travel over the newest connection; null before the first one. */
  get uplink(): UplinkMode | null {
    return this.#call?.uplinkMode ?? null;
  }

  /** How many times a frame in datagrams was sent again because it was lost. */
  get framesRepaired(): number {
    return this.#call?.uplinkCounters.repaired ?? 0;
  }

  /** How many frames became too old: with the uplink "deadline" only. */
  get framesGivenUp(): number {
    return this.#call?.uplinkCounters.givenUp ?? 0;
  }

  get resumes(): readonly Resumed[] {
    return this.#call?.recovery.resumes ?? [];
  }

  get replyLatenciesMs(): readonly number[] {
    return this.#call?.replies.latenciesMs ?? [];
  }

  /** Where the time of each turn went, a turn after the other. */
  get turns(): readonly TurnMeasured[] {
    return this.#call?.turns.all ?? [];
  }

  /** The newest round trip of the heartbeat. */
  get rttMs(): number | null {
    return this.#call?.rttMs ?? null;
  }

  /** Loudness of the microphone now, RMS, 0 to 1. */
  get inputLevel(): number {
    return this.isMuted ? 0 : this.source.level;
  }

  /** Speech that has arrived and waits to be played. */
  get bufferedMs(): number {
    return this.#player?.bufferedMs ?? 0;
  }

  get playedMs(): number {
    return this.#player?.playedMs ?? 0;
  }

  /** Whether an answer was announced that has not been played to its end or flushed. */
  get isAgentSpeaking(): boolean {
    return this.#call?.replies.isAgentSpeaking ?? false;
  }

  /** Whether the server said bye after it acknowledged every frame. */
  get isFinished(): boolean {
    return this.#call?.isFinished ?? false;
  }

  // The rest

  async #connect(): Promise<void> {
    const { codec, connectTimeoutMs } = this.#settings;
    let take = (_samples: Float32Array, _frame: number): void => undefined; // until the encoder is open
    const opened = this.source.open({
      samples: (samples, frame) => take(samples, frame),
      ended: (error) => error && this.#call?.end(error instanceof VoiceError ? error : new CallLost(error.message)),
    });
    const [{ sampleRate }, accept] = await Promise.all([opened, playableCodecs(codec)]);
    const player: Player = new Player(this.sink, {
      progressed: (position) => call.playout.progressed(position),
      cut: (position) => call.playout.cut(position),
      began: (utteranceId, agoMs) => call.playout.began(utteranceId, agoMs),
      audible: (utteranceId, agoMs) => call.playout.audible(utteranceId, agoMs),
      failed: (fault) => call.playout.failed(fault),
    });
    await player.open();
    const connect = connector(this.#settings);
    const call: Call = new Call({ ...this.#settings, accept }, player, connect, (event) => this.#happened(event), this.#tools);
    const encoder = await openEncoder(codec, sampleRate, (timestamp, payload) =>
      call.sendFrame(encoder.codec, timestamp, payload),
    );
    if (this.#status === "closed") {
      encoder.close();
      this.#closed();
      throw new CallLost("the call was ended before it began");
    }
    this.#player = player;
    this.#encoder = encoder;
    this.#call = call;
    this.#watch(call);
    const limit = AbortSignal.timeout(connectTimeoutMs);
    await call.reconnect(AbortSignal.any([limit, this.#release.signal])).catch(async (error: unknown) => {
      throw limit.aborted && error === limit.reason ? await timedOut(this.#settings) : error;
    });
    let first: number | undefined;
    take = (samples, frame) => {
      if (call.isOver || call.hasSaidBye) {
        return;
      }
      first ??= frame;
      const sound = this.isMuted ? new Float32Array(samples.length) : samples;
      if (rms(sound) > VOICED_LEVEL) {
        call.replies.voiced(performance.now());
      }
      encoder.push(sound, frame - first);
      call.tick(performance.now());
    };
  }

  /** Call `tick` by a timer, and pass on what the system reports of the network. */
  #watch(call: Call): void {
    const timer = setInterval(() => call.tick(performance.now()), TICK_MS);
    const found = () => call.networkFound(performance.now());
    // also comes with each new estimate of the same network's rate
    const changed = () => call.networkChanged(performance.now());
    const { signal } = this.#release;
    globalThis.addEventListener?.("online", found, { signal });
    const connection = (globalThis.navigator as { connection?: EventTarget } | undefined)?.connection;
    connection?.addEventListener?.("change", changed, { signal });
    signal.addEventListener("abort", () => clearInterval(timer));
  }

  #happened(event: VoiceEvent): void {
    if (event.type === "connected" || event.type === "resumed") {
      this.#changed(this.#call?.hasSaidBye ? "finishing" : "connected");
    } else if (event.type === "interrupted") {
      this.#changed("reconnecting");
    } else if (event.type === "closed") {
      this.#closed();
    }
    // the former name of the utterance ID, deprecated
    const hadFormerName = "utteranceId" in event && event.type !== "transcript";
    this.#events.emit(hadFormerName ? { ...event, generation: event.utteranceId } : event);
  }

  #closed(): void {
    this.#release.abort();
    this.source.close();
    this.#encoder?.close();
    if (!this.#call) {
      this.sink.close();
    }
    this.#changed("closed");
  }

  #changed(status: Status): void {
    if (status !== this.#status && this.#status !== "closed") {
      this.#status = status;
      this.#events.emit({ type: "status", status });
    }
  }

  get #entered(): Call {
    if (!this.#call) {
      throw new CallLost("there is no call yet: await connect()");
    }
    return this.#call;
  }
}
