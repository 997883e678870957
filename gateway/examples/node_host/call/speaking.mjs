// Says one thing after the other, and nothing more of one that the caller interrupts.

export class Speaking {
  /** `synthesise(text)` is an async iterator of PCM16. */
  constructor(send, synthesise) {
    this.send = send;
    this.synthesise = synthesise;
    this.waiting = [];
    this.present = null; // the reply whose audio is being made
    this.isUserSpeaking = false;
  }

  /**
   * Says a text as soon as neither side speaks, and sends the events that `withIt()` returns together with its beginning:
   * the worker gets both or none. Resolves once all of its audio is made, or it is cut off.
   */
  say(text, withIt) {
    return new Promise((resolve, reject) => {
      this.waiting.push({ text, withIt, resolve, reject });
      this.next();
    });
  }

  /** Says at once what the caller has not heard whole; what is being made is a part of it. */
  sayAgain(text) {
    this.cutOff();
    return new Promise((resolve, reject) => this.make({ text, withIt: () => [], resolve, reject }));
  }

  /** Goes on with what has not begun to be said. */
  interrupted() {
    this.cutOff();
    this.next();
  }

  cutOff() {
    const cut = this.present;
    this.present = null;
    cut?.resolve();
  }

  userStarted() {
    this.isUserSpeaking = true;
    this.cutOff();
  }

  userStopped() {
    this.isUserSpeaking = false;
    this.next();
  }

  next() {
    if (this.present === null && !this.isUserSpeaking && this.waiting.length) this.make(this.waiting.shift());
  }

  async make(reply) {
    this.present = reply;
    try {
      this.send([{ type: "reply", text: reply.text }, ...reply.withIt()]);
      for await (const pcm of this.synthesise(reply.text)) {
        if (this.present !== reply) return;
        this.send(pcm);
      }
      if (this.present !== reply) return;
      this.send({ type: "reply_ended" });
      this.present = null;
      reply.resolve();
    } catch (error) {
      if (this.present === reply) this.present = null;
      reply.reject(error);
    }
    this.next();
  }
}
