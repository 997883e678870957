export type { AudioSink, AudioSource, SinkHandler, SourceHandler } from "./audio/base.js";
export * from "./errors.js";
export type * from "./events.js";
export type { VoiceOptions } from "./settings.js";
export { VoiceClient } from "./voice-client.js";
