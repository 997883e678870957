import { beforeEach, describe, expect, it } from "vitest";
import { installSoundCard, type SoundCard } from "../../testing/sound-card.js";
import { Loudspeaker } from "./loudspeaker.js";
import { Playback, type Position } from "../playback.js";

const MS = 48;
const tone = (ms: number, value: number) => new Float32Array(ms * MS).fill(value);

describe.each([
  ["in shared memory", true],
  ["by messages", false],
])("an answer that goes to the loudspeaker %s", (_, isIsolated) => {
  let card: SoundCard;
  let playback: Playback;
  let reports: string[];
  let instants: Position[];
  let sink: Loudspeaker;

  beforeEach(async () => {
    card = await installSoundCard(isIsolated);
    reports = [];
    instants = [];
    sink = new Loudspeaker({ aheadS: 2 });
    await sink.open({
      played: (position) => playback.played(position),
      flushed: (playedTo) => playback.flushed(playedTo),
    });
    const report = (kind: string) => (each: Position) => {
      instants.push(each);
      reports.push(`${kind} ${each.utteranceId} ${each.positionMs}`);
    };
    playback = new Playback(sink, 48_000, {
      progressed: (each) => report(each.isComplete ? "complete" : "progress")(each),
      cut: report("cut"),
      audible: () => undefined,
      began: (utteranceId) => reports.push(`began ${utteranceId}`),
    });
  });

  it("is played as it was written", () => {
    playback.push(1, tone(100, 0.25));
    playback.end(1);
    const heard = card.run(200 * MS);
    expect(heard.subarray(0, 100 * MS).every((each) => each === 0.25)).toBe(true);
    expect(heard.subarray(100 * MS).every((each) => each === 0)).toBe(true);
    expect(reports).toEqual(["began 1", "complete 1 100"]);
  });

  it("is silent one quantum after a flush, and the next one is played whole", () => {
    playback.push(1, tone(1_500, 0.25));
    card.run(500 * MS);
    playback.flush(1);
    const heard = card.run(20 * MS);
    expect(heard[127]).toBeLessThan(0.01);
    expect(heard.subarray(128).every((each) => each === 0)).toBe(true);
    playback.push(2, tone(1_000, 0.5));
    playback.end(2);
    const next = card.run(2_000 * MS);
    expect(next.filter((each) => each === 0.5).length).toBe(1_000 * MS);
    expect(reports.filter((each) => !each.startsWith("progress"))).toEqual([
      "began 1",
      expect.stringMatching(/^cut 1 50[0-9]$/),
      "began 2",
      "complete 2 1000",
    ]);
  });

  it("is reported with the instants at which it left, also after a pause of the buffer", () => {
    const run = (ms: number) => Array.from({ length: Math.ceil(ms / 10) }, () => card.run(10 * MS));
    card.run(1_000 * MS);
    const began = card.performanceMs;
    playback.push(1, tone(300, 0.25));
    run(400);
    const later = card.performanceMs;
    playback.push(1, tone(300, 0.25));
    playback.end(1);
    playback.push(2, tone(400, 0.25));
    run(500);
    playback.flush(2);
    run(20);
    expect(instants.map((each) => each.utteranceId)).toEqual([1, 1, 1, 2, 2]);
    expect(instants[2]).toMatchObject({ positionMs: 600, isComplete: true });
    expect(instants[4]!.positionMs).toBeGreaterThan(200); // where it was cut
    for (const { utteranceId, positionMs, at } of instants) {
      const isAfterPause = utteranceId === 2 || positionMs > 300;
      const expected = isAfterPause ? later - 300 + positionMs + (utteranceId === 2 ? 600 : 0) : began + positionMs;
      expect(at).toBeCloseTo(expected, 1);
    }
  });

  it("is reported without instants where the browser does not say how far its sound card is", () => {
    Object.assign(sink.context!, { getOutputTimestamp: undefined });
    playback.push(1, tone(300, 0.25));
    card.run(400 * MS);
    expect(instants).toEqual([expect.objectContaining({ utteranceId: 1, at: undefined })]);
  });

  it("may be longer than the worklet's buffer", () => {
    for (let second = 0; second < 5; second++) {
      playback.push(1, tone(1_000, 0.5));
    }
    playback.end(1);
    const heard = card.run(6_000 * MS);
    expect(heard.filter((each) => each === 0.5).length).toBe(5_000 * MS);
    expect(reports.at(-1)).toBe("complete 1 5000");
  });

  it("may be flushed while more of it waits than the worklet holds", () => {
    for (let second = 0; second < 5; second++) {
      playback.push(1, tone(1_000, 0.5));
    }
    card.run(100 * MS);
    playback.flush(1);
    playback.flush(1);
    playback.push(2, tone(200, 0.25));
    playback.end(2);
    const heard = card.run(1_000 * MS).subarray(128);
    expect(heard.filter((each) => each === 0.25).length).toBe(200 * MS);
    expect(reports.at(-1)).toBe("complete 2 200");
  });
});
