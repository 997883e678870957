/** How this browser reaches the gateway, and what to say when it cannot. */
import type { Connect } from "../../call/call-settings.js";
import { NoAnswer, UdpBlocked, Unreachable, Unsupported, type VoiceError } from "../../errors.js";
import type { TransportKind } from "../../events.js";
import type { Settings } from "../../options.js";
import type { Dial } from "../link.js";
import { blame, diagnose, refusal } from "./diagnosis.js";
import { race, RaceLost, type Runner } from "./race.js";
import { firstTimeoutMs, retrying } from "../redial.js";
import { openWebSocket } from "../websocket.js";
import { openWebTransport } from "../webtransport.js";

/** The first try waits for a distant server; later ones are shorter, as a load balancer may choose a worker that is gone. */
const FIRST_TRY_MS = 3_000;
const NEXT_TRY_MS = 600;

/** The connector of a call: WebTransport with a head start, then a WebSocket beside it. */
export function connector(settings: Settings): Connect {
  let connectedBy: TransportKind | undefined;
  let lostRaces = 0;
  return async (handler, signal, wanted) => {
    const runners = settings.transports
      .filter((kind) => wanted === undefined || kind === wanted)
      .map((kind) => {
        const firstTryMs = connectedBy ? firstTimeoutMs(NEXT_TRY_MS, lostRaces) : FIRST_TRY_MS;
        // it worked before: a network that is just changing is no reason to prefer another way
        const retryForMs = connectedBy === kind && lostRaces === 0 ? settings.headStartMs : 0;
        return runner(kind, settings, firstTryMs, retryForMs);
      })
      .filter((each) => each !== undefined);
    if (!runners.length) {
      throw new Unsupported("this browser has no WebTransport, and there is no WebSocket to fall back to");
    }
    try {
      const { link, attempts, tookMs } = await race(runners, settings.headStartMs, handler, signal);
      connectedBy = link.kind;
      lostRaces = 0;
      const explained = attempts.map((each) => blame(each, attempts, settings));
      return { link, chosen: { type: "transport", transport: link.kind, tookMs, attempts: explained } };
    } catch (error) {
      if (!(error instanceof RaceLost)) {
        throw error;
      }
      lostRaces++;
      if (connectedBy) {
        // no diagnosis: its probe would find a network that came back meanwhile, and blame the certificate
        throw refusal(error.attempts) ?? new Unreachable(`no connection to ${settings.url.host} just now`);
      }
      throw await diagnose(error.attempts, settings);
    }
  };
}

function runner(
  kind: TransportKind,
  settings: Settings,
  firstTryMs: number,
  retryForMs: number,
): Runner | undefined {
  if (kind === "webtransport") {
    const dial: Dial = async (handler, signal) =>
      openWebTransport(await address(settings.url, settings), settings.certificateHashes, handler, signal);
    return typeof WebTransport === "undefined" ? undefined : { kind, dial: retrying(dial, firstTryMs, retryForMs) };
  }
  const { webSocketUrl } = settings;
  if (webSocketUrl === null) {
    return undefined;
  }
  const dial: Dial = async (handler, signal) => openWebSocket(await address(webSocketUrl, settings), handler, signal);
  return { kind, dial: retrying(dial, FIRST_TRY_MS) };
}

/** Browsers cannot set the headers of either, and cannot read the answer's: the query serves. */
async function address(url: URL, { token }: Settings): Promise<string> {
  const whole = new URL(url);
  whole.searchParams.set("refusal", "close"); // a page does not see the status of an answer
  const current = typeof token === "function" ? await token() : token;
  if (current !== undefined) {
    whole.searchParams.set("token", current);
  }
  return whole.href;
}

/** What `connect` rejects with where nothing came of it in time. */
export async function timedOut(settings: Settings): Promise<VoiceError> {
  const seconds = settings.connectTimeoutMs / 1000;
  const failure = new NoAnswer(`no answer from ${settings.url.host} within ${seconds} s`);
  const silent = { transport: "webtransport", startedMs: 0, endedMs: settings.connectTimeoutMs, failure } as const;
  const diagnosed = await diagnose([silent], settings);
  return diagnosed instanceof UdpBlocked ? diagnosed : failure;
}
