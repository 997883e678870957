import { describe, expect, test } from "vitest";
import type { VoiceEvent } from "../src/events.js";
import { AccessRefused, UdpBlocked } from "../src/errors.js";
import { NO_CALL, after, inWords, medianOf, type View } from "./view.js";

const CONNECTED: VoiceEvent = { type: "connected", session: "9f31", worker: "worker-1", transport: "webtransport" };
const INTERRUPTED: VoiceEvent = { type: "interrupted", reason: "the network changed" };

function played(...events: VoiceEvent[]): View {
  return events.reduce((view, event, step) => after(view, event, step * 1000), NO_CALL);
}

function said(turn: number, role: "user" | "agent", text: string, isFinal = true): VoiceEvent {
  return { type: "transcript", turn, role, text, isFinal };
}

function resumed(change: Partial<Extract<VoiceEvent, { type: "resumed" }>> = {}): VoiceEvent {
  const usual = {
    atS: 3,
    worker: "worker-1",
    transport: "webtransport",
    gapMs: 212.4,
    hasReconnected: true,
    framesAgain: 11,
  } as const;
  return { type: "resumed", ...usual, ...change };
}

describe("what was said", () => {
  test("a word in the making is replaced by the next of its turn", () => {
    const { turns } = played(said(1, "user", "large", false), said(1, "user", "large taro"));
    expect(turns).toMatchObject([{ turn: 1, role: "user", text: "large taro", isFinal: true }]);
  });

  test("several utterances of a turn are shown one behind the other, the newest turn anew after a reconnection", () => {
    const line = (text: string, utteranceId: number | null): VoiceEvent =>
      ({ type: "transcript", turn: 1, role: "agent", text, isFinal: true, utteranceId });
    const lines = [line("One moment.", 3), line("Two", 4), line("Two teas.", 4)];
    expect(played(...lines).turns).toMatchObject([{ turn: 1, text: "One moment. Two teas." }]);
    expect(played(...lines, resumed(), line("One moment.", 3)).turns).toMatchObject([{ text: "One moment." }]);
    const cameBack = played(...lines, resumed({ hasReconnected: false }), line("Enjoy.", 5));
    expect(cameBack.turns).toMatchObject([{ text: "One moment. Two teas. Enjoy." }]);
  });

  test("lines stand in the order of the conversation, in any order of arrival", () => {
    const { turns } = played(
      said(2, "user", "c"),
      said(1, "agent", "b"),
      said(1, "user", "a"),
      said(0, "agent", "hello"),
    );
    expect(turns.map((turn) => turn.text)).toEqual(["hello", "a", "b", "c"]);
  });

  test("an answer knows how soon it came, even before its words do", () => {
    const reply: VoiceEvent = { type: "reply", utteranceId: 2, turn: 1, latencyMs: 640, arrivalMs: 600 };
    const view = played(said(1, "user", "tea"), reply, said(1, "agent", "One tea."));
    expect(view.turns[1]).toMatchObject({ role: "agent", text: "One tea.", latencyMs: 640 });
    expect(view.latenciesMs).toEqual([640]);
  });

  test("an interrupted answer knows where it stopped", () => {
    const view = played(
      { type: "speech", utteranceId: 7, turn: 1 },
      said(1, "agent", "One large tea"),
      { type: "flushed", utteranceId: 7, playedMs: 400 },
      { type: "flushed", utteranceId: 8, playedMs: 100 },
    );
    expect(view.turns).toMatchObject([{ stoppedMs: 400 }]);
  });
});

describe("a lost connection", () => {
  test("is shown while it lasts, and keeps all that was known", () => {
    const order = { kind: "drink-order", status: "open", currency: "USD", items: [], total: "0.00" };
    const view = played(CONNECTED, { type: "state", revision: 1, state: order }, INTERRUPTED);
    expect(view.phase).toBe("reconnecting");
    expect(view.order).toBe(order);
  });

  test.each([
    [resumed(), "Network switched, order kept"],
    [resumed({ worker: "worker-2" }), "Another worker took over, order kept"],
    [resumed({ hasReconnected: false }), "The line came back, order kept"],
  ])("its end says what happened, and how long it took", (event, title) => {
    const incident = played(CONNECTED, INTERRUPTED, event).incidents.at(-1);
    expect(incident).toMatchObject({ title, isAnnounced: true, atMs: 2000 });
    expect(incident?.detail).toContain("after 212 ms");
    expect(incident?.detail).toContain("220 ms of your speech were sent again");
  });

  test("the worker that goes on is the one shown", () => {
    expect(played(CONNECTED, resumed({ worker: "worker-2", transport: "websocket" }))).toMatchObject({
      worker: "worker-2",
      transport: "websocket",
    });
  });
});

describe("a call over WebSocket", () => {
  const blocked: VoiceEvent = {
    type: "transport",
    transport: "websocket",
    tookMs: 560,
    attempts: [{ transport: "webtransport", startedMs: 0, endedMs: 540, failure: new UdpBlocked("no answer") }],
  };

  test("says why", () => {
    expect(played(blocked).incidents[0]).toMatchObject({ title: "This call runs over WebSocket", isAnnounced: true });
    expect(played(blocked).incidents[0]?.detail).toContain("UDP");
  });

  test("says what the page knew before", () => {
    const view = after({ ...NO_CALL, knownTrouble: "The certificate expired on 2026-01-02." }, blocked, 0);
    expect(view.incidents[0]?.detail).toBe("The certificate expired on 2026-01-02.");
  });

  test("over WebTransport there is nothing to say", () => {
    expect(played({ type: "transport", transport: "webtransport", tookMs: 40, attempts: [] }).incidents).toEqual([]);
  });
});

test("the end keeps the order and gives the reason", () => {
  expect(played(CONNECTED, { type: "status", status: "closed" }, { type: "closed", error: null }).phase).toBe("ended");
  const failed = played({ type: "closed", error: new AccessRefused("no") });
  expect(failed).toMatchObject({ phase: "failed", fault: { kind: "access-refused", message: "no" } });
});

test("the measurements of an answer are kept with its turn", () => {
  const none = { bargeInMs: null, resumeGapMs: null, framesReplayed: 0, llmMs: null, downlinkMs: null };
  const measured = { uplinkAgeMs: 12.4, endpointingMs: 480, sttMs: 31, ttsMs: 60, playoutMs: 42, responseMs: 640 };
  const turn = { type: "turn", turn: 1, ...none, ...measured } as const;
  const view = played(said(1, "agent", "One tea."), turn);
  expect(view.measured).toEqual(turn);
  expect(view.turns[0]).toMatchObject({ role: "agent", measured: turn });
  const interruption = { ...turn, turn: 2, responseMs: null };
  expect(played(turn, interruption)).toMatchObject({ measured: turn, turns: [{ turn: 1 }] });
});

test("times are said as people say them", () => {
  expect([inWords(212.4), inWords(999), inWords(1312)]).toEqual(["212 ms", "999 ms", "1.3 s"]);
  expect([medianOf([]), medianOf([3]), medianOf([9, 1, 5])]).toEqual([null, 3, 5]);
});
