// Places one call and tells when it began, was connected and had its first audio back, in ms since the epoch.
// The page, the library and the source of sound are there before; `connect` is where the time begins.
import { VoiceClient } from "./voice-client.js";

const RATE_HZ = 48_000;
const FRAME_MS = 20;
const now = () => performance.timeOrigin + performance.now();

// Noise as loud as speech from the moment that the call asks for it, in frames of 20 ms.
class Noise {
  level = 0.1;
  #timer;

  async open(handler) {
    const samples = Float32Array.from({ length: (RATE_HZ * FRAME_MS) / 1000 }, () => 0.4 * (Math.random() - 0.5));
    let frame = 0;
    const deliver = () => {
      handler.samples(samples, frame);
      frame += samples.length;
    };
    this.#timer = setInterval(deliver, FRAME_MS);
    queueMicrotask(deliver);
    return { sampleRate: RATE_HZ };
  }

  close() {
    clearInterval(this.#timer);
  }
}

// Says when the first sound is written that is not silence.
class FirstSound {
  position = 0;
  heard = new Promise((resolve) => {
    this.write = (samples) => samples.some((sample) => Math.abs(sample) > 0.001) && resolve(now());
  });

  async open() {
    return { sampleRate: RATE_HZ };
  }

  flush() {}

  close() {}
}

globalThis.callGateway = async (url, hash) => {
  const [source, sink] = [new Noise(), new FirstSound()];
  const options = {
    security: { certificateHashes: [hash] },
    audio: { source, sink },
    connection: { transports: ["webtransport"] },
  };
  const began = now();
  const call = new VoiceClient(url, options);
  await call.connect();
  const connected = now();
  const back = await sink.heard;
  call.close();
  return { began, connected, back };
};

// The track is there before the call, as a microphone that is open; the offer leaves without waiting for candidates.
// With `isWarm` the signalling has a connection, which a page has that is of the same server. `isDescription` says whether
// offer and answer are session descriptions in JSON, or SDP alone; either is a request that needs no preflight.
globalThis.callByOffer = async (url, isWarm, isDescription) => {
  const context = new AudioContext({ sampleRate: RATE_HZ });
  const oscillator = new OscillatorNode(context);
  const destination = new MediaStreamAudioDestinationNode(context);
  oscillator.connect(destination);
  oscillator.start();
  await context.resume();
  const [track] = destination.stream.getAudioTracks();
  if (isWarm) await (await fetch(url)).text();
  const began = now();
  const peer = new RTCPeerConnection({ encodedInsertableStreams: true });
  const sent = peer.addTrack(track, destination.stream).createEncodedStreams();
  void sent.readable.pipeTo(sent.writable);
  const heard = new Promise((resolve) => {
    peer.ontrack = ({ receiver }) => {
      const received = receiver.createEncodedStreams();
      const noting = new TransformStream({
        transform(frame, controller) {
          resolve(now());
          controller.enqueue(frame);
        },
      });
      void received.readable.pipeThrough(noting).pipeTo(received.writable);
    };
  });
  const connecting = new Promise((resolve) => {
    peer.onconnectionstatechange = () => peer.connectionState === "connected" && resolve(now());
  });
  await peer.setLocalDescription();
  const { type, sdp } = peer.localDescription;
  const response = await fetch(url, { method: "POST", body: isDescription ? JSON.stringify({ type, sdp }) : sdp });
  const answer = isDescription ? (await response.json()).sdp : await response.text();
  await peer.setRemoteDescription({ type: "answer", sdp: answer });
  const connected = await connecting;
  const back = await heard;
  peer.close();
  return { began, connected, back };
};

globalThis.isLoaded = true;
