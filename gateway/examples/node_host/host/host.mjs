// The host protocol (gateway/docs/hosts.md) for any agent: `serve` gives each call a `Conversation` of the agent's class.
//
// Beyond this machine a host must serve TLS and ask for a token; this one refuses to listen there.
import { existsSync, unlinkSync } from "node:fs";
import { createServer } from "node:http";
import { decode, encode } from "./messagepack.mjs";
import { accept } from "./websocket.mjs";

const VERSION = 1;
const CONTROL = 0;
const UPLINK_AUDIO = 1;
const DOWNLINK_AUDIO = 2;
const LOAD_EVERY_MS = 250;
const DRAIN_TIMEOUT_MS = 30_000;

/** One call as an agent sees it. Override what the agent needs; what a method throws ends this call, and no other. */
export class Conversation {
  /** `send` takes an event (a map with `type`), an array of events that have their effect together, or a Buffer of audio. */
  constructor(send) {
    this.send = send;
  }

  /** The call is here: `open` has session, turn, transcript, and state and private state as they were emitted last. */
  opened(open) {}

  /** A frame of the caller: audio of the rate and format that `serve` was given. */
  hear(sequence, audio) {}

  /** Any other message of the worker, such as `finish`, `say_again`, `interrupted` or `saved`. */
  take(message) {}

  /** The worker has left. Nothing that is sent from now on reaches the caller. */
  closed() {}

  /** Does what no method can wait for. Where `work`, a function that may be async, fails, the call ends. */
  async run(work) {
    try {
      await work();
    } catch (error) {
      this.fail(error);
    }
  }

  /** Ends the call. The reason has no text of the error: that may quote the caller. */
  fail(error) {
    console.error(`a call failed: ${error?.name ?? "Error"}`);
    this.send({ type: "agent_failed", reason: `the agent failed: ${error?.name ?? "Error"}` });
  }
}

/**
 * Listens at `unix:PATH` or `tcp:127.0.0.1:PORT`, and prints that as JSON once it does. SIGTERM frees the address and lets
 * the calls move. `agent`: `name`, `inputRateHz`, `outputRateHz`, `audioFormat` and `Conversation`, the class.
 */
export function serve(agent, listen = "") {
  const [, path] = listen.match(/^unix:(.+)$/) ?? [];
  const [, address, port] = listen.match(/^tcp:(127\.0\.0\.1|localhost|\[::1\]):(\d+)$/) ?? [];
  if (!path && !port) {
    console.error(`an agent host listens at unix:PATH or tcp:127.0.0.1:PORT, got ${listen || "nothing"}`);
    process.exit(1);
  }
  const host = new Host(agent);
  const server = createServer((request, response) => {
    const isReady = request.url === "/readyz" && !host.isDraining;
    response.writeHead(isReady || request.url === "/healthz" ? 200 : 503).end();
  });
  server.on("upgrade", (request, stream) => {
    if (request.url === "/v1/agent") host.connected(accept(request, stream));
    else stream.end("HTTP/1.1 404 Not Found\r\n\r\n");
  });
  if (path && existsSync(path)) unlinkSync(path);
  process.umask(0o117); // the socket is for this user and group
  const at = path ? { path } : { host: address.replace(/[[\]]/g, ""), port: Number(port) };
  server.listen(at, () => console.log(JSON.stringify({ listen, pid: process.pid })));
  process.on("SIGTERM", () => {
    server.close(); // frees the address for the next host; connections stay
    host.drain();
    setTimeout(() => process.exit(0), DRAIN_TIMEOUT_MS).unref();
  });
}

/** All calls of this process, and the connections on which workers watch it. */
class Host {
  constructor(agent) {
    this.agent = agent;
    this.hello = {
      type: "hello",
      version: VERSION,
      agent: agent.name,
      input_rate_hz: agent.inputRateHz,
      output_rate_hz: agent.outputRateHz,
      audio_format: agent.audioFormat,
    };
    this.calls = new Map(); // session -> Connection
    this.watching = new Set();
    this.isDraining = false;
    this.lagMs = 0;
    let expected = Date.now() + LOAD_EVERY_MS;
    setInterval(() => {
      this.lagMs = Math.max(0, Date.now() - expected);
      expected = Date.now() + LOAD_EVERY_MS;
      this.report();
    }, LOAD_EVERY_MS);
  }

