/** Infers why connecting failed from all attempts together: browsers do not give the reason of one. */
import { AccessRefused, CertificateRefused, NoAnswer, SessionRefused, UdpBlocked, Unreachable, type VoiceError } from "../../errors.js";
import type { Attempt } from "../../events.js";
import type { Settings } from "../../options.js";

const PROBE_TIMEOUT_MS = 2_000;

/** The error for a race in which no attempt succeeded. */
export async function diagnose(attempts: readonly Attempt[], settings: Settings): Promise<VoiceError> {
  const refused = refusal(attempts);
  if (refused) {
    return refused;
  }
  const failed = attempts.find((each) => each.transport === "webtransport")?.failure;
  if (failed && (await answersOverTcp(settings.webSocketUrl))) {
    return webTransportFailure(failed instanceof NoAnswer, settings);
  }
  const { host } = settings.url;
  const mistrusted = settings.certificateHashes.length ? ", or its certificate is not the pinned one or has expired" : "";
  return new Unreachable(`no connection to ${host}: no server answers there${mistrusted}`);
}

/** What the server itself said, where one of the attempts came so far. */
export function refusal(attempts: readonly Attempt[]): VoiceError | undefined {
  return attempts.map(({ failure }) => failure).find((each) => each instanceof AccessRefused || each instanceof SessionRefused);
}

/** An attempt beside one that succeeded: the server is there, so its failure has another reason. */
export function blame(attempt: Attempt, attempts: readonly Attempt[], settings: Settings): Attempt {
  const isServerThere = attempts.some((each) => each.transport === "websocket" && !each.failure);
  if (!attempt.failure || refusal([attempt]) || attempt.transport !== "webtransport" || !isServerThere) {
    return attempt;
  }
  return { ...attempt, failure: webTransportFailure(attempt.failure instanceof NoAnswer, settings) };
}

function webTransportFailure(isSilent: boolean, { url, certificateHashes }: Settings): VoiceError {
  if (isSilent) {
    return new UdpBlocked(`${url.host} answers over TCP, but the network lets no UDP through to it`);
  }
  return new CertificateRefused(
    certificateHashes.length
      ? `the certificate of ${url.host} is not the pinned one, or has expired`
      : `the browser does not trust the certificate of ${url.host}, or no server listens on its UDP port`,
  );
}

/** Whether the server takes a WebSocket: unlike `fetch`, one may be opened to another origin from any page. */
function answersOverTcp(webSocketUrl: URL | null): Promise<boolean> {
  if (webSocketUrl === null) {
    return Promise.resolve(false);
  }
  const url = new URL(webSocketUrl);
  url.searchParams.set("refusal", "close");
  return new Promise((resolve) => {
    const socket = new WebSocket(url);
    const timer = setTimeout(() => socket.close(), PROBE_TIMEOUT_MS);
    socket.onopen = () => {
      resolve(true);
      socket.close();
    };
    socket.onclose = () => {
      clearTimeout(timer);
      resolve(false);
    };
  });
}
