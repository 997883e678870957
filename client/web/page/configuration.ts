/** The configuration that the gateway gives its page. */

export interface Configuration {
  readonly voice_url: string | null;
  readonly web_socket_path: string;
  readonly certificate_hashes: readonly string[];
  readonly certificate_expires: string | null;
  readonly token: string | null;
  readonly demo_url: string | null;
}

/** Ask the gateway; rejects where it does not answer. */
export async function readConfiguration(): Promise<Configuration> {
  const answer = await fetch("config.json", { cache: "no-store" });
  if (!answer.ok) throw new Error(`the gateway answered ${answer.status} for config.json`);
  return (await answer.json()) as Configuration;
}

/** The WebSocket beside this page, on the same port. */
export function webSocketUrl(configuration: Configuration): string {
  const url = new URL(configuration.web_socket_path, location.href);
  url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
  return url.href;
}
