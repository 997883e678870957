export type { AudioSink, AudioSource, SinkHandler, SourceHandler } from "./audio/base.js";
export { Loudspeaker, type LoudspeakerOptions } from "./audio/loudspeaker/loudspeaker.js";
export { Microphone, type MicrophoneOptions } from "./audio/microphone/microphone.js";
export type { Tool } from "./call/tools.js";
export * from "./errors.js";
export type * from "./events.js";
export type { AudioOptions, ConnectionOptions, Security, UplinkOptions, VoiceOptions } from "./options.js";
export { VoiceClient } from "./voice-client.js";
export { CloseCode, type UplinkMode } from "./wire/codepoints.js";
