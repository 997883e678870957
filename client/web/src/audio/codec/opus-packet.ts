/** What an Opus packet tells of its sound (RFC 6716). */

const FIRST_CELT_CONFIG = 16;
const VOICE_FLAG = 0x80;

/**
 * Whether the encoder found a voice in a packet's first frame: the first bit of SILK's header (section 4.2.3). CELT does
 * not say, and counts as voice.
 */
export function hasVoice(packet: Uint8Array): boolean {
  const [toc = 0, header = 0] = packet;
  return toc >> 3 >= FIRST_CELT_CONFIG || header >= VOICE_FLAG;
}
