"""The client against a server on real sockets."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.integration.support.relay import relaying
from tests.integration.support.scripted_server import (
    ORDER,
    TOKEN,
    ScriptedServer,
    ScriptedSession,
    self_signed,
    serving,
)
from voice_client import (
    AccessRefused,
    Acked,
    AudioOptions,
    CallLost,
    CertificateRefused,
    Closed,
    Connected,
    ConnectionOptions,
    Flushed,
    MigrationFailed,
    PathChanged,
    ProtocolFault,
    Security,
    ServerDrained,
    SessionFailed,
    SessionRefused,
    Speech,
    SpeechEnded,
    StateChanged,
    Transcript,
    Unreachable,
    VoiceClient,
)
from voice_client.events import Event
from voice_client.options import grouped
from voice_client.transport.target import Target
from voicelink.wire import Bye, ClientMessage, CloseCode, Error, Flush, Heard, Played, Start

SPEECH = (np.sin(np.arange(16_000) / 10) * 8000).astype("<i2").tobytes()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ScriptedServer]:
    async with serving(tmp_path) as server:
        yield server


def client_of(server: ScriptedServer, **changes: Any) -> VoiceClient:
    return VoiceClient(server.url, **grouped({"token": TOKEN, "ca_file": server.ca_file} | changes))


async def followed(call: VoiceClient) -> list[Event]:
    return [event async for event in call.events()]


@pytest.mark.parametrize("codec", ["opus", "pcm16"])
async def test_a_call_is_received_answered_and_ended(server: ScriptedServer, codec: str) -> None:
    async with client_of(server, codec=codec) as call:
        following = asyncio.create_task(followed(call))
        await asyncio.sleep(0)
        call.send_pcm(SPEECH)
        await call.finish()
        report = call.report().as_json()
    (session,) = server.sessions
    assert len(session.frames) == report["frames_sent"] == report["frames_acked"] > 40
    assert report["ok"]
    assert report["session"] == "s-1"
    assert report["state"] == call.state == ORDER
    assert report["played_ms"] == 400
    assert [line["text"] for line in report["transcript"]] == ["one black tea", "anything else?"]
    kinds = [type(event) for event in await following]
    assert kinds == [Connected, Acked, Transcript, StateChanged, Speech, Transcript, SpeechEnded, Closed]


async def test_speech_is_paced_in_real_time(server: ScriptedServer) -> None:
    loop = asyncio.get_running_loop()
    async with client_of(server, codec="pcm16") as call:
        began_at = loop.time()
        await call.speak(SPEECH[:16_000])
        assert loop.time() - began_at >= 0.5
        await call.finish()
    (session,) = server.sessions
    assert [frame.timestamp for frame in session.frames] == [960 * number for number in range(25)]


class Halting:
    """A source whose second half comes late, as on a machine that is busy elsewhere."""

    is_live = False

    async def frames(self) -> AsyncIterator[bytes]:
        for number in range(10):
            if number == 5:
                await asyncio.sleep(0.35)
            yield SPEECH[640 * number : 640 * (number + 1)]


async def test_speech_that_comes_late_is_not_torn_apart(server: ScriptedServer) -> None:
    async with client_of(server, codec="pcm16") as call:
        await call.speak(Halting())
        await call.finish()
    (session,) = server.sessions
    assert [frame.timestamp for frame in session.frames] == [960 * number for number in range(10)]


async def test_a_pause_between_two_sayings_is_one_for_the_listener(server: ScriptedServer) -> None:
    async with client_of(server, codec="pcm16") as call:
        await call.speak(SPEECH[:3200])
        await asyncio.sleep(0.5)
        await call.speak(SPEECH[:3200])
        await call.finish()
    (session,) = server.sessions
    gaps = {after.timestamp - before.timestamp for before, after in pairwise(session.frames)}
    assert gaps > {960}


async def test_playback_is_reported_while_it_goes_on(server: ScriptedServer) -> None:
    async with client_of(server) as call:
        call.send_pcm(SPEECH)
        await call.finish()
    played = [message for message in server.sessions[0].messages if isinstance(message, Played)]
    assert [(each.position_ms, each.is_complete) for each in played] == [(200, False), (400, True)]


async def test_a_caller_without_playback_reports_answers_as_played_at_once(server: ScriptedServer) -> None:
    async with client_of(server, has_playback=False) as call:
        call.send_pcm(SPEECH)
        await call.finish()
        assert call.report().longest_downlink_gap_ms is None
    played = [message for message in server.sessions[0].messages if isinstance(message, Played)]
    assert (played[-1].position_ms, played[-1].is_complete) == (400, True)
    assert all(each.position_ms <= 400 for each in played)


async def test_a_call_moves_to_another_address_without_losing_a_frame(server: ScriptedServer) -> None:
    async with client_of(server, codec="pcm16", local_address="127.0.0.2") as call:
        following = asyncio.create_task(followed(call))
        speaking = asyncio.create_task(call.speak(SPEECH))
        await asyncio.sleep(0.3)
        migration = await call.migrate("127.0.0.3", keep_old_s=0.2)
        await speaking
        await call.finish()
        assert call.migrations == (migration,)
        assert call.local_address == migration.new
    (session,) = server.sessions
    assert [frame.sequence for frame in session.frames] == list(range(50))
    assert session.peers == [migration.new]
    assert migration.old.startswith("127.0.0.2:")
    assert migration.new.startswith("127.0.0.3:")
    assert migration.validated_ms > 0
    assert migration.gap_ms > 0
    assert [event.migration for event in await following if isinstance(event, PathChanged)] == [migration]


async def test_a_call_outlives_networks_that_vanish(server: ScriptedServer) -> None:
    async with client_of(server, codec="pcm16", local_address="127.0.0.2") as call:
        speaking = asyncio.create_task(call.speak(SPEECH))
        for host in ("127.0.0.3", "127.0.0.4", None):
            await asyncio.sleep(0.1)
            await call.migrate(host, keep_old_s=0)
        await speaking
        await call.finish()
        assert len(call.migrations) == 3
    assert [frame.sequence for frame in server.sessions[0].frames] == list(range(50))


async def test_a_path_that_leads_nowhere_leaves_the_call_where_it_was(server: ScriptedServer) -> None:
    assert server.endpoint.address is not None
    async with relaying(server.endpoint.address) as relay:
        relay.swallowed_hosts.add("127.0.0.9")
        url = f"https://127.0.0.1:{relay.port}/v1/voice"
        async with VoiceClient(
            url,
            security=Security(token=TOKEN, ca_file=server.ca_file),
            audio=AudioOptions(codec="pcm16"),
            connection=ConnectionOptions(local_address="127.0.0.2"),
        ) as call:
            before = call.local_address
            speaking = asyncio.create_task(call.speak(SPEECH))
            with pytest.raises(MigrationFailed, match=r"no answer from the server on the path from 127\.0\.0\.9"):
                await call.migrate("127.0.0.9")
            assert call.local_address == before
            await speaking
            await call.finish()
            assert call.migrations == ()
    assert [frame.sequence for frame in server.sessions[0].frames] == list(range(50))


async def test_an_address_of_another_computer_is_no_path(server: ScriptedServer) -> None:
    async with client_of(server) as call:
        with pytest.raises(MigrationFailed, match=r"cannot use the local address 192\.0\.2\.1"):
            await call.migrate("192.0.2.1")
        await call.finish()


async def test_whoever_comes_late_hears_what_happened(server: ScriptedServer) -> None:
    async with client_of(server, has_playback=False) as call:
        call.send_pcm(SPEECH)
        await call.finish()
    kinds = [type(event) for event in await followed(call)]
    assert kinds[0] is Connected
    assert Speech in kinds
    assert kinds[-1] is Closed


async def test_the_right_pin_replaces_the_authority(server: ScriptedServer) -> None:
    async with client_of(server, ca_file=None, certificate_hash=server.certificate_hash) as call:
        assert call.worker == "w-1"


async def test_the_wrong_pin_refuses_the_server_before_it_sees_the_token(server: ScriptedServer) -> None:
    with pytest.raises(CertificateRefused, match="another certificate than the pinned one"):
        async with client_of(server, ca_file=None, certificate_hash="00" * 32):
            pass
    assert server.requests == []


async def test_a_stranger_to_every_authority_is_refused(server: ScriptedServer) -> None:
    with pytest.raises(CertificateRefused, match="not trusted"):
        async with client_of(server, ca_file=None):
            pass


async def test_a_wrong_token_is_refused(server: ScriptedServer) -> None:
    with pytest.raises(AccessRefused, match="refused access: unknown token"):
        async with client_of(server, token="wrong"):
            pass


async def test_a_wrong_path_is_named(server: ScriptedServer) -> None:
    with pytest.raises(SessionRefused, match=r"no voice service at /nowhere") as caught:
        async with VoiceClient(
            server.url.replace("/v1/voice", "/nowhere"), security=Security(token=TOKEN, ca_file=server.ca_file)
        ):
            pass
    assert caught.value.status == 404


async def test_a_port_without_a_listener_is_told_at_once() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf:
        deaf.bind(("127.0.0.1", 0))
        host, port = deaf.getsockname()
        deaf.connect((host, port))  # it takes nothing of others, and no other program gets its port
        with pytest.raises(Unreachable, match=r"no server listens at 127\.0\.0\.1:"):
            async with VoiceClient(f"https://{host}:{port}/v1/voice"):
                pass


async def test_a_silent_host_is_given_up() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mute:
        mute.bind(("127.0.0.1", 0))
        with pytest.raises(Unreachable, match=r"no answer .* within 0\.3 s"):
            async with VoiceClient(
                f"https://127.0.0.1:{mute.getsockname()[1]}/v1/voice",
                connection=ConnectionOptions(connect_timeout_s=0.3),
            ):
                pass


async def test_an_unknown_host_is_named() -> None:
    with pytest.raises(Unreachable, match=r"cannot find the host no-such-host\.invalid"):
        async with VoiceClient("https://no-such-host.invalid/v1/voice"):
            pass


async def test_a_server_that_closes_in_the_middle_ends_speech_and_events(server: ScriptedServer) -> None:
    async with client_of(server) as call:
        following = asyncio.create_task(followed(call))
        speaking = asyncio.create_task(call.speak(SPEECH))
        await asyncio.sleep(0.1)
        await server.endpoint.close("power cut")
        with pytest.raises(CallLost, match="power cut"):
            await speaking
        with pytest.raises(CallLost):
            await call.finish()
        assert not call.is_finished
        assert not call.report().as_json()["ok"]
    (*_, last) = await following
    assert isinstance(last, Closed)
    assert isinstance(last.error, CallLost)


@pytest.mark.parametrize(
    ("code", "kind"), [(CloseCode.DRAINING, ServerDrained), (CloseCode.AGENT_FAILED, SessionFailed)]
)
async def test_the_server_s_reason_reaches_the_caller(
    server: ScriptedServer, code: CloseCode, kind: type[SessionFailed]
) -> None:
    async with client_of(server) as call:
        transport = server.sessions[0].transport
        transport.send(Error(code=code, message="because of the test"))
        transport.close(code, "because of the test")
        with pytest.raises(kind, match="because of the test") as caught:
            await call.speak(SPEECH)
        assert caught.value.code is code


class RudeSession(ScriptedSession):
    """Acknowledges frames that the client has not sent."""

    def message_received(self, message: ClientMessage) -> None:
        super().message_received(message)
        if isinstance(message, Start):
            self.transport.send(Heard(sequence=7))


async def test_a_server_that_breaks_the_protocol_is_left(tmp_path: Path) -> None:
    async with serving(tmp_path, RudeSession) as server:
        with pytest.raises(ProtocolFault, match="7, but only 0 frames were sent"):
            async with client_of(server) as call:
                await call.finish()


class ForgetfulSession(ScriptedSession):
    """Says bye without acknowledging a frame."""

    def end_if_all_arrived(self) -> None:
        if self.caller_bye is not None:
            self.transport.send(Bye(frames=self.caller_bye.frames))


async def test_a_bye_before_all_was_acked_is_no_success(tmp_path: Path) -> None:
    async with serving(tmp_path, ForgetfulSession) as server, client_of(server, codec="pcm16") as call:
        call.send_pcm(SPEECH)
        with pytest.raises(ProtocolFault, match="50 of 50 frames were unacked"):
            await call.finish()
        assert not call.is_finished


async def test_an_interruption_silences_the_agent(server: ScriptedServer) -> None:
    async with client_of(server) as call:
        (session,) = server.sessions
        events = call.events()
        session.answer(1, frames=200)
        while not isinstance(await anext(events), Speech):
            pass
        await asyncio.sleep(0.1)
        session.transport.reset_audio(1)
        session.transport.send(Flush(utterance_id=1))
        while not isinstance(flushed := await anext(events), Flushed):
            pass
        assert flushed.played_ms < 4000
        assert not call._call.is_agent_speaking
        await call.ping()
    *_, last = (message for message in session.messages if isinstance(message, Played))
    assert last == Played(utterance_id=1, position_ms=flushed.played_ms)


async def test_listening_sends_silence_until_the_agent_has_spoken(server: ScriptedServer) -> None:
    async with client_of(server, codec="pcm16") as call:
        server.sessions[0].answer(1)
        await call.listen(grace_s=0.5)
        assert call.report().played_ms == 400
        assert call.frames_sent >= 20


async def test_a_recorded_answer_is_what_was_played(server: ScriptedServer, tmp_path: Path) -> None:
    from voice_client.audio.recording import Recording
    from voicelink.audio.wav import parse_wav

    async with client_of(server, sinks=[Recording(tmp_path / "out.wav", 24_000)]) as call:
        call.send_pcm(SPEECH)
        await call.finish()
    sound = parse_wav((tmp_path / "out.wav").read_bytes())
    assert sound.rate_hz == 24_000
    assert len(sound.samples) == 9600
    assert set(np.round(sound.samples * 32768)) == {0x1000}


@pytest.mark.parametrize("url_host", ["bücher.test", "bücher.test.", "XN--bcher-kva.TEST."])
async def test_a_name_in_other_scripts_or_with_a_final_dot_is_called_and_its_certificate_accepted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, url_host: str
) -> None:
    name = "xn--bcher-kva.test"
    monkeypatch.setattr("tests.integration.support.scripted_server.self_signed", lambda: self_signed(name))
    looked_up = []

    async def resolve(target: Target) -> list[tuple[str, int]]:
        looked_up.append(target.host)
        return [("127.0.0.1", target.port)]

    monkeypatch.setattr("voice_client.transport.connect.resolve", resolve)
    async with serving(tmp_path) as server:
        url = server.url.replace("127.0.0.1", url_host)
        async with VoiceClient(url, security=Security(ca_file=server.ca_file, token=TOKEN)) as call:
            assert call.session == "s-1"
        assert looked_up == [name + ("." if url_host.endswith(".") else "")]
        other = server.url.replace("127.0.0.1", "gebücher.test.")
        with pytest.raises(CertificateRefused, match=r"the certificate of gebücher\.test\.:\d+ is not trusted: .*--ca"):
            async with VoiceClient(other, security=Security(ca_file=server.ca_file, token=TOKEN)):
                pass
