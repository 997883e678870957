/** Control messages: MessagePack maps whose `type` names them. Unknown keys and unknown types are skipped. */
import { decode, encode } from "@msgpack/msgpack";
import { MAX_MESSAGE_BYTES, Malformed } from "./codepoints.js";

interface Field {
  readonly key: string;
  readonly kind: Kind;
  /** Absent: the key must be there. */
  readonly preset?: unknown;
}
type Kind = keyof typeof CHECKS;

const isCount = (value: unknown) => typeof value === "number" && Number.isInteger(value) && value >= 0 && value < 2 ** 62;
const isMap = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !ArrayBuffer.isView(value);
const isLength = (text: string, most: number) => text.length > 0 && [...text].length <= most;

/** Whether an application's value may be sent: null, booleans, finite numbers, strings, arrays, plain objects, 32 levels. */
export function isPlain(value: unknown, levels = 32): boolean {
  if (typeof value !== "object" || value === null) {
    return value === null || ["boolean", "string"].includes(typeof value) || Number.isFinite(value);
  }
  if (levels === 0) {
    return false;
  }
  if (Array.isArray(value)) {
    return value.every((each) => isPlain(each, levels - 1));
  }
  const prototype: unknown = Object.getPrototypeOf(value);
  const isObject = prototype === null || prototype === Object.prototype;
  return isObject && Object.values(value).every((each) => each === undefined || isPlain(each, levels - 1));
}

const CHECKS = {
  count: isCount,
  number: (value: unknown) => typeof value === "number",
  text: (value: unknown) => typeof value === "string",
  flag: (value: unknown) => typeof value === "boolean",
  counts: (value: unknown) => Array.isArray(value) && value.every(isCount),
  role: (value: unknown) => value === "user" || value === "agent",
  map: (value: unknown) => isMap(value),
  plainMap: (value: unknown) => isMap(value) && isPlain(value),
  seconds: (value: unknown) => typeof value === "number" && value > 0 && value <= 3_600,
  name: (value: unknown) => typeof value === "string" && isLength(value, 64),
  target: (value: unknown) => typeof value === "string" && isLength(value, 1_000),
  textOrNil: (value: unknown) => value === null || typeof value === "string",
  countOrNil: (value: unknown) => value === null || isCount(value),
  millisecondsOrNil: (value: unknown) => value === null || (typeof value === "number" && value >= 0),
} as const;

const field = (key: string, kind: Kind, ...preset: readonly unknown[]): Field =>
  preset.length ? { key, kind, preset: preset[0] } : { key, kind };

const CLIENT_FIELDS = {
  start: [
    field("version", "count", 1),
    field("accept", "counts", [1, 3]),
    field("agent", "textOrNil", null),
    field("uplink", "text", "reliable"),
    field("next_message", "countOrNil", null),
  ],
  resume: [
    field("session", "text"),
    field("token", "text"),
    field("version", "count", 1),
    field("accept", "counts", [1, 3]),
    field("generation", "count", 0),
    field("next_generation", "count", 0),
    field("position_ms", "count", 0),
    field("turn", "count", 0),
    field("uplink", "text", "reliable"),
    field("next_message", "countOrNil", null),
  ],
  played: [
    field("generation", "count"),
    field("position_ms", "count"),
    field("is_complete", "flag", false),
    field("timestamp", "countOrNil", null),
  ],
  measured: [
    field("turn", "count"),
    field("response_ms", "millisecondsOrNil", null),
    field("uplink_age_ms", "millisecondsOrNil", null),
    field("playout_ms", "millisecondsOrNil", null),
    field("barge_in_ms", "millisecondsOrNil", null),
    field("resume_gap_ms", "millisecondsOrNil", null),
    field("frames_replayed", "count", 0),
  ],
  dtmf: [field("digit", "text")],
  ping: [field("id", "count")],
  text: [field("number", "count"), field("text", "text")],
  app: [field("number", "count"), field("data", "plainMap")],
  tool_result: [
    field("number", "count"),
    field("call_id", "name"),
    field("result", "map", null),
    field("error", "textOrNil", null),
  ],
  received: [field("number", "count")],
  bye: [field("frames", "count"), field("reason", "text", "")],
} as const satisfies Record<string, readonly Field[]>;

