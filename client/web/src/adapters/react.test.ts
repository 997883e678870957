import { createElement } from "react";
import { act, create, type ReactTestRenderer } from "react-test-renderer";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { MicrophoneMissing, type Tool, type VoiceEvent } from "../index.js";
import { useVoice, useVoiceMessages, useVoiceTool, type Voice } from "./react.js";

/** A client whose events the test makes up. */
class FakeClient {
  static newest: FakeClient;
  status = "idle";
  readonly listeners = new Set<(event: VoiceEvent) => void>();
  readonly close = vi.fn();
  readonly finish = vi.fn(() => Promise.resolve());
  refuse!: (error: Error) => void;
  readonly #connected = new Promise<void>((_, reject) => (this.refuse = reject));

  constructor(readonly url: string) {
    FakeClient.newest = this;
  }

  connect = () => this.#connected;

  readonly tools = new Map<string, Tool>();

  tool(name: string, tool: Tool): () => void {
    this.tools.set(name, tool);
    return () => void this.tools.delete(name);
  }

  on(_type: string, listener: (event: VoiceEvent) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  happens(status: "connected" | "closed"): void {
    this.status = status;
    this.listeners.forEach((listener) => listener({ type: "status", status }));
  }
}

vi.mock("../index.js", async (original) => ({
  ...(await original<object>()),
  get VoiceClient() {
    return FakeClient;
  },
}));

let voice: Voice;
let shown: ReactTestRenderer;
const received: VoiceEvent[] = [];
const listen = (event: VoiceEvent) => void received.push(event);

function Component(): string {
  voice = useVoice("https://voice.example/v1/voice", undefined, listen);
  return voice.error?.message ?? voice.call?.status ?? "no call";
}

beforeEach(() => {
  vi.stubGlobal("IS_REACT_ACT_ENVIRONMENT", true);
  vi.stubGlobal("IS_REACT_NATIVE_TEST_ENVIRONMENT", true); // or it warns that pages are better tested in browsers
  received.length = 0;
  act(() => void (shown = create(createElement(Component))));
});

afterEach(() => {
  act(() => shown.unmount());
  vi.unstubAllGlobals();
});

it("draws the component again with each event, and ends the call with it", () => {
  expect(shown.toJSON()).toBe("no call");
  act(() => voice.start());
  const client = FakeClient.newest;
  expect(client.url).toBe("https://voice.example/v1/voice");
  expect(shown.toJSON()).toBe("idle");
  act(() => client.happens("connected"));
  expect(shown.toJSON()).toBe("connected");
  expect(received).toEqual([{ type: "status", status: "connected" }]);
  act(() => voice.stop());
  expect(client.finish).toHaveBeenCalledOnce();
  expect(client.close).not.toHaveBeenCalled();
  act(() => shown.unmount());
  expect(client.close).toHaveBeenCalledOnce();
  expect(client.listeners.size).toBe(0);
});

it("reports why a call failed, and clears that with the next attempt", async () => {
  act(() => voice.start());
  await act(async () => FakeClient.newest.refuse(new MicrophoneMissing("no microphone was found")));
  expect(shown.toJSON()).toBe("no microphone was found");
  const refused = FakeClient.newest;
  act(() => voice.start());
  expect(shown.toJSON()).toBe("idle");
  expect(refused.close).toHaveBeenCalledOnce();
});

it("offers the newest function of a component as a tool, and shows the agent's messages", async () => {
  let factor = 1;
  function Shop(): string {
    voice = useVoice("https://voice.example/v1/voice");
    useVoiceTool(voice.call, "double", ({ n }) => (n as number) * 2 * factor);
    return JSON.stringify(useVoiceMessages(voice.call, 2));
  }
  act(() => void (shown = create(createElement(Shop))));
  act(() => voice.start());
  const client = FakeClient.newest;
  factor = 10;
  act(() => shown.update(createElement(Shop)));
  expect(await client.tools.get("double")?.({ n: 2 }, new AbortController().signal)).toBe(40);
  for (const n of [1, 2, 3]) {
    act(() => client.listeners.forEach((listener) => listener({ type: "message", data: { n } })));
  }
  expect(shown.toJSON()).toBe('[{"n":2},{"n":3}]');
  act(() => shown.unmount());
  expect(client.tools.size).toBe(0);
});
