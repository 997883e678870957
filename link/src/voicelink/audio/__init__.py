"""Speech as bytes: codecs, rates, voice activity and synthesis, for either side of a call.

Everywhere in this package `pcm` is PCM16, little-endian, mono.
"""
