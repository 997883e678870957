/** How this browser reaches the gateway, and what to say when it cannot. */
import type { Connect } from "../call.js";
import { type ConnectError, Unreachable, Unsupported, VoiceError } from "../errors.js";
import type { TransportKind } from "../events.js";
import type { Settings } from "../settings.js";
import type { Dial } from "./base.js";
import { diagnose } from "./diagnosis.js";
import { race, RaceLost, type Runner } from "./race.js";
import { persistently } from "./redial.js";
import { openWebSocket } from "./websocket.js";
import { openWebTransport } from "./webtransport.js";

/** The first try waits for a distant server; later ones know that a load balancer can lead astray. */
const FIRST_TRY_MS = 3_000;
const NEXT_TRY_MS = 600;

/** The connector of a call: WebTransport with a head start, then a WebSocket beside it. */
export function connector(settings: Settings): Connect {
  let hasConnected = false;
  return async (handler, signal, wanted) => {
    const runners = settings.transports
      .filter((kind) => wanted === undefined || kind === wanted)
      .map((kind) => runner(kind, settings, hasConnected ? NEXT_TRY_MS : FIRST_TRY_MS))
      .filter((each) => each !== undefined);
    if (!runners.length) {
      throw new Unsupported("this browser has no WebTransport, and there is no WebSocket to fall back to");
    }
    try {
      const won = await race(runners, settings.headStartMs, handler, signal);
      hasConnected = true;
      return won;
    } catch (error) {
      throw error instanceof RaceLost ? diagnose(error.attempts, settings) : error;
    }
  };
}

function runner(kind: TransportKind, settings: Settings, firstTryMs: number): Runner | undefined {
  if (kind === "webtransport") {
    const dial: Dial = async (handler, signal) =>
      openWebTransport(await address(settings.url, settings), settings.certificateHashes, handler, signal);
    return typeof WebTransport === "undefined" ? undefined : { kind, dial: persistently(dial, firstTryMs) };
  }
  const { webSocketUrl } = settings;
  if (webSocketUrl === null) {
    return undefined;
  }
  const dial: Dial = async (handler, signal) => openWebSocket(await address(webSocketUrl, settings), handler, signal);
  return { kind, dial: persistently(dial, FIRST_TRY_MS) };
}

/** Browsers cannot set the headers of either: the token goes into the query. */
async function address(url: URL, { token }: Settings): Promise<string> {
  const whole = new URL(url);
  const current = typeof token === "function" ? await token() : token;
  if (current !== undefined) {
    whole.searchParams.set("token", current);
  }
  return whole.href;
}

/** What `connect` rejects with after `timeoutMs`. */
export function timedOut(url: URL, timeoutMs: number): ConnectError {
  return new Unreachable(`no answer from ${url.host} within ${timeoutMs / 1000} s`);
}

/** Whether an error is one that may be shown. */
export function isVoiceError(error: unknown): error is VoiceError {
  return error instanceof VoiceError;
}
