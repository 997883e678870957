import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AccessRefused, CallLost, Unreachable } from "../errors.js";
import { CallTestbed, FRAME_MS } from "../testing/call-testbed.js";
import { CloseCode, Codec } from "../wire/codepoints.js";

let testbed: CallTestbed;

beforeEach(async () => {
  vi.useFakeTimers({ now: 1_000_000 });
  testbed = new CallTestbed();
  await testbed.begin();
});

afterEach(() => {
  testbed.call.end(null);
  vi.useRealTimers();
});

describe("a call on one connection", () => {
  it("starts, and sends frames as they are made", () => {
    testbed.speak(3);
    expect(testbed.link.of("start")).toEqual([
      { type: "start", accept: [1, 3], agent: null, uplink: "reliable", next_message: 0 },
    ]);
    expect(testbed.link.frames).toEqual([0, 1, 2]);
    expect(testbed.of("connected")).toEqual([
      { type: "connected", session: "5f2c", worker: "worker-1", transport: "webtransport" },
    ]);
  });

  it("pings at least every 500 ms, and measures", async () => {
    testbed.isAnswering = false;
    await testbed.pass(700);
    expect(testbed.link.of("ping").length).toBeGreaterThanOrEqual(2);
    await vi.advanceTimersByTimeAsync(10);
    testbed.link.say({ type: "pong", id: testbed.link.of("ping").at(-1)!.id });
    expect(testbed.call.rttMs).toBeGreaterThan(9);
  });

  it("reports what was played, and where an interruption cut in", () => {
    testbed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    testbed.answer(1, 100);
    testbed.sink.play(500);
    expect(testbed.link.of("played").at(-1)).toEqual({
      type: "played",
      generation: 1,
      position_ms: 500,
      is_complete: false,
    });
    testbed.link.say({ type: "flush", generation: 1, sequence: null });
    expect(testbed.of("flushed")).toEqual([{ type: "flushed", utteranceId: 1, playedMs: 500 }]);
    expect(testbed.call.replies.isAgentSpeaking).toBe(false);
    testbed.link.speak(1, { sequence: 100, timestamp: 96_000, codec: Codec.PCM16_24K, payload: new Uint8Array(960) });
    expect(testbed.call.isOver).toBe(false); // late, and dropped
    expect(testbed.sink.written).toBe(testbed.sink.position);
  });

  it("says when it was played, by the clock of its own frames", async () => {
    testbed.sink.beganAt = performance.now() + 300;
    await testbed.pass(100);
    testbed.speak(1); // its 20 ms end now
    const capturedAt = performance.now();
    testbed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    testbed.answer(1, 100);
    testbed.sink.play(500);
    testbed.link.say({ type: "flush", generation: 1, sequence: null });
    const expected = (testbed.sink.beganAt + 500 - capturedAt + FRAME_MS) * 48;
    const { timestamp } = testbed.link.of("played").at(-1)!;
    expect(timestamp).toBe(Math.round(expected));
    expect(testbed.link.of("played").at(0)).toMatchObject({ position_ms: 500, is_complete: false, timestamp });
  });

  it("takes what clocks are unsteady by for no pause, and more for one", () => {
    testbed.speak(1);
    testbed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    testbed.answer(1, 100);
    for (const lateMs of [0, 2.5, -2.5, 4, 5]) {
      testbed.sink.beganAt = performance.now() + lateMs;
      testbed.sink.play(200);
    }
    const begins = testbed.link.of("played").map((each) => each.timestamp! / 48 - each.position_ms);
    expect(begins.map((each) => each - begins[0]!)).toEqual([0, 0, 0, 4, 4]);
  });

  it("reports what was played at least every 250 ms", () => {
    testbed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    testbed.answer(1, 100);
    testbed.link.end(1);
    for (let passed = 0; passed < 2_000; passed += FRAME_MS) {
      testbed.sink.play(FRAME_MS);
    }
    const positions = [0, ...testbed.link.of("played").map((each) => each.position_ms)];
    const steps = positions.slice(1).map((each, index) => each - positions[index]!);
    expect(Math.max(...steps)).toBeLessThanOrEqual(250);
    expect(testbed.link.of("played").at(-1)).toMatchObject({ position_ms: 2_000, is_complete: true });
  });

  it("finishes once every frame is acked and the server said bye", () => {
    testbed.speak(2);
    testbed.call.sayBye();
    expect(testbed.link.of("bye")).toEqual([{ type: "bye", frames: 2 }]);
    testbed.link.say({ type: "heard", sequence: 1 });
    testbed.link.say({ type: "bye", frames: 2, reason: "" });
    expect(testbed.call.isFinished).toBe(true);
    expect(testbed.of("closed")).toEqual([{ type: "closed", error: null }]);
  });

  it("takes the frames of an answer in their order only", () => {
    testbed.answer(1, 1);
    testbed.answer(1, 1);
    expect(testbed.call.error?.kind).toBe("protocol-fault");
  });

  it.each([
    ["acknowledges what was never sent", { type: "heard", sequence: 7 }, "protocol-fault"],
    ["answers no ping", { type: "pong", id: 99 }, "protocol-fault"],
    ["says bye over unacked frames", { type: "bye", frames: 2, reason: "" }, "protocol-fault"],
    ["fails", { type: "error", code: CloseCode.AGENT_FAILED, message: "no model" }, "session-failed"],
  ] as const)("ends with the server that %s", (_, message, kind) => {
    testbed.speak(2);
    testbed.call.sayBye();
    testbed.link.say(message);
    expect(testbed.call.error?.kind).toBe(kind);
  });
});

