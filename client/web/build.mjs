// Builds dist/: the library, with and without its one dependency, and the worklets; `tsc` adds the types.
import { build } from "esbuild";
import { rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const common = { bundle: true, minify: true, sourcemap: true, format: "esm", target: "es2022", logLevel: "warning" };

await rm(here("dist"), { recursive: true, force: true });
await Promise.all([
  build({
    ...common,
    entryPoints: { index: here("src/index.ts"), react: here("src/adapters/react.ts"), pipecat: here("src/adapters/pipecat.ts") },
    outdir: here("dist"),
    packages: "external",
    splitting: true,
  }),
  // for a page without a bundler
  build({ ...common, entryPoints: { "voice-client": here("src/index.ts") }, outdir: here("dist") }),
  build({
    ...common,
    entryPoints: {
      "capture-worklet": here("src/audio/microphone/capture-worklet.ts"),
      "playback-worklet": here("src/audio/loudspeaker/playback-worklet.ts"),
    },
    outdir: here("dist"),
  }),
]);
