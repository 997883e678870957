import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AccessRefused, CallLost, Unreachable } from "../errors.js";
import { Bed, FRAME_MS } from "../testing/call-bed.js";
import { CloseCode, Codec } from "../wire/codepoints.js";

let bed: Bed;

beforeEach(async () => {
  vi.useFakeTimers({ now: 1_000_000 });
  bed = new Bed();
  await bed.begin();
});

afterEach(() => {
  bed.call.end(null);
  vi.useRealTimers();
});

describe("a call on one connection", () => {
  it("starts, and sends frames as they are made", () => {
    bed.speak(3);
    expect(bed.link.of("start")).toEqual([{ type: "start", accept: [1, 3], agent: null, uplink: "reliable" }]);
    expect(bed.link.frames).toEqual([0, 1, 2]);
    expect(bed.of("connected")).toEqual([
      { type: "connected", session: "5f2c", worker: "worker-1", transport: "webtransport" },
    ]);
  });

  it("pings at least every 500 ms, and measures", async () => {
    bed.isAnswering = false;
    await bed.pass(700);
    expect(bed.link.of("ping").length).toBeGreaterThanOrEqual(2);
    await vi.advanceTimersByTimeAsync(10);
    bed.link.say({ type: "pong", id: bed.link.of("ping").at(-1)!.id });
    expect(bed.call.rttMs).toBeGreaterThan(9);
  });

  it("reports what was played, and where an interruption cut in", () => {
    bed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    bed.answer(1, 100);
    bed.sink.play(500);
    expect(bed.link.of("played").at(-1)).toEqual({
      type: "played",
      generation: 1,
      position_ms: 500,
      is_complete: false,
    });
    bed.link.say({ type: "flush", generation: 1, sequence: null });
    expect(bed.of("flushed")).toEqual([{ type: "flushed", utteranceId: 1, playedMs: 500 }]);
    expect(bed.call.replies.isAgentSpeaking).toBe(false);
    bed.link.speak(1, { sequence: 100, timestamp: 96_000, codec: Codec.PCM16_24K, payload: new Uint8Array(960) });
    expect(bed.call.isOver).toBe(false); // late, and dropped
    expect(bed.sink.written).toBe(bed.sink.position);
  });

  it("reports what was played at least every 250 ms", () => {
    bed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    bed.answer(1, 100);
    bed.link.end(1);
    for (let passed = 0; passed < 2_000; passed += FRAME_MS) {
      bed.sink.play(FRAME_MS);
    }
    const positions = [0, ...bed.link.of("played").map((each) => each.position_ms)];
    const steps = positions.slice(1).map((each, index) => each - positions[index]!);
    expect(Math.max(...steps)).toBeLessThanOrEqual(250);
    expect(bed.link.of("played").at(-1)).toMatchObject({ position_ms: 2_000, is_complete: true });
  });

  it("finishes once all was heard and the server said bye", () => {
    bed.speak(2);
    bed.call.sayBye();
    expect(bed.link.of("bye")).toEqual([{ type: "bye", frames: 2 }]);
    bed.link.say({ type: "heard", sequence: 1 });
    bed.link.say({ type: "bye", frames: 2, reason: "" });
    expect(bed.call.isFinished).toBe(true);
    expect(bed.of("closed")).toEqual([{ type: "closed", error: null }]);
  });

  it("takes the frames of an answer in their order only", () => {
    bed.answer(1, 1);
    bed.answer(1, 1);
    expect(bed.call.error?.kind).toBe("protocol-fault");
  });

  it.each([
    ["acknowledges what was never sent", { type: "heard", sequence: 7 }, "protocol-fault"],
    ["answers no ping", { type: "pong", id: 99 }, "protocol-fault"],
    ["says bye over unacked frames", { type: "bye", frames: 2, reason: "" }, "protocol-fault"],
    ["fails", { type: "error", code: CloseCode.AGENT_FAILED, message: "no model" }, "session-failed"],
  ] as const)("ends with the server that %s", (_, message, kind) => {
    bed.speak(2);
    bed.call.sayBye();
    bed.link.say(message);
    expect(bed.call.error?.kind).toBe(kind);
  });
});

