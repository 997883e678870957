import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { spoken } from "../testing/uplink-link.js";
import { decodeUplinkDatagram, encodeUplinkReport } from "../testing/worker-uplink.js";
import { Malformed, type UplinkMode } from "../wire/codepoints.js";
import type { UplinkReport } from "../wire/datagrams.js";
import { type AudioFrame, decodeAudioFrame, LengthPrefixedReader } from "../wire/framing.js";
import type { Ready } from "../wire/messages.js";
import { UplinkPath } from "./path.js";
import { TAIL_MS } from "./sender.js";

/** A browser's datagrams: what was written, and how to stop it or let a report in. */
class FakeDatagrams {
  maxDatagramSize = 1_180;
  outgoingMaxAge: number | null = null;
  outgoingHighWaterMark = 1;
  isStuck = false;
  readonly sent: number[][] = [];
  #in!: ReadableStreamDefaultController<Uint8Array>;
  readonly readable = new ReadableStream<Uint8Array>({ start: (controller) => void (this.#in = controller) });
  readonly writable = new WritableStream<Uint8Array>({
    write: (bytes) => {
      this.sent.push(decodeUplinkDatagram(bytes).frames.map((frame) => frame.sequence));
      return this.isStuck ? new Promise(() => undefined) : undefined;
    },
  });

  report(report: Partial<UplinkReport>): void {
    this.#in.enqueue(encodeUplinkReport({ newest: 0, received: 1, heldMs: 0, nextSequence: 0, runs: [], ...report }));
  }
}

const settle = () => vi.advanceTimersByTimeAsync(0);
let datagrams: FakeDatagrams;
let path: UplinkPath;
let streamed: Uint8Array[];
let faults: Malformed[];

function begin(uplink: UplinkMode, again: readonly AudioFrame[] = [], nextSequence = 0): UplinkMode {
  const ready = { type: "ready", uplink, next_sequence: nextSequence } as Ready;
  return path.begin(ready, again, { limitMs: 500, counters: { givenUp: 0, repaired: 0 } });
}

/** The frames on the stream so far, behind its type. */
function onStream(): number[] {
  const reader = new LengthPrefixedReader(20_000);
  const bodies = streamed.slice(1).flatMap((bytes) => reader.feed(bytes) as Uint8Array[]);
  return bodies.map((body) => (decodeAudioFrame(body) as AudioFrame).sequence);
}

beforeEach(() => {
  vi.useFakeTimers({ now: 1_000_000 });
  datagrams = new FakeDatagrams();
  streamed = [];
  faults = [];
  path = new UplinkPath(
    datagrams as unknown as WebTransportDatagramDuplexStream,
    (bytes) => void streamed.push(bytes),
    (fault) => void faults.push(fault),
  );
});

afterEach(() => {
  path.close();
  vi.useRealTimers();
});

it("sends on the stream where the server agreed to nothing else", () => {
  expect(begin("reliable", [spoken(0)])).toBe("reliable");
  path.send(spoken(1));
  expect(onStream()).toEqual([0, 1]);
  expect(datagrams.sent).toEqual([]);
});

it("does without datagrams where the browser has none", () => {
  path = new UplinkPath(undefined, (bytes) => void streamed.push(bytes), () => undefined);
  expect(path.hasDatagrams).toBe(false);
  expect(begin("hybrid")).toBe("reliable");
});

it("sends in datagrams, and on the stream what is sent again after a resume", async () => {
  expect(begin("hybrid", [spoken(3), spoken(4)], 3)).toBe("hybrid");
  path.send(spoken(5));
  await settle();
  expect(onStream()).toEqual([3, 4]);
  expect(datagrams.sent).toEqual([[5]]);
  expect(datagrams.outgoingMaxAge).toBeLessThanOrEqual(1_000);
});

it("repeats by its timer, and repairs at a report", async () => {
  begin("hybrid");
  path.send(spoken(0));
  await vi.advanceTimersByTimeAsync(TAIL_MS);
  expect(datagrams.sent).toEqual([[0], [0]]);
  datagrams.report({ newest: 1, received: 0 });
  await settle();
  expect(datagrams.sent).toEqual([[0], [0], [0]]);
  datagrams.report({ newest: 2, received: 1, nextSequence: 1 });
  await settle();
  await vi.advanceTimersByTimeAsync(10_000);
  expect(datagrams.sent.length).toBe(3);
});

it("takes the stream while datagrams pile up in the browser", async () => {
  begin("hybrid");
  datagrams.isStuck = true;
  for (let sequence = 0; sequence < 12; sequence++) {
    path.send(spoken(sequence));
    await settle();
  }
  expect(onStream()).toEqual([8, 9, 10, 11]);
});

it("sends nothing more once it is closed", async () => {
  begin("hybrid");
  path.send(spoken(0));
  path.close();
  await vi.advanceTimersByTimeAsync(5_000);
  expect(datagrams.sent).toEqual([[0]]);
});

it("finds fault with a malformed report", async () => {
  begin("hybrid");
  datagrams.report({ newest: 7 });
  await settle();
  expect(faults).toEqual([expect.any(Malformed)]);
});
