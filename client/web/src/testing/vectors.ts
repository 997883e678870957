/** The byte examples that the reference implementation wrote (tests/vectors/voice_wire.json). */
import file from "../../../../tests/vectors/voice_wire.json";

export interface Vectors {
  readonly varints: readonly { value: number; octets: string }[];
  readonly frames: readonly {
    sequence: number;
    timestamp: number;
    codec: number;
    payload: string;
    octets: string;
    on_stream: string;
  }[];
  readonly client_messages: readonly { message: Record<string, unknown>; octets: string }[];
  readonly server_messages: readonly { message: Record<string, unknown>; octets: string }[];
  readonly skipped: readonly string[];
  readonly malformed: readonly string[];
  readonly close_codes: Readonly<Record<string, number>>;
  readonly codecs: Readonly<Record<string, number>>;
}

export const vectors = file as unknown as Vectors;

export const hex = (octets: Uint8Array): string =>
  [...octets].map((octet) => octet.toString(16).padStart(2, "0")).join("");
export const unhex = (digits: string): Uint8Array =>
  Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
