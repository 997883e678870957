import { afterEach, describe, expect, it, vi } from "vitest";
import { InvalidSetting } from "./errors.js";
import { checkSettings, grouped, type OptionGroups, parseFingerprint, type VoiceOptions } from "./options.js";

const URL_ = "https://voice.example/v1/voice";

describe("settings", () => {
  it("have defaults, and a WebSocket at the same address", () => {
    const settings = checkSettings(URL_, {});
    expect(settings.webSocketUrl?.href).toBe("wss://voice.example/v1/voice");
    expect(settings.heartbeatMs).toBeLessThanOrEqual(500);
    expect(settings.resumeTimeoutMs).toBe(60_000);
  });

  it("may do without a WebSocket", () => {
    expect(checkSettings(URL_, { connection: { webSocketUrl: null } }).webSocketUrl).toBeNull();
  });

  it.each([
    ["http://voice.example/", {}],
    ["https://me:secret@voice.example/", {}],
    ["nonsense", {}],
    [URL_, { connection: { webSocketUrl: "https://voice.example/" } }],
    [URL_, { connection: { heartbeatMs: 501 } }],
    [URL_, { connection: { heartbeatMs: 0 } }],
    [URL_, { security: { certificateHashes: ["ab"] } }],
    [URL_, { uplink: { mode: "fast" } }],
    [URL_, { uplink: { limitMs: 0 } }],
  ])("refuse %s %o", (url, options) => {
    expect(() => checkSettings(url, options as OptionGroups)).toThrow(InvalidSetting);
  });

  it("read a fingerprint in each of its spellings", () => {
    const bytes = Uint8Array.from({ length: 32 }, (_, index) => index * 7);
    const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0"));
    for (const text of [digits.join(""), digits.join(":").toUpperCase(), btoa(String.fromCharCode(...bytes))]) {
      expect(parseFingerprint(text)).toEqual(bytes);
    }
  });
});

describe("a former flat option", () => {
  afterEach(() => void vi.restoreAllMocks());

  const source = { open: () => Promise.reject(new Error("no")), level: 0, close: () => undefined };
  it.each<[VoiceOptions, OptionGroups]>([
    [{ token: "t" }, { security: { token: "t" } }],
    [{ certificateHashes: [] }, { security: { certificateHashes: [] } }],
    [{ codec: "pcm16", source }, { audio: { codec: "pcm16", source } }],
    [{ webSocketUrl: null, heartbeatMs: 100 }, { connection: { webSocketUrl: null, heartbeatMs: 100 } }],
    [{ transports: [], headStartMs: 1 }, { connection: { transports: [], headStartMs: 1 } }],
    [{ connectTimeoutMs: 1, resumeTimeoutMs: 0 }, { connection: { connectTimeoutMs: 1, resumeTimeoutMs: 0 } }],
    [{ uplink: "deadline", uplinkLimitMs: 80 }, { uplink: { mode: "deadline", limitMs: 80 } }],
    [{ agent: "echo", workletUrls: {} }, { agent: "echo", audio: { workletUrls: {} } }],
  ])("is moved into its group: %o", (flat, groups) => {
    vi.spyOn(console, "warn").mockImplementation(() => undefined);
    expect(grouped(flat)).toEqual(groups);
  });

  it("warns once, with the new spelling", async () => {
    vi.resetModules();
    const { grouped: afresh } = await import("./options.js");
    const warn = vi.spyOn(console, "warn").mockImplementation(() => undefined);
    afresh({ token: "t" });
    afresh({ token: "t" });
    expect(warn.mock.calls).toEqual([["the option token of VoiceClient is deprecated: use security: { token }"]]);
    afresh({ security: { token: "t" }, uplink: { mode: "hybrid" } });
    expect(warn).toHaveBeenCalledTimes(1);
  });

  it("is refused beside its group", () => {
    expect(() => grouped({ uplink: { mode: "deadline" }, uplinkLimitMs: 80 })).toThrow(
      "VoiceClient got uplinkLimitMs and uplink: give uplink: { limitMs } alone",
    );
  });
});
