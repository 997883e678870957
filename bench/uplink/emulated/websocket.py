"""A TLS WebSocket over the kernel's TCP: each program runs in a namespace of its own.

`python -m bench.uplink.emulated.websocket serve CERTIFICATE KEY PORT...` prints when each frame came, as JSON, once its
input ends; `... call SECONDS PORT...` speaks over all ports at once, and prints when each frame was made. Both use the
same monotonic clock.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from testbed.link import CALLER, SERVER
from voice_gateway.transport.websocket import Kind
from voicelink.audio.frames import FRAME_S
from voicelink.wire import AudioFrame, Codec, decode_audio_frame, encode_audio_frame

PAYLOAD_BYTES = 52
_CONGESTION_CONTROL = b"cubic"
_LONGEST_TAIL_S = 6.0


async def _serve(certificate: str, key: str, ports: Sequence[int]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    received_at: dict[int, dict[int, float]] = {port: {} for port in ports}

    async def listen(connection: ServerConnection) -> None:
        received = received_at[connection.local_address[1]]
        with suppress(ConnectionClosed):  # the caller ends without a word
            async for message in connection:
                frame = decode_audio_frame(bytes(message[1:])) if isinstance(message, bytes) else None
                if isinstance(frame, AudioFrame):
                    received[frame.sequence] = time.monotonic()

    servers = [await serve(listen, SERVER, port, ssl=context, compression=None, ping_interval=None) for port in ports]
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    for server in servers:
        server.close()
    print(json.dumps(received_at), flush=True)
    os._exit(0)  # connections that hang are of no interest


async def _call(seconds: float, ports: Sequence[int]) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    connections = [await connect(f"wss://{SERVER}:{port}", sock=await _connected(port), ssl=context) for port in ports]
    print("ready", flush=True)
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline)
    made_at: dict[int, list[float]] = {port: [] for port in ports}
    start = time.monotonic()

    async def speak(port: int, index: int) -> None:
        waiting: asyncio.Queue[bytes] = asyncio.Queue()

        async def send() -> None:
            while True:
                await connections[index].send(await waiting.get())

        sending = asyncio.create_task(send())
        phase_s = FRAME_S * index / len(ports)
        for sequence in range(round(seconds / FRAME_S)):
            await asyncio.sleep(start + phase_s + sequence * FRAME_S - time.monotonic())
            made_at[port].append(time.monotonic())
            frame = AudioFrame(sequence, sequence * 960, Codec.OPUS, bytes(PAYLOAD_BYTES))
            waiting.put_nowait(bytes((Kind.UPLINK_AUDIO,)) + encode_audio_frame(frame))
        await asyncio.sleep(_LONGEST_TAIL_S)
        sending.cancel()

    await asyncio.gather(*(speak(port, index) for index, port in enumerate(ports)))
    print(json.dumps(made_at), flush=True)
    os._exit(0)


async def _connected(port: int) -> socket.socket:
    opened = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, _CONGESTION_CONTROL)
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    opened.setblocking(False)
    opened.bind((CALLER, 0))
    await asyncio.get_running_loop().sock_connect(opened, (SERVER, port))
    return opened


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        asyncio.run(_serve(sys.argv[2], sys.argv[3], [int(port) for port in sys.argv[4:]]))
    else:
        asyncio.run(_call(float(sys.argv[2]), [int(port) for port in sys.argv[3:]]))
