"""The client that applications use."""

from __future__ import annotations

import asyncio
import os
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from voice_client.access_token import AccessToken
from voice_client.audio.source import FRAME_BYTES, RATE_HZ, Pace, PcmSource, Source, open_wav
from voice_client.call.call import Call
from voice_client.call.call_settings import CallSettings
from voice_client.call.report import CallReport
from voice_client.call.tools import Tool
from voice_client.deprecation import Renamed
from voice_client.errors import CallLost, MigrationFailed, Unreachable
from voice_client.events import Closed, Event, Migration, PathChanged, Resumed, Transcript
from voice_client.options import GROUPS, AudioOptions, ConnectionOptions, Security, UplinkOptions, former_keywords
from voice_client.transport.connect import connect
from voice_client.transport.credentials import CredentialStore
from voice_client.transport.link import Link
from voice_client.transport.target import parse_url
from voice_client.transport.trust import trust
from voicelink.audio.frames import FRAME_S
from voicelink.wire import Codec, UplinkMode

_CODECS: Mapping[str, tuple[Codec, tuple[Codec, ...]]] = {
    "opus": (Codec.OPUS, (Codec.OPUS, Codec.PCM16_24K)),
    "pcm16": (Codec.PCM16_16K, (Codec.PCM16_24K, Codec.OPUS)),
}
_BACKLOG = 1000


