"""A worker's recordings and webhooks, as its settings want them; part of the composition root."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from dataclasses import fields
from functools import partial
from typing import Final

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from voice_gateway.recording.library.archive import FolderArchive, FsspecArchive, JoinedArchive
from voice_gateway.recording.library.library import Retention
from voice_gateway.recording.library.redaction import load_redaction
from voice_gateway.recording.library.upkeep import Upkeep
from voice_gateway.recording.segments.recorder import RecordingPolicy, Recordings
from voice_gateway.recording.segments.writer import Redact, SegmentWriter
from voice_gateway.session.stats.events import SessionEnded, SessionEvent, SessionStarted
from voice_gateway.settings.recording_section import Consent, RecordingSection, WebhooksSection
from voice_gateway.webhooks.schedule import WebhookCounters
from voice_gateway.webhooks.sender import WebhookOptions, WebhookSender
from voice_gateway.webhooks.signing import signing_key

_STOP_S: Final = 5.0


class WorkerRecordings:
    """What records the calls of one worker: `start` it, give `recordings` to the sessions, `stop` it after them.

    Raises `ConfigurationError` for settings that cannot be served. Without a thread (`is_threaded` false) it runs in
    simulated time, and keeps no upkeep.
    """

    def __init__(
        self, worker: str, section: RecordingSection, clock: Callable[[], float], *, is_threaded: bool = True
    ) -> None:
        self.recordings: Recordings | None = None
        self.writer: SegmentWriter | None = None
        self._upkeep: Upkeep | None = None
        redact: Redact = (lambda words: words) if section.redact is None else load_redaction(section.redact)
        if section.folder is None:
            return
        folder = FolderArchive(section.folder)
        storage = None if section.storage is None else FsspecArchive(section.storage)
        archive = folder if storage is None else JoinedArchive(folder, storage)
        retention = Retention.of_days(section.retention_days, section.audio_retention_days)
        upkeep = self._upkeep = Upkeep(folder, storage, archive, retention, clock) if is_threaded else None
        self.writer = SegmentWriter(
            redact=redact,
            is_threaded=is_threaded,
            max_pending_bytes=section.max_pending_bytes,
            has_fsync=section.fsync,
        )
        policy = RecordingPolicy(
            has_audio=section.keep_audio,
            has_words=section.keep_transcripts,
            has_addresses=section.keep_addresses,
            is_consent_asked=section.consent is not Consent.ANNOUNCED,
            patience_s=section.patience_s,
        )
        make = partial(Recordings, worker, section.folder, policy, self.writer, clock)
        self.recordings = make() if upkeep is None else make(upkeep.segment_closed, upkeep.withdrawn)

    def start(self) -> None:
        """Begin to look after the recordings there are."""
        if self._upkeep is not None:
            self._upkeep.start()

    async def stop(self) -> None:
        """Write what is left, without blocking the event loop."""
        loop = asyncio.get_running_loop()
        if self.writer is not None and not self.writer.is_threaded:
            self.writer.close()
        elif self.writer is not None:
            await loop.run_in_executor(None, self.writer.close, _STOP_S)
        if self._upkeep is not None:
            await loop.run_in_executor(None, self._upkeep.stop, _STOP_S)


def webhook_sender(
    section: WebhooksSection, clock: Callable[[], float], rng: Callable[[int], bytes]
) -> WebhookSender | None:
    """Return what sends notifications of calls, `None` where none are wanted; raises `ConfigurationError`."""
    secret = section.read_webhook_secret()
    if not section.urls or secret is None:
        return None
    options = WebhookOptions(
        section.urls,
        signing_key(secret),
        frozenset(section.events),
        section.attempts,
        section.timeout_s,
        section.max_pending,
    )
    spread = random.Random(int.from_bytes(rng(8)))
    return WebhookSender(options, clock=clock, new_id=lambda: rng(12).hex(), rng=spread)


class WebhookEvents:
    """Notifies the receivers of webhooks of what happens to the sessions of a worker: give `take` to its events."""

    def __init__(self, sender: WebhookSender, worker: str) -> None:
        self._sender = sender
        self._worker = worker

    def take(self, session_id: str, event: SessionEvent, at: float) -> None:
        """Follow an event; a call that goes on at another worker has not ended."""
        call = {"session": session_id, "worker": self._worker}
        match event:
            case SessionStarted(agent=agent, transport=transport):
                self._sender.notify("call.started", call | {"agent": agent, "transport": transport})
            case SessionEnded(goes_on=False, code=code, turns=turns, frames=frames):
                kind = "call.ended" if code == _NORMAL else "call.failed"
                self._sender.notify(kind, call | {"code": code, "turns": turns, "frames": frames})


class RecordingCollector(Collector):
    """What a worker's recordings and webhooks did."""

    def __init__(self, writer: SegmentWriter | None, webhooks: WebhookSender | None) -> None:
        self._writer = writer
        self._webhooks = webhooks

    def collect(self) -> Iterator[Metric]:
        if self._writer is not None:
            counters = self._writer.counters
            yield GaugeMetricFamily(
                "voice_recording_pending_bytes", "Recordings that wait for the disk.", counters.pending_bytes
            )
            for name, text in _RECORDING_TOTALS.items():
                yield CounterMetricFamily(f"voice_recording_{name}", text, getattr(counters, name))
        if self._webhooks is not None:
            yield GaugeMetricFamily("voice_webhooks_waiting", "Notifications to be sent.", self._webhooks.waiting)
            sent = CounterMetricFamily("voice_webhooks", "What became of notifications.", labels=["result"])
            for field in fields(WebhookCounters):
                sent.add_metric([field.name], getattr(self._webhooks.counters, field.name))
            yield sent


_NORMAL: Final = "normal"
_RECORDING_TOTALS: Final = {
    "bytes_written": "Bytes of recordings written.",
    "records_dropped": "Records left out, as too much waited or the disk took none; recordings have holes there.",
    "write_failures": "Writes that the disk refused.",
    "redaction_failures": "Texts left out, as the redaction function failed.",
    "flushes_late": "Acknowledgements that did not wait any longer for a slow disk.",
}
