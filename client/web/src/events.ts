/** What happens in a call, in the order in which it happens. */
import type { VoiceError } from "./errors.js";

export type TransportKind = "webtransport" | "websocket";

/**
 * Where a call stands: `idle` before `connect`, `reconnecting` while it is between two connections, `finishing` after
 * `finish`, `closed` for good.
 */
export type Status = "idle" | "connecting" | "connected" | "reconnecting" | "finishing" | "closed";

export interface StatusChanged {
  readonly type: "status";
  readonly status: Status;
}

/** What became of one way to connect; `failure` is absent where it won or was called off. */
export interface Attempt {
  readonly transport: TransportKind;
  readonly startedMs: number;
  readonly endedMs: number;
  readonly failure?: VoiceError;
}

/** A connection was won: by what, after how long, and what became of the others. Times count from the race's start. */
export interface TransportChosen {
  readonly type: "transport";
  readonly transport: TransportKind;
  readonly tookMs: number;
  readonly attempts: readonly Attempt[];
}

/** The session exists, at this worker. */
export interface Connected {
  readonly type: "connected";
  readonly session: string;
  readonly worker: string;
  readonly transport: TransportKind;
}

/**
 * What was said in a turn; the caller's is replaced by the next of that turn, while it is not final. An agent may say several
 * things in a turn: a later text of the same utterance replaces its line.
 */
export interface Transcript {
  readonly type: "transcript";
  readonly turn: number;
  readonly role: "user" | "agent";
  readonly text: string;
  readonly isFinal: boolean;
  /** The utterance that an agent's line is of; null or absent for the caller's, and for one that was cut short. */
  readonly utteranceId?: number | null;
  /** The utterances whose lines it takes the place of, as it says them again after a resume. */
  readonly replaces?: readonly number[];
}

/** The agent's state after `revision` changes, whole. */
export interface StateChanged {
  readonly type: "state";
  readonly revision: number;
  readonly state: Readonly<Record<string, unknown>>;
}

/** The agent begins to answer `turn` (0 is its greeting); `utteranceId` identifies its audio. */
export interface Speech {
  readonly type: "speech";
  readonly utteranceId: number;
  /** @deprecated The former name of `utteranceId`. */
  readonly generation?: number;
  readonly turn: number;
}

/**
 * The first sound of an answer. `latencyMs` counts from the last sound of the caller's voice until the answer's first
 * sample is handed to the loudspeaker; `arrivalMs` until it arrived.
 */
export interface Reply {
  readonly type: "reply";
  readonly utteranceId: number;
  /** @deprecated The former name of `utteranceId`. */
  readonly generation?: number;
  readonly turn: number;
  readonly latencyMs: number;
  readonly arrivalMs: number;
}

/**
 * Something new is known of where the time of a turn went; each event of a turn holds all that is known, in ms, and null
 * for what is not, or did not happen.
 *
 * `responseMs`, from the last word to the answer's first audible sample, is the sum of `uplinkAgeMs`, `endpointingMs`,
 * `sttMs`, `llmMs`, `ttsMs`, `downlinkMs` and `playoutMs`. `downlinkMs` is what the others leave of it, 0 at least: it takes
 * up their errors, a few ms each. `resumeGapMs` is the worst of the turn.
 */
export interface TurnMeasured {
  readonly type: "turn";
  readonly turn: number;
  readonly responseMs: number | null;
  readonly uplinkAgeMs: number | null;
  readonly endpointingMs: number | null;
  readonly sttMs: number | null;
  readonly llmMs: number | null;
  readonly ttsMs: number | null;
  readonly downlinkMs: number | null;
  readonly playoutMs: number | null;
  readonly bargeInMs: number | null;
  readonly resumeGapMs: number | null;
  readonly framesReplayed: number;
}

/** All of an utterance has been played. */
export interface SpeechEnded {
  readonly type: "speech-ended";
  readonly utteranceId: number;
  /** @deprecated The former name of `utteranceId`. */
  readonly generation?: number;
  readonly playedMs: number;
}

/** The caller interrupted the agent: the rest of this utterance is dropped after `playedMs`. */
export interface Flushed {
  readonly type: "flushed";
  readonly utteranceId: number;
  /** @deprecated The former name of `utteranceId`. */
  readonly generation?: number;
  readonly playedMs: number;
}

/** The server's application-level ACK (`heard` on the wire): the effect of all frames up to `sequence` is saved. */
export interface Acked {
  readonly type: "acked";
  readonly sequence: number;
}

/** @deprecated Listen to `acked`. */
export interface Heard {
  readonly type: "heard";
  readonly sequence: number;
}

/** The connection is lost or silent; the call is being taken up over another one. Speak on: nothing is lost. */
export interface Interrupted {
  readonly type: "interrupted";
  readonly reason: string;
}

/**
 * The call goes on, at `worker`, `atS` seconds after it began. `gapMs` is from the last answer before the interruption until
 * the server was ready again; `hasReconnected` is false where the old connection answered first.
 */
export interface Resumed {
  readonly type: "resumed";
  readonly atS: number;
  readonly worker: string;
  readonly transport: TransportKind;
  readonly gapMs: number;
  readonly hasReconnected: boolean;
  /** How many frames were kept through the gap and sent again, or for the first time, on the new connection. */
  readonly framesAgain: number;
}

/** The worker is going away within `deadlineS`; the call moves to another one by itself. */
export interface Draining {
  readonly type: "draining";
  readonly deadlineS: number;
}

/** The agent sent this to the application; each comes once. */
export interface MessageReceived {
  readonly type: "message";
  readonly data: Readonly<Record<string, unknown>>;
}

/** A tool of the application begins to run. */
export interface ToolCalled {
  readonly type: "tool-called";
  readonly callId: string;
  readonly name: string;
}

/** The agent hands the caller on to `target`, which the application understands; `closed` follows. */
export interface Transferred {
  readonly type: "transferred";
  readonly target: string;
}

/** The last event. `error` is null after the server's bye. */
export interface Closed {
  readonly type: "closed";
  readonly error: VoiceError | null;
}

export type VoiceEvent =
  | StatusChanged
  | TransportChosen
  | Connected
  | Transcript
  | StateChanged
  | Speech
  | Reply
  | TurnMeasured
  | SpeechEnded
  | Flushed
  | Acked
  | Interrupted
  | Resumed
  | Draining
  | MessageReceived
  | ToolCalled
  | Transferred
  | Closed;

export type EventOf<T extends VoiceEvent["type"]> = Extract<VoiceEvent, { type: T }>;
