import { expect, it } from "vitest";
import { hasVoice } from "./opus-packet.js";

it.each([
  ["SILK, voice", [0x48, 0x80], true],
  ["SILK, none", [0x48, 0x7f], false],
  ["hybrid, voice", [0x78, 0xc3, 1], true],
  ["hybrid, none", [0x78, 0x03, 1], false],
  ["CELT, which does not say", [0x80, 0x00], true],
  ["a packet of DTX", [0x48], false],
])("is told by the packet: %s", (_, bytes, expected) => {
  expect(hasVoice(Uint8Array.from(bytes))).toBe(expected);
});
