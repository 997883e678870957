/** One connection of a call, whatever carries it. */
import type { VoiceError } from "../errors.js";
import type { TransportKind } from "../events.js";
import type { Malformed } from "../wire/codepoints.js";
import type { AudioFrame } from "../wire/framing.js";
import type { ClientMessage, ServerMessage } from "../wire/messages.js";

export interface Link {
  readonly kind: TransportKind;
  /** Send a control message, reliably and in order. */
  send(message: ClientMessage): void;
  /** Send an uplink frame as `encodeAudioFrame` made it. */
  sendFrame(octets: Uint8Array): void;
  /** End the session at the server, and the connection. */
  close(code: number, reason: string): void;
  /** Drop the connection and leave the session be, to be taken up over another link. */
  leave(): void;
}

/** What a link tells its call; the call ignores links it has left. */
export interface LinkHandler {
  messageReceived(link: Link, message: ServerMessage): void;
  frameReceived(link: Link, generation: number, frame: AudioFrame): void;
  /** No more of a generation comes over this link: all of it was sent, or the rest is not wanted. */
  speechEnded(link: Link, generation: number): void;
  faultFound(link: Link, fault: Malformed): void;
  /** Nothing more can be sent or will come; null where the server closed the session normally. Called once at most. */
  lost(link: Link, error: VoiceError | null): void;
}

/** Opens a link; the call says `start` or `resume` on it. Rejects with a `ConnectError`; gives up when `signal` aborts. */
export type Dial = (handler: LinkHandler, signal: AbortSignal) => Promise<Link>;
