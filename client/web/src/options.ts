/** What a call is made of; every setting but the URL has a default. */
import type { AudioSink, AudioSource } from "./audio/base.js";
import { InvalidSetting } from "./errors.js";
import type { TransportKind } from "./events.js";
import { UPLINK_MODES, type UplinkMode } from "./wire/codepoints.js";

export interface VoiceOptions {
  /** The access token, or what gets a fresh one for each connection. */
  readonly token?: string | (() => string | Promise<string>);
  /** SHA-256 fingerprints of development certificates: 64 hexadecimal digits (colons allowed), or base64. */
  readonly certificateHashes?: readonly string[];
  /** Where the WebSocket is, `wss:` or in development `ws:`; by default that of the URL. Null: never a WebSocket. */
  readonly webSocketUrl?: string | null;
  /** What may carry the call, most wanted first; the first gets a head start. */
  readonly transports?: readonly TransportKind[];
  /** How long WebTransport is tried alone (default 500 ms). */
  readonly headStartMs?: number;
  /** The agent's name; by default the server's default agent. */
  readonly agent?: string | null;
  /** Opus where the browser can, else PCM16; `pcm16` forces that. */
  readonly codec?: "opus" | "pcm16";
  /** Where speech comes from: by default the microphone, echo cancelled. */
  readonly source?: AudioSource;
  /** Where answers go: by default the loudspeaker. */
  readonly sink?: AudioSink;
  /** Where the files of the worklets are, if not beside the library. */
  readonly workletUrls?: { readonly capture?: string | URL; readonly playback?: string | URL };
  /** How long `connect` tries (default 10 s). */
  readonly connectTimeoutMs?: number;
  /** Between two pings (default 250 ms); at most 500, so that an outage is noticed. */
  readonly heartbeatMs?: number;
  /** How long a lost call looks for another connection (default 60 s); 0 ends it at once. */
  readonly resumeTimeoutMs?: number;
  /**
   * How frames travel: on a stream, complete, and late where packets are lost ("reliable"); over WebTransport also in
   * datagrams, complete, and hardly late ("hybrid"); or so that those older than `uplinkLimitMs` are given up
   * ("deadline"). A WebSocket, and a server that knows no other, takes the first.
   */
  readonly uplink?: UplinkMode;
  /** By default 500 ms. */
  readonly uplinkLimitMs?: number;
}

/** The same, checked. */
export interface Settings {
  readonly url: URL;
  readonly webSocketUrl: URL | null;
  readonly certificateHashes: readonly Uint8Array<ArrayBuffer>[];
  readonly transports: readonly TransportKind[];
  readonly token: string | (() => string | Promise<string>) | undefined;
  readonly headStartMs: number;
  readonly agent: string | null;
  readonly codec: "opus" | "pcm16";
  readonly connectTimeoutMs: number;
  readonly heartbeatMs: number;
  readonly resumeTimeoutMs: number;
  readonly uplink: UplinkMode;
  readonly uplinkLimitMs: number;
}

/** Check what the caller set; throws `InvalidSetting`. */
export function checkSettings(url: string, options: VoiceOptions): Settings {
  const target = parseUrl(url, ["https:"]);
  const heartbeatMs = options.heartbeatMs ?? 250;
  if (!(heartbeatMs > 0 && heartbeatMs <= 500)) {
    throw new InvalidSetting(`the heartbeat is above 0 and at most 500 ms, got ${heartbeatMs}`);
  }
  const { uplink = "reliable", uplinkLimitMs = 500 } = options;
  if (!UPLINK_MODES.includes(uplink)) {
    throw new InvalidSetting(`the uplink is one of ${UPLINK_MODES.join(", ")}, got ${String(uplink)}`);
  }
  if (!(uplinkLimitMs > 0)) {
    throw new InvalidSetting(`the limit of the uplink's deadline is more than 0 ms, got ${uplinkLimitMs}`);
  }
  return {
    url: target,
    webSocketUrl: webSocketUrl(target, options.webSocketUrl),
    certificateHashes: (options.certificateHashes ?? []).map(parseFingerprint),
    transports: options.transports ?? ["webtransport", "websocket"],
    token: options.token,
    headStartMs: options.headStartMs ?? 500,
    agent: options.agent ?? null,
    codec: options.codec ?? "opus",
    connectTimeoutMs: options.connectTimeoutMs ?? 10_000,
    heartbeatMs,
    resumeTimeoutMs: options.resumeTimeoutMs ?? 60_000,
    uplink,
    uplinkLimitMs,
  };
}

/** Read a certificate's SHA-256 fingerprint: hexadecimal digits, colons allowed, or base64. */
export function parseFingerprint(text: string): Uint8Array<ArrayBuffer> {
  const digits = text.trim().replaceAll(":", "");
  const bytes = /^[0-9a-f]{64}$/i.test(digits)
    ? Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16))
    : fromBase64(text.trim());
  if (bytes.length !== 32) {
    throw new InvalidSetting(`a certificate hash is a SHA-256 as 64 hexadecimal digits or base64, got ${text}`);
  }
  return bytes;
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  try {
    return Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
  } catch {
    return new Uint8Array(0);
  }
}

function webSocketUrl(target: URL, wanted: string | null | undefined): URL | null {
  if (wanted === null) {
    return null;
  }
  const url = parseUrl(wanted ?? target.href.replace(/^https:/, "wss:"), ["wss:", "ws:"]);
  return url;
}

function parseUrl(text: string, schemes: readonly string[]): URL {
  let url: URL;
  try {
    url = new URL(text, globalThis.location?.href);
  } catch {
    throw new InvalidSetting(`${text} is not a usable URL`);
  }
  if (!schemes.includes(url.protocol)) {
    throw new InvalidSetting(`the URL must begin with ${schemes.map((each) => `${each}//`).join(" or ")}, got ${text}`);
  }
  if (url.username || url.password) {
    throw new InvalidSetting("the URL must not hold a user name or a password; give the token apart");
  }
  return url;
}
