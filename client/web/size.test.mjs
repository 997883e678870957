// What a page loads: the library and its worklets, without the one package that they depend on.
import { build } from "esbuild";
import { fileURLToPath } from "node:url";
import { gzipSync } from "node:zlib";
import { expect, it } from "vitest";

const LIMIT_BYTES = 30 * 1024;
const sources = [
  "src/index.ts",
  "src/audio/microphone/capture-worklet.ts",
  "src/audio/loudspeaker/playback-worklet.ts",
];

it(`is at most ${LIMIT_BYTES} bytes in gzip`, async () => {
  const { outputFiles } = await build({
    entryPoints: sources.map((path) => fileURLToPath(new URL(path, import.meta.url))),
    outdir: "nowhere",
    write: false,
    bundle: true,
    minify: true,
    format: "esm",
    target: "es2022",
    packages: "external",
  });
  const bytes = outputFiles.reduce((total, { contents }) => total + gzipSync(contents).length, 0);
  expect(outputFiles.length).toBe(sources.length);
  expect(bytes).toBeGreaterThan(1024);
  expect(bytes).toBeLessThanOrEqual(LIMIT_BYTES);
});