describe("a call whose connection is gone", () => {
  it("resumes at once, and sends again what the next worker has not", async () => {
    bed.speak(5);
    bed.link.say({ type: "heard", sequence: 1 });
    bed.link.lose(new CallLost("cable"));
    bed.speak(2);
    await vi.advanceTimersByTimeAsync(0);
    expect(bed.links.length).toBe(2);
    expect(bed.link.sent).toEqual([
      expect.objectContaining({ type: "resume", session: "5f2c", token: "token at worker-1" }),
    ]);
    expect(bed.link.frames).toEqual([]);
    await bed.pass(100);
    bed.link.ready(2, "worker-2");
    bed.speak(1);
    expect(bed.link.frames).toEqual([2, 3, 4, 5, 6, 7]);
    expect(bed.call.recovery.resumes).toEqual([
      expect.objectContaining({ worker: "worker-2", gapMs: 100, hasReconnected: true, framesAgain: 5 }),
    ]);
  });

  it("plays on what it has, and goes on with what is said again where that has come to", async () => {
    bed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    bed.link.say({ type: "transcript", turn: 1, role: "agent", text: "yes", is_final: true });
    bed.answer(1, 100);
    bed.link.end(1);
    bed.sink.play(700);
    bed.link.lose(new CallLost("cable"));
    bed.sink.play(300);
    await vi.advanceTimersByTimeAsync(0);
    expect(bed.link.of("resume")).toEqual([
      expect.objectContaining({ generation: 1, next_generation: 1, position_ms: 1000, turn: 1 }),
    ]);
    bed.sink.play(100);
    bed.link.ready();
    bed.link.say({ type: "speech", generation: 2, turn: 1, is_again: true });
    bed.link.say({ type: "speech", generation: 3, turn: 2, is_again: false });
    bed.answer(2, 14); // 80 ms short of 200 beyond what was played meanwhile
    bed.sink.play(60);
    expect(bed.sink.written - bed.sink.position).toBe(840 * 48);
    bed.answer(2, 36, 14);
    bed.link.end(2);
    expect(bed.sink.written - bed.sink.position).toBe(840 * 48); // the new one's, of which 160 ms were played
    bed.sink.play(400);
    expect(bed.link.of("played").at(-1)).toMatchObject({ generation: 2, position_ms: 560 });
    bed.sink.play(2_000);
    expect(bed.of("speech-ended")).toEqual([{ type: "speech-ended", utteranceId: 2, playedMs: 1000 }]);
    expect(bed.link.of("played").some((each) => each.generation === 3)).toBe(false); // it waits for its audio
  });

  it("drops what it has where something else is said", async () => {
    bed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    bed.answer(1, 100);
    bed.sink.play(700);
    bed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    bed.link.ready();
    bed.link.say({ type: "speech", generation: 2, turn: 2, is_again: false });
    expect(bed.sink.position).toBe(bed.sink.written);
    bed.answer(2, 10);
    bed.link.end(2);
    bed.sink.play(2_000);
    expect(bed.of("speech-ended")).toEqual([{ type: "speech-ended", utteranceId: 2, playedMs: 200 }]);
  });

  it("holds the same place through a second loss before anything was said again", async () => {
    bed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    bed.answer(1, 100);
    bed.sink.play(700);
    bed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    bed.link.ready();
    bed.link.say({ type: "speech", generation: 2, turn: 1, is_again: true });
    bed.answer(2, 2);
    bed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    expect(bed.link.of("resume")).toEqual([
      expect.objectContaining({ generation: 2, next_generation: 1, position_ms: 700 }),
    ]);
    bed.link.ready();
    bed.link.say({ type: "speech", generation: 3, turn: 1, is_again: true });
    bed.answer(3, 65);
    bed.link.end(3);
    bed.sink.play(3_000);
    expect(bed.of("speech-ended")).toEqual([{ type: "speech-ended", utteranceId: 3, playedMs: 1300 }]);
  });

  it("tries again after refusals, with growing delays, and gives up after a minute", async () => {
    bed.dials.push(...Array.from({ length: 200 }, () => new Unreachable("no route")));
    bed.link.lose(new CallLost("cable"));
    await bed.pass(59_000);
    expect(200 - bed.dials.length).toBeGreaterThan(25);
    expect(200 - bed.dials.length).toBeLessThan(70);
    expect(bed.call.isOver).toBe(false);
    await bed.pass(1_500);
    expect(bed.of("closed")).toEqual([{ type: "closed", error: expect.objectContaining({ message: "cable" }) }]);
  });

  it("tries at once when the network is back", async () => {
    bed.dials.push(...Array.from({ length: 9 }, () => new Unreachable("no route")));
    bed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(5_000);
    bed.dials.length = 0;
    const before = bed.links.length;
    bed.call.networkChanged(performance.now());
    await vi.advanceTimersByTimeAsync(0);
    expect(bed.links.length).toBe(before + 1);
  });

  it("ends where its token is refused", async () => {
    bed.dials.push(new AccessRefused("expired"));
    bed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    expect(bed.call.error?.kind).toBe("access-refused");
  });

  it("dials again where a server takes the connection and says nothing", async () => {
    bed.link.lose(new CallLost("cable"));
    await bed.pass(5_200);
    expect(bed.links.length).toBe(3);
    expect(bed.links[1]!.ending).toBe("left");
    bed.link.ready();
    expect(bed.call.recovery.resumes.length).toBe(1);
  });

  it("has finished where everything was heard and only the bye was lost", async () => {
    bed.speak(1);
    bed.call.sayBye();
    bed.link.say({ type: "heard", sequence: 0 });
    bed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    for (let worker = 0; worker < 6; worker++) {
      bed.link.say({ type: "error", code: CloseCode.UNKNOWN_SESSION, message: "gone" });
      await vi.advanceTimersByTimeAsync(3_000);
    }
    expect(bed.call.isFinished).toBe(true);
    expect(bed.call.error).toBeNull();
  });

  it("asks several workers for its session", async () => {
    bed.link.lose(new CallLost("cable"));
    for (let worker = 0; worker < 5; worker++) {
      await vi.advanceTimersByTimeAsync(3_000);
      bed.link.say({ type: "error", code: CloseCode.UNKNOWN_SESSION, message: "not mine" });
    }
    await vi.advanceTimersByTimeAsync(3_000);
    bed.link.ready();
    expect(bed.of("resumed").length).toBe(1);
  });

  it("says bye again", async () => {
    bed.speak(1);
    bed.call.sayBye();
    bed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    bed.link.ready();
    expect(bed.link.of("bye")).toEqual([{ type: "bye", frames: 1 }]);
  });
});

