/** The caller's side of the voice protocol, over one connection after the other. */
import type { Player } from "../audio/player.js";
import { ANSWER_TIMEOUT_MS, type CallSettings, type Connect } from "./call-settings.js";
import { CaptureClock } from "../audio/microphone/capture-clock.js";
import { Conversation } from "./conversation.js";
import { CallLost, ProtocolFault, SessionFailed, sessionEnded, sessionRefused, Unreachable, type VoiceError } from "../errors.js";
import type { TransportKind, VoiceEvent } from "../events.js";
import { Heartbeat, Liveness } from "./heartbeat.js";
import { Playout, ReplyClock } from "./playout.js";
import { Messages } from "./messages.js";
import { Recovery } from "./recovery.js";
import type { Link, LinkHandler } from "../transport/link.js";
import { type ToolAnswer, Tools } from "./tools.js";
import { Turns } from "./turns.js";
import type { UplinkCounters } from "../uplink/sender.js";
import { Uplink } from "../uplink/uplink.js";
import { CLOCK_HZ, CloseCode, type Codec, Malformed, type UplinkMode } from "../wire/codepoints.js";
import type { AudioFrame } from "../wire/framing.js";
import type { ClientMessage, NumberedServerMessage, Ready, ServerMessage } from "../wire/messages.js";

const FRAME_MS = 20;
const MEDIA_WINDOW_MS = 7_500;

/** Call `tick` each 50 ms or so. `closed` resolves at the end; `error` says with what. */
export class Call implements LinkHandler {
  readonly conversation = new Conversation();
  readonly uplink = new Uplink();
  readonly uplinkCounters: UplinkCounters = { givenUp: 0, repaired: 0 };
  /** How frames travel over the newest connection; null before the first one. */
  uplinkMode: UplinkMode | null = null;
  readonly messages = new Messages();
  readonly recovery: Recovery;
  readonly heartbeat: Heartbeat;
  readonly replies = new ReplyClock();
  readonly turns = new Turns((measured, turn) => {
    this.#send(measured);
    this.emit(turn);
  });
  /** Reports what was played. */
  readonly playout: Playout;
  readonly closed: Promise<void>;
  beganAt = 0;
  error: VoiceError | null = null;
  /** Whether the server said bye with every frame acked. */
  isFinished = false;
  isOver = false;
  hasSaidBye = false;
  #link: Link | null = null;
  #former: Link | null = null;
  #isLive = false;
  #hasBegun = false;
  #framesSent = 0;
  #openedAt = 0;
  #isTransferred = false;
  #token: string | null = null;
  #settled: Settlement | undefined;
  readonly #liveness = new Liveness();
  readonly #captureClock = new CaptureClock();
  /** Of the ends of frames: two clocks drift by 1.5 ms in its 15 s at most. */
  readonly #mediaClock = new CaptureClock(MEDIA_WINDOW_MS);
  #resolveClosed!: () => void;

