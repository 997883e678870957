import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { CallLost, MessageError } from "../errors.js";
import { CallTestbed } from "../testing/call-testbed.js";
import type { ToolCall } from "../wire/messages.js";

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

const where = (number: number, callId = "c0ffee", name = "where"): ToolCall => ({
  type: "tool_call",
  number,
  call_id: callId,
  name,
  arguments: { accuracy_m: 10 },
  timeout_s: 30,
});

async function goOver(nextMessage: number): Promise<void> {
  testbed.link.lose(new CallLost("cable"));
  await vi.advanceTimersByTimeAsync(0);
  testbed.link.ready(0, "worker-2", "reliable", nextMessage);
  await testbed.pass(100);
}

it("keeps text and messages until they are acknowledged, and sends them again in order", async () => {
  testbed.call.sendNumbered({ type: "text", text: "two teas" });
  testbed.call.sendNumbered({ type: "app", data: { screen: "menu" } });
  testbed.link.say({ type: "received", number: 0 });
  expect(testbed.call.messages.unacked).toBe(1);
  testbed.link.lose(new CallLost("cable"));
  testbed.call.sendNumbered({ type: "text", text: "and a cake" });
  await vi.advanceTimersByTimeAsync(0);
  expect(testbed.link.of("text")).toEqual([]);
  testbed.link.ready(0, "worker-2", "reliable", 1);
  await testbed.pass(100);
  expect(testbed.link.of("resume")[0]).toMatchObject({ next_message: 0 });
  expect(testbed.link.of("app")).toEqual([{ type: "app", number: 1, data: { screen: "menu" } }]);
  expect(testbed.link.of("text")).toEqual([{ type: "text", number: 2, text: "and a cake" }]);
});

it("takes each message of the server once, and acknowledges it each time", async () => {
  testbed.link.say({ type: "app", number: 0, data: { total: "5.25" } });
  await goOver(0);
  testbed.link.say({ type: "app", number: 0, data: { total: "5.25" } });
  expect(testbed.of("message")).toEqual([{ type: "message", data: { total: "5.25" } }]);
  expect(testbed.link.of("received")).toEqual([{ type: "received", number: 0 }]);
  expect(testbed.links[0]!.of("received")).toEqual([{ type: "received", number: 0 }]);
});

it("runs a tool once where its connection dies between the effect and the result, and answers again when asked", async () => {
  let finish!: (place: object) => void;
  const tool = vi.fn(() => new Promise<object>((resolve) => (finish = resolve)));
  testbed.call.tools.register("where", tool);
  testbed.link.say(where(0));
  expect(tool).toHaveBeenCalledWith({ accuracy_m: 10 }, expect.any(AbortSignal));
  testbed.link.lose(new CallLost("cable"));
  finish({ lat: 52.5 });
  await vi.advanceTimersByTimeAsync(0);
  testbed.link.ready(0, "worker-2");
  await testbed.pass(100);
  const answer = { type: "tool_result", call_id: "c0ffee", result: { lat: 52.5 }, error: null };
  expect(testbed.link.of("tool_result")).toEqual([{ ...answer, number: 0 }]);
  testbed.link.say(where(1));
  expect(testbed.link.of("tool_result")).toEqual([{ ...answer, number: 0 }, { ...answer, number: 1 }]);
  expect(tool).toHaveBeenCalledOnce();
});

it.each([
  ["is unknown", "now", () => 1, "the client has no tool now"],
  ["throws", "where", () => Promise.reject(new Error("no signal")), "no signal"],
  ["returns what is not plain", "where", () => new Date(0), "a message holds plain values alone"],
  ["returns too much", "where", () => "x".repeat(20_000), "a message holds at most 16384 bytes"],
])("answers for a tool that %s with an error", async (_, name, tool: () => unknown, error) => {
  testbed.call.tools.register("where", tool);
  testbed.link.say(where(0, "c0ffee", name));
  await testbed.pass(50);
  expect(testbed.link.of("tool_result")).toEqual([expect.objectContaining({ error: expect.stringContaining(error) as string })]);
});

it("aborts a tool that is cancelled, and does not answer for it", async () => {
  let signal!: AbortSignal;
  testbed.call.tools.register("where", (_, given) => ((signal = given), new Promise((resolve) => given.addEventListener("abort", resolve))));
  testbed.link.say(where(0));
  testbed.link.say({ type: "tool_cancel", number: 1, call_id: "c0ffee" });
  await testbed.pass(50);
  expect(signal.aborted).toBe(true);
  expect(testbed.link.of("tool_result")).toEqual([]);
});

it("ends without an error after a transfer", () => {
  testbed.link.say({ type: "transfer", number: 0, target: "sip:desk@example.com" });
  testbed.link.say({ type: "bye", frames: 0, reason: "the call was transferred" });
  expect(testbed.of("transferred")).toEqual([{ type: "transferred", target: "sip:desk@example.com" }]);
  expect(testbed.of("closed")).toEqual([{ type: "closed", error: null }]);
});

it.each([
  ["no text", { type: "text", text: "" }],
  ["too long a text", { type: "text", text: "x".repeat(4_001) }],
  ["what is not plain", { type: "app", data: { at: new Date(0) } }],
  ["a number that is none", { type: "app", data: { n: Number.NaN } }],
  ["too much", { type: "app", data: { text: "x".repeat(16_384) } }],
] as const)("refuses to send %s", (_, message) => {
  expect(() => testbed.call.sendNumbered(message)).toThrow(MessageError);
  expect(testbed.call.messages.unacked).toBe(0);
});

it("refuses to send to a server that takes no messages, and when too many wait", async () => {
  for (let sent = 0; sent < 192; sent++) {
    testbed.call.sendNumbered({ type: "text", text: "again" });
  }
  expect(() => testbed.call.sendNumbered({ type: "text", text: "again" })).toThrow("the last 192 messages");
  testbed.link.lose(new CallLost("cable"));
  await vi.advanceTimersByTimeAsync(0);
  testbed.link.ready(0, "worker-2", "reliable", null);
  await testbed.pass(50);
  expect(testbed.link.of("text")).toEqual([]);
  expect(() => testbed.call.sendNumbered({ type: "text", text: "hello" })).toThrow("the server takes neither");
  testbed.call.sendNumbered({ type: "tool_result", call_id: "c0ffee", result: 1 });
  expect(testbed.link.of("tool_result")).toEqual([]);
  expect(testbed.call.messages.unacked).toBe(193);
});

it("ends with a server that acknowledges what was not sent", () => {
  testbed.link.say({ type: "received", number: 0 });
  expect(testbed.call.error?.kind).toBe("protocol-fault");
});
