/** The message for each failure: what it is, what the caller can do. */
import type { ErrorKind } from "../src/errors.js";

export interface Advice {
  readonly title: string;
  readonly remedy: string;
  readonly needsToken?: boolean;
}

const ADVICE: Readonly<Record<ErrorKind, Advice>> = {
  "microphone-missing": {
    title: "There is no microphone",
    remedy: "Plug one in, or choose one in the system's sound settings, and call again.",
  },
  "microphone-denied": {
    title: "The microphone is not allowed",
    remedy: "Allow the microphone for this page, by the icon beside its address, and call again.",
  },
  "microphone-failed": {
    title: "The microphone does not work",
    remedy: "Another program may hold it. Close that one, and call again.",
  },
  "udp-blocked": {
    title: "This network lets no UDP through",
    remedy: "WebTransport needs UDP, and the way around it over TCP is closed too. Try another network.",
  },
  unreachable: {
    title: "The server does not answer",
    remedy: "See whether you are online and whether the gateway runs, and call again.",
  },
  "certificate-refused": {
    title: "The server's certificate is not accepted",
    remedy:
      "A development certificate is good for 13 days: run “make setup”, restart the gateway and reload this page.",
  },
  "access-refused": {
    title: "The access token is refused",
    remedy: "It is missing, wrong or expired. Enter the one you were given.",
    needsToken: true,
  },
  "session-refused": {
    title: "The server takes no call now",
    remedy: "It may be full, or about to restart. Call again in a moment.",
  },
  "call-lost": {
    title: "The call is lost",
    remedy:
      "It could not be taken up again in time. What was ordered until then is on the receipt; call again to go on.",
  },
  "session-failed": { title: "The server ended the call", remedy: "Call again to start over." },
  "server-drained": { title: "The server went away", remedy: "Call again: another one will answer." },
  "protocol-fault": {
    title: "The server said something that makes no sense",
    remedy: "This page and the gateway may be of different versions: reload the page.",
  },
  "message-error": {
    title: "That could not be sent",
    remedy: "It may be too long, or the gateway of an older version. Say it instead.",
  },
  "uplink-full": {
    title: "The server does not keep up",
    remedy: "The network is too slow for speech. Try another one.",
  },
  unsupported: {
    title: "This browser cannot hold a call",
    remedy: "A current Chrome, Edge, Firefox or Safari can, over https or on this machine.",
  },
  "invalid-setting": { title: "This page is not set up", remedy: "The gateway's [page] settings need a look." },
};

/** The message for an error of this kind. */
export function adviceFor(kind: ErrorKind): Advice {
  return ADVICE[kind];
}

/** The message for an expired certificate. */
export function expiry(expires: string | null, now: Date): string | null {
  if (expires === null || now < new Date(expires)) return null;
  return `The certificate expired on ${expires.slice(0, 10)}.`;
}
