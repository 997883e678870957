import { PipecatClient, type RTVIMessage } from "@pipecat-ai/client-js";
import { afterEach, describe, expect, it, vi } from "vitest";
import { InvalidSetting, VoiceClient } from "../index.js";
import { QuicTransport } from "./pipecat.js";

/** How long a machine with other work may take for what comes at once. */
const LONG_MS = 20_000;

function initialised() {
  const states: string[] = [];
  const messages: { type: string; data: unknown }[] = [];
  const transport = new QuicTransport();
  transport.initialize(
    { transport, callbacks: { onTransportStateChanged: (state) => states.push(state) } },
    (message) => messages.push(message),
  );
  return { transport, states, messages };
}

/** A call whose events the test makes up, and what was sent over it. */
async function connected() {
  vi.useFakeTimers();
  vi.spyOn(VoiceClient.prototype, "connect").mockResolvedValue();
  const sendText = vi.spyOn(VoiceClient.prototype, "sendText").mockReturnValue();
  const sendMessage = vi.spyOn(VoiceClient.prototype, "sendMessage").mockReturnValue();
  const sendDigit = vi.spyOn(VoiceClient.prototype, "sendDigit").mockReturnValue();
  let happen!: (event: object) => void;
  vi.spyOn(VoiceClient.prototype, "on").mockImplementation((...given: unknown[]) => {
    happen = given[1] as (event: object) => void;
    return () => undefined;
  });
  const made = initialised();
  await made.transport._connect({ url: "https://a/v1/voice" });
  const sent = () => sendMessage.mock.calls.map(([data]) => data as { type?: string; data?: unknown });
  return { ...made, sendText, sendMessage, sendDigit, sent, happen: (event: object) => happen(event) };
}

function rtvi(type: string, data: unknown): RTVIMessage {
  return { id: "1", label: "rtvi-ai", type, data } as RTVIMessage;
}

afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

describe("the transport of Pipecat's client", () => {
  it("goes through the client's states", async () => {
    const { transport, states } = initialised();
    await transport.initDevices();
    transport.sendReadyMessage();
    expect(states).toEqual(["initializing", "initialized", "ready"]);
  });

  it("asks the agent whether it is ready, and passes its RTVI on as it is", async () => {
    const { transport, messages, sent, happen } = await connected();
    transport.sendReadyMessage();
    expect(sent()).toMatchObject([{ label: "rtvi-ai", type: "client-ready", data: { version: "2.1.0" } }]);
    happen({ type: "transcript", turn: 0, role: "agent", text: "Hi.", isFinal: true });
    happen({ type: "message", data: rtvi("bot-ready", { version: "2.2.0" }) });
    happen({ type: "transcript", turn: 1, role: "user", text: "two teas", isFinal: true });
    happen({ type: "message", data: rtvi("user-transcription", { text: "two teas", final: true }) });
    vi.advanceTimersByTime(5000);
    expect(messages.map(({ type }) => type)).toEqual(["bot-ready", "user-transcription"]);
    transport.sendMessage(rtvi("client-message", { t: "screen", d: "menu" }));
    expect(sent().at(-1)).toMatchObject({ label: "rtvi-ai", type: "client-message" });
  });

  it("speaks for an agent without RTVI, of what was before too", async () => {
    const { transport, messages, happen } = await connected();
    happen({ type: "transcript", turn: 0, role: "agent", text: "Hi.", isFinal: true });
    transport.sendReadyMessage();
    happen({ type: "speech", utteranceId: 1, turn: 0 });
    expect(messages).toEqual([]);
    vi.advanceTimersByTime(1000);
    happen({ type: "flushed", utteranceId: 1, playedMs: 100 });
    happen({ type: "transcript", turn: 1, role: "user", text: "two", isFinal: false });
    happen({ type: "transcript", turn: 1, role: "user", text: "two teas", isFinal: true });
    expect(messages.map(({ type }) => type)).toEqual([
      "bot-ready",
      "bot-output",
      "bot-started-speaking",
      "user-started-speaking",
      "bot-stopped-speaking",
      "user-transcription",
      "user-stopped-speaking",
      "user-transcription",
    ]);
    expect(messages[0]?.data).toMatchObject({ version: "2.1.0" });
    expect(messages[1]?.data).toMatchObject({ text: "Hi.", will_be_spoken: true, spoken_status: "new", segment_id: 1 });
  });

  it("runs a tool that the page registered with Pipecat's client, and returns its result", async () => {
    vi.stubGlobal("window", globalThis);
    const { sent, happen } = await connected();
    const client = new PipecatClient({ transport: new QuicTransport(), enableMic: false });
    client.registerFunctionCallHandler("show", ({ arguments: given }) => Promise.resolve({ shown: given["item"] }));
    await client.initDevices();
    const ready = client.connect({ url: "https://a/v1/voice" });
    await vi.waitFor(() => expect(sent().at(-1)?.type).toBe("client-ready"), LONG_MS);
    happen({ type: "message", data: rtvi("bot-ready", { version: "2.2.0" }) });
    await ready;
    const call = { function_name: "show", tool_call_id: "7", arguments: { item: "taro" } };
    happen({ type: "message", data: rtvi("llm-function-call-in-progress", call) });
    await vi.waitFor(() => expect(sent().at(-1)?.type).toBe("llm-function-call-result"), LONG_MS);
    expect(sent().at(-1)?.data).toMatchObject({ tool_call_id: "7", result: { shown: "taro" } });
  });

  it("requires a URL", () => {
    const { transport } = initialised();
    expect(() => transport._validateConnectionParams({})).toThrow("connect takes");
    expect(transport._validateConnectionParams({ url: "https://a/v1/voice" })).toEqual({ url: "https://a/v1/voice" });
  });

  it("sends text and keys as the session's own, and client messages as they are to an agent without RTVI", async () => {
    const { transport, messages, sendText, sendDigit, sendMessage, happen } = await connected();
    transport.sendReadyMessage();
    vi.advanceTimersByTime(1000);
    sendMessage.mockClear();
    transport.sendMessage(rtvi("send-text", { content: "two teas", options: { run_immediately: true } }));
    transport.sendMessage(rtvi("dtmf", { buttons: ["4", "2"] }));
    transport.sendMessage(rtvi("client-message", { t: "screen", d: "menu" }));
    transport.sendMessage(rtvi("append-to-context", {}));
    expect(sendText.mock.calls).toEqual([["two teas"]]);
    expect(sendDigit.mock.calls).toEqual([["4"], ["2"]]);
    expect(sendMessage.mock.calls).toEqual([[{ t: "screen", d: "menu" }]]);
    happen({ type: "message", data: { total: "5.25" } });
    expect(messages.at(-1)).toMatchObject({ type: "server-message", data: { total: "5.25" } });
  });

  it("mutes before and during a call, and has no camera", () => {
    const { transport } = initialised();
    transport.enableMic(false);
    expect(transport.isMicEnabled).toBe(false);
    expect(() => transport.updateCam()).toThrow(InvalidSetting);
    expect(transport.isCamEnabled).toBe(false);
  });
});
