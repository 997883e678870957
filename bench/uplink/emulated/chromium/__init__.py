"""A Chromium that speaks to pion over WebRTC, with NACK, in-band FEC and RED."""
