/** A call, and the tools that it offers the agent, as React hooks. */
import { useCallback, useEffect, useRef, useState, useSyncExternalStore } from "react";
import { type Tool, VoiceClient, type VoiceEvent, type VoiceOptions } from "../index.js";

/** The call's present; `call` is the client itself, for meters and `finish`. */
export interface Voice {
  readonly call: VoiceClient | null;
  readonly error: Error | null;
  /** Begin a call; from a click. */
  start(): void;
  /** End it. */
  stop(): void;
}

/** Hold a call to `url`; the component is drawn again with each event, and the call ends with it. */
export function useVoice(url: string, options?: VoiceOptions, onEvent?: (event: VoiceEvent) => void): Voice {
  const [call, setCall] = useState<VoiceClient | null>(null);
  const [error, setError] = useState<Error | null>(null);
  const version = useRef(0);
  const subscribe = useCallback(
    (redraw: () => void) => call?.on("*", (event) => (version.current++, onEvent?.(event), redraw())) ?? (() => undefined),
    [call, onEvent],
  );
  useSyncExternalStore(subscribe, () => version.current, () => 0);
  useEffect(() => () => call?.close(), [call]);
  const start = useCallback(() => {
    const begun = new VoiceClient(url, options);
    setError(null);
    setCall(begun);
    begun.connect().catch(setError);
  }, [url, options]);
  return { call, error, start, stop: useCallback(() => void call?.finish().catch(setError), [call]) };
}

/** Offer the agent of a call a tool while the component is there; the function may be another one each time it is drawn. */
export function useVoiceTool(call: VoiceClient | null, name: string, tool: Tool): void {
  const newest = useRef(tool);
  useEffect(() => void (newest.current = tool));
  useEffect(() => call?.tool(name, (...given) => newest.current(...given)), [call, name]);
}

/** The messages of the agent, oldest first, the newest `most` of them; they begin anew with each call. */
export function useVoiceMessages(call: VoiceClient | null, most = 100): readonly Readonly<Record<string, unknown>>[] {
  const [messages, setMessages] = useState<readonly Readonly<Record<string, unknown>>[]>([]);
  useEffect(() => {
    setMessages([]);
    return call?.on("message", ({ data }) => setMessages((before) => [...before, data].slice(-most)));
  }, [call, most]);
  return messages;
}