const SERVER_FIELDS = {
  ready: [
    field("session", "text"),
    field("worker", "text"),
    field("codec", "count"),
    field("next_sequence", "count", 0),
    field("token", "textOrNil", null),
    field("resume_window_s", "number", 0),
    field("version", "count", 1),
    field("uplink", "text", "reliable"),
    field("next_message", "countOrNil", null),
  ],
  transcript: [
    field("turn", "count"),
    field("role", "role"),
    field("text", "text"),
    field("is_final", "flag"),
    field("generation", "countOrNil", null),
    field("replaces", "counts", []),
  ],
  state: [field("revision", "count"), field("state", "map")],
  heard: [field("sequence", "count")],
  speech: [field("generation", "count"), field("turn", "count"), field("is_again", "flag", false)],
  flush: [field("generation", "count"), field("sequence", "countOrNil", null)],
  latency: [
    field("turn", "count"),
    field("generation", "count"),
    field("sequence", "countOrNil", null),
    field("uplink_ms", "millisecondsOrNil", null),
    field("endpointing_ms", "millisecondsOrNil", null),
    field("stt_ms", "millisecondsOrNil", null),
    field("llm_ms", "millisecondsOrNil", null),
    field("tts_ms", "millisecondsOrNil", null),
  ],
  drain: [field("deadline_s", "number")],
  pong: [field("id", "count")],
  app: [field("number", "count"), field("data", "plainMap")],
  tool_call: [
    field("number", "count"),
    field("call_id", "name"),
    field("name", "name"),
    field("arguments", "plainMap"),
    field("timeout_s", "seconds", 30),
  ],
  tool_cancel: [field("number", "count"), field("call_id", "name")],
  transfer: [field("number", "count"), field("target", "target")],
  received: [field("number", "count")],
  error: [field("code", "count"), field("message", "text")],
  bye: [field("frames", "count"), field("reason", "text", "")],
} as const satisfies Record<string, readonly Field[]>;

const NUMBERED: ReadonlySet<string> = new Set(["app", "tool_call", "tool_cancel", "transfer"]);

export type ClientMessage =
  | { type: "start"; version?: number; accept?: readonly number[]; agent?: string | null; uplink?: string; next_message?: number | null }
  | {
      type: "resume";
      session: string;
      token: string;
      accept?: readonly number[];
      generation?: number;
      next_generation?: number;
      position_ms?: number;
      turn?: number;
      uplink?: string;
      next_message?: number | null;
    }
  | { type: "played"; generation: number; position_ms: number; is_complete?: boolean; timestamp?: number | undefined }
  | ({ type: "measured"; turn: number } & Partial<Measurements>)
  | { type: "dtmf"; digit: string }
  | { type: "ping"; id: number }
  | NumberedClientMessage
  | { type: "received"; number: number }
  | { type: "bye"; frames: number; reason?: string };

/** What the client keeps until it is acknowledged; see PROTOCOL.md 4.2. */
export type NumberedClientMessage =
  | { type: "text"; number: number; text: string }
  | { type: "app"; number: number; data: Readonly<Record<string, unknown>> }
  | { type: "tool_result"; number: number; call_id: string; result?: unknown; error?: string | null };

/** A call of a tool of the client's. */
export interface ToolCall {
  type: "tool_call";
  number: number;
  call_id: string;
  name: string;
  arguments: Readonly<Record<string, unknown>>;
  timeout_s: number;
}

/** What the server repeats until it is acknowledged. */
export type NumberedServerMessage =
  | { type: "app"; number: number; data: Readonly<Record<string, unknown>> }
  | ToolCall
  | { type: "tool_cancel"; number: number; call_id: string }
  | { type: "transfer"; number: number; target: string };

