/** How frames leave over one WebTransport session: on its uplink stream, or in datagrams where the server agreed. */
import { Malformed, StreamType, type UplinkMode } from "../wire/codepoints.js";
import { decodeUplinkReport } from "../wire/datagrams.js";
import { type AudioFrame, encodeAudioFrame, encodeVarint, lengthPrefixed } from "../wire/framing.js";
import type { Ready } from "../wire/messages.js";
import { type Outgoing, UplinkSender, type UplinkTerms } from "./sender.js";

/** What the browser could not send for so long is sent again by then, and would only delay what is new. */
const MAX_AGE_MS = 250;
/** As many datagrams may wait in the browser before frames take the stream. */
const MOST_WAITING = 8;

/** Begins the uplink stream, which `writeStream` writes; `begin` once the server is ready, `close` when it is left. */
export class UplinkPath {
  #sender: UplinkSender | undefined;
  #writer: WritableStreamDefaultWriter<Uint8Array> | undefined;
  #waiting = 0;
  #timer: { readonly at: number; readonly id: ReturnType<typeof setTimeout> } | undefined;

  constructor(
    private readonly datagrams: WebTransportDatagramDuplexStream | undefined,
    private readonly writeStream: (bytes: Uint8Array) => void,
    private readonly faultFound: (fault: Malformed) => void,
  ) {
    writeStream(encodeVarint(StreamType.UPLINK_AUDIO));
  }

  get hasDatagrams(): boolean {
    return (this.datagrams?.maxDatagramSize ?? 0) > 0;
  }

  /** Send the frames that the server wants `again`, and from now on in the mode that this returns. */
  begin(ready: Ready, again: readonly AudioFrame[], { limitMs, counters }: UplinkTerms): UplinkMode {
    again.forEach((frame) => this.#sendOnStream(frame));
    const { datagrams } = this;
    const { uplink: mode } = ready;
    if (!datagrams || (mode !== "hybrid" && mode !== "deadline")) {
      return "reliable";
    }
    const sender = new UplinkSender(
      ready.next_sequence,
      () => datagrams.maxDatagramSize,
      counters,
      performance.now(),
      mode === "deadline" ? limitMs : undefined,
    );
    again.forEach((frame) => sender.onStream(frame));
    this.#sender = sender;
    datagrams.outgoingMaxAge = MAX_AGE_MS;
    datagrams.outgoingHighWaterMark = MOST_WAITING;
    this.#writer = writableOf(datagrams).getWriter();
    void this.#readReports(datagrams.readable as ReadableStream<Uint8Array>);
    return mode;
  }

  /** Send the next frame. */
  send(frame: AudioFrame): void {
    if (!this.#sender) {
      this.#sendOnStream(frame);
      return;
    }
    const now = performance.now();
    this.#sendAll(this.#sender.append(frame, now, this.#waiting < MOST_WAITING));
    if (now >= (this.#sender.deadline ?? Infinity)) {
      this.#sendAll(this.#sender.tick(now)); // timers are slow in a hidden tab
    }
  }

  /** What is sent from now on takes another path. */
  pathChanged(): void {
    this.#sender?.pathChanged(performance.now());
  }

  /** Send nothing any more. */
  close(): void {
    this.#sender = undefined;
    clearTimeout(this.#timer?.id);
  }

  async #readReports(readable: ReadableStream<Uint8Array>): Promise<void> {
    const reader = readable.getReader();
    try {
      for (let next = await reader.read(); !next.done && this.#sender; next = await reader.read()) {
        const report = decodeUplinkReport(next.value);
        if (report === null) {
          continue;
        }
        const outgoing = report instanceof Malformed ? report : this.#sender.reportReceived(report, performance.now());
        if (outgoing instanceof Malformed) {
          this.faultFound(outgoing);
          return;
        }
        this.#sendAll(outgoing);
      }
    } catch {
      // the session ended: see `closed`
    }
  }

  #sendAll(outgoing: readonly Outgoing[]): void {
    for (const each of outgoing) {
      if (each instanceof Uint8Array) {
        this.#sendDatagram(each);
      } else {
        this.#sendOnStream(each);
      }
    }
    this.#arm();
  }

  /** One that cannot be sent is as good as lost. */
  #sendDatagram(bytes: Uint8Array): void {
    this.#waiting++;
    const done = () => void this.#waiting--;
    this.#writer?.write(bytes).then(done, done);
  }

  #sendOnStream(frame: AudioFrame): void {
    this.writeStream(lengthPrefixed(encodeAudioFrame(frame)));
  }

  #arm(): void {
    const at = this.#sender?.deadline;
    if (at !== undefined && this.#timer && this.#timer.at <= at) {
      return;
    }
    clearTimeout(this.#timer?.id);
    this.#timer =
      at === undefined ? undefined : { at, id: setTimeout(() => this.#fired(at), Math.max(0, at - performance.now())) };
  }

  #fired(at: number): void {
    this.#timer = undefined;
    if (this.#sender) {
      // a timer may come a little early, by the resolution of its clock
      this.#sendAll(this.#sender.tick(Math.max(at, performance.now())));
    }
  }
}

/** The standard makes writables on demand now; browsers that came before it have one. */
function writableOf(datagrams: WebTransportDatagramDuplexStream): WritableStream<Uint8Array> {
  const { createWritable } = datagrams as { createWritable?: () => WritableStream<Uint8Array> };
  return createWritable ? createWritable.call(datagrams) : (datagrams.writable as WritableStream<Uint8Array>);
}
