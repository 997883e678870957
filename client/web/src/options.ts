/** What an application chooses for a call, in the groups that `VoiceClient` takes; every option has a default. */
import type { AudioSink, AudioSource } from "./audio/base.js";
import type { Tool } from "./call/tools.js";
import { warnRenamed } from "./deprecation.js";
import { InvalidSetting } from "./errors.js";
import type { TransportKind } from "./events.js";
import { UPLINK_MODES, type UplinkMode } from "./wire/codepoints.js";

/** How the two ends know each other. */
export interface Security {
  /** The access token, or a function that returns one for each connection: a token may expire before the call ends. */
  readonly token?: string | (() => string | Promise<string>);
  /** SHA-256 fingerprints of development certificates: 64 hexadecimal digits (colons allowed), or base64. */
  readonly certificateHashes?: readonly string[];
}

/** What is spoken and played. */
export interface AudioOptions {
  /** Opus where the browser has it, else PCM16; `pcm16` forces that. */
  readonly codec?: "opus" | "pcm16";
  /** Where speech comes from: by default the microphone, echo cancelled. */
  readonly source?: AudioSource;
  /** Where answers go: by default the loudspeaker. */
  readonly sink?: AudioSink;
  /** Where the files of the worklets are, if not beside the library. */
  readonly workletUrls?: { readonly capture?: string | URL; readonly playback?: string | URL };
}

/** How to connect, and how long to try. */
export interface ConnectionOptions {
  /** Where the WebSocket is, `wss:` or in development `ws:`; by default that of the URL. Null: never a WebSocket. */
  readonly webSocketUrl?: string | null;
  /** What may carry the call, most wanted first; the first gets a head start. */
  readonly transports?: readonly TransportKind[];
  /** How long WebTransport is tried alone (default 500 ms). */
  readonly headStartMs?: number;
  /** How long `connect` tries (default 10 s). */
  readonly connectTimeoutMs?: number;
  /** Between two pings (default 250 ms); at most 500, so that an outage is noticed. */
  readonly heartbeatMs?: number;
  /** How long a lost call looks for another connection (default 60 s); 0 ends it at once. */
  readonly resumeTimeoutMs?: number;
}

/** How audio frames travel to the server (PROTOCOL.md 11). */
export interface UplinkOptions {
  /**
   * On a stream, complete, and late where packets are lost ("reliable", the default); over WebTransport also in
   * datagrams, complete, and seldom late ("hybrid"); or so that frames older than `limitMs` are given up ("deadline").
   * A WebSocket, and a server that knows no other, takes the first.
   */
  readonly mode?: UplinkMode;
  /** For the mode "deadline" (default 500 ms). */
  readonly limitMs?: number;
}

/** The options in their groups. */
export interface OptionGroups {
  readonly security?: Security;
  readonly audio?: AudioOptions;
  readonly connection?: ConnectionOptions;
  readonly uplink?: UplinkOptions;
  /** The agent's name; by default the server's default agent. */
  readonly agent?: string | null;
  /** What the agent may call, by name; see `VoiceClient.tool`. */
  readonly tools?: Readonly<Record<string, Tool>>;
}

/** The former flat spelling. */
type FlatOptions = Security & AudioOptions & ConnectionOptions & { readonly uplinkLimitMs?: number };

/** What `VoiceClient` takes: the groups, or with a deprecation warning their options directly. */
export type VoiceOptions = Omit<OptionGroups, "uplink"> & { readonly uplink?: UplinkOptions | UplinkMode } & {
  /** @deprecated Give it in its group, such as `security: { token }`. */
  readonly [name in keyof FlatOptions]?: FlatOptions[name];
};

type GroupName = Exclude<keyof OptionGroups, "agent" | "tools">;

/** The group and option of each flat option. */
const FLAT: Readonly<Record<keyof FlatOptions, readonly [GroupName, string]>> = {
  token: ["security", "token"],
  certificateHashes: ["security", "certificateHashes"],
  codec: ["audio", "codec"],
  source: ["audio", "source"],
  sink: ["audio", "sink"],
  workletUrls: ["audio", "workletUrls"],
  webSocketUrl: ["connection", "webSocketUrl"],
  transports: ["connection", "transports"],
  headStartMs: ["connection", "headStartMs"],
  connectTimeoutMs: ["connection", "connectTimeoutMs"],
  heartbeatMs: ["connection", "heartbeatMs"],
  resumeTimeoutMs: ["connection", "resumeTimeoutMs"],
  uplinkLimitMs: ["uplink", "limitMs"],
};

/** Return the groups, with each flat option moved into its group; throws `InvalidSetting` where that is given as well. */
export function grouped(options: VoiceOptions): OptionGroups {
  const { security, audio, connection, uplink, agent, tools } = options;
  const mode = typeof uplink === "string" ? uplink : undefined;
  const given: Readonly<Record<GroupName, object | undefined>> = {
    security,
    audio,
    connection,
    uplink: typeof uplink === "string" ? undefined : uplink,
  };
  const moved: Partial<Record<GroupName, Record<string, unknown>>> = {};
  const move = (flat: string, group: GroupName, option: string, value: unknown) => {
    if (value === undefined) {
      return;
    }
    const spelling = `${group}: { ${option} }`;
    if (given[group]) {
      throw new InvalidSetting(`VoiceClient got ${flat} and ${group}: give ${spelling} alone`);
    }
    warnRenamed(`the option ${flat} of VoiceClient`, spelling);
    (moved[group] ??= {})[option] = value;
  };
  move("uplink as a string", "uplink", "mode", mode);
  for (const [flat, [group, option]] of Object.entries(FLAT)) {
    move(flat, group, option, options[flat as keyof FlatOptions]);
  }
  const found = Object.entries({ ...given, ...moved, agent, tools }).filter(([, value]) => value !== undefined);
  return Object.fromEntries(found) as OptionGroups;
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
export function checkSettings(url: string, options: OptionGroups): Settings {
  const { security = {}, audio = {}, connection = {}, uplink = {} } = options;
  const target = parseUrl(url, ["https:"]);
  const heartbeatMs = connection.heartbeatMs ?? 250;
  if (!(heartbeatMs > 0 && heartbeatMs <= 500)) {
    throw new InvalidSetting(`connection.heartbeatMs is ${heartbeatMs}: give more than 0 and at most 500 ms`);
  }
  const { mode = "reliable", limitMs = 500 } = uplink;
  if (!UPLINK_MODES.includes(mode)) {
    throw new InvalidSetting(`uplink.mode is ${String(mode)}: choose one of ${UPLINK_MODES.join(", ")}`);
  }
  if (!(limitMs > 0)) {
    throw new InvalidSetting(`uplink.limitMs is ${limitMs}: give more than 0 ms`);
  }
  return {
    url: target,
    webSocketUrl: webSocketUrl(target, connection.webSocketUrl),
    certificateHashes: (security.certificateHashes ?? []).map(parseFingerprint),
    transports: connection.transports ?? ["webtransport", "websocket"],
    token: security.token,
    headStartMs: connection.headStartMs ?? 500,
    agent: options.agent ?? null,
    codec: audio.codec ?? "opus",
    connectTimeoutMs: connection.connectTimeoutMs ?? 10_000,
    heartbeatMs,
    resumeTimeoutMs: connection.resumeTimeoutMs ?? 60_000,
    uplink: mode,
    uplinkLimitMs: limitMs,
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
