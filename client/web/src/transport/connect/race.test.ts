import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AccessRefused, CertificateRefused, NoAnswer, Unreachable, type VoiceError } from "../../errors.js";
import type { TransportKind } from "../../events.js";
import { checkSettings } from "../../options.js";
import { FakeLink } from "../../testing/fake-link.js";
import type { Dial, LinkHandler } from "../link.js";
import { blame, diagnose } from "./diagnosis.js";
import { race, RaceLost, type Runner } from "./race.js";
import { isTransient, retrying } from "../redial.js";

const handler = {} as LinkHandler;
const never = new AbortController().signal;

/** Opens after `ms`, or fails then. */
function runner(kind: TransportKind, ms: number, failure?: Error): Runner & { link: FakeLink; dialled: number } {
  const link = new FakeLink(kind, handler);
  const self = {
    kind,
    link,
    dialled: 0,
    dial: ((_, signal) => {
      self.dialled++;
      return new Promise((resolve, reject) => {
        setTimeout(() => (failure ? reject(failure) : resolve(link)), ms);
        signal.addEventListener("abort", () => reject(signal.reason as Error));
      });
    }) as Dial,
  };
  return self;
}

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

async function run(runners: Runner[], signal = never) {
  const outcome = race(runners, 500, handler, signal);
  outcome.catch(() => undefined);
  await vi.advanceTimersByTimeAsync(20_000);
  return outcome;
}

describe("a race", () => {
  it("is won in the head start without the other being tried", async () => {
    const [first, second] = [runner("webtransport", 100), runner("websocket", 1)];
    const won = await run([first, second]);
    expect(won.link).toBe(first.link);
    expect(second.dialled).toBe(0);
    expect(won.tookMs).toBe(100);
  });

  it("is won by the second after the head start where the first hangs", async () => {
    const [first, second] = [runner("webtransport", 9_999_999), runner("websocket", 30)];
    const won = await run([first, second]);
    expect(won.link).toBe(second.link);
    expect(won.tookMs).toBe(530);
  });

  it("starts the second at once where the first fails, and says so", async () => {
    const failure = new Unreachable("no");
    const [first, second] = [runner("webtransport", 20, failure), runner("websocket", 30)];
    const won = await run([first, second]);
    expect(won.tookMs).toBe(50);
    expect(won.attempts).toEqual([
      { transport: "webtransport", startedMs: 0, endedMs: 20, failure },
      { transport: "websocket", startedMs: 20, endedMs: 50 },
    ]);
  });

  it("goes no other way where access is refused", async () => {
    const [first, second] = [runner("webtransport", 20, new AccessRefused("expired")), runner("websocket", 30)];
    await expect(run([first, second])).rejects.toBeInstanceOf(RaceLost);
    expect(second.dialled).toBe(0);
  });

  it("is won by the first still, where it opens before the second", async () => {
    const [first, second] = [runner("webtransport", 600), runner("websocket", 300)];
    expect((await run([first, second])).link).toBe(first.link);
    expect(second.dialled).toBe(1);
  });

  it("is lost where no runner opens, and aborted from outside", async () => {
    const runners = () => [runner("webtransport", 10, new Unreachable("a")), runner("websocket", 10, new Unreachable("b"))];
    await expect(run(runners())).rejects.toBeInstanceOf(RaceLost);
    const abort = new AbortController();
    setTimeout(() => abort.abort(new Error("enough")), 5);
    await expect(run([runner("webtransport", 9_999_999)], abort.signal)).rejects.toThrow("enough");
  });
});

describe("dialling with retries", () => {
  it("gives each try a short, growing time", async () => {
    const hanging = runner("webtransport", 9_999_999);
    const abort = new AbortController();
    const dialling = retrying(hanging.dial, 600)(handler, abort.signal);
    dialling.catch(() => undefined);
    await vi.advanceTimersByTimeAsync(599);
    expect(hanging.dialled).toBe(1);
    await vi.advanceTimersByTimeAsync(1 + 780);
    expect(hanging.dialled).toBe(3);
    abort.abort(new Error("enough"));
    await expect(dialling).rejects.toThrow("enough");
  });

  it("does not repeat a refusal", async () => {
    const refused = runner("webtransport", 10, new AccessRefused("no"));
    const dialling = retrying(refused.dial, 600)(handler, never);
    dialling.catch(() => undefined);
    await vi.advanceTimersByTimeAsync(5_000);
    await expect(dialling).rejects.toBeInstanceOf(AccessRefused);
    expect(refused.dialled).toBe(1);
    expect([isTransient(new AccessRefused("")), isTransient(new CertificateRefused("")), isTransient(new Unreachable(""))]).toEqual(
      [false, false, true],
    );
  });
});

/** A WebSocket to which this happens. */
function socketThat(outcome: "onopen" | "onclose") {
  return class {
    onopen: (() => void) | undefined;
    onclose: (() => void) | undefined;
    constructor() {
      queueMicrotask(() => this[outcome]?.());
    }
    close(): void {}
  };
}

describe("what a failure is put down to", () => {
  const pinned = {
    security: { certificateHashes: ["00".repeat(32)] },
    connection: { webSocketUrl: "ws://127.0.0.1:1/v1/voice" },
  };
  const settings = checkSettings("https://127.0.0.1:1/v1/voice", pinned);
  const failed = (failure: VoiceError) => ({ transport: "webtransport", startedMs: 0, endedMs: 9, failure }) as const;
  const opened = { transport: "websocket", startedMs: 0, endedMs: 9 } as const;

  afterEach(() => void vi.unstubAllGlobals());

  it("is the certificate where the server is there and refused at once", () => {
    const blamed = blame(failed(new Unreachable("x")), [opened], settings);
    expect(blamed.failure?.kind).toBe("certificate-refused");
  });

  it("is not the certificate where the server itself refused", () => {
    const blamed = blame(failed(new AccessRefused("expired")), [opened], settings);
    expect(blamed.failure?.kind).toBe("access-refused");
  });

  it("stays as it is where no server answers at all", async () => {
    vi.stubGlobal("WebSocket", socketThat("onclose"));
    expect((await diagnose([failed(new Unreachable("x"))], settings)).kind).toBe("unreachable");
  });

  it("is what the server says, where it says something", async () => {
    const refused = { ...opened, failure: new AccessRefused("expired") };
    expect((await diagnose([failed(new Unreachable("x")), refused], settings)).kind).toBe("access-refused");
  });

  it("is UDP where the server answers over TCP and WebTransport receives nothing", async () => {
    vi.stubGlobal("WebSocket", socketThat("onopen"));
    expect((await diagnose([failed(new NoAnswer("x"))], settings)).kind).toBe("udp-blocked");
  });
});
