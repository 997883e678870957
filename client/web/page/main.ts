/** The page calls the gateway it came from. */
import { VoiceClient } from "../src/index.js";
import { readConfiguration } from "./configuration.js";
import { part } from "./document.js";
import { Page } from "./page.js";

declare global {
  /** The page, for the console: `voicePage.call` is the call under way, with all that the library offers. */
  var voicePage: Page | undefined;
}

try {
  globalThis.voicePage = new Page(await readConfiguration(), (url, options) => new VoiceClient(url, options));
} catch (error) {
  part("connection-text", HTMLElement).textContent = "The gateway does not answer; reload this page.";
  part("call", HTMLButtonElement).disabled = true;
  throw error;
}
