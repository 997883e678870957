"""One Pipecat pipeline behind three transports, over a link that loses packets and goes dark."""
