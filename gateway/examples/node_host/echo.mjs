// An agent host for Node.js 20 and newer, without packages: says every utterance back.
//
//   node echo.mjs unix:agents.sock
//   node echo.mjs tcp:127.0.0.1:7000
import { Hearing } from "./call/hearing.mjs";
import { Conversation, serve } from "./host/host.mjs";

const PIECE_BYTES = 64_000;

class EchoCall extends Conversation {
  opened(open) {
    this.utterances = open.state?.utterances ?? 0;
    this.hearing = new Hearing(this, open);
    this.said = null;
  }

  hear(sequence, audio) {
    this.hearing.hear(sequence, audio);
  }

  take(message) {
    if (message.type === "say_again" && this.said?.text === message.text) this.say(this.said);
    if (message.type === "finish") {
      this.hearing.finish();
      this.send({ type: "finished" });
    }
    if (message.number !== undefined) this.send({ type: "state_changed", through_message: message.number });
  }

  userStarted(sequence) {
    this.send({ type: "user_started_speaking", sequence });
  }

  noSpeech(sequence) {
    this.send({ type: "no_speech_up_to", through_sequence: sequence });
  }

  userSaid(pcm, sequence) {
    this.utterances += 1;
    this.said = { text: `echo ${this.utterances}`, pcm };
    const state = { kind: "echo", utterances: this.utterances };
    this.send({ type: "final_transcript", text: this.said.text, through_sequence: sequence, state });
    this.say(this.said);
  }

  say({ text, pcm }) {
    this.send({ type: "reply", text });
    for (let start = 0; start < pcm.length; start += PIECE_BYTES) this.send(pcm.subarray(start, start + PIECE_BYTES));
    this.send({ type: "reply_ended" });
  }
}

const agent = { name: "node-echo", inputRateHz: 16_000, outputRateHz: 16_000, audioFormat: "pcm16", Conversation: EchoCall };
serve(agent, process.argv[2]);
