import { describe, expect, it } from "vitest";
import { InvalidSetting } from "../errors.js";
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

  it("mutes before and during a call, and has no camera", () => {
    const { transport } = initialised();
    transport.enableMic(false);
    expect(transport.isMicEnabled).toBe(false);
    expect(() => transport.updateCam()).toThrow(InvalidSetting);
    expect(transport.isCamEnabled).toBe(false);
  });
});
