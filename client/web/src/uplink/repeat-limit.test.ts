import { describe, expect, it } from "vitest";
import { Bottleneck, seeded, UplinkOverLink } from "../testing/uplink-link.js";
import { FIRST_LIMIT, MOST_REPEATS, QUEUE_MS, QueueingDelay, RepeatLimit, SustainedLoss } from "./repeat-limit.js";

const START = 100_000;
const ONE_WAY_MS = 50;
const NARROW = 8_000; // 64 kbit/s: a frame takes 6,750 bytes a second once, and 10,450 with one repeat
const DEEP = 2 * NARROW;
const SHALLOW = 400;

/** Loses so many of the datagrams upwards at random. */
const losing = (loss: number) => {
  const random = seeded(1);
  return (_: number, isUp: boolean) => (isUp && random() < loss ? [] : [ONE_WAY_MS]);
};

function spokenOver(link: UplinkOverLink, seconds: number): UplinkOverLink {
  link.say(seconds * 50);
  link.runUntil(START + (seconds + 5) * 1_000);
  expect(link.delivered.length).toBe(seconds * 50);
  return link;
}

/** How late the middle frame of those made between these seconds of the call was. */
function medianBetween(link: UplinkOverLink, beginS: number, endS: number): number {
  const late = link.latenessMs(ONE_WAY_MS).slice(beginS * 50, endS * 50).sort((one, other) => one - other);
  return late[Math.floor(late.length / 2)]!;
}

describe("a narrow link", () => {
  it("is not filled: frames are about as late as without repeats", () => {
    const link = spokenOver(new UplinkOverLink(losing(0), new Bottleneck(NARROW, DEEP)), 20);
    expect(Math.max(...link.latenessMs(ONE_WAY_MS))).toBeLessThan(300);
    expect(medianBetween(link, 0, 20)).toBeLessThan(30);
    expect(medianBetween(link, 2, 3)).toBeLessThan(QUEUE_MS + 20);
  });

  it("is not filled because it loses some", () => {
    const link = spokenOver(new UplinkOverLink(losing(0.05), new Bottleneck(NARROW, DEEP)), 60);
    expect(medianBetween(link, 0, 60)).toBeLessThan(60);
  });

  it("is drained where it became narrow in mid-call", () => {
    const bottleneck = new Bottleneck(1_000_000, DEEP);
    const link = new UplinkOverLink(losing(0.05), bottleneck);
    link.say(1_500);
    link.runUntil(START + 10_000);
    expect(link.sender.redundancy.distances.length).toBe(MOST_REPEATS);
    bottleneck.bytesPerS = NARROW;
    link.runUntil(START + 35_000);
    expect(link.delivered.length).toBe(1_500);
    expect(medianBetween(link, 10, 30)).toBeLessThan(60);
    expect(medianBetween(link, 15, 20)).toBeLessThan(QUEUE_MS + 60);
  });

  it("with a short queue loses little because of repeats", () => {
    const link = spokenOver(new UplinkOverLink(losing(0), new Bottleneck(NARROW, SHALLOW)), 60);
    expect(link.sender.redundancy.distances).toEqual([]);
    expect(medianBetween(link, 5, 60)).toBeLessThan(60);
  });
});

describe("the limit", () => {
  it("stays where random losses need all repeats", () => {
    const link = new UplinkOverLink(losing(0.05));
    link.say(1_500);
    for (let at = START + 2_000; at < START + 30_000; at += 50) {
      link.runUntil(at);
      expect(link.sender.redundancy.limit.repeats).toBe(MOST_REPEATS);
    }
  });

  it("rises one at a time, from 1", () => {
    const limit = new RepeatLimit();
    expect([limit.repeats, limit.hasHeadroom]).toEqual([FIRST_LIMIT, false]);
    const seen = [limit.repeats];
    for (let sent = 2; sent < 200; sent += 2) {
      limit.observe({ sent, received: sent, rttMs: 100 }, MOST_REPEATS, START + sent * 20);
      seen.push(limit.repeats);
    }
    expect([...new Set(seen)]).toEqual([1, 2, 3]);
    expect(limit.hasHeadroom).toBe(true);
  });
});

it("one late report is no queue, and four are", () => {
  const queue = new QueueingDelay();
  const standing = [100, 100, 100, 100, 500, 100, 200, 200, 200, 200, 100].map((rttMs, index) => {
    queue.observe(rttMs, START + index * 40);
    return queue.isStanding;
  });
  expect(standing.slice(-3)).toEqual([false, true, false]);
  expect(standing.slice(0, -2)).not.toContain(true);
});

it("an outage is no sustained loss", () => {
  const loss = new SustainedLoss();
  loss.observe(12, 12);
  loss.observe(120, 12);
  for (let sent = 132; sent < 193; sent += 12) {
    loss.observe(sent, sent - 108);
  }
  expect(loss.isHigh).toBe(false);
  for (let sent = 204; sent < 301; sent += 12) {
    loss.observe(sent, 84 + (sent - 192) / 2);
  }
  expect([loss.isHigh, loss.share]).toEqual([true, 0.5]);
});
