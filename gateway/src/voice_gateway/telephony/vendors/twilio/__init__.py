"""Telephone calls as Twilio Media Streams: JSON over a WebSocket, mu-law at 8 kHz both ways."""