describe("a call whose connection is gone", () => {
  it("resumes at once, and sends again what the next worker has not", async () => {
    testbed.speak(5);
    testbed.link.say({ type: "heard", sequence: 1 });
    testbed.link.lose(new CallLost("cable"));
    testbed.speak(2);
    await vi.advanceTimersByTimeAsync(0);
    expect(testbed.links.length).toBe(2);
    expect(testbed.link.sent).toEqual([
      expect.objectContaining({ type: "resume", session: "5f2c", token: "token at worker-1" }),
    ]);
    expect(testbed.link.frames).toEqual([]);
    await testbed.pass(100);
    testbed.link.ready(2, "worker-2");
    testbed.speak(1);
    expect(testbed.link.frames).toEqual([2, 3, 4, 5, 6, 7]);
    expect(testbed.call.recovery.resumes).toEqual([
      expect.objectContaining({ worker: "worker-2", gapMs: 100, hasReconnected: true, framesAgain: 5 }),
    ]);
  });

  it("plays on what it has, and goes on with what is said again where that has come to", async () => {
    testbed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    testbed.link.say({ type: "transcript", turn: 1, role: "agent", text: "yes", is_final: true });
    testbed.answer(1, 100);
    testbed.link.end(1);
    testbed.sink.play(700);
    testbed.link.lose(new CallLost("cable"));
    testbed.sink.play(300);
    await vi.advanceTimersByTimeAsync(0);
    expect(testbed.link.of("resume")).toEqual([
      expect.objectContaining({ generation: 1, next_generation: 1, position_ms: 1000, turn: 1 }),
    ]);
    testbed.sink.play(100);
    testbed.link.ready();
    testbed.link.say({ type: "speech", generation: 2, turn: 1, is_again: true });
    testbed.link.say({ type: "speech", generation: 3, turn: 2, is_again: false });
    testbed.answer(2, 14); // 80 ms short of 200 beyond what was played meanwhile
    testbed.sink.play(60);
    expect(testbed.sink.written - testbed.sink.position).toBe(840 * 48);
    testbed.answer(2, 36, 14);
    testbed.link.end(2);
    expect(testbed.sink.written - testbed.sink.position).toBe(840 * 48); // the new one's, of which 160 ms were played
    testbed.sink.play(400);
    expect(testbed.link.of("played").at(-1)).toMatchObject({ generation: 2, position_ms: 560 });
    testbed.sink.play(2_000);
    expect(testbed.of("speech-ended")).toEqual([{ type: "speech-ended", utteranceId: 2, playedMs: 1000 }]);
    expect(testbed.link.of("played").some((each) => each.generation === 3)).toBe(false); // it waits for its audio
  });

  it("drops what it has where something else is said", async () => {
    testbed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    testbed.answer(1, 100);
    testbed.sink.play(700);
    testbed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    testbed.link.ready();
    testbed.link.say({ type: "speech", generation: 2, turn: 2, is_again: false });
    expect(testbed.sink.position).toBe(testbed.sink.written);
    testbed.answer(2, 10);
    testbed.link.end(2);
    testbed.sink.play(2_000);
    expect(testbed.of("speech-ended")).toEqual([{ type: "speech-ended", utteranceId: 2, playedMs: 200 }]);
  });

  it("holds the same place through a second loss before anything was said again", async () => {
    testbed.link.say({ type: "speech", generation: 1, turn: 1, is_again: false });
    testbed.answer(1, 100);
    testbed.sink.play(700);
    testbed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    testbed.link.ready();
    testbed.link.say({ type: "speech", generation: 2, turn: 1, is_again: true });
    testbed.answer(2, 2);
    testbed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    expect(testbed.link.of("resume")).toEqual([
      expect.objectContaining({ generation: 2, next_generation: 1, position_ms: 700 }),
    ]);
    testbed.link.ready();
    testbed.link.say({ type: "speech", generation: 3, turn: 1, is_again: true });
    testbed.answer(3, 65);
    testbed.link.end(3);
    testbed.sink.play(3_000);
    expect(testbed.of("speech-ended")).toEqual([{ type: "speech-ended", utteranceId: 3, playedMs: 1300 }]);
  });

  it("tries again after refusals, with growing delays, and gives up after a minute", async () => {
    testbed.dials.push(...Array.from({ length: 200 }, () => new Unreachable("no route")));
    testbed.link.lose(new CallLost("cable"));
    await testbed.pass(59_000);
    expect(200 - testbed.dials.length).toBeGreaterThan(25);
    expect(200 - testbed.dials.length).toBeLessThan(70);
    expect(testbed.call.isOver).toBe(false);
    await testbed.pass(1_500);
    expect(testbed.of("closed")).toEqual([{ type: "closed", error: expect.objectContaining({ message: "cable" }) }]);
  });

  it("tries at once when the network is back", async () => {
    testbed.dials.push(...Array.from({ length: 9 }, () => new Unreachable("no route")));
    testbed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(5_000);
    testbed.dials.length = 0;
    const before = testbed.links.length;
    testbed.call.networkChanged(performance.now());
    await vi.advanceTimersByTimeAsync(0);
    expect(testbed.links.length).toBe(before + 1);
  });

  it("ends where its token is refused", async () => {
    testbed.dials.push(new AccessRefused("expired"));
    testbed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    expect(testbed.call.error?.kind).toBe("access-refused");
  });

  it("dials again where a server takes the connection and says nothing", async () => {
    testbed.link.lose(new CallLost("cable"));
    await testbed.pass(5_200);
    expect(testbed.links.length).toBe(3);
    expect(testbed.links[1]!.ending).toBe("left");
    testbed.link.ready();
    expect(testbed.call.recovery.resumes.length).toBe(1);
  });

  it("has finished where every frame was acked and only the bye was lost", async () => {
    testbed.speak(1);
    testbed.call.sayBye();
    testbed.link.say({ type: "heard", sequence: 0 });
    testbed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    for (let worker = 0; worker < 6; worker++) {
      testbed.link.say({ type: "error", code: CloseCode.UNKNOWN_SESSION, message: "gone" });
      await vi.advanceTimersByTimeAsync(3_000);
    }
    expect(testbed.call.isFinished).toBe(true);
    expect(testbed.call.error).toBeNull();
  });

  it("asks several workers for its session", async () => {
    testbed.link.lose(new CallLost("cable"));
    for (let worker = 0; worker < 5; worker++) {
      await vi.advanceTimersByTimeAsync(3_000);
      testbed.link.say({ type: "error", code: CloseCode.UNKNOWN_SESSION, message: "not mine" });
    }
    await vi.advanceTimersByTimeAsync(3_000);
    testbed.link.ready();
    expect(testbed.of("resumed").length).toBe(1);
  });

  it("says bye again", async () => {
    testbed.speak(1);
    testbed.call.sayBye();
    testbed.link.lose(new CallLost("cable"));
    await vi.advanceTimersByTimeAsync(0);
    testbed.link.ready();
    expect(testbed.link.of("bye")).toEqual([{ type: "bye", frames: 1 }]);
  });
});

