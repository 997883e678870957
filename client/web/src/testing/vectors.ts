/** The byte examples that the reference implementation wrote (tests/vectors/voice_wire.json). */
import file from "../../../../tests/vectors/voice_wire.json";

export interface Vectors {
  readonly varints: readonly { value: number; bytes: string }[];
  readonly frames: readonly {
    sequence: number;
    timestamp: number;
    codec: number;
    payload: string;
    bytes: string;
    on_stream: string;
  }[];
  readonly client_messages: readonly { message: Record<string, unknown>; bytes: string }[];
  readonly server_messages: readonly { message: Record<string, unknown>; bytes: string }[];
  readonly skipped: readonly string[];
  readonly malformed: readonly string[];
  readonly close_codes: Readonly<Record<string, number>>;
  readonly codecs: Readonly<Record<string, number>>;
}

export const vectors = file as unknown as Vectors;

export const hex = (bytes: Uint8Array): string =>
  [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
export const unhex = (digits: string): Uint8Array =>
  Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
