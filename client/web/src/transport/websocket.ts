/** A call over one WebSocket, where UDP does not get through or the browser has no WebTransport. */
import { CallLost, sessionEnded, Unreachable } from "../errors.js";
import { CloseCode, Kind, Malformed, type UplinkMode, WEBSOCKET_CLOSE_BASE } from "../wire/codepoints.js";
import { type AudioFrame, concat, decodeAudioFrame, decodeVarint, encodeAudioFrame } from "../wire/framing.js";
import { type ClientMessage, decodeServerMessage, encodeMessage, type Ready } from "../wire/messages.js";
import type { Link, LinkHandler } from "./link.js";

const MAX_REASON_BYTES = 123;

/** Open a socket; it is closed where `signal` aborts first. */
export function openWebSocket(url: string, handler: LinkHandler, signal: AbortSignal): Promise<Link> {
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    const socket = new WebSocket(url);
    socket.binaryType = "arraybuffer";
    const abandon = () => {
      socket.close();
      reject(signal.reason as Error);
    };
    signal.addEventListener("abort", abandon, { once: true });
    socket.onopen = () => {
      signal.removeEventListener("abort", abandon);
      resolve(new WebSocketLink(socket, handler));
    };
    socket.onclose = () => {
      signal.removeEventListener("abort", abandon);
      reject(new Unreachable("no WebSocket: the server did not answer, or refused"));
    };
  });
}

class WebSocketLink implements Link {
  readonly kind = "websocket";
  readonly hasDatagrams = false;
  #isOver = false;

  constructor(
    private readonly socket: WebSocket,
    private readonly handler: LinkHandler,
  ) {
    socket.onmessage = ({ data }: MessageEvent<ArrayBuffer>) => this.#received(new Uint8Array(data));
    socket.onclose = ({ code, reason }) => this.#closed(code, reason);
  }

  send(message: ClientMessage): void {
    this.#send(Kind.CONTROL, encodeMessage(message));
  }

  beginUplink(_ready: Ready, again: readonly AudioFrame[]): UplinkMode {
    again.forEach((frame) => this.sendFrame(frame));
    return "reliable";
  }

  sendFrame(frame: AudioFrame): void {
    this.#send(Kind.UPLINK_AUDIO, encodeAudioFrame(frame));
  }

  pathChanged(): void {} // TCP measures its path itself

  close(code: number, reason: string): void {
    this.#isOver = true;
    let text = reason;
    while (new TextEncoder().encode(text).length > MAX_REASON_BYTES) {
      text = text.slice(0, -1);
    }
    this.socket.close(WEBSOCKET_CLOSE_BASE + code, text);
  }

  leave(): void {
    this.close(CloseCode.TAKEN_OVER, "the caller goes on over another connection");
  }

  #send(kind: number, body: Uint8Array): void {
    if (!this.#isOver) {
      this.socket.send(concat(Uint8Array.of(kind), body) as Uint8Array<ArrayBuffer>);
    }
  }

  #received(bytes: Uint8Array): void {
    if (this.#isOver) {
      return;
    }
    const fault = this.#dispatch(bytes[0], bytes.subarray(1));
    if (fault) {
      this.handler.faultFound(this, fault);
    }
  }

  #dispatch(kind: number | undefined, body: Uint8Array): Malformed | undefined {
    if (kind === undefined) {
      return new Malformed("a message begins with its kind, an empty one arrived");
    }
    if (kind === Kind.CONTROL) {
      const message = decodeServerMessage(body);
      if (message instanceof Malformed) {
        return message;
      }
      if (message) {
        this.handler.messageReceived(this, message);
      }
      return undefined;
    }
    if (kind !== Kind.DOWNLINK_AUDIO && kind !== Kind.END && kind !== Kind.RESET) {
      return undefined;
    }
    const utteranceId = decodeVarint(body, 0);
    if (!utteranceId) {
      return new Malformed("a message of speech names its utteranceId");
    }
    if (kind !== Kind.DOWNLINK_AUDIO) {
      this.handler.speechEnded(this, utteranceId.value);
      return undefined;
    }
    const frame = decodeAudioFrame(body.subarray(utteranceId.end));
    if (frame instanceof Malformed) {
      return frame;
    }
    this.handler.frameReceived(this, utteranceId.value, frame);
    return undefined;
  }

  #closed(code: number, reason: string): void {
    if (this.#isOver) {
      return;
    }
    this.#isOver = true;
    const sessionCode = code - WEBSOCKET_CLOSE_BASE;
    if (sessionCode === CloseCode.NORMAL) {
      this.handler.lost(this, null);
    } else if (sessionCode > 0 && sessionCode < 1000) {
      this.handler.lost(this, sessionEnded(sessionCode, reason));
    } else {
      this.handler.lost(this, new CallLost(`the connection was lost: WebSocket closed with code ${code}`));
    }
  }
}
