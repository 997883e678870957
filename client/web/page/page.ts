/** The page at work: buttons become calls, events become a view, the view becomes what is seen. */
import { Loudspeaker } from "../src/audio/loudspeaker/loudspeaker.js";
import type { VoiceClient } from "../src/voice-client.js";
import type { OptionGroups, UplinkOptions } from "../src/options.js";
import type { VoiceEvent } from "../src/events.js";
import { type ErrorKind, VoiceError } from "../src/errors.js";
import type { UplinkMode } from "../src/wire/codepoints.js";
import { type Configuration, webSocketUrl } from "./configuration.js";
import { Conversation } from "./panels/conversation.js";
import { part, write } from "./document.js";
import { adviceFor, expiry } from "./faults.js";
import { Instruments } from "./panels/instruments.js";
import { Line } from "./panels/line.js";
import { Receipt } from "./panels/receipt.js";
import { NO_CALL, after, nameOf, type Phase, type View } from "./view.js";

/** Makes a call that has not begun; the rehearsal brings its own. */
export type Dial = (url: string, options: OptionGroups) => VoiceClient;

const READ_INSTRUMENTS_MS = 50;
const UNDER_WAY: readonly Phase[] = ["calling", "talking", "reconnecting", "finishing"];

/** What a browser says when a certificate has expired, as pages learn nothing of certificates. */
const HIDDEN_BY_THE_BROWSER: readonly ErrorKind[] = ["udp-blocked", "unreachable", "certificate-refused"];

const STATUS: Readonly<Record<Phase, string>> = {
  ready: "Ready to call",
  calling: "Calling",
  talking: "On the line",
  reconnecting: "Reconnecting",
  finishing: "Saying goodbye",
  ended: "Call ended",
  failed: "No call",
};

const HINTS: Readonly<Record<Phase, string>> = {
  ready: "Press the button and say what you would like to drink.",
  calling: "One moment.",
  talking: "Speak whenever you like, even while you are being answered.",
  reconnecting: "The connection is gone. Speak on: what you say is kept.",
  finishing: "The rest of what you said is being delivered.",
  ended: "Thank you. Press the button to call again.",
  failed: "Press the button to try again.",
};

export class Page {
  readonly #configuration: Configuration;
  readonly #dial: Dial;
  readonly #receipt = new Receipt();
  readonly #conversation = new Conversation();
  readonly #line = new Line();
  readonly #instruments = new Instruments();
  readonly #button = part("call", HTMLButtonElement);
  readonly #mute = part("mute", HTMLButtonElement);
  readonly #switch = part("switch-network", HTMLButtonElement);
  readonly #crash = part("crash-worker", HTMLButtonElement);
  readonly #tokenForm = part("token-form", HTMLFormElement);
  readonly #fault = part("fault", HTMLElement);
  #view = NO_CALL;
  #call: VoiceClient | null = null;
  #loudspeaker: Loudspeaker | null = null;
  #token: string | null;
  #beganAt = 0;

