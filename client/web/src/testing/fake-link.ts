/** Links and a sink for tests: what a call sends is written down, and the test is the server. */
import type { AudioSink, SinkHandler } from "../audio/base.js";
import type { VoiceError } from "../errors.js";
import type { TransportKind } from "../events.js";
import type { Link, LinkHandler } from "../transport/link.js";
import type { UplinkMode } from "../wire/codepoints.js";
import type { AudioFrame } from "../wire/framing.js";
import type { ClientMessage, Ready, ServerMessage } from "../wire/messages.js";

export class FakeLink implements Link {
  readonly sent: ClientMessage[] = [];
  readonly frames: number[] = [];
  pathChanges = 0;
  ending: string | undefined;

  constructor(
    readonly kind: TransportKind,
    private readonly handler: LinkHandler,
  ) {}

  send(message: ClientMessage): void {
    this.sent.push(message);
  }

  get hasDatagrams(): boolean {
    return this.kind === "webtransport";
  }

  beginUplink(ready: Ready, again: readonly AudioFrame[]): UplinkMode {
    again.forEach((frame) => this.sendFrame(frame));
    return ready.uplink as UplinkMode;
  }

  sendFrame(frame: AudioFrame): void {
    this.frames.push(frame.sequence);
  }

  pathChanged(): void {
    this.pathChanges++;
  }

  close(code: number, reason: string): void {
    this.ending = `closed ${code} ${reason}`.trim();
  }

  leave(): void {
    this.ending = "left";
  }

  // The server

  /** All that the call sent of this type. */
  of<T extends ClientMessage["type"]>(type: T): Extract<ClientMessage, { type: T }>[] {
    return this.sent.filter((each): each is Extract<ClientMessage, { type: T }> => each.type === type);
  }

  say(message: ServerMessage): void {
    this.handler.messageReceived(this, message);
  }

  ready(nextSequence = 0, worker = "worker-1", uplink: UplinkMode = "reliable", nextMessage: number | null = 0): void {
    const token = `token at ${worker}`;
    this.say({
      type: "ready",
      session: "5f2c",
      worker,
      codec: 3,
      next_sequence: nextSequence,
      token,
      resume_window_s: 60,
      version: 1,
      uplink,
      next_message: nextMessage,
    });
  }

  /** Answer every ping so far. */
  pong(): void {
    for (const { id } of this.of("ping")) {
      this.say({ type: "pong", id });
    }
  }

  speak(utteranceId: number, frame: AudioFrame): void {
    this.handler.frameReceived(this, utteranceId, frame);
  }

  end(utteranceId: number): void {
    this.handler.speechEnded(this, utteranceId);
  }

  lose(error: VoiceError | null): void {
    this.handler.lost(this, error);
  }
}

/** Plays when `play` is called. */
export class FakeSink implements AudioSink {
  position = 0;
  written = 0;
  /** When sample 0 left, as `performance.now()` counts; undefined: it does not know. */
  beganAt: number | undefined;
  #handler: SinkHandler | undefined;

  open(handler: SinkHandler): Promise<{ sampleRate: number }> {
    this.#handler = handler;
    return Promise.resolve({ sampleRate: 48_000 });
  }

  write(samples: Float32Array): void {
    this.written += samples.length;
  }

  flush(): void {
    const playedTo = this.position;
    this.position = this.written;
    this.#handler?.flushed(playedTo, this.position);
  }

  reachedAt(position: number): number | undefined {
    return this.beganAt === undefined ? undefined : this.beganAt + position / 48;
  }

  close(): void {}

  /** Let time pass at the loudspeaker. */
  play(ms: number): void {
    this.position = Math.min(this.written, this.position + ms * 48);
    this.#handler?.played(this.position);
  }
}
