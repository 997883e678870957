// An agent host for Node.js 20 and newer, without packages: takes spoken orders, and loses none with a host or a worker.
//
//   node waiter.mjs unix:agents.sock "can i have a latte" 1.8
//
// The words and the length in seconds of the utterance, pause included, are for a stand-in that counts the length of what
// it hears. Speech to text goes where `recognise` is: a function of PCM16 at 16 kHz that resolves to words; `synthesise` is
// an async iterator of PCM16 for a text. Orders are lines of the file in the variable ORDERS, `KEY WORDS`.
import { appendFile } from "node:fs/promises";
import { existsSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Hearing } from "./call/hearing.mjs";
import { Journal } from "./call/journal.mjs";
import { Speaking } from "./call/speaking.mjs";
import { recogniserByLength, tones } from "./call/stand_ins.mjs";
import { Conversation, serve } from "./host/host.mjs";

const [listen, words = "", utteranceS = "1"] = process.argv.slice(2);
const recognise = recogniserByLength(words, Number(utteranceS));
const synthesise = tones;
const { ORDERS = "orders.txt", ORDERS_GATE } = process.env;
const CUT_OFF = "Sorry, we were cut off. What did you say last?";

/** The tool. An order that is written twice, after a kill, has one key. Waits for the file in ORDERS_GATE, if given. */
async function takeOrder({ words: order }, key) {
  await appendFile(ORDERS, `${key} ${order}\n`);
  while (ORDERS_GATE && !existsSync(ORDERS_GATE)) await sleep(10);
  return order;
}

class WaiterCall extends Conversation {
  opened(open) {
    this.state = open.state ?? {};
    this.through = open.through_sequence ?? -1;
    this.journal = new Journal(open, this.send);
    this.hearing = new Hearing(this, open);
    this.speaking = new Speaking(this.send, synthesise);
    this.recognised = Promise.resolve(); // all that was heard so far, in its order
    this.answering = Promise.resolve(); // all turns so far
    this.repeating = Promise.resolve(); // what was asked for beside turns
    // one round trip first: what is to be said again comes before new answers
    if (this.journal.pending.length) {
      this.answering = this.run(async () => {
        await this.journal.save();
        await this.answerPending();
      });
    }
  }

  hear(sequence, audio) {
    this.hearing.hear(sequence, audio);
  }

  take(message) {
    const { type, text, number } = message;
    if (type === "saved") this.journal.saved(message.checkpoint);
    else if (type === "interrupted") this.speaking.interrupted();
    else if (type === "say_again") this.repeating = this.run(() => this.speaking.sayAgain(text));
    else if (type === "greet" && message.is_again) this.repeating = this.run(() => this.say(CUT_OFF));
    else if (type === "finish") this.run(() => this.finish());
    else if (type === "text") this.typed(text, number);
    else if (number !== undefined) this.send({ type: "state_changed", through_message: number });
  }

  // What is heard

  userStarted(sequence) {
    this.speaking.userStarted();
    this.send({ type: "user_started_speaking", sequence });
  }

  userSpeaks(pcm) {
    this.inOrder(async () => this.send({ type: "partial_transcript", text: await recognise(pcm) }));
  }

  userSaid(pcm, sequence) {
    this.inOrder(async () => {
      const text = await recognise(pcm);
      this.through = sequence;
      if (text) this.understood(text);
      else this.send({ type: "no_speech_up_to", through_sequence: sequence }); // a noise
      if (!this.hearing.isSpeaking) this.speaking.userStopped();
    });
  }

  noSpeech(sequence) {
    this.inOrder(() => {
      this.through = sequence;
      this.send({ type: "no_speech_up_to", through_sequence: sequence });
    });
  }

  /** Acknowledges frames only once what was said before them is understood. */
  inOrder(step) {
    this.recognised = this.recognised.then(() => this.run(step));
  }

  typed(text, number) {
    this.send({ type: "stop_reply" });
    this.speaking.interrupted();
    this.understood(text, number ?? undefined);
  }

  understood(text, throughMessage) {
    this.journal.understood(text);
    this.send({
      type: "final_transcript",
      text,
      through_sequence: this.through,
      through_message: throughMessage,
      private_state: this.journal.privateState,
    });
    this.answering = this.answering.then(() => this.run(() => this.answerPending()));
  }

  // What is answered

  async answerPending() {
    while (this.journal.pending.length) await this.answer(this.journal.begin());
  }

  async answer(turn) {
    this.state.order = await this.journal.call(takeOrder, { words: turn.text });
    if (turn.isAnswered) this.send(this.turnEnds());
    else await this.say("I have that for you.", () => this.turnEnds());
  }

  say(text, withIt = () => []) {
    return this.speaking.say(text, () => {
      this.journal.replies += 1;
      return withIt();
    });
  }

  /** The state that the turn leads to, and the end of the turn in the journal, are saved together. */
  turnEnds() {
    this.journal.answered();
    return [{ type: "state_changed", state: { ...this.state }, private_state: this.journal.privateState }];
  }

  async finish() {
    this.hearing.finish();
    await this.recognised;
    await this.answering;
    await this.repeating;
    this.send({ type: "finished" });
  }
}

const agent = { name: "node-waiter", inputRateHz: 16_000, outputRateHz: 16_000, audioFormat: "pcm16", Conversation: WaiterCall };
serve(agent, listen);
