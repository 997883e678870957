/** Reports what leaves the loudspeaker to the server and the application. */
import type { AnswersHandler } from "../audio/player.js";
import type { Position } from "../audio/playback.js";
import type { VoiceEvent } from "../events.js";
import type { ReplyClock } from "./reply-clock.js";
import type { Turns } from "./turns.js";
import type { Malformed } from "../wire/codepoints.js";
import type { ClientMessage } from "../wire/messages.js";

/** The call, as its loudspeaker sees it. */
export interface Listening {
  readonly replies: ReplyClock;
  readonly turns: Turns;
  send(message: ClientMessage): void;
  emit(event: VoiceEvent): void;
  fault(fault: Malformed): void;
}

export class Playout implements AnswersHandler {
  constructor(private readonly call: Listening) {}

  progressed({ utteranceId, positionMs, isComplete }: Position): void {
    this.call.send({ type: "played", generation: utteranceId, position_ms: positionMs, is_complete: isComplete });
    if (isComplete) {
      this.call.replies.over(utteranceId);
      this.call.emit({ type: "speech-ended", utteranceId, playedMs: positionMs });
    }
  }

  cut({ utteranceId, positionMs }: Position): void {
    this.call.replies.over(utteranceId);
    this.call.turns.silent(performance.now());
    this.call.send({ type: "played", generation: utteranceId, position_ms: positionMs });
    this.call.emit({ type: "flushed", utteranceId, playedMs: positionMs });
  }

  began(utteranceId: number, agoMs: number): void {
    const reply = this.call.replies.began(utteranceId, performance.now() - agoMs);
    if (reply) {
      this.call.emit(reply);
    }
  }

  audible(utteranceId: number, agoMs: number): void {
    this.call.turns.audible(utteranceId, performance.now() - agoMs);
  }

  failed(fault: Malformed): void {
    this.call.fault(fault);
  }
}
