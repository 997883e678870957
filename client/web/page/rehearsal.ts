/** The page with a call that is played from a script: `rehearsal.html#talking` and so on, to look at each state. */
import type { VoiceEvent } from "../src/events.js";
import { AccessRefused, CertificateRefused, MicrophoneMissing, UdpBlocked, VoiceError } from "../src/errors.js";
import type { VoiceClient } from "../src/voice-client.js";
import type { Configuration } from "./configuration.js";
import { Page } from "./page.js";

const CONFIGURATION: Configuration = {
  voice_url: "https://127.0.0.1:4433/v1/voice",
  web_socket_path: "/v1/voice",
  certificate_hashes: [],
  certificate_expires: location.hash === "#certificate" ? "2020-01-02T00:00:00Z" : null,
  token: null,
  demo_url: "http://127.0.0.1:8081",
};

const taro = {
  id: 1,
  quantity: 1,
  drink: "taro milk tea",
  size: "large",
  milk: "oat",
  sugar_percent: 75,
  ice: "regular",
  toppings: ["boba"],
  price: "6.85",
};
const matcha = {
  id: 2,
  quantity: 2,
  drink: "matcha latte",
  size: "medium",
  milk: "whole",
  sugar_percent: 100,
  ice: "no",
  toppings: [],
  price: "10.50",
};
const order = (status: string, ...items: (typeof taro | typeof matcha)[]) => ({
  type: "state" as const,
  revision: 1,
  state: { kind: "drink-order", status, currency: "USD", items, total: "17.35" },
});
const said = (turn: number, role: "user" | "agent", text: string, isFinal = true) => ({
  type: "transcript" as const,
  turn,
  role,
  text,
  isFinal,
});

const TALK: VoiceEvent[] = [
  { type: "transport", transport: "webtransport", tookMs: 41, attempts: [] },
  { type: "connected", session: "9f31c2d4e5a6b788", worker: "worker-1", transport: "webtransport" },
  { type: "status", status: "connected" },
  said(0, "agent", "Hi, welcome to Leaf and Pearl! What can I get you?"),
  said(1, "user", "large taro milk tea oat milk seventy five percent sugar"),
  order("open", taro),
  said(1, "agent", "One large taro milk tea with oat milk, 75 percent sugar. Anything else?"),
  { type: "reply", utteranceId: 2, turn: 1, latencyMs: 642, arrivalMs: 610 },
  {
    type: "turn",
    turn: 1,
    responseMs: 642,
    uplinkAgeMs: 9,
    endpointingMs: 480,
    sttMs: 38,
    llmMs: 4,
    ttsMs: 61,
    downlinkMs: 12,
    playoutMs: 38,
    bargeInMs: null,
    resumeGapMs: null,
    framesReplayed: 0,
  },
  { type: "speech", utteranceId: 2, turn: 1 },
  { type: "flushed", utteranceId: 2, playedMs: 1840 },
  said(2, "user", "and two matcha", false),
];
const SWITCHED: VoiceEvent[] = [
  ...TALK,
  { type: "interrupted", reason: "the network changed" },
  {
    type: "resumed",
    atS: 9,
    worker: "worker-1",
    transport: "webtransport",
    gapMs: 212,
    hasReconnected: true,
    framesAgain: 11,
  },
  said(2, "user", "and two matcha lattes without ice"),
  order("open", taro, matcha),
  said(2, "agent", "Two matcha lattes, no ice. Anything else?"),
  { type: "reply", utteranceId: 3, turn: 2, latencyMs: 587, arrivalMs: 560 },
  { type: "status", status: "connected" },
];
const SCRIPTS: Readonly<Record<string, readonly VoiceEvent[]>> = {
  calling: [{ type: "status", status: "connecting" }],
  talking: TALK,
  reconnecting: [
    ...TALK,
    { type: "interrupted", reason: "the network changed" },
    { type: "status", status: "reconnecting" },
  ],
  switched: SWITCHED,
  crashed: [
    ...TALK,
    { type: "interrupted", reason: "nothing is acknowledged any more" },
    {
      type: "resumed",
      atS: 9,
      worker: "worker-2",
      transport: "webtransport",
      gapMs: 1312,
      hasReconnected: true,
      framesAgain: 66,
    },
    { type: "status", status: "connected" },
  ],
  websocket: [
    {
      type: "transport",
      transport: "websocket",
      tookMs: 560,
      attempts: [
        { transport: "webtransport", startedMs: 0, endedMs: 540, failure: new UdpBlocked("no datagram comes back") },
      ],
    },
    { ...TALK[1], transport: "websocket" } as VoiceEvent,
    ...TALK.slice(2),
  ],
  ended: [
    ...SWITCHED,
    order("confirmed", taro, matcha),
    said(3, "user", "that is all"),
    { type: "closed", error: null },
  ],
};
const FAULTS: Readonly<Record<string, VoiceError>> = {
  microphone: new MicrophoneMissing("the browser found no microphone"),
  udp: new UdpBlocked("no datagram comes back, and the WebSocket is closed too"),
  certificate: new CertificateRefused("the handshake failed"),
  token: new AccessRefused("the server refused the access token (HTTP status 401)"),
};

class Rehearsed {
  isMuted = false;
  readonly inputLevel = 0.06;
  readonly bufferedMs = 4200;
  readonly rttMs = 12.3;
  readonly framesSent = 412;
  readonly framesAcked = 398;
  readonly uplink = "reliable";
  readonly framesRepaired = 0;
  #listener: (event: VoiceEvent) => void = () => undefined;

  on(_: "*", listener: (event: VoiceEvent) => void): () => void {
    this.#listener = listener;
    return () => undefined;
  }

  async connect(): Promise<void> {
    const scene = location.hash.slice(1);
    if (FAULTS[scene]) throw FAULTS[scene];
    for (const event of SCRIPTS[scene] ?? []) this.#listener(event);
  }

  async finish(): Promise<void> {}
  close(): void {}
  simulateNetworkChange(): void {}
}

new Page(CONFIGURATION, () => new Rehearsed() as unknown as VoiceClient);
if (location.hash !== "") document.getElementById("call")?.click();
