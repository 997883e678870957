import { expect, it } from "vitest";
import type { ServerMessage } from "../wire/messages.js";
import { Conversation } from "./conversation.js";

type Line = Extract<ServerMessage, { type: "transcript" }>;

function agent(turn: number, text: string, utteranceId: number | null, ...replaces: number[]): Line {
  return { type: "transcript", turn, role: "agent", text, is_final: true, generation: utteranceId, replaces };
}

function saidAfter(...messages: Parameters<Conversation["apply"]>[0][]): string[] {
  const conversation = new Conversation();
  for (const message of messages) conversation.apply(message);
  return conversation.transcript.map((line) => line.text);
}

it("keeps a line of each utterance of a turn, which its later text replaces", () => {
  const lines = [agent(1, "One moment.", 3), agent(1, "Two", 4), agent(1, "Two teas.", 4)];
  expect(saidAfter(...lines)).toEqual(["One moment.", "Two teas."]);
  expect(saidAfter(...lines, agent(1, "One moment, please.", 3))).toEqual(["One moment, please.", "Two teas."]);
});

it("puts what is said again in the place of the lines it repeats", () => {
  const lines = [agent(0, "Hi.", 1), agent(1, "One.", 2), agent(1, "Two.", 3), agent(2, "Three.", 4)];
  expect(saidAfter(...lines, agent(1, "One. Two.", 5, 2, 3))).toEqual(["Hi.", "One. Two.", "Three."]);
});

it("takes the newest turn anew after a resume, with what was cut short", () => {
  const ready = {
    ...{ type: "ready" as const, session: "s", worker: "w", codec: 1, next_sequence: 0, token: null, resume_window_s: 0 },
    ...{ version: 1, uplink: "reliable", next_message: null },
  };
  const cut = agent(1, "A long", null);
  expect(saidAfter(agent(0, "Hi.", 1), agent(1, "A long answer.", 2), ready, cut)).toEqual(["Hi.", "A long"]);
});

it("keeps one line of each turn of the agent from an older server, and of the caller", () => {
  expect(saidAfter(agent(1, "One", null), agent(1, "One tea.", null), agent(2, "Bye.", null))).toEqual(["One tea.", "Bye."]);
  const user = (text: string, is_final: boolean): Line => ({ type: "transcript", turn: 1, role: "user", text, is_final });
  expect(saidAfter(user("a", false), user("a tea", true), agent(1, "Sure.", 1))).toEqual(["a tea", "Sure."]);
});
