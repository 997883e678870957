/** One connection of a call, over either transport. */
import type { VoiceError } from "../errors.js";
import type { TransportKind } from "../events.js";
import type { UplinkTerms } from "../uplink/sender.js";
import type { Malformed, UplinkMode } from "../wire/codepoints.js";
import type { AudioFrame } from "../wire/framing.js";
import type { ClientMessage, Ready, ServerMessage } from "../wire/messages.js";

export interface Link {
  readonly kind: TransportKind;
  /** Whether it can carry frames in datagrams. */
  readonly hasDatagrams: boolean;
  /** Send a control message, reliably and in order. */
  send(message: ClientMessage): void;
  /** The server is ready: send the frames that it wants `again`, and from now on in the mode that this returns. */
  beginUplink(ready: Ready, again: readonly AudioFrame[], terms: UplinkTerms): UplinkMode;
  /** Send the next uplink frame. */
  sendFrame(frame: AudioFrame): void;
  /** What is sent from now on takes another path. */
  pathChanged(): void;
  /** End the session at the server, and the connection. */
  close(code: number, reason: string): void;
  /** Drop the connection and leave the session be, to be taken up over another link. */
  leave(): void;
}

/** What a link calls; the call ignores links it has left. */
export interface LinkHandler {
  messageReceived(link: Link, message: ServerMessage): void;
  frameReceived(link: Link, utteranceId: number, frame: AudioFrame): void;
  /** No more of an utterance comes over this link: all of it was sent, or the rest is not wanted. */
  speechEnded(link: Link, utteranceId: number): void;
  faultFound(link: Link, fault: Malformed): void;
  /** Nothing more can be sent or will come; null where the server closed the session normally. Called once at most. */
  lost(link: Link, error: VoiceError | null): void;
}

/** Opens a link; the call says `start` or `resume` on it. Rejects with a `ConnectError`; gives up when `signal` aborts. */
export type Dial = (handler: LinkHandler, signal: AbortSignal) => Promise<Link>;
