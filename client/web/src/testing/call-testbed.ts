/** A call among fake links, a fake loudspeaker and fake time. */
import { vi } from "vitest";
import { Player, type PlayerHandler } from "../audio/player.js";
import { Call } from "../call/call.js";
import type { VoiceError } from "../errors.js";
import type { TransportKind, VoiceEvent } from "../events.js";
import type { Link } from "../transport/link.js";
import { Codec, type UplinkMode } from "../wire/codepoints.js";
import { FakeLink, FakeSink } from "./fake-link.js";

const TICK_MS = 50;
export const FRAME_MS = 20;

export class CallTestbed {
  readonly events: VoiceEvent[] = [];
  readonly links: FakeLink[] = [];
  readonly sink = new FakeSink();
  readonly call: Call;
  /** What the next dials come to: a kind of link, an error, or nothing for ever. */
  readonly dials: (TransportKind | VoiceError | "silence")[] = [];
  /** Whether the servers of links answer pings. */
  isAnswering = true;
  #timestamp = 0;

  constructor(uplink: UplinkMode = "reliable") {
    const player = new Player(this.sink, this.#handler());
    this.call = new Call(
      {
        accept: [1, 3],
        agent: null,
        heartbeatMs: 250,
        resumeTimeoutMs: 60_000,
        uplink,
        uplinkLimitMs: 500,
      },
      player,
      (handler, signal, wanted) => {
        const outcome = this.dials.shift() ?? wanted ?? "webtransport";
        if (outcome === "silence") {
          return new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason as Error)));
        }
        if (outcome instanceof Error) {
          return Promise.reject(outcome);
        }
        const link = new FakeLink(outcome, handler);
        this.links.push(link);
        const chosen = { type: "transport", transport: outcome, tookMs: 0, attempts: [] } as const;
        return Promise.resolve({ link: link as Link, chosen });
      },
      (event) => this.events.push(event),
    );
    void player.open();
  }

  get link(): FakeLink {
    return this.links.at(-1)!;
  }

  of(type: VoiceEvent["type"]): VoiceEvent[] {
    return this.events.filter((each) => each.type === type);
  }

  /** Let time pass, a tick at a time. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      await vi.advanceTimersByTimeAsync(TICK_MS);
      this.call.tick(performance.now());
      if (this.isAnswering) {
        this.link.pong();
        this.link.sent.splice(0, this.link.sent.length, ...this.link.sent.filter((each) => each.type !== "ping"));
      }
    }
  }

  speak(frames: number): void {
    for (let index = 0; index < frames; index++) {
      this.call.sendFrame(Codec.OPUS, this.#timestamp, Uint8Array.of(1));
      this.#timestamp += FRAME_MS * 48;
    }
  }

  /** An answer of 20 ms frames in PCM16. */
  answer(utteranceId: number, frames: number, first = 0, loudness = 0): void {
    for (let sequence = first; sequence < first + frames; sequence++) {
      const payload = new Uint8Array(new Int16Array(24 * FRAME_MS).fill(loudness).buffer);
      this.link.speak(utteranceId, { sequence, timestamp: sequence * 960, codec: Codec.PCM16_24K, payload });
    }
  }

  async begin(): Promise<void> {
    const connected = this.call.reconnect(new AbortController().signal);
    await vi.advanceTimersByTimeAsync(0);
    this.link.ready();
    await connected;
  }

  /** The call exists once its player does. */
  #handler(): PlayerHandler {
    return {
      progressed: (position) => this.call.playout.progressed(position),
      cut: (position) => this.call.playout.cut(position),
      began: (utteranceId, agoMs) => this.call.playout.began(utteranceId, agoMs),
      audible: (utteranceId, agoMs) => this.call.playout.audible(utteranceId, agoMs),
      failed: (fault) => this.call.playout.failed(fault),
    };
  }
}
