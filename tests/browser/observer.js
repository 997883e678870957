// Runs in the page before its own scripts: keeps the events, their times, the notices, and the audio played.
(() => {
  const observed = {
    isRecording: RECORDER !== "",
    events: [],
    notices: [],
    microphoneAt: null,
    ended: null,
    flushes: [],
    output: null,
    input: { rate: 0, chunks: [] },
  };
  globalThis.observed = observed;

  document.addEventListener("voice", ({ detail }) => {
    const { error } = detail;
    const call = globalThis.voicePage?.call;
    observed.events.push({
      ...detail,
      at: performance.now(),
      error: error ? { kind: error.kind, message: error.message } : null,
    });
    if (detail.type === "closed" && call) {
      observed.ended = {
        sent: call.framesSent,
        acked: call.framesAcked,
        latencies: [...call.replyLatenciesMs],
        isFinished: call.isFinished,
      };
    }
  });

  // the page takes a notice away after some seconds
  new MutationObserver((changes) => {
    for (const node of changes.flatMap(({ addedNodes }) => [...addedNodes])) {
      if (node instanceof Element && node.classList.contains("notice")) observed.notices.push(node.textContent);
    }
  }).observe(document, { childList: true, subtree: true });

  const getUserMedia = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (constraints) => {
    const stream = await getUserMedia(constraints);
    observed.microphoneAt = performance.now();
    return stream;
  };

  // what goes to the loudspeaker goes to a recorder as well
  const connect = AudioNode.prototype.connect;
  AudioNode.prototype.connect = function (target, ...rest) {
    if (target instanceof AudioDestinationNode && observed.isRecording) record(this);
    return connect.call(this, target, ...rest);
  };

  async function record(node) {
    const { context } = node;
    const recorderUrl = URL.createObjectURL(new Blob([RECORDER], { type: "text/javascript" }));
    await context.audioWorklet.addModule(recorderUrl);
    const recorder = new AudioWorkletNode(context, "recorder", { numberOfOutputs: 0 });
    const output = (observed.output = { context, rate: context.sampleRate, chunks: [] });
    recorder.port.onmessage = ({ data }) => output.chunks.push(data);
    connect.call(node, recorder);
    const { loudspeaker } = globalThis.voicePage;
    const flush = loudspeaker.flush.bind(loudspeaker);
    loudspeaker.flush = () => {
      observed.flushes.push(context.currentTime);
      flush();
    };
  }

  // what the capture worklet hands to the page, before the page does anything to it
  const { input } = observed;
  globalThis.AudioWorkletNode = class extends AudioWorkletNode {
    constructor(context, name, options) {
      super(context, name, options);
      if (name !== "voice-capture") return;
      input.rate = context.sampleRate;
      this.port.addEventListener("message", ({ data }) =>
        input.chunks.push({ frame: data.frame, samples: data.samples.slice() }),
      );
    }
  };

  observed.played = () => asText(observed.output);
  observed.captured = () => asText(input);

  // 16 bits suffice, and get out of the page as text
  function asText({ chunks, rate }) {
    const first = chunks[0]?.frame ?? 0;
    const last = chunks.at(-1);
    const samples = new Int16Array(last ? last.frame + last.samples.length - first : 0);
    for (const { frame, samples: part } of chunks) {
      part.forEach((sample, index) => (samples[frame - first + index] = Math.max(-1, Math.min(1, sample)) * 32767));
    }
    let text = "";
    const bytes = new Uint8Array(samples.buffer);
    for (let start = 0; start < bytes.length; start += 32768) {
      text += String.fromCharCode(...bytes.subarray(start, start + 32768));
    }
    return { first, rate, samples: btoa(text) };
  }
})();
