import { describe, expect, it } from "vitest";
import { InvalidSetting } from "./errors.js";
import { checkSettings, parseFingerprint, type VoiceOptions } from "./options.js";

const URL_ = "https://voice.example/v1/voice";

describe("settings", () => {
  it("have defaults, and a WebSocket at the same address", () => {
    const settings = checkSettings(URL_, {});
    expect(settings.webSocketUrl?.href).toBe("wss://voice.example/v1/voice");
    expect(settings.heartbeatMs).toBeLessThanOrEqual(500);
    expect(settings.resumeTimeoutMs).toBe(60_000);
  });

  it("may do without a WebSocket", () => {
    expect(checkSettings(URL_, { webSocketUrl: null }).webSocketUrl).toBeNull();
  });

  it.each([
    ["http://voice.example/", {}],
    ["https://me:secret@voice.example/", {}],
    ["nonsense", {}],
    [URL_, { webSocketUrl: "https://voice.example/" }],
    [URL_, { heartbeatMs: 501 }],
    [URL_, { heartbeatMs: 0 }],
    [URL_, { certificateHashes: ["ab"] }],
    [URL_, { uplink: "fast" }],
    [URL_, { uplinkLimitMs: 0 }],
  ])("refuse %s %o", (url, options) => {
    expect(() => checkSettings(url, options as VoiceOptions)).toThrow(InvalidSetting);
  });

  it("read a fingerprint in each of its spellings", () => {
    const bytes = Uint8Array.from({ length: 32 }, (_, index) => index * 7);
    const digits = [...bytes].map((byte) => byte.toString(16).padStart(2, "0"));
    for (const text of [digits.join(""), digits.join(":").toUpperCase(), btoa(String.fromCharCode(...bytes))]) {
      expect(parseFingerprint(text)).toEqual(bytes);
    }
  });
});
