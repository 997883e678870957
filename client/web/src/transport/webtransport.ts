/** A call over WebTransport: a control stream, an uplink stream, and one stream from the server for each answer. */
import { CallLost, sessionEnded, sessionRefused, Unreachable, type VoiceError } from "../errors.js";
import { UplinkPath } from "../uplink/path.js";
import type { UplinkTerms } from "../uplink/sender.js";
import { CloseCode, Malformed, MAX_CONTROL_BYTES, type UplinkMode } from "../wire/codepoints.js";
import { DownlinkStream } from "./downlink-stream.js";
import { type AudioFrame, lengthPrefixed, LengthPrefixedReader } from "../wire/framing.js";
import { type ClientMessage, decodeServerMessage, encodeMessage, type Ready } from "../wire/messages.js";
import type { Link, LinkHandler } from "./link.js";

/** A refused session closes at once, and its streams cannot be opened a moment before the reason is there. */
const REFUSAL_WAIT_MS = 200;

/** Open a session; it is `close`d where `signal` aborts first. */
export async function openWebTransport(
  url: string,
  certificateHashes: readonly Uint8Array<ArrayBuffer>[],
  handler: LinkHandler,
  signal: AbortSignal,
): Promise<Link> {
  signal.throwIfAborted();
  const session = new WebTransport(url, {
    congestionControl: "low-latency",
    ...(certificateHashes.length && {
      serverCertificateHashes: certificateHashes.map((value) => ({ algorithm: "sha-256", value })),
    }),
  });
  const abandon = () => session.close();
  signal.addEventListener("abort", abandon);
  session.closed.catch(() => undefined); // `ready` rejects too
  try {
    await session.ready;
    const control = await session.createBidirectionalStream();
    const uplink = await session.createUnidirectionalStream();
    signal.throwIfAborted();
    return new WebTransportLink(session, control, uplink, handler);
  } catch (error) {
    signal.throwIfAborted();
    const refusal = await refused(session);
    abandon();
    if (refusal) {
      throw refusal;
    }
    throw new Unreachable(`no WebTransport session: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    signal.removeEventListener("abort", abandon);
  }
}

/** Why the server closed a session as soon as it was open; undefined where it never was. */
async function refused(session: WebTransport): Promise<VoiceError | undefined> {
  const unknown = new Promise<undefined>((resolve) => setTimeout(resolve, REFUSAL_WAIT_MS));
  const closed = await Promise.race([session.closed.catch(() => undefined), unknown]);
  return closed?.closeCode ? sessionRefused(closed.closeCode, closed.reason ?? "") : undefined;
}

class WebTransportLink implements Link {
  readonly kind = "webtransport";
  readonly #session: WebTransport;
  readonly #handler: LinkHandler;
  readonly #control: WritableStreamDefaultWriter<Uint8Array>;
  readonly #uplink: UplinkPath;
  #isOver = false;

  constructor(
    session: WebTransport,
    control: WebTransportBidirectionalStream,
    uplink: WritableStream<Uint8Array>,
    handler: LinkHandler,
  ) {
    this.#session = session;
    this.#handler = handler;
    this.#control = (control.writable as WritableStream<Uint8Array>).getWriter();
    const stream = uplink.getWriter();
    this.#uplink = new UplinkPath(session.datagrams, (bytes) => this.#write(stream, bytes), (fault) => {
      handler.faultFound(this, fault);
    });
    void this.#readControl(control.readable as ReadableStream<Uint8Array>);
    void this.#acceptStreams();
    session.closed.then(
      ({ closeCode, reason }) => this.#lost(closeCode ? sessionEnded(closeCode, reason ?? "") : null),
      (error: unknown) => this.#lost(new CallLost(`the connection was lost: ${String(error)}`)),
    );
  }

  get hasDatagrams(): boolean {
    return this.#uplink.hasDatagrams;
  }

  send(message: ClientMessage): void {
    this.#write(this.#control, lengthPrefixed(encodeMessage(message)));
  }

  beginUplink(ready: Ready, again: readonly AudioFrame[], terms: UplinkTerms): UplinkMode {
    return this.#uplink.begin(ready, again, terms);
  }

  sendFrame(frame: AudioFrame): void {
    this.#uplink.send(frame);
  }

  pathChanged(): void {
    this.#uplink.pathChanged();
  }

  close(code: number, reason: string): void {
    this.#isOver = true;
    this.#uplink.close();
    this.#session.close({ closeCode: code, reason });
  }

  leave(): void {
    this.close(CloseCode.TAKEN_OVER, "the caller goes on over another connection");
  }

  /** The stream keeps the order and what does not fit yet; its failure ends the session, which `closed` reports. */
  #write(writer: WritableStreamDefaultWriter<Uint8Array>, bytes: Uint8Array): void {
    if (!this.#isOver) {
      writer.write(bytes).catch(() => undefined);
    }
  }

  async #readControl(readable: ReadableStream<Uint8Array>): Promise<void> {
    const reader = new LengthPrefixedReader(MAX_CONTROL_BYTES);
    await this.#read(readable, (bytes) => {
      const bodies = reader.feed(bytes);
      if (bodies instanceof Malformed) {
        return bodies;
      }
      for (const body of bodies) {
        const message = decodeServerMessage(body);
        if (message instanceof Malformed) {
          return message;
        }
        if (message && !this.#isOver) {
          this.#handler.messageReceived(this, message);
        }
      }
      return undefined;
    });
  }

  async #acceptStreams(): Promise<void> {
    const streams = (this.#session.incomingUnidirectionalStreams as ReadableStream<ReadableStream<Uint8Array>>).getReader();
    try {
      for (let next = await streams.read(); !next.done; next = await streams.read()) {
        void this.#readSpeech(next.value);
      }
    } catch {
      // the session ended: see `closed`
    }
  }

  async #readSpeech(readable: ReadableStream<Uint8Array>): Promise<void> {
    const stream = new DownlinkStream();
    await this.#read(readable, (bytes) => {
      const frames = stream.feed(bytes);
      if (frames instanceof Malformed) {
        return frames;
      }
      for (const frame of frames) {
        this.#handler.frameReceived(this, stream.utteranceId!, frame);
      }
      return undefined;
    });
    if (stream.utteranceId !== undefined && !this.#isOver) {
      this.#handler.speechEnded(this, stream.utteranceId);
    }
  }

  /** Read to the end, a reset or the first fault. */
  async #read(readable: ReadableStream<Uint8Array>, take: (bytes: Uint8Array) => Malformed | undefined): Promise<void> {
    const reader = readable.getReader();
    try {
      for (let next = await reader.read(); !next.done && !this.#isOver; next = await reader.read()) {
        const fault = take(next.value);
        if (fault) {
          this.#handler.faultFound(this, fault);
          return;
        }
      }
    } catch {
      // a reset stream (barge-in), or the session's end
    }
  }

  #lost(error: VoiceError | null): void {
    if (!this.#isOver) {
      this.#isOver = true;
      this.#uplink.close();
      this.#handler.lost(this, error);
    }
  }
}