  constructor(
    private readonly settings: CallSettings,
    private readonly player: Player,
    private readonly connect: Connect,
    readonly emit: (event: VoiceEvent) => void,
    readonly tools = new Tools(),
  ) {
    this.closed = new Promise((resolve) => (this.#resolveClosed = resolve));
    this.heartbeat = new Heartbeat((id) => this.#send({ type: "ping", id }), settings.heartbeatMs);
    this.recovery = new Recovery(this, settings.resumeTimeoutMs);
    this.playout = new Playout({
      replies: this.replies,
      turns: this.turns,
      timestamp: (at) => this.#timestamp(at),
      send: (message) => this.#send(message),
      emit: (event) => this.emit(event),
      fault: (fault) => this.#fault(fault),
    });
  }

  /** What carries the call now; null while it is between two connections. */
  get transport(): TransportKind | null {
    return this.#isLive && this.#link ? this.#link.kind : null;
  }

  // Recovering

  get canResume(): boolean {
    return this.#token !== null && this.settings.resumeTimeoutMs > 0 && !this.isOver;
  }

  get rttMs(): number | null {
    return this.heartbeat.rttMs;
  }

  get answerMs(): number {
    return this.heartbeat.answerMs;
  }

  get worker(): string | null {
    return this.conversation.worker;
  }

  /** Open a link and say `start`, or `resume` in place of the link before; resolves once the server is ready. */
  async reconnect(signal: AbortSignal, wanted?: TransportKind): Promise<void> {
    const { link, chosen } = await this.connect(this, signal, wanted);
    if (this.isOver || signal.aborted) {
      link.leave();
      throw signal.reason ?? this.error ?? new CallLost("the call is over");
    }
    this.emit(chosen);
    const settled = new Settlement(ANSWER_TIMEOUT_MS, () => this.#unanswered(link));
    this.#settled = settled;
    this.#opened(link);
    await settled.promise;
  }

  // What the caller does

  /** Send a frame, or keep it for when the call goes on. */
  sendFrame(codec: Codec, timestamp: number, payload: Uint8Array): void {
    if (this.isOver || this.hasSaidBye) {
      return;
    }
    const mediaMs = (timestamp * 1_000) / CLOCK_HZ;
    const now = performance.now();
    this.turns.captured(this.uplink.sent, this.#captureClock.captured(mediaMs, now));
    this.#mediaClock.captured(mediaMs + FRAME_MS, now);
    try {
      const frame = this.uplink.append(codec, timestamp, payload);
      if (this.#isLive) {
        this.#link?.sendFrame(frame);
        this.#framesSent = this.uplink.sent;
      }
    } catch (error) {
      this.end(error as VoiceError);
    }
  }

  /** Type a text, or send a message or an answer; throws `MessageError`. Kept until the server has saved its effect. */
  sendNumbered(message: Parameters<Messages["add"]>[0]): void {
    if (this.isOver) {
      throw this.error ?? new CallLost("the call is over");
    }
    const numbered = this.messages.add(message);
    if (this.messages.isSupported) {
      this.#send(numbered);
    }
  }

  sendDigit(digit: string): void {
    this.#send({ type: "dtmf", digit });
  }

  /** Say that no more audio follows; the server's bye resolves `closed`. */
  sayBye(): void {
    if (!this.hasSaidBye && !this.isOver) {
      this.hasSaidBye = true;
      this.#send({ type: "bye", frames: this.uplink.sent });
    }
  }

  /** Send the pings that are due, and detect a silent connection. */
  tick(now: number): void {
    if (this.isOver || !this.#hasBegun) {
      return;
    }
    this.#liveness.tick(now);
    if (this.#isLive) {
      this.heartbeat.tick(now);
      this.recovery.tick(now, this.#stalledMs(now));
    }
  }

  /** The system reports a change of network. */
  networkChanged(now: number): void {
    if (this.#isLive && !this.isOver) {
      this.heartbeat.measure(now, () => undefined);
    }
    this.recovery.networkChanged(now);
  }

  /** The system was without a network and has one again: if the connection goes on, it does on another path. */
  networkFound(now: number): void {
    this.#link?.pathChanged();
    this.networkChanged(now);
  }

  /** Stop reading and sending on the present connection, as when its network disappears, and redial. */
  dropConnection(now: number, wanted?: TransportKind): void {
    if (this.canResume && this.#isLive) {
      this.recovery.interrupted(now, "the network was switched");
      this.#former = this.#link;
      this.#link = null;
      this.#isLive = false;
      this.recovery.redial(wanted);
    }
  }

  // LinkHandler

  messageReceived(link: Link, message: ServerMessage): void {
    if (link !== this.#link || this.isOver) {
      return;
    }
    const now = performance.now();
    this.#liveness.received(now);
    switch (message.type) {
      case "ready":
        return this.#ready(link, message);
      case "transcript":
      case "state": {
        const event = this.conversation.apply(message);
        return event && this.emit(event);
      }
      case "heard":
        if (!this.uplink.acknowledge(message.sequence)) {
          const sent = this.uplink.sent;
          return this.faultFound(link, new Malformed(`heard ${message.sequence}, but only ${sent} frames were sent`));
        }
        return this.emit({ type: "acked", sequence: message.sequence });
      case "speech":
        this.replies.announced(message.generation, message.turn);
        this.turns.announced(message.generation, message.turn);
        this.player.replaceHeld(message.generation, message.is_again);
        this.player.begin(message.generation);
        return this.emit({ type: "speech", utteranceId: message.generation, turn: message.turn });
      case "latency":
        return this.turns.latencyReceived(message);
      case "flush":
        this.turns.flushed(message.generation, message.sequence);
        return this.player.flush(message.generation);
      case "drain":
        this.emit({ type: "draining", deadlineS: message.deadline_s });
        return this.canResume ? this.recovery.redial() : undefined;
      case "pong":
        if (!this.heartbeat.pong(message.id, now)) {
          return this.faultFound(link, new Malformed(`pong ${message.id} answers no ping`));
        }
        return this.turns.roundTrip(this.heartbeat.rttMs ?? 0, now);
      case "received":
        if (!this.messages.acknowledge(message.number)) {
          return this.faultFound(link, new Malformed(`received ${message.number}, which was not sent`));
        }
        return;
      case "app":
      case "tool_call":
      case "tool_cancel":
      case "transfer":
        return this.#numbered(message);
      case "error":
        this.#forget(link);
        return this.#ended(sessionEnded(message.code, message.message));
      case "bye":
        return this.#serverSaidBye(message.frames, message.reason);
    }
  }

  frameReceived(link: Link, utteranceId: number, frame: AudioFrame): void {
    if (link !== this.#link || this.isOver) {
      return;
    }
    const now = performance.now();
    this.#liveness.received(now);
    this.replies.arrived(utteranceId, now);
    this.turns.arrived(utteranceId, now);
    this.player.push(utteranceId, frame);
  }

  speechEnded(link: Link, utteranceId: number): void {
    if (link === this.#link && !this.isOver) {
      this.player.end(utteranceId);
    }
  }

  faultFound(link: Link, fault: Malformed): void {
    if (link === this.#link) {
      this.#fault(fault);
    }
  }

  lost(link: Link, error: VoiceError | null): void {
    if (link === this.#link && !this.isOver) {
      this.#link = null;
      this.#ended(error);
    }
  }

  // The rest

  /** The call is over, with this error or as it should. */
  end(error: VoiceError | null, code: number = CloseCode.NORMAL, reason = ""): void {
    if (this.isOver) {
      return;
    }
    this.isOver = true;
    this.error = error;
    this.recovery.stop();
    this.tools.close();
    this.player.close();
    this.#settled?.reject(error ?? new CallLost("the call is over"));
    this.#former?.leave();
    this.#link?.close(code, reason);
    this.#resolveClosed();
    this.emit({ type: "closed", error });
  }

  #opened(link: Link): void {
    const now = performance.now();
    const former = this.#link ?? this.#former;
    this.#link = link;
    this.#openedAt = now;
    this.#former = null;
    const { accept, agent } = this.settings;
    const uplink = link.hasDatagrams ? this.settings.uplink : "reliable";
    if (this.#token === null) {
      link.send({ type: "start", accept, agent, uplink, next_message: this.messages.nextExpected });
      return;
    }
    this.recovery.interrupted(now, "the call moves to another connection");
    this.#isLive = false;
    const { utteranceId, positionMs } = this.player.hold();
    former?.leave();
    link.send({
      type: "resume",
      session: this.conversation.session ?? "",
      token: this.#token,
      accept,
      generation: this.player.newest,
      next_generation: utteranceId,
      position_ms: positionMs,
      turn: this.conversation.newestTurn,
      uplink,
      next_message: this.messages.nextExpected,
    });
  }

  #ready(link: Link, ready: Ready): void {
    if (this.#isLive) {
      return;
    }
    const now = performance.now();
    const messages = this.messages.attached(ready.next_message);
    if (!messages) {
      this.#fault(new Malformed(`the session goes on at message ${ready.next_message}, which was not sent`));
      return;
    }
    const frames = this.uplink.again(ready.next_sequence);
    if (!frames) {
      this.#fault(new Malformed(`the session goes on at frame ${ready.next_sequence}, which is gone`));
      return;
    }
    this.conversation.apply(ready);
    this.#token = ready.token;
    this.#isLive = true;
    this.#liveness.restart(now);
    const { uplinkLimitMs: limitMs } = this.settings;
    this.uplinkMode = link.beginUplink(ready, frames, { limitMs, counters: this.uplinkCounters });
    if (this.#hasBegun) {
      this.replies.forget();
      const { gapMs } = this.recovery.resumed(now, { hasReconnected: true, framesAgain: frames.length });
      this.turns.resumed(this.conversation.newestTurn, gapMs, Math.max(0, this.#framesSent - ready.next_sequence));
      this.#framesSent = this.uplink.sent;
    } else {
      this.#hasBegun = true;
      this.beganAt = now;
      this.emit({ type: "connected", session: ready.session, worker: ready.worker, transport: link.kind });
    }
    messages.forEach((message) => this.#send(message));
    this.heartbeat.restart(now, now - this.#openedAt);
    if (this.hasSaidBye) {
      this.#send({ type: "bye", frames: this.uplink.sent });
    }
    this.#settled?.resolve();
  }

  /** Take a message of the server, unless it has come before, and acknowledge it. */
  #numbered(message: NumberedServerMessage): void {
    if (this.messages.received(message)) {
      this.#take(message);
    }
    this.#send({ type: "received", number: message.number });
  }

  #take(message: NumberedServerMessage): void {
    switch (message.type) {
      case "app":
        return this.emit({ type: "message", data: message.data });
      case "tool_call":
        if (this.tools.call(message, (callId, answer) => this.#answer(callId, answer))) {
          this.emit({ type: "tool-called", callId: message.call_id, name: message.name });
        }
        return;
      case "tool_cancel":
        return this.tools.cancel(message.call_id);
      case "transfer":
        this.#isTransferred = true;
        return this.emit({ type: "transferred", target: message.target });
    }
  }

  #answer(callId: string, answer: ToolAnswer): void {
    if (!this.isOver) {
      this.sendNumbered({ type: "tool_result", call_id: callId, ...answer });
    }
  }

  /** The link is gone or the server ended the session: go on over another one where that can be. */
  #ended(error: VoiceError | null): void {
    const wasLive = this.#isLive;
    const isAnswer = error instanceof SessionFailed;
    const isTransient =
      error?.kind === "server-drained" || (isAnswer && !wasLive && this.recovery.mayRetry(error.code));
    this.#isLive = false;
    if (error && (isTransient || !isAnswer) && this.canResume) {
      const now = performance.now();
      this.recovery.interrupted(now - this.#stalledMs(now), error.message, error);
      this.recovery.redial();
      this.#settled?.reject(error);
    } else if (isAnswer && this.hasSaidBye && this.uplink.acked === this.uplink.sent && !wasLive) {
      this.isFinished = true; // the server's bye was lost with the connection
      this.end(null);
    } else if (isAnswer && !this.#hasBegun) {
      this.end(sessionRefused(error.code, error.reason));
    } else {
      this.end(error ?? new CallLost("the server closed the session before the call was finished"));
    }
  }

  #serverSaidBye(frames: number, reason: string): void {
    const { sent, acked } = this.uplink;
    this.isFinished = this.hasSaidBye && acked === sent && sent === frames;
    if (this.isFinished || (this.#isTransferred && !this.hasSaidBye)) {
      this.end(null);
    } else if (this.hasSaidBye) {
      this.end(new ProtocolFault(`the server said bye although ${sent - acked} of ${sent} frames were unacked`));
    } else {
      this.end(sessionEnded(CloseCode.NORMAL, reason));
    }
  }

  #fault(fault: Malformed): void {
    this.end(new ProtocolFault(`the server broke the voice protocol: ${fault.reason}`), fault.code, fault.reason);
  }

  #unanswered(link: Link): void {
    if (this.#link === link && !this.#isLive) {
      this.#forget(link);
      this.#settled?.reject(new Unreachable("the server accepted the connection but opened no session"));
    }
  }

  #forget(link: Link): void {
    this.#link = null;
    link.leave();
  }

  #send(message: ClientMessage): void {
    if (this.#isLive && !this.isOver) {
      this.#link?.send(message);
    }
  }

  #timestamp(at: number): number | undefined {
    const mediaMs = this.#mediaClock.mediaMs(at);
    return mediaMs === undefined || mediaMs < 0 ? undefined : Math.round((mediaMs * CLOCK_HZ) / 1_000);
  }

  #stalledMs(now: number): number {
    return this.#liveness.stalledMs(now, this.heartbeat.waitingSince);
  }
}

/** A promise with a timeout that is resolved from outside. */
class Settlement {
  readonly promise: Promise<void>;
  resolve!: () => void;
  reject!: (error: unknown) => void;

  /** `missed` is called where nothing has come of it after `timeoutMs`. */
  constructor(timeoutMs: number, missed: () => void) {
    const timer = setTimeout(missed, timeoutMs);
    this.promise = new Promise<void>((resolve, reject) => {
      this.resolve = resolve;
      this.reject = reject;
    }).finally(() => clearTimeout(timer));
    this.promise.catch(() => undefined);
  }
}
