"""`webrtc_echo.py HOST:PORT`: a WebRTC echo on aiortc and uvloop; POST / takes an SDP offer and returns the answer.

RTP goes back packet by packet, as at pion, with the sender's own SSRC. aiortc has no public way to do so: a track's
`recv` returns decoded audio, and only once four later packets have come (`JitterBuffer(prefetch=4)`). So the handler
of a receiver is replaced here, and neither jitter buffer nor codec runs.
Runs in the peers' own virtual environment: it imports nothing of the project.
"""

import asyncio
import sys
from contextlib import suppress

import aioice.ice
import uvloop
from aiohttp import web
from aiortc import (
    MediaStreamTrack,
    RTCConfiguration,
    RTCDataChannel,
    RTCPeerConnection,
    RTCRtpTransceiver,
    RTCSessionDescription,
)
from aiortc.rtp import RtpPacket


class Unsent(MediaStreamTrack):  # type: ignore[misc]  # aiortc is not in the project's environment
    """Makes the sender announce its SSRC; what it sends comes from `echo`."""

    kind = "audio"

    async def recv(self) -> None:
        await asyncio.Event().wait()


def echo(transceiver: RTCRtpTransceiver) -> None:
    """Send each RTP packet of the receiver back as one of the sender."""
    sender = transceiver.sender

    async def handle(packet: RtpPacket, arrival_time_ms: int) -> None:
        packet.ssrc = sender._ssrc
        with suppress(ConnectionError):
            await sender.transport._send_rtp(packet.serialize())

    transceiver.receiver._handle_rtp_packet = handle


async def answer(request: web.Request) -> web.Response:
    peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))

    def begin(channel: RTCDataChannel) -> None:
        channel.on("message", channel.send)

    async def end() -> None:
        if peer.connectionState in ("failed", "closed"):
            await peer.close()
            peers.discard(peer)

    peer.on("datachannel", begin)
    peer.on("connectionstatechange", end)
    peers.add(peer)
    peer.addTrack(Unsent())
    await peer.setRemoteDescription(RTCSessionDescription(await request.text(), "offer"))
    await peer.setLocalDescription(await peer.createAnswer())
    echo(peer.getTransceivers()[0])
    return web.Response(text=peer.localDescription.sdp, content_type="application/sdp")


async def main(address: str) -> None:
    host, _, port = address.rpartition(":")
    # aioice leaves loopback out of its candidates, and this machine may have no other address
    aioice.ice.get_host_addresses = lambda use_ipv4, use_ipv6: [host]
    application = web.Application()
    application.router.add_post("/", answer)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, host, int(port)).start()
    print("ready", flush=True)
    await asyncio.Event().wait()


peers: set[RTCPeerConnection] = set()

if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