/** What the client measured of a turn; see PROTOCOL.md 5.1. */
export interface Measurements {
  response_ms: number | null;
  uplink_age_ms: number | null;
  playout_ms: number | null;
  barge_in_ms: number | null;
  resume_gap_ms: number | null;
  frames_replayed: number;
}

/** Where the worker spent the time before an answer; see PROTOCOL.md 5.1. */
export interface Latency {
  type: "latency";
  turn: number;
  generation: number;
  sequence: number | null;
  uplink_ms: number | null;
  endpointing_ms: number | null;
  stt_ms: number | null;
  llm_ms: number | null;
  tts_ms: number | null;
}

export interface Ready {
  type: "ready";
  session: string;
  worker: string;
  codec: number;
  next_sequence: number;
  token: string | null;
  resume_window_s: number;
  version: number;
  uplink: string;
  next_message: number | null;
}

export type ServerMessage =
  | Ready
  | {
      type: "transcript";
      turn: number;
      role: "user" | "agent";
      text: string;
      is_final: boolean;
      generation?: number | null;
      replaces?: readonly number[];
    }
  | { type: "state"; revision: number; state: Record<string, unknown> }
  | { type: "heard"; sequence: number }
  | { type: "speech"; generation: number; turn: number; is_again: boolean }
  | { type: "flush"; generation: number; sequence: number | null }
  | Latency
  | { type: "drain"; deadline_s: number }
  | { type: "pong"; id: number }
  | NumberedServerMessage
  | { type: "received"; number: number }
  | { type: "error"; code: number; message: string }
  | { type: "bye"; frames: number; reason: string };

/** The MessagePack map, keys at their default left out; on a stream send it through `lengthPrefixed`. */
export function encodeMessage(message: ClientMessage): Uint8Array {
  const values = message as unknown as Readonly<Record<string, unknown>>;
  const map: Record<string, unknown> = { type: message.type };
  for (const { key, preset } of CLIENT_FIELDS[message.type] as readonly Field[]) {
    const value = values[key];
    if (value !== undefined && !isSame(value, preset)) {
      map[key] = value;
    }
  }
  return encode(map);
}

/** Read what a server sent; null is a message of an unknown type, to be skipped. */
export function decodeServerMessage(body: Uint8Array): ServerMessage | Malformed | null {
  let map: unknown;
  try {
    map = decode(body);
  } catch (error) {
    return new Malformed(`control message: ${error instanceof Error ? error.message : String(error)}`);
  }
  if (!CHECKS.map(map)) {
    return new Malformed("control message: not a map");
  }
  const values = map as Readonly<Record<string, unknown>>;
  const type = values["type"];
  if (typeof type !== "string") {
    return new Malformed("control message: no type");
  }
  if (!Object.hasOwn(SERVER_FIELDS, type)) {
    return null;
  }
  if (NUMBERED.has(type) && body.length > MAX_MESSAGE_BYTES) {
    return new Malformed(`a numbered message holds at most ${MAX_MESSAGE_BYTES} bytes, this one has ${body.length}`);
  }
  const message: Record<string, unknown> = { type };
  for (const { key, kind, preset } of SERVER_FIELDS[type as keyof typeof SERVER_FIELDS] as readonly Field[]) {
    const value = values[key] === undefined ? preset : values[key];
    if (value === undefined || !CHECKS[kind](value)) {
      return new Malformed(`control message: ${type}.${key} is ${value === undefined ? "missing" : "of the wrong kind"}`);
    }
    message[key] = value;
  }
  return message as unknown as ServerMessage;
}

function isSame(value: unknown, preset: unknown): boolean {
  return Array.isArray(value) && Array.isArray(preset)
    ? value.length === preset.length && value.every((each, index) => each === preset[index])
    : value === preset;
}