class VoiceClient:
    """A call to a voice gateway; enter it with `async with`, speak, and `finish`.

    `url` is `https://host:port/v1/voice`; `agent` the agent's name, by default the server's default agent. The other
    options come in groups, each with its defaults. `rng` makes connection IDs and delays.

        VoiceClient(url, security=Security(ca_file="ca.pem"), uplink=UplinkOptions(mode="hybrid"))

    Options that cannot be used raise `InvalidSetting` here. Entering raises `ConnectError` where no session opens
    within `ConnectionOptions.connect_timeout_s`. The options as keywords of their own, such as
    `VoiceClient(url, token=...)`, are deprecated.
    """

    def __init__(
        self,
        url: str,
        *,
        security: Security | None = None,
        audio: AudioOptions | None = None,
        connection: ConnectionOptions | None = None,
        uplink: UplinkOptions | str | None = None,
        agent: str | None = None,
        rng: Callable[[int], bytes] = os.urandom,
        **former: Any,
    ) -> None:
        frames = None if isinstance(uplink, str) else uplink
        if isinstance(uplink, str):
            former["uplink"] = uplink
        if former:
            given = {"security": security, "audio": audio, "connection": connection, "uplink": frames}
            groups = given | former_keywords(former, given)
            security, audio, connection, frames = (groups[name] for name in GROUPS)
        security = security or Security()
        audio = audio or AudioOptions()
        connection = connection or ConnectionOptions()
        frames = frames or UplinkOptions()
        self._target = parse_url(url)
        self._trust = trust(security.certificate_hash, security.ca_file)
        self._access_token = AccessToken(security.token)
        spoken, accept = _CODECS[audio.codec]
        self._settings = CallSettings(
            codec=spoken,
            accept=accept,
            agent=agent,
            has_playback=audio.has_playback,
            sinks=tuple(audio.sinks),
            heartbeat_s=connection.heartbeat_s,
            resume_timeout_s=connection.resume_timeout_s,
            uplink=UplinkMode(frames.mode),
            uplink_limit_s=frames.limit_s,
        )
        self._credentials = connection.credentials or CredentialStore()
        self._qlog = Path(connection.qlog) if isinstance(connection.qlog, str) else connection.qlog
        self._local_address = connection.local_address
        self._connect_timeout_s = connection.connect_timeout_s
        self._rng = rng
        self._backlog: deque[Event] = deque(maxlen=_BACKLOG)
        self._subscriptions: list[_Subscription] = []
        self._entered: Call | None = None
        self._migrations: list[Migration] = []
        self._last_local_address: str | None = None

    async def __aenter__(self) -> Self:
        self._entered = call = Call(self._settings, self._emit, self._dial, self._rng)
        await self._dial(Link(call), has_address=True)
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                await call.ready
        except TimeoutError:
            call.hang_up()
            raise Unreachable(f"{self._target.shown} accepted the call but opened no session") from None
        except asyncio.CancelledError:
            call.hang_up()
            raise
        call.raise_if_over()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
        await asyncio.sleep(0)  # the connection closes its sockets in the loop's next turn

    # Speaking

    def send_pcm(self, pcm: bytes) -> None:
        """Send speech, PCM16 mono at 16 kHz of any length, at once; the pace is the caller's.

        Raises `UplinkFull` when the server is two minutes behind, and the call's error once it is over.
        """
        self._call.send_pcm(pcm)

    async def speak(self, source: Source | bytes | str | Path) -> None:
        """Say a WAV file, PCM16 at 16 kHz or a `Source` at the pace of speech; returns when all of it is said."""
        if isinstance(source, bytes):
            source = PcmSource(source)
        elif isinstance(source, str | Path):
            source = open_wav(source)
        pace = Pace()
        is_continued = False
        async for pcm in source.frames():
            self._call.send_pcm(pcm, is_continued=is_continued)
            is_continued = True
            if not source.is_live:
                await pace.wait(len(pcm) / 2 / RATE_HZ)

    async def listen(self, grace_s: float = 2.0) -> None:
        """Keep silent until the agent has said what it has to say; it may take `grace_s` to begin.

        The silence is sent as such, by which the server knows that the caller's turn is over.
        """
        loop = asyncio.get_running_loop()
        pace = Pace()
        give_up_at = loop.time() + grace_s
        while self._call.is_agent_speaking or loop.time() < give_up_at:
            if self._call.is_agent_speaking:
                give_up_at = loop.time()
            self._call.send_pcm(bytes(FRAME_BYTES))
            await pace.wait(FRAME_S)

    async def finish(self, timeout_s: float = 60.0) -> None:
        """Say bye, and wait until every frame is acked, every answer played and the server says bye; else raise why."""
        call = self._call
        if not call.closed.done():
            call.say_bye()
            try:
                async with asyncio.timeout(timeout_s):
                    await asyncio.shield(call.closed)
            except TimeoutError:
                raise CallLost(f"the server said no bye within {timeout_s:g} s") from None
        if call.error is not None:
            raise call.error

    # The application's side

    def tool(self, function: Tool, *, name: str | None = None) -> Tool:
        """Offer the agent a function as a tool, by its name or another; usable as a decorator.

        It is called with the agent's arguments by name, and returns a plain value or a coroutine of one; what it raises
        the agent gets as an error. Each call runs once, also where the server has to ask again. It runs on the event
        loop, which it must not block.
        """
        self._settings.tools.register(name or str(getattr(function, "__name__", "")), function)
        return function

    def send_text(self, text: str) -> None:
        """Type a text of 1 to 4,000 characters: a turn, as if it were spoken; interrupts the agent.

        Sent again after a loss until the server has saved its effect. Raises `MessageError` where it cannot be sent.
        """
        self._call.send_text(text)

    def send_message(self, data: Mapping[str, Any]) -> None:
        """Send a map of plain values, of 16 kB at most, to the agent; kept and sent again as `send_text`.

        The agent's own come as the event `AppMessage`.
        """
        self._call.send_message(data)

    def send_digit(self, digit: str) -> None:
        """Press a key of the telephone, one of `0123456789ABCD*#`."""
        self._call.send_digit(digit)

    def close(self) -> None:
        """End the call now, dropping frames and answers under way; does nothing after `finish`."""
        if self._entered is not None:
            self._entered.hang_up()

    async def ping(self) -> float:
        """Measure a round trip to the session in ms, beside those of the heartbeat."""
        measured = self._call.ping()
        await asyncio.wait([measured])
        if measured.cancelled():
            self._call.raise_if_over()
        return measured.result()

    # Moving

    async def migrate(self, local_address: str | None = None, keep_old_s: float = 1.0) -> Migration:
        """Go on from a new UDP socket, on `local_address` if given, under a new connection ID (RFC 9000 section 9).

        Returns once the server has answered on the new path. The old socket is read for `keep_old_s` more; 0 drops
        it at once, as when a network disappears. `MigrationFailed` leaves the call on the old socket if there is one.
        """
        self._call.raise_if_over()
        link = self._call.link
        if link is None or link.connection is None:
            raise MigrationFailed("the call is between two connections")
        switch = await link.connection.migrate(local_address, keep_old_s)
        self._local_address = local_address or self._local_address
        began_at = self._call.began_at or switch.started_at
        migration = Migration(
            at_s=switch.started_at - began_at,
            old=switch.old,
            new=switch.new,
            validated_ms=switch.validated_ms,
            gap_ms=switch.gap_ms,
        )
        self._migrations.append(migration)
        self._call.turns.migrated(self._call.conversation.newest_turn, migration.gap_ms)
        self._emit(PathChanged(migration))
        return migration

    # Listening

    def events(self) -> AsyncIterator[Event]:
        """Iterate over what happened and happens, from `Connected` to `Closed`.

        A later subscriber gets the last thousand events first.
        """
        subscription = _Subscription()
        for event in self._backlog:
            subscription.put(event)
        self._subscriptions.append(subscription)
        return subscription

    @property
    def session(self) -> str | None:
        """The session's ID."""
        return None if self._entered is None else self._entered.conversation.session

    @property
    def worker(self) -> str | None:
        """The name of the worker that serves the call."""
        return None if self._entered is None else self._entered.conversation.worker

    @property
    def transcript(self) -> tuple[Transcript, ...]:
        """What was said, in order."""
        return self._call.conversation.transcript

    @property
    def state(self) -> Mapping[str, Any]:
        """The agent's state, as the server sent it last."""
        return self._call.conversation.state

    order = Renamed[Mapping[str, Any]]("state")

    @property
    def frames_sent(self) -> int:
        """How many frames of speech were sent."""
        return self._call.uplink.sent

    @property
    def frames_acked(self) -> int:
        """How many of them the server has acknowledged: their effect is saved."""
        return self._call.uplink.acked

    frames_heard = Renamed[int]("frames_acked")

    @property
    def migrations(self) -> tuple[Migration, ...]:
        """The moves from path to path, in order."""
        return tuple(self._migrations)

    @property
    def resumes(self) -> tuple[Resumed, ...]:
        """The times when the call went on over a new connection, in order."""
        return tuple(self._call.recovery.resumes)

    @property
    def local_address(self) -> str | None:
        """`host:port` from which the call sends now."""
        link = None if self._entered is None else self._entered.link
        if link is not None and link.connection is not None:
            self._last_local_address = link.connection.local_address
        return self._last_local_address

    @property
    def remote_address(self) -> str | None:
        """`host:port` of the server that the call sends to now: a load balancer's, or that of the worker itself."""
        link = None if self._entered is None else self._entered.link
        return None if link is None or link.connection is None else link.connection.remote_address

    @property
    def sink_errors(self) -> tuple[Exception, ...]:
        """What the sinks raised that failed, in order."""
        return tuple(self._call.sink_errors)

    @property
    def is_finished(self) -> bool:
        """Whether the server said bye after it acknowledged every frame."""
        return self._call.is_finished

    def report(self) -> CallReport:
        """The call so far, in figures."""
        call = self._call
        now = asyncio.get_running_loop().time()
        began_at = call.began_at if call.began_at is not None else now
        return CallReport(
            is_complete=call.is_finished,
            error=None if call.error is None else str(call.error),
            session=self.session,
            worker=self.worker,
            transcript=call.conversation.transcript,
            state=call.conversation.state,
            frames_sent=call.uplink.sent,
            frames_acked=call.uplink.acked,
            uplink=call.uplink_mode,
            frames_given_up=call.uplink_counters.given_up,
            migrations=self.migrations,
            resumes=self.resumes,
            rtts_ms=call.rtts_ms,
            longest_downlink_gap_ms=call.playback.longest_underrun_ms if self._settings.has_playback else None,
            reply_latencies_ms=tuple(call.reply_latencies_ms),
            turns=call.turns.latencies,
            played_ms=call.playback.played_ms,
            duration_s=(call.ended_at if call.ended_at is not None else now) - began_at,
        )

    @property
    def _call(self) -> Call:
        if self._entered is None:
            raise CallLost("there is no call yet: use `async with VoiceClient(...)`")
        return self._entered

    async def _dial(self, link: Link, has_address: bool) -> None:
        await connect(
            self._target,
            self._trust,
            link,
            credentials=self._credentials,
            headers=await self._access_token.headers(),
            local_address=self._local_address if has_address else None,
            timeout_s=self._connect_timeout_s,
            rng=self._rng,
            qlog=self._qlog,
        )

    def _emit(self, event: Event) -> None:
        self._backlog.append(event)
        for subscription in self._subscriptions:
            subscription.put(event)


class _Subscription(AsyncIterator[Event]):
    """One reader of a call's events."""

    def __init__(self) -> None:
        self._events: asyncio.Queue[Event] = asyncio.Queue()
        self._is_over = False

    def put(self, event: Event) -> None:
        self._events.put_nowait(event)

    async def __anext__(self) -> Event:
        if self._is_over:
            raise StopAsyncIteration
        event = await self._events.get()
        self._is_over = isinstance(event, Closed)
        return event
