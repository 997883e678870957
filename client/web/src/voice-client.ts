/** The client that applications use. */
import type { EventOf, Resumed, Status, Transcript, TransportKind, VoiceEvent } from "./events.js";
import type { VoiceOptions } from "./settings.js";

/**
 * A call to a voice gateway: `connect`, speak, `finish`.
 *
 * `url` is `https://host:port/v1/voice`. A call whose connection is lost goes on over another one by itself. Settings
 * that cannot be used throw `InvalidSetting` here.
 */
export declare class VoiceClient {
  constructor(url: string, options?: VoiceOptions);

  /**
   * Ask for the microphone, connect, and return once the session exists. Call it from a click: browsers let no page
   * sound before. Rejects with a `MicrophoneError`, a `ConnectError` or `Unsupported`.
   */
  connect(): Promise<void>;
  /** Say goodbye: returns once all was heard, answered and played, and the server said bye; rejects with why not. */
  finish(timeoutMs?: number): Promise<void>;
  /** End the call now, whatever is outstanding; does nothing after `finish`. */
  close(): void;

  /** Call `listener` for each event of this type, or each of all with `"*"`; returns what ends that. */
  on<T extends VoiceEvent["type"]>(type: T, listener: (event: EventOf<T>) => void): () => void;
  on(type: "*", listener: (event: VoiceEvent) => void): () => void;
  /** Iterate over what happened and happens, until `closed`. Whoever comes late gets the last thousand first. */
  events(): AsyncIterableIterator<VoiceEvent>;

  /** Drop the connection as a change of network does, and go on over another one; `transport` picks its kind. */
  simulateNetworkChange(transport?: TransportKind): void;
  /** Send silence in place of the microphone, or no longer. */
  isMuted: boolean;
  /** Press a key of a telephone: one of 0123456789ABCD*#. */
  sendDigit(digit: string): void;
  /** Measure a round trip to the session, in ms. */
  ping(): Promise<number>;

  readonly status: Status;
  /** What carries the call now; null between two connections. */
  readonly transport: TransportKind | null;
  readonly session: string | null;
  readonly worker: string | null;
  /** What was said, in order. */
  readonly transcript: readonly Transcript[];
  /** The agent's state, as last told by the server; the default agent's is the order. */
  readonly state: Readonly<Record<string, unknown>>;
  readonly framesSent: number;
  readonly framesHeard: number;
  readonly resumes: readonly Resumed[];
  readonly replyLatenciesMs: readonly number[];
  /** The newest round trip of the heartbeat. */
  readonly rttMs: number | null;
  /** Loudness of the microphone now, RMS, 0 to 1. */
  readonly inputLevel: number;
  /** Speech that has arrived and waits to be played. */
  readonly bufferedMs: number;
  readonly playedMs: number;
  /** Whether an answer was announced that has not been played to its end or flushed. */
  readonly isAgentSpeaking: boolean;
  /** Whether the server said bye after all was heard. */
  readonly isFinished: boolean;
}
