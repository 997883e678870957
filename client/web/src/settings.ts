/** What a call is made of; every setting but the URL has a default. */
import type { AudioSink, AudioSource } from "./audio/base.js";

export interface VoiceOptions {
  /** The access token, or what gets a fresh one for each connection. */
  readonly token?: string | (() => string | Promise<string>);
  /** SHA-256 fingerprints of development certificates: 64 hexadecimal digits (colons allowed), or base64. */
  readonly certificateHashes?: readonly string[];
  /** Where the WebSocket is, `wss:` or in development `ws:`; by default that of the URL. Null: never a WebSocket. */
  readonly webSocketUrl?: string | null;
  /** What may carry the call, most wanted first; the first gets a head start. */
  readonly transports?: readonly ("webtransport" | "websocket")[];
  /** The head start of WebTransport before a WebSocket is tried beside it. */
  readonly headStartMs?: number;
  /** The agent's name; by default the server's default agent. */
  readonly agent?: string;
  /** Opus where the browser can, else PCM16; `pcm16` forces that. */
  readonly codec?: "opus" | "pcm16";
  /** Where speech comes from: by default the microphone, echo cancelled. */
  readonly source?: AudioSource;
  /** Where answers go: by default the loudspeaker. */
  readonly sink?: AudioSink;
  /** Where the files of the worklets are, if not beside the library. */
  readonly workletUrls?: { readonly capture?: string | URL; readonly playback?: string | URL };
  readonly connectTimeoutMs?: number;
  /** Between two pings; at most 500. */
  readonly heartbeatMs?: number;
  /** How long a lost call looks for another connection; 0 ends it at once. */
  readonly resumeTimeoutMs?: number;
}
