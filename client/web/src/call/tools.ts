/** The tools that an application offers the agent: each call runs once, also where the server asks again. */
import { InvalidSetting } from "../errors.js";
import type { ToolCall } from "../wire/messages.js";

const MOST_ANSWERS = 256;
const LONGEST_ERROR = 1_000;
const LONGEST_NAME = 64;

/** Takes the agent's arguments, and returns a plain value; `signal` aborts when the agent waits for it no more. */
export type Tool = (arguments_: Readonly<Record<string, unknown>>, signal: AbortSignal) => unknown;

/** What a call returned, or why it returned nothing. */
export interface ToolAnswer {
  readonly result: unknown;
  readonly error: string | null;
}

/** Sends an answer; throws `MessageError` where it cannot be sent. */
type Answer = (callId: string, answer: ToolAnswer) => void;

/** Runs tools by name, and keeps the answers to the newest 256 calls, by the ID of the call. */
export class Tools {
  readonly #tools = new Map<string, Tool>();
  readonly #running = new Map<string, AbortController>();
  readonly #answers = new Map<string, ToolAnswer>();

  /** Offer a tool under this name; one of the same name is replaced. */
  register(name: string, tool: Tool): void {
    if (name.length < 1 || name.length > LONGEST_NAME) {
      throw new InvalidSetting(`a tool's name has 1 to ${LONGEST_NAME} characters, got "${name}"`);
    }
    this.#tools.set(name, tool);
  }

  /** Offer the tool no longer, unless another one has its name. */
  remove(name: string, tool: Tool): void {
    if (this.#tools.get(name) === tool) {
      this.#tools.delete(name);
    }
  }

  /** Run the tool, unless that was done or is being done; false where it was. */
  call(call: ToolCall, answer: Answer): boolean {
    const { call_id: callId, name } = call;
    const before = this.#answers.get(callId);
    const tool = this.#tools.get(name);
    if (this.#running.has(callId)) {
      return false;
    }
    if (before) {
      answer(callId, before);
      return false;
    }
    if (!tool) {
      this.#answered(callId, { result: null, error: `the client has no tool ${name}` }, answer);
      return false;
    }
    void this.#run(call, tool, answer);
    return true;
  }

  /** Abort the call if it runs; it is not answered. */
  cancel(callId: string): void {
    this.#running.get(callId)?.abort();
    this.#running.delete(callId);
  }

  /** Abort all calls. */
  close(): void {
    [...this.#running.keys()].forEach((callId) => this.cancel(callId));
  }

  async #run(call: ToolCall, tool: Tool, answer: Answer): Promise<void> {
    const running = new AbortController();
    this.#running.set(call.call_id, running);
    let answered: ToolAnswer;
    try {
      answered = { result: (await tool(call.arguments, running.signal)) ?? null, error: null };
    } catch (error) {
      answered = { result: null, error: sentence(error) };
    }
    if (this.#running.delete(call.call_id)) {
      this.#answered(call.call_id, answered, answer);
    }
  }

  #answered(callId: string, answered: ToolAnswer, answer: Answer): void {
    try {
      answer(callId, answered);
    } catch (error) {
      answered = { result: null, error: sentence(error) };
      answer(callId, answered);
    }
    this.#answers.set(callId, answered);
    for (const oldest of this.#answers.keys()) {
      if (this.#answers.size <= MOST_ANSWERS) {
        break;
      }
      this.#answers.delete(oldest);
    }
  }
}

function sentence(error: unknown): string {
  const text = error instanceof Error ? error.message || error.name : String(error);
  return [...text].slice(0, LONGEST_ERROR).join("");
}
