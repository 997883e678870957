"""`websocket_echo.py websockets|picows PORT CERTIFICATE KEY`: echo every message over TLS, on uvloop.

Runs in the peers' own virtual environment: it imports nothing of the project.
"""

import asyncio
import ssl
import sys
from contextlib import suppress

import uvloop


async def websockets_server(port: int, context: ssl.SSLContext) -> None:
    from websockets.asyncio.server import ServerConnection, serve
    from websockets.exceptions import ConnectionClosed

    async def echo(connection: ServerConnection) -> None:
        with suppress(ConnectionClosed):
            async for message in connection:
                await connection.send(message)

    async with serve(echo, "127.0.0.1", port, ssl=context, compression=None, ping_interval=None):
        print("ready", flush=True)
        await asyncio.Event().wait()


async def picows_server(port: int, context: ssl.SSLContext) -> None:
    from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

    class Echo(WSListener):  # type: ignore[misc]  # picows is not in the project's environment
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            if frame.msg_type == WSMsgType.CLOSE:
                transport.send_close(frame.get_close_code(), frame.get_close_message())
                transport.disconnect()
            else:
                transport.send(frame.msg_type, frame.get_payload_as_bytes())

    def listener(_: WSUpgradeRequest) -> Echo:
        return Echo()

    server = await ws_create_server(listener, "127.0.0.1", port, ssl=context)
    print("ready", flush=True)
    await server.serve_forever()


def main(library: str, port: str, certificate: str, key: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = websockets_server if library == "websockets" else picows_server
    uvloop.run(server(int(port), context))


if __name__ == "__main__":
    main(*sys.argv[1:])
