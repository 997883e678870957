/** What `VoiceClient` gives its call. */
import type { TransportChosen, TransportKind } from "../events.js";
import type { Link, LinkHandler } from "../transport/link.js";
import type { Codec, UplinkMode } from "../wire/codepoints.js";

/** How long a server that took the connection may look for the session. */
export const ANSWER_TIMEOUT_MS = 5_000;

export interface CallSettings {
  /** What the server may answer in, most wanted first. */
  readonly accept: readonly Codec[];
  readonly agent: string | null;
  readonly heartbeatMs: number;
  readonly resumeTimeoutMs: number;
  /** How frames travel where the connection and the server can do it. */
  readonly uplink: UplinkMode;
  readonly uplinkLimitMs: number;
}

/** Opens a link by whichever way is fastest, or by the one `wanted`. */
export type Connect = (
  handler: LinkHandler,
  signal: AbortSignal,
  wanted: TransportKind | undefined,
) => Promise<{ link: Link; chosen: TransportChosen }>;
