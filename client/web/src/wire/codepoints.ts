/** The numbers both sides agree on; PROTOCOL.md is the specification. */

export const PROTOCOL_VERSION = 1;
/** Media timestamps count ticks of this clock for every codec. */
/** Of a numbered message, PROTOCOL.md 4.2. */
export const MAX_MESSAGE_BYTES = 16_384;
export const CLOCK_HZ = 48_000;
export const MAX_CONTROL_BYTES = 65_536;
export const MAX_AUDIO_BYTES = 16_384;

/** What a frame's payload is. */
export const Codec = {
  OPUS: 1,
  PCM16_16K: 2,
  PCM16_24K: 3,
  PCM16_48K: 4,
  PCMU: 5,
  PCMA: 6,
} as const;
export type Codec = (typeof Codec)[keyof typeof Codec];

/** The first varint of every unidirectional stream. */
export const StreamType = { UPLINK_AUDIO: 1, DOWNLINK_AUDIO: 2 } as const;

/** The first varint of every datagram. */
export const DatagramType = { UPLINK_AUDIO: 1, UPLINK_REPORT: 2 } as const;

/** How the caller's frames travel: PROTOCOL.md 11. */
export const UPLINK_MODES = ["reliable", "hybrid", "deadline"] as const;
export type UplinkMode = (typeof UPLINK_MODES)[number];

/** The first byte of every WebSocket message. */
export const Kind = { CONTROL: 0, UPLINK_AUDIO: 1, DOWNLINK_AUDIO: 2, END: 3, RESET: 4 } as const;

/** Why a session or a stream ended. */
export const CloseCode = {
  NORMAL: 0,
  MALFORMED: 1,
  WRONG_ORDER: 2,
  UNSUPPORTED_VERSION: 3,
  UNSUPPORTED_CODEC: 4,
  UNAUTHORISED: 5,
  OVERLOADED: 6,
  IDLE: 7,
  DRAINING: 8,
  AGENT_FAILED: 9,
  INTERNAL: 10,
  INTERRUPTED: 11,
  UNKNOWN_SESSION: 12,
  TAKEN_OVER: 13,
} as const;

/** A WebSocket closes with this plus the session's code. */
export const WEBSOCKET_CLOSE_BASE = 4000;

/** What the server sent breaks the protocol; the call ends with `reason`. */
export class Malformed {
  constructor(
    readonly reason: string,
    readonly code: number = CloseCode.MALFORMED,
  ) {}
}

/** The name of a close code as a person reads it. */
export function closeCodeName(code: number): string {
  const known = Object.entries(CloseCode).find(([, value]) => value === code);
  return known ? known[0].toLowerCase().replaceAll("_", " ") : `code ${code}`;
}
