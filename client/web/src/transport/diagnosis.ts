/** Browsers say little about why a connection failed; this is what the attempts tell when put together. */
import { CertificateRefused, type ConnectError, Unreachable } from "../errors.js";
import type { Attempt } from "../events.js";
import type { Settings } from "../settings.js";

/** The error for a race that nobody won. */
export function diagnose(attempts: readonly Attempt[], settings: Settings): ConnectError {
  void CertificateRefused;
  const first = attempts[0]?.failure;
  return first instanceof Unreachable ? first : new Unreachable(`no connection to ${settings.url.host}`);
}
