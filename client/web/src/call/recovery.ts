/** Detects a silent or lost connection, redials, and ends the call after a timeout. */
import { CallLost, type VoiceError } from "../errors.js";
import type { Interrupted, Resumed, TransportKind } from "../events.js";
import { Backoff, isTransient } from "../transport/redial.js";
import { CloseCode } from "../wire/codepoints.js";

/** After this and the time that an answer takes, in which a ping waits and nothing comes, a connection counts as lost. */
const DEAD_AFTER_MS = 750;
/** The longest wait for an answer on a connection that answers. */
const ALIVE_MS = 100;
/** After the system reported a change of network, a shorter silence is enough. */
const SUSPECT_AFTER_MS = 300;
const SUSPECT_FOR_MS = 2_000;
const LONGEST_DELAY_MS = 2_000;
/** So many workers may not know the session: without a shared store only one does, and each port leads to any. */
const MAX_UNKNOWN_SESSIONS = 6;

/** The parts of a call that recovery needs. */
export interface Recovering {
  readonly canResume: boolean;
  readonly beganAt: number;
  /** How long an answer takes on the present connection. */
  readonly answerMs: number;
  readonly worker: string | null;
  readonly transport: TransportKind | null;
  /** Make one connection that carries the call; resolves once it does, rejects where it does not. */
  reconnect(signal: AbortSignal, wanted: TransportKind | undefined): Promise<void>;
  emit(event: Interrupted | Resumed): void;
  end(error: VoiceError): void;
}

export class Recovery {
  readonly resumes: Resumed[] = [];
  #isInterrupted = false;
  #unknownSessions = 0;
  #progressedAt = 0;
  #suspectUntil = 0;
  #dialling: { abort: AbortController; backoff: Backoff } | undefined;
  #giveUp: ReturnType<typeof setTimeout> | undefined;

  constructor(
    private readonly call: Recovering,
    private readonly timeoutMs: number,
  ) {}

  get isInterrupted(): boolean {
    return this.#isInterrupted;
  }

  /** `stalledMs` is how long the live connection has owed an answer. */
  tick(now: number, stalledMs: number): void {
    const { answerMs } = this.call;
    const limitMs = now < this.#suspectUntil ? SUSPECT_AFTER_MS + 2 * answerMs : DEAD_AFTER_MS + answerMs;
    if (!this.#isInterrupted && stalledMs > limitMs && this.call.canResume) {
      this.interrupted(now - stalledMs, `the server has not answered for ${(stalledMs / 1000).toFixed(1)} s`);
      this.redial();
    } else if (this.#isInterrupted && stalledMs < ALIVE_MS) {
      this.resumed(now, { hasReconnected: false, framesAgain: 0 });
    }
  }

  /** The system reports a change of network: apply the shorter limit, and redial without delay. */
  networkChanged(now: number): void {
    this.#suspectUntil = now + SUSPECT_FOR_MS;
    this.#dialling?.backoff.hurry();
  }

  /** The connection does not carry the call any more since `since`; `error` ends the call if no other does. */
  interrupted(since: number, reason: string, error?: VoiceError): void {
    if (this.#isInterrupted) {
      return;
    }
    this.#isInterrupted = true;
    this.#progressedAt = since;
    const failure = error ?? new CallLost(`the connection was lost and could not be replaced: ${reason}`);
    this.#giveUp = setTimeout(() => this.call.end(failure), this.timeoutMs);
    this.call.emit({ type: "interrupted", reason });
  }

  /** Whether a resume that was refused with this code may succeed later, or at another worker. */
  mayRetry(code: number): boolean {
    return code === CloseCode.UNKNOWN_SESSION ? ++this.#unknownSessions < MAX_UNKNOWN_SESSIONS : code === CloseCode.OVERLOADED;
  }

  /** Look for another connection, unless that is going on. */
  redial(wanted?: TransportKind): void {
    if (!this.#dialling) {
      this.#dialling = { abort: new AbortController(), backoff: new Backoff(LONGEST_DELAY_MS) };
      void this.#dial(this.#dialling.abort.signal, this.#dialling.backoff, wanted);
    }
  }

  /** The call goes on; returns how. */
  resumed(now: number, how: { hasReconnected: boolean; framesAgain: number }): Resumed {
    const resumed: Resumed = {
      type: "resumed",
      atS: (now - this.call.beganAt) / 1000,
      worker: this.call.worker ?? "",
      transport: this.call.transport ?? "webtransport",
      gapMs: Math.round(now - this.#progressedAt),
      ...how,
    };
    this.#stopDialling();
    this.#isInterrupted = false;
    this.#unknownSessions = 0;
    if (how.hasReconnected) {
      this.resumes.push(resumed);
    }
    this.call.emit(resumed);
    return resumed;
  }

  /** The call is over. */
  stop(): void {
    this.#stopDialling();
  }

  #stopDialling(): void {
    this.#dialling?.abort.abort(new Error("the call goes on, or is over"));
    this.#dialling = undefined;
    clearTimeout(this.#giveUp);
  }

  async #dial(signal: AbortSignal, backoff: Backoff, wanted: TransportKind | undefined): Promise<void> {
    while (!signal.aborted) {
      try {
        await this.call.reconnect(signal, wanted);
        return;
      } catch (error) {
        if (!signal.aborted && !isTransient(error)) {
          this.call.end(error as VoiceError);
          return;
        }
      }
      await backoff.wait(signal);
      wanted = undefined;
    }
  }
}
