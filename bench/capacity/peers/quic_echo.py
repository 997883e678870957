"""`quic_echo.py aioquic|aiopquic PORT CERTIFICATE KEY`: echo every stream, with the library as it is, on uvloop.

Runs in the peers' own virtual environments: it imports nothing of the project.
"""

import asyncio
import importlib
import sys

import uvloop


def protocol(library: str) -> type:
    events = importlib.import_module(f"{library}.quic.events")
    base = importlib.import_module(f"{library}.asyncio.protocol").QuicConnectionProtocol

    class Echo(base):  # type: ignore[valid-type, misc]  # whose base it is, the command line says
        def quic_event_received(self, event: object) -> None:
            if isinstance(event, events.StreamDataReceived):
                self._quic.send_stream_data(event.stream_id, bytes(event.data), False)
                if library == "aioquic":  # the other one's thread sends by itself
                    self.transmit()

    return Echo


async def main(library: str, port: str, certificate: str, key: str) -> None:
    configuration = importlib.import_module(f"{library}.quic.configuration").QuicConfiguration(
        is_client=False, alpn_protocols=["echo"]
    )
    if library == "aioquic":
        configuration.load_cert_chain(certificate, key)
    else:
        configuration.certificate_file, configuration.private_key_file = certificate, key
    serve = importlib.import_module(f"{library}.asyncio.server").serve
    server = await serve("127.0.0.1", int(port), configuration=configuration, create_protocol=protocol(library))
    print("ready", flush=True)
    await asyncio.Event().wait()
    del server


if __name__ == "__main__":
    uvloop.run(main(*sys.argv[1:]))
