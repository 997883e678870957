import { describe, expect, it } from "vitest";
import { FRAME_MS, seeded, spoken, UplinkOverLink, type NetworkFaults } from "../testing/uplink-link.js";
import { decodeUplinkDatagram } from "../testing/worker-uplink.js";
import { Codec, Malformed } from "../wire/codepoints.js";
import type { UplinkDatagram, UplinkReport } from "../wire/datagrams.js";
import { LAST_RESORT_LOSSES, type Outgoing, PROBE_FRAMES, PROBE_INTERVAL_MS, TAIL_MS, UplinkSender } from "./sender.js";

const NOW = 10_000;
const ONE_WAY_MS = 50;

const counters = () => ({ givenUp: 0, repaired: 0 });
const sender = ({ limitMs, maxBytes = 1_180 }: { limitMs?: number; maxBytes?: number } = {}, counted = counters()) =>
  new UplinkSender(0, () => maxBytes, counted, NOW, limitMs);

function read(outgoing: readonly Outgoing[] | Malformed): UplinkDatagram[] {
  return (outgoing as Outgoing[]).filter((each) => each instanceof Uint8Array).map(decodeUplinkDatagram);
}
const sequences = (datagram: UplinkDatagram) => datagram.frames.map((frame) => frame.sequence);

/** Frames from one to another, each 20 ms; what went out. */
function speak(to: UplinkSender, from: number, end: number): UplinkDatagram[] {
  const numbers = Array.from({ length: end - from }, (_, index) => from + index);
  return numbers.flatMap((each) => read(to.append(spoken(each), NOW + each * FRAME_MS)));
}
const report = (newest: number, received: number, nextSequence: number, runs: [number, number][] = []): UplinkReport => ({
  newest,
  received,
  heldMs: 0,
  nextSequence,
  runs,
});

describe("a frame", () => {
  it("goes at once, with those before it", () => {
    const datagrams = speak(sender(), 0, 4);
    expect(datagrams.map((each) => each.number)).toEqual([0, 1, 2, 3]);
    expect(datagrams.map(sequences)).toEqual([[0], [0, 1], [1, 2], [2, 3]]);
  });

  it("is not repeated once it was reported", () => {
    const uplink = sender();
    speak(uplink, 0, 3);
    uplink.reportReceived(report(2, 3, 3), NOW + 100);
    expect(speak(uplink, 3, 4)).toMatchObject([{ first: 3, frames: [{ sequence: 3 }] }]);
  });

  it("is sent again where all datagrams that held it were lost, and not while one is on its way", () => {
    const counted = counters();
    const uplink = sender({}, counted);
    speak(uplink, 0, 6);
    const repairs = read(uplink.reportReceived(report(4, 1, 0, [[3, 2]]), NOW + 200));
    expect(repairs.map(sequences)).toEqual([[0, 1, 2]]); // and not those in datagram 5
    expect(counted.repaired).toBe(3);
  });

  it("goes on the stream as the last resort", () => {
    const uplink = sender();
    let number = speak(uplink, 0, 1)[0]!.number;
    for (let loss = 1; loss < LAST_RESORT_LOSSES; loss++) {
      number = read(uplink.reportReceived(report(number, 0, 0), NOW + loss * 1_000))[0]!.number;
    }
    expect(uplink.reportReceived(report(number, 0, 0), NOW + 9_000)).toEqual([spoken(0)]);
    expect(uplink.deadline).toBeUndefined();
  });

  it("without room goes on the stream, and holds `first` until it was reported", () => {
    const uplink = sender({ maxBytes: 100 });
    expect(uplink.append(spoken(0, 200), NOW)).toEqual([spoken(0, 200)]);
    expect(uplink.append(spoken(1), NOW, false)).toEqual([spoken(1)]);
    expect(speak(uplink, 2, 3)[0]).toMatchObject({ first: 0 });
    uplink.reportReceived(report(0, 1, 3), NOW + 100);
    expect(speak(uplink, 3, 4)[0]).toMatchObject({ first: 3 });
  });

  it("shares no datagram with one of another codec", () => {
    const uplink = sender();
    speak(uplink, 0, 2);
    expect(read(uplink.append(spoken(2, 160, Codec.PCMU), NOW + 40)).map(sequences)).toEqual([[2]]);
    expect(read(uplink.reportReceived(report(2, 0, 0), NOW + 200)).map(sequences)).toEqual([[0, 1], [2]]);
  });

  it("over its limit is given up, and that is announced", () => {
    const counted = counters();
    const uplink = sender({ limitMs: 100 }, counted);
    speak(uplink, 0, 1);
    expect(uplink.tick(NOW + 99)).not.toEqual([]);
    const [announcement] = read(uplink.tick(NOW + 140));
    expect(announcement).toMatchObject({ first: 1, frames: [] });
    expect(counted.givenUp).toBe(1);
    uplink.reportReceived(report(announcement!.number, 1, 1), NOW + 200);
    expect(uplink.deadline).toBeUndefined();
  });
});

it("repeats the end of an utterance by itself, then waits for a report", () => {
  const uplink = sender();
  speak(uplink, 0, 1);
  expect(uplink.deadline).toBe(NOW + TAIL_MS);
  expect(read(uplink.tick(NOW + TAIL_MS)).map(sequences)).toEqual([[0]]);
  expect(uplink.deadline).toBeGreaterThan(NOW + 3 * TAIL_MS);
});

