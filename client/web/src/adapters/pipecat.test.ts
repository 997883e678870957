import { describe, expect, it, vi } from "vitest";
import { InvalidSetting, VoiceClient } from "../index.js";
import { QuicTransport } from "./pipecat.js";

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

describe("the transport of Pipecat's client", () => {
  it("goes through the client's states", async () => {
    const { transport, states, messages } = initialised();
    await transport.initDevices();
    transport.sendReadyMessage();
    expect(states).toEqual(["initializing", "initialized", "ready"]);
    expect(messages.map(({ type }) => type)).toEqual(["bot-ready"]);
  });

  it("requires a URL", () => {
    const { transport } = initialised();
    expect(() => transport._validateConnectionParams({})).toThrow("connect takes");
    expect(transport._validateConnectionParams({ url: "https://a/v1/voice" })).toEqual({ url: "https://a/v1/voice" });
  });

  it("sends text and client messages, and hands on those of the agent", async () => {
    const connect = vi.spyOn(VoiceClient.prototype, "connect").mockResolvedValue();
    const sendText = vi.spyOn(VoiceClient.prototype, "sendText").mockReturnValue();
    const sendMessage = vi.spyOn(VoiceClient.prototype, "sendMessage").mockReturnValue();
    let happen!: (event: object) => void;
    vi.spyOn(VoiceClient.prototype, "on").mockImplementation((...given: unknown[]) => {
      happen = given[1] as (event: object) => void;
      return () => undefined;
    });
    const { transport, messages } = initialised();
    await transport._connect({ url: "https://a/v1/voice" });
    expect(connect).toHaveBeenCalledOnce();
    const message = { id: "1", label: "rtvi-ai" };
    transport.sendMessage({ ...message, type: "send-text", data: { content: "two teas" } });
    transport.sendMessage({ ...message, type: "client-message", data: { t: "screen", d: "menu" } });
    transport.sendMessage({ ...message, type: "append-to-context", data: {} });
    expect(sendText.mock.calls).toEqual([["two teas"]]);
    expect(sendMessage.mock.calls).toEqual([[{ t: "screen", d: "menu" }]]);
    happen({ type: "message", data: { total: "5.25" } });
    expect(messages.at(-1)).toMatchObject({ type: "server-message", data: { total: "5.25" } });
    vi.restoreAllMocks();
  });

  it("mutes before and during a call, and has no camera", () => {
    const { transport } = initialised();
    transport.enableMic(false);
    expect(transport.isMicEnabled).toBe(false);
    expect(() => transport.updateCam()).toThrow(InvalidSetting);
    expect(transport.isCamEnabled).toBe(false);
  });
});
