// Says one recording over several WebRTC calls at once. Times are ms since the epoch.
const START_S = 0.1;
const context = new AudioContext({ sampleRate: 48_000 });
const destination = new MediaStreamAudioDestinationNode(context, { channelCount: 1 });
// Where nothing sounds the track has no frames; an open microphone always has.
const quiet = new ConstantSourceNode(context, { offset: 0.0001 });
quiet.connect(destination);
quiet.start();
let source;
let peers;

// RED is sent where it is the first codec of the offer; browsers offer it behind Opus.
const preferRed = (transceiver) => {
  const { codecs } = RTCRtpSender.getCapabilities("audio");
  const isRed = ({ mimeType }) => mimeType === "audio/red";
  transceiver.setCodecPreferences([...codecs.filter(isRed), ...codecs.filter((codec) => !isRed(codec))]);
};

const call = async (url, hasRed) => {
  const peer = new RTCPeerConnection();
  const connected = new Promise((resolve) => {
    peer.onconnectionstatechange = () => peer.connectionState === "connected" && resolve();
  });
  const [track] = destination.stream.getAudioTracks();
  const transceiver = peer.addTransceiver(track, { direction: "sendonly", streams: [destination.stream] });
  if (hasRed) preferRed(transceiver);
  await peer.setLocalDescription();
  const answer = await fetch(url, { method: "POST", body: peer.localDescription.sdp });
  if (!answer.ok) throw new Error(await answer.text());
  await peer.setRemoteDescription({ type: "answer", sdp: await answer.text() });
  await connected;
  return peer;
};

// Place all calls, which are silent until `speak`.
globalThis.connect = async (urls, hasRed, recordingUrl) => {
  const recording = await (await fetch(recordingUrl)).arrayBuffer();
  source = new AudioBufferSourceNode(context, { buffer: await context.decodeAudioData(recording) });
  source.connect(destination);
  await context.resume();
  peers = await Promise.all(urls.map((url) => call(url, hasRed)));
};

// Begin the recording, and return when it begins to sound.
globalThis.speak = () => {
  source.start(context.currentTime + START_S);
  return performance.timeOrigin + performance.now() + 1000 * START_S;
};

// What each call did about its losses, by the browser's own account; the calls end.
globalThis.finish = async () => {
  const accounts = [];
  for (const peer of peers) {
    for (const each of (await peer.getStats()).values()) {
      if (each.type === "outbound-rtp") {
        const { nackCount, retransmittedPacketsSent, packetsSent } = each;
        accounts.push({ nackCount, retransmittedPacketsSent, packetsSent });
      }
    }
    peer.close();
  }
  return accounts;
};

globalThis.isLoaded = true;