describe("a call whose connection is silent", () => {
  it("looks for another one after 0.75 s, and leaves the old one then", async () => {
    const old = testbed.link;
    testbed.isAnswering = false;
    await testbed.pass(1_000);
    expect(testbed.of("interrupted").length).toBe(1);
    expect(testbed.links.length).toBe(2);
    expect(old.ending).toBe("left");
    testbed.link.ready();
    expect(testbed.of("resumed")).toEqual([expect.objectContaining({ hasReconnected: true })]);
  });

  it("stays where it is when that one answers first", async () => {
    testbed.dials.push("silence");
    testbed.isAnswering = false;
    await testbed.pass(1_500);
    expect(testbed.of("interrupted").length).toBe(1);
    testbed.isAnswering = true;
    await testbed.pass(100);
    expect(testbed.of("resumed")).toEqual([expect.objectContaining({ hasReconnected: false })]);
    expect(testbed.links.length).toBe(1);
    testbed.speak(1);
    expect(testbed.link.frames).toEqual([0]);
  });

  it("is given the time that its opening took, before the first round trip is known", async () => {
    testbed.isAnswering = false;
    testbed.call.dropConnection(performance.now());
    await testbed.pass(1_200);
    testbed.link.ready();
    await testbed.pass(1_800);
    expect(testbed.links.length).toBe(2);
    await testbed.pass(300);
    expect(testbed.links.length).toBe(3);
  });

  it("doubts it sooner when the system says that the network changed", async () => {
    await testbed.pass(500);
    testbed.isAnswering = false;
    testbed.call.networkChanged(performance.now());
    await testbed.pass(450);
    expect(testbed.links.length).toBe(2);
  });

  it("measures its path anew where a network was found, not at each change of its estimated rate", () => {
    testbed.call.networkChanged(performance.now());
    expect(testbed.link.pathChanges).toBe(0);
    testbed.call.networkFound(performance.now());
    expect(testbed.link.pathChanges).toBe(1);
  });

  it("does not blame the server for the page's own sleep", async () => {
    await testbed.pass(500);
    await vi.advanceTimersByTimeAsync(30_000);
    await testbed.pass(300);
    expect(testbed.of("interrupted")).toEqual([]);
  });
});