  connected(socket) {
    const connection = new Connection(this, socket);
    socket.onMessage = (raw) => connection.received(raw);
    socket.onClose = () => connection.left();
  }

  get load() {
    return { type: "load", calls: this.calls.size, lag_ms: this.lagMs, is_draining: this.isDraining };
  }

  report() {
    for (const connection of this.watching) connection.control(this.load);
  }

  drain() {
    this.isDraining = true;
    this.report();
    this.exitIfDrained();
  }

  exitIfDrained() {
    if (this.isDraining && this.calls.size === 0) process.exit(0);
  }
}

/** A WebSocket of a worker: one that watches the host, or one call. */
class Connection {
  constructor(host, socket) {
    this.host = host;
    this.socket = socket;
    this.call = null; // {session, epoch, conversation}
    this.together = null; // events of the message being handled, sent as one: the worker gets all of them or none
  }

  received(raw) {
    this.together = [];
    try {
      if (raw[0] === UPLINK_AUDIO && this.call) {
        const [sequence, start] = variableLengthInteger(raw, 1);
        this.call.conversation.hear(sequence, raw.subarray(start));
      } else if (raw[0] === CONTROL) {
        const body = decode(raw.subarray(1));
        for (const message of Array.isArray(body) ? body : [body]) this.take(message);
      }
    } catch (error) {
      this.together = [];
      if (this.call) this.call.conversation.fail(error);
      else this.socket.close();
    }
    this.flush();
    this.together = null;
  }

  take(message) {
    if (this.call) {
      this.call.conversation.take(message);
      if (message.id !== undefined) this.together.push({ type: "handled", id: message.id });
    } else if (message.type === "watch" || message.type === "open") {
      const refusal = this.refusal(message);
      if (refusal) {
        this.control({ type: "refused", ...refusal });
        this.socket.close();
      } else if (message.type === "watch") {
        this.control([this.host.hello, this.host.load]);
        this.host.watching.add(this);
      } else this.open(message);
    }
  }

  refusal({ type, version, session, epoch }) {
    if (version !== VERSION) {
      return { reason: `this host speaks version ${VERSION} of the host protocol, got ${version}`, is_final: true };
    }
    if (type === "watch") return null;
    if (this.host.isDraining) return { reason: "this host is going away" };
    const former = this.host.calls.get(session)?.call;
    if (former && former.epoch >= epoch) {
      return { reason: `the session is open under epoch ${former.epoch}, got ${epoch}`, is_final: true };
    }
    return null;
  }

  open(message) {
    const { session, epoch } = message;
    const former = this.host.calls.get(session);
    this.host.calls.set(session, this);
    former?.left();
    former?.socket.close();
    this.control(this.host.hello);
    this.call = { session, epoch, conversation: new this.host.agent.Conversation((event) => this.emit(event)) };
    this.call.conversation.opened(message);
  }

  emit(event) {
    if (!this.call) return;
    if (Buffer.isBuffer(event)) {
      this.flush();
      this.socket.send(Buffer.concat([Buffer.of(DOWNLINK_AUDIO), event]));
    } else if (this.together) this.together.push(...[event].flat());
    else this.control(event);
  }

  flush() {
    if (this.together?.length) this.control(this.together.splice(0));
  }

  control(body) {
    this.socket.send(Buffer.concat([Buffer.of(CONTROL), encode(body)]));
  }

  /** The worker has closed the connection, or goes on with the call at another one. */
  left() {
    this.host.watching.delete(this);
    const { call } = this;
    this.call = null;
    call?.conversation.closed();
    if (call && this.host.calls.get(call.session) === this) this.host.calls.delete(call.session);
    this.host.exitIfDrained();
  }
}

/** Returns a variable-length integer (RFC 9000 section 16), and where what follows it begins. */
function variableLengthInteger(raw, at) {
  const bytes = 1 << (raw[at] >> 6);
  let value = raw[at] & 0x3f;
  for (let index = 1; index < bytes; index += 1) value = value * 256 + raw[at + index];
  return [value, at + bytes];
}