  constructor(configuration: Configuration, dial: Dial) {
    this.#configuration = configuration;
    this.#dial = dial;
    this.#token = configuration.token;
    this.#button.addEventListener("click", () => this.#pressed());
    this.#mute.addEventListener("click", () => this.#muted());
    this.#switch.addEventListener("click", () => this.#call?.simulateNetworkChange());
    this.#crash.addEventListener("click", () => void this.#crashWorker());
    this.#tokenForm.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#token = part("token", HTMLInputElement).value.trim();
      this.#begin();
    });
    this.#crash.hidden = configuration.demo_url === null;
    write(part("buffer", HTMLElement), globalThis.crossOriginIsolated ? "shared memory" : "messages");
    setInterval(() => this.#instruments.show(this.#call), READ_INSTRUMENTS_MS);
    this.#show(NO_CALL);
  }

  /** The call under way, for the curious at the console. */
  get call(): VoiceClient | null {
    return this.#call;
  }

  /** What its answers are played by: `output` is the node for a meter or a recording. */
  get loudspeaker(): Loudspeaker | null {
    return this.#loudspeaker;
  }

  #pressed(): void {
    const phase = this.#view.phase;
    if (phase === "talking" || phase === "reconnecting") {
      this.#call?.finish().catch(() => undefined); // the event `closed` says it better
    } else if (phase === "calling" || phase === "finishing") {
      this.#call?.close();
    } else {
      this.#begin();
    }
  }

  #begin(): void {
    this.#call?.close();
    const { voice_url, certificate_hashes, certificate_expires } = this.#configuration;
    this.#beganAt = performance.now();
    this.#show({ ...NO_CALL, phase: "calling", knownTrouble: expiry(certificate_expires, new Date()) });
    this.#loudspeaker = new Loudspeaker({ workletUrl: "playback-worklet.js" });
    try {
      const call = this.#dial(voice_url ?? "", {
        security: { ...(this.#token ? { token: this.#token } : {}), certificateHashes: certificate_hashes },
        audio: { workletUrls: { capture: "capture-worklet.js" }, sink: this.#loudspeaker },
        connection: { webSocketUrl: webSocketUrl(this.#configuration) },
        uplink: wantedUplink(),
      });
      this.#call = call;
      call.on("*", (event) => this.#happened(call, event));
      call.connect().catch((error: unknown) => this.#failed(call, error));
    } catch (error) {
      this.#failed(null, error);
    }
  }

  #happened(call: VoiceClient, event: VoiceEvent): void {
    if (call !== this.#call) return;
    this.#show(after(this.#view, event, performance.now() - this.#beganAt));
    document.dispatchEvent(new CustomEvent("voice", { detail: event })); // for tests and extensions
    if (event.type === "closed") this.#call = null;
  }

  #failed(call: VoiceClient | null, error: unknown): void {
    if (call !== this.#call || this.#view.phase === "failed") return;
    this.#call = null;
    if (!(error instanceof VoiceError)) throw error;
    this.#show({ ...this.#view, phase: "failed", fault: { kind: error.kind, message: error.message } });
  }

  #muted(): void {
    if (this.#call === null) return;
    this.#call.isMuted = !this.#call.isMuted;
    this.#mute.setAttribute("aria-pressed", String(this.#call.isMuted));
  }

  async #crashWorker(): Promise<void> {
    const { worker } = this.#view;
    if (worker === null) return;
    try {
      const answer = await fetch(`${this.#configuration.demo_url}/crash?worker=${worker}`, { method: "POST" });
      if (!answer.ok) throw new Error(await answer.text());
      this.#line.announce(
        `${worker} is being killed`,
        "By SIGKILL: nothing of it remains. It is started again in two seconds.",
      );
    } catch (error) {
      this.#line.announce(`${worker} could not be killed`, error instanceof Error ? error.message : String(error));
    }
  }

  #show(view: View): void {
    this.#view = view;
    const { phase, transport } = view;
    const isUnderWay = UNDER_WAY.includes(phase);
    document.body.dataset["phase"] = phase;
    write(
      part("connection-text", HTMLElement),
      transport !== null && isUnderWay ? `${STATUS[phase]} · ${nameOf(transport)}` : STATUS[phase],
    );
    write(part("hint", HTMLElement), HINTS[phase]);
    write(part("call-text", HTMLElement), isUnderWay ? "Hang up" : "Call");
    this.#mute.hidden = !isUnderWay;
    if (!isUnderWay) this.#mute.setAttribute("aria-pressed", "false");
    this.#switch.disabled = phase !== "talking";
    this.#crash.disabled = phase !== "talking";
    this.#showFault(view);
    this.#receipt.show(view.order);
    this.#conversation.show(view.turns);
    this.#line.show(view, gatewayOf(this.#configuration, view));
  }

  #showFault({ fault, knownTrouble }: View): void {
    this.#fault.hidden = fault === null;
    if (fault === null) return;
    const advice = adviceFor(
      knownTrouble !== null && HIDDEN_BY_THE_BROWSER.includes(fault.kind) ? "certificate-refused" : fault.kind,
    );
    write(part("fault-title", HTMLElement), advice.title);
    write(part("fault-why", HTMLElement), knownTrouble ?? asSentence(fault.message));
    write(part("fault-remedy", HTMLElement), advice.remedy);
    this.#tokenForm.hidden = !advice.needsToken;
    if (advice.needsToken) part("token", HTMLInputElement).focus();
  }
}

/** The page's address may name another than the default: `?uplink=hybrid`. */
function wantedUplink(): UplinkOptions {
  const mode = new URLSearchParams(location.search).get("uplink");
  return mode === null ? {} : { mode: mode as UplinkMode }; // checked by the library
}

function gatewayOf(configuration: Configuration, view: View): string {
  const url = view.transport === "websocket" ? webSocketUrl(configuration) : (configuration.voice_url ?? location.href);
  return new URL(url).host;
}

function asSentence(message: string): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}${/[.!?]$/.test(message) ? "" : "."}`;
}
