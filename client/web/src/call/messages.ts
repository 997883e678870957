/** The numbered messages of a call: ours until they are acknowledged, the server's each once. */
import { MessageError } from "../errors.js";
import { MAX_MESSAGE_BYTES } from "../wire/codepoints.js";
import { encodeMessage, isPlain, type NumberedClientMessage, type NumberedServerMessage } from "../wire/messages.js";

/** Below what a server takes, so that the answers of tools always have room. */
const MOST_WAITING = 192;
const MOST_TEXT = 4_000;

/** Numbers messages from 0, and keeps each until the server has saved its effect. */
export class Messages {
  /** The number of the first message that has not come from the server. */
  nextExpected = 0;
  /** Whether the server of the newest connection takes messages. */
  isSupported = true;
  #next = 0;
  #kept: NumberedClientMessage[] = [];

  get unacked(): number {
    return this.#kept.length;
  }

  /**
   * Number a message, keep it, and return it to be sent; throws `MessageError` for one that cannot be. The answer of a tool
   * is always kept: the worker that asked, or its successor, waits for it.
   */
  add(unnumbered: Unnumbered): NumberedClientMessage {
    const isAnswer = unnumbered.type === "tool_result";
    if (!this.isSupported && !isAnswer) {
      throw new MessageError("the server takes neither text nor messages of an application");
    }
    if (this.#kept.length >= MOST_WAITING && !isAnswer) {
      throw new MessageError(`the server has not acknowledged the last ${this.#kept.length} messages`);
    }
    const message = { ...unnumbered, number: this.#next } as NumberedClientMessage;
    const fault = faultOf(message);
    if (fault) {
      throw new MessageError(fault);
    }
    this.#next++;
    this.#kept.push(message);
    return message;
  }

  /** What to send over a new connection whose server says `nextMessage`; undefined if it cannot say so. */
  attached(nextMessage: number | null): readonly NumberedClientMessage[] | undefined {
    this.isSupported = nextMessage !== null;
    if (nextMessage === null) {
      return [];
    }
    return nextMessage > this.#next ? undefined : this.#kept.filter((each) => each.number >= nextMessage);
  }

  /** Forget the messages up to `number`; false where the server acknowledges what was never sent. */
  acknowledge(number: number): boolean {
    if (number >= this.#next) {
      return false;
    }
    this.#kept = this.#kept.filter((each) => each.number > number);
    return true;
  }

  /** Count a message of the server; false where it has come before. */
  received(message: NumberedServerMessage): boolean {
    if (message.number < this.nextExpected) {
      return false;
    }
    this.nextExpected = message.number + 1;
    return true;
  }
}

type WithoutNumber<M> = M extends { number: number } ? Omit<M, "number"> : never;
type Unnumbered = WithoutNumber<NumberedClientMessage>;

function faultOf(message: NumberedClientMessage): string | undefined {
  if (message.type === "text") {
    const characters = [...message.text].length;
    return characters >= 1 && characters <= MOST_TEXT
      ? undefined
      : `a text has 1 to ${MOST_TEXT} characters, this one has ${characters}`;
  }
  if (!isPlain(message.type === "app" ? message.data : message.result)) {
    return "a message holds plain values alone: null, booleans, numbers, strings, arrays and maps";
  }
  const size = encodeMessage(message).length;
  return size > MAX_MESSAGE_BYTES ? `a message holds at most ${MAX_MESSAGE_BYTES} bytes, this one has ${size}` : undefined;
}