/** When the oldest frames, from that one on, were sent again. */
function probed(uplink: UplinkSender, first: number, until: number): number[] {
  const probes: number[] = [];
  for (let at = uplink.deadline!; at < until; at = uplink.deadline!) {
    const isProbe = ({ frames }: UplinkDatagram) => frames[0]?.sequence === first && frames.length === PROBE_FRAMES;
    probes.push(...(read(uplink.tick(at)).some(isProbe) ? [at] : []));
  }
  return probes;
}
const pauses = (at: readonly number[]) => at.slice(1).map((each, index) => Math.round(each - at[index]!));

it("sends the oldest again where no report comes any more", () => {
  const uplink = sender();
  speak(uplink, 0, 2);
  uplink.reportReceived(report(1, 2, 2), NOW + 100);
  speak(uplink, 2, 20);
  const probes = probed(uplink, 2, NOW + 2_000);
  expect(probes.length).toBeGreaterThan(20);
  expect(new Set(pauses(probes))).toEqual(new Set([PROBE_INTERVAL_MS]));
});

it("probes a path of which nothing is known ever more seldom", () => {
  const uplink = sender();
  speak(uplink, 0, 20);
  const inIntervals = pauses(probed(uplink, 0, NOW + 3_000)).map((each) => each / PROBE_INTERVAL_MS);
  expect(inIntervals).toEqual([1, 2, 4, 8, 16, 25]);
});

it("puts repairs beyond half a second of their tokens on the stream", () => {
  const uplink = sender();
  speak(uplink, 0, 400);
  const outgoing = uplink.reportReceived(report(399, 0, 0), NOW + 9_000) as Outgoing[];
  const repaired = read(outgoing).flatMap(sequences);
  const streamed = outgoing.flatMap((each) => (each instanceof Uint8Array ? [] : [each.sequence]));
  const all = Array.from({ length: 400 }, (_, sequence) => sequence);
  expect(repaired).toEqual(all.slice(0, repaired.length));
  expect(streamed).toEqual(all.slice(400 - streamed.length));
  expect(streamed.length).toBeGreaterThan(0);
});

it("finds fault with reports of what was never sent", () => {
  const uplink = sender();
  speak(uplink, 0, 2);
  expect(uplink.reportReceived(report(2, 1, 0), NOW)).toBeInstanceOf(Malformed);
  expect(uplink.reportReceived(report(1, 1, 3), NOW)).toBeInstanceOf(Malformed);
  expect(read(uplink.reportReceived(report(1, 1, 0, [[1, 2 ** 60]]), NOW + 100))).not.toEqual([]);
});

describe("over a simulated link", () => {
  /** Loses and delays at random, until a time. */
  const storm = (seed: number, loss: number, lateBy: number, until = Infinity): NetworkFaults => {
    const random = seeded(seed);
    return (now) => {
      const delayMs = ONE_WAY_MS + random() * lateBy;
      return now < until && random() < loss ? [] : random() < 0.05 ? [delayMs, delayMs + 10] : [delayMs];
    };
  };

  it.each([1, 2, 3, 4, 5, 6, 7, 8])("nothing is lost, doubled or out of order under random faults (seed %i)", (seed) => {
    const link = new UplinkOverLink(storm(seed, seed / 10, 30 * seed, 104_000));
    link.say(80);
    link.say(40, link.now + 2_500);
    link.runUntil(160_000);
    expect(link.delivered.map(({ frame }) => frame)).toEqual(Array.from({ length: 120 }, (_, each) => spoken(each)));
    expect(link.sender.deadline).toBeUndefined();
    expect(link.worker.reportAt).toBeUndefined();
    expect(link.counters.givenUp).toBe(0);
  });

  it("few frames are late at a loss of 5 %", () => {
    const link = new UplinkOverLink(storm(5, 0.05, 0));
    link.say(2_000);
    link.runUntil(150_000);
    const late = link.latenessMs(ONE_WAY_MS).sort((one, other) => one - other);
    expect(late.length).toBe(2_000);
    expect(late[Math.floor(late.length * 0.99)]).toBeLessThanOrEqual(50);
    expect(link.streamed).toEqual([]);
  });

  it("repeats follow the loss that is measured, up at once and down slowly", () => {
    const link = new UplinkOverLink(storm(9, 0, 0));
    link.say(1_500);
    link.runUntil(120_000);
    expect(link.sender.redundancy.distances).toEqual([]);
    const bytes = link.datagrams.filter(({ at }) => at > 110_000).map((each) => each.bytes);
    expect(Math.max(...bytes)).toBeLessThan(60 + 20); // each frame once

    const worse = new UplinkOverLink(storm(9, 0.08, 0, 110_000));
    worse.say(1_500);
    worse.runUntil(110_000);
    expect(worse.sender.redundancy.distances.length).toBe(3);
    worse.runUntil(130_000);
    expect(worse.sender.redundancy.distances).toEqual([]);
  });

  it("a blackout of 2 s is caught up with as soon as it ends", () => {
    const link = new UplinkOverLink((now) => (now >= 105_000 && now < 107_000 ? [] : [ONE_WAY_MS]));
    link.say(500);
    link.runUntil(130_000);
    expect(link.delivered.map(({ frame }) => frame.sequence)).toEqual(Array.from({ length: 500 }, (_, each) => each));
    expect(Math.max(...link.latenessMs(ONE_WAY_MS))).toBeLessThanOrEqual(2_100);
  });
});