describe("a call whose connection is silent", () => {
  it("looks for another one after 0.75 s, and leaves the old one then", async () => {
    const old = bed.link;
    bed.isAnswering = false;
    await bed.pass(1_000);
    expect(bed.of("interrupted").length).toBe(1);
    expect(bed.links.length).toBe(2);
    expect(old.ending).toBe("left");
    bed.link.ready();
    expect(bed.of("resumed")).toEqual([expect.objectContaining({ hasReconnected: true })]);
  });

  it("stays where it is when that one answers first", async () => {
    bed.dials.push("silence");
    bed.isAnswering = false;
    await bed.pass(1_500);
    expect(bed.of("interrupted").length).toBe(1);
    bed.isAnswering = true;
    await bed.pass(100);
    expect(bed.of("resumed")).toEqual([expect.objectContaining({ hasReconnected: false })]);
    expect(bed.links.length).toBe(1);
    bed.speak(1);
    expect(bed.link.frames).toEqual([0]);
  });

  it("doubts it sooner when the system says that the network changed", async () => {
    await bed.pass(500);
    bed.isAnswering = false;
    bed.call.networkChanged(performance.now());
    await bed.pass(450);
    expect(bed.links.length).toBe(2);
  });

  it("does not blame the server for the page's own sleep", async () => {
    await bed.pass(500);
    await vi.advanceTimersByTimeAsync(30_000);
    await bed.pass(300);
    expect(bed.of("interrupted")).toEqual([]);
  });
});

it("moves to another transport when the network changes, and drops what the old one still sends", async () => {
  const old = bed.link;
  bed.speak(1);
  bed.call.dropConnection(performance.now(), "websocket");
  bed.speak(1);
  await vi.advanceTimersByTimeAsync(0);
  old.say({ type: "heard", sequence: 99 });
  expect(bed.call.isOver).toBe(false);
  bed.link.ready(1);
  expect(bed.link.kind).toBe("websocket");
  expect(bed.link.frames).toEqual([1]);
  expect(old.ending).toBe("left");
  expect(bed.call.transport).toBe("websocket");
});

it("asks each connection for what it can do, and sends again over the next one what was not heard", async () => {
  const other = new Bed("hybrid");
  await other.begin();
  expect(other.link.of("start")).toEqual([expect.objectContaining({ uplink: "hybrid" })]);
  other.speak(3);
  other.link.say({ type: "heard", sequence: 0 });
  other.dials.push("websocket");
  other.link.lose(new CallLost("cable"));
  await vi.advanceTimersByTimeAsync(0);
  expect(other.link.of("resume")).toEqual([expect.objectContaining({ uplink: "reliable" })]);
  other.link.ready(1);
  expect(other.link.frames).toEqual([1, 2]);
  expect(other.call.uplinkMode).toBe("reliable");
  other.call.dropConnection(performance.now(), "webtransport");
  await vi.advanceTimersByTimeAsync(0);
  expect(other.link.of("resume")).toEqual([expect.objectContaining({ uplink: "hybrid" })]);
  other.link.ready(1, "worker-2", "hybrid");
  other.speak(1);
  expect(other.link.frames).toEqual([1, 2, 3]);
  expect(other.call.uplinkMode).toBe("hybrid");
  other.call.end(null);
});

it("moves away from a worker that drains, before that one is gone", async () => {
  bed.link.say({ type: "drain", deadline_s: 5 });
  expect(bed.call.transport).toBe("webtransport");
  await vi.advanceTimersByTimeAsync(0);
  bed.link.ready(0, "worker-2");
  expect(bed.call.worker).toBe("worker-2");
  expect(bed.of("closed")).toEqual([]);
});

it("says why a session was refused before it began", async () => {
  const other = new Bed();
  const connected = other.call.reconnect(new AbortController().signal);
  connected.catch(() => undefined);
  await vi.advanceTimersByTimeAsync(0);
  other.link.say({ type: "error", code: CloseCode.UNAUTHORISED, message: "the access token has expired" });
  await expect(connected).rejects.toMatchObject({ kind: "access-refused", name: "AccessRefused" });
});
