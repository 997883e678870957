/**
 * Why there is no call, or why it ended.
 *
 *     VoiceError
 *     ├── InvalidSetting        a URL, a certificate hash or an option cannot be used
 *     ├── Unsupported           this browser or this page cannot hold a call
 *     ├── MicrophoneError
 *     │   ├── MicrophoneMissing   there is none
 *     │   ├── MicrophoneDenied    the user or a policy denied it
 *     │   └── MicrophoneFailed    another program has it, or it went away
 *     ├── UplinkFull            the caller sends faster than the server acknowledges
 *     ├── MessageError          a text, a message or a tool's result cannot be sent
 *     ├── ConnectError          there is no session, and there never was
 *     │   ├── Unreachable         no answer, or the port is closed
 *     │   ├── UdpBlocked          the server answers over TCP, WebTransport's datagrams do not get through
 *     │   ├── CertificateRefused  the certificate is not the pinned one, has expired, or no trusted authority issued it
 *     │   ├── AccessRefused       the token is missing, wrong or expired
 *     │   └── SessionRefused      the server declines for another reason
 *     ├── CallLost              the connection ended and could not be replaced
 *     ├── SessionFailed         the server ended the session; `code` says why
 *     │   └── ServerDrained       the worker went away before the call was finished
 *     └── ProtocolFault         the server broke the voice protocol
 *
 * The message is always one sentence that can be shown to a person; `kind` is for programs.
 */
import { CloseCode, closeCodeName } from "./wire/codepoints.js";

export type ErrorKind =
  | "invalid-setting"
  | "unsupported"
  | "microphone-missing"
  | "microphone-denied"
  | "microphone-failed"
  | "uplink-full"
  | "message-error"
  | "unreachable"
  | "udp-blocked"
  | "certificate-refused"
  | "access-refused"
  | "session-refused"
  | "call-lost"
  | "session-failed"
  | "server-drained"
  | "protocol-fault";

/** The base of all errors that the client throws or reports in `closed`. */
export abstract class VoiceError extends Error {
  abstract readonly kind: ErrorKind;

  /** `MicrophoneDenied` for `microphone-denied`: a minifier does not keep the names of classes. */
  override get name(): string {
    return this.kind.replace(/(?:^|-)(.)/g, (_, letter: string) => letter.toUpperCase());
  }
}

export class InvalidSetting extends VoiceError {
  readonly kind = "invalid-setting";
}

export class Unsupported extends VoiceError {
  readonly kind = "unsupported";
}

export abstract class MicrophoneError extends VoiceError {}

export class MicrophoneMissing extends MicrophoneError {
  readonly kind = "microphone-missing";
}

export class MicrophoneDenied extends MicrophoneError {
  readonly kind = "microphone-denied";
}

export class MicrophoneFailed extends MicrophoneError {
  readonly kind = "microphone-failed";
}

export class UplinkFull extends VoiceError {
  readonly kind = "uplink-full";
}

/** A message is not plain or too large, too many are unacked, or the server takes none. */
export class MessageError extends VoiceError {
  readonly kind = "message-error";
}

/** No session came about. */
export abstract class ConnectError extends VoiceError {}

export class Unreachable extends ConnectError {
  readonly kind = "unreachable";
}

/** An attempt to connect was given up because nothing came back. */
export class NoAnswer extends Unreachable {}

export class UdpBlocked extends ConnectError {
  readonly kind = "udp-blocked";
}

export class CertificateRefused extends ConnectError {
  readonly kind = "certificate-refused";
}

export class AccessRefused extends ConnectError {
  readonly kind = "access-refused";
}

export class SessionRefused extends ConnectError {
  readonly kind = "session-refused";
}

/** The connection ended while the call was going on, and no other one could carry it. */
export class CallLost extends VoiceError {
  readonly kind = "call-lost";
}

/** The server ended the session; `code` is the protocol's number for the reason. */
export class SessionFailed extends VoiceError {
  readonly kind: "session-failed" | "server-drained" = "session-failed";

  constructor(
    message: string,
    readonly code: number,
    readonly reason = "",
  ) {
    super(message);
  }
}

export class ServerDrained extends SessionFailed {
  override readonly kind = "server-drained";
}

export class ProtocolFault extends VoiceError {
  readonly kind = "protocol-fault";
}

/** The error for a session that was refused before it began. */
export function sessionRefused(code: number, reason: string): VoiceError {
  if (code === CloseCode.UNAUTHORISED) {
    return new AccessRefused(`the server refused the access token (${reason})`);
  }
  if (code === CloseCode.OVERLOADED) {
    return new SessionRefused(`the server takes no more calls now (${reason})`);
  }
  return sessionEnded(code, reason);
}

/** The error for a session that the server closed with `code`. */
export function sessionEnded(code: number, reason: string): SessionFailed {
  const because = reason ? ` (${reason})` : "";
  if (code === CloseCode.DRAINING) {
    return new ServerDrained(`the server went away before the call was finished${because}`, code, reason);
  }
  return new SessionFailed(`the server ended the call: ${closeCodeName(code)}${because}`, code, reason);
}