it("moves to another transport when the network changes, and drops what the old one still sends", async () => {
  const old = testbed.link;
  testbed.speak(1);
  testbed.call.dropConnection(performance.now(), "websocket");
  testbed.speak(1);
  await vi.advanceTimersByTimeAsync(0);
  old.say({ type: "heard", sequence: 99 });
  expect(testbed.call.isOver).toBe(false);
  testbed.link.ready(1);
  expect(testbed.link.kind).toBe("websocket");
  expect(testbed.link.frames).toEqual([1]);
  expect(old.ending).toBe("left");
  expect(testbed.call.transport).toBe("websocket");
});

it("asks each connection for the mode it supports, and sends unacked frames again over the next one", async () => {
  const other = new CallTestbed("hybrid");
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
  testbed.link.say({ type: "drain", deadline_s: 5 });
  expect(testbed.call.transport).toBe("webtransport");
  await vi.advanceTimersByTimeAsync(0);
  testbed.link.ready(0, "worker-2");
  expect(testbed.call.worker).toBe("worker-2");
  expect(testbed.of("closed")).toEqual([]);
});

it("says why a session was refused before it began", async () => {
  const other = new CallTestbed();
  const connected = other.call.reconnect(new AbortController().signal);
  connected.catch(() => undefined);
  await vi.advanceTimersByTimeAsync(0);
  other.link.say({ type: "error", code: CloseCode.UNAUTHORISED, message: "the access token has expired" });
  await expect(connected).rejects.toMatchObject({ kind: "access-refused", name: "AccessRefused" });
});
