// What a call must not lose with its host or worker besides the state: turns without an answer, and calls of tools for them.
//
// All of it is in the private state. The next host reads it from `open`, and takes the same steps again: a tool that had
// returned is not called again, and one that had not is called again with the same key.
import { createHash } from "node:crypto";

const KEY_CHARACTERS = 32;

export class Journal {
  /** Goes on with the journal of `open`; `send` takes events. */
  constructor({ session, turn, transcript, private_state: saved }, send) {
    this.session = session;
    this.turn = turn;
    this.send = send;
    this.pending = saved.pending ?? []; // {number, text, replies}, the oldest first
    this.tools = saved.tools ?? {}; // key -> {turn, name, isDone, result}
    this.replies = transcript.filter(({ role }) => role === "agent").length; // to be counted by the agent
    this.toolsCalled = 0;
    this.checkpoint = 0;
    this.unsaved = []; // {checkpoint, resolve}
  }

  /** Returns a copy for the `private_state` of an event. */
  get privateState() {
    return structuredClone({ pending: this.pending, tools: this.tools });
  }

  /** A turn of the caller is complete: send it with `private_state` in the same event. */
  understood(text) {
    this.turn += 1;
    this.pending.push({ number: this.turn, text, replies: null });
  }

  /** Begins with the oldest turn, perhaps again, and returns it. `isAnswered`: its answer was said before a kill. */
  begin() {
    const [turn] = this.pending;
    this.toolsCalled = 0;
    const isAnswered = turn.replies !== null && this.replies > turn.replies;
    if (!isAnswered) turn.replies = this.replies;
    return { ...turn, isAnswered };
  }

  /**
   * Calls `tool(arguments, key)`, or returns the result of an earlier call. The intent is saved before the call, so that a
   * call is repeated under its key; the result is saved before it is returned, so that what follows may rely on it.
   */
  async call(tool, args) {
    const turn = this.turnBeingAnswered;
    const key = toolKey(this.session, turn, this.toolsCalled++, tool.name, args);
    const begun = this.tools[key];
    if (begun?.isDone) return begun.result;
    if (!begun) {
      this.tools[key] = { turn, name: tool.name, isDone: false, result: null };
      await this.save();
    }
    const result = await tool(args, key);
    this.tools[key] = { turn, name: tool.name, isDone: true, result };
    await this.save();
    return result;
  }

  /** The oldest turn is answered: its steps are not taken again. */
  answered() {
    const { number } = this.pending.shift();
    this.tools = Object.fromEntries(Object.entries(this.tools).filter(([, each]) => each.turn > number));
  }

  /** Resolves once the worker has said that the journal as it is now, and all that was sent before, cannot be lost. */
  save() {
    this.checkpoint += 1;
    const { checkpoint } = this;
    this.send({ type: "state_changed", private_state: this.privateState, checkpoint });
    return new Promise((resolve) => this.unsaved.push({ checkpoint, resolve }));
  }

  /** The worker's message `saved`. */
  saved(checkpoint) {
    while (this.unsaved.length && this.unsaved[0].checkpoint <= checkpoint) this.unsaved.shift().resolve();
  }

  get turnBeingAnswered() {
    return this.pending[0].number;
  }
}

/** Returns a hash of session, turn, number of the call in the turn, name and arguments: the same when the turn is repeated. */
function toolKey(session, turn, ordinal, name, args) {
  const call = JSON.stringify([session, turn, ordinal, name, args], withSortedKeys);
  return createHash("sha256").update(call).digest("hex").slice(0, KEY_CHARACTERS);
}

function withSortedKeys(_key, value) {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.keys(value).sort().map((key) => [key, value[key]]));
}
