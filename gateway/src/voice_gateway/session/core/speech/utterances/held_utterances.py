"""The utterances that wait for a caller whose connection was lost. Sans-IO."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from voice_gateway.session.core.speech.agent_audio import AgentAudio
from voice_gateway.session.core.speech.utterances.utterance import Utterance, WholePlayback


class HeldUtterances:
    """What was not played when the connection was lost, or was begun since, in the order of their IDs."""

    def __init__(self, audio: AgentAudio) -> None:
        self._audio = audio
        self._held: list[Utterance] = []

    def __contains__(self, utterance: Utterance) -> bool:
        return utterance in self._held

    def __iter__(self) -> Iterator[Utterance]:
        return iter(self._held)

    @property
    def ids(self) -> frozenset[int]:
        """Of all that are held."""
        return frozenset(each.utterance_id for each in self._held)

    def add(self, utterances: Iterable[Utterance]) -> None:
        """The connection of these is gone."""
        self._held += utterances

    def recovered(self, next_utterance_id: int) -> tuple[WholePlayback, ...]:
        """Return what was held of those that the caller had played: all before `next_utterance_id`; once."""
        played = [each for each in self._held if each.is_sent and each.utterance_id < next_utterance_id]
        self._held = [each for each in self._held if each not in played]
        bytes_per_ms = self._audio.output_bytes_per_ms
        return tuple(
            WholePlayback(each.text, round(each.skipped_ms + each.made_bytes / bytes_per_ms)) for each in played
        )

    def take(self, next_utterance_id: int, position_ms: int) -> list[Utterance]:
        """Return all, without what the caller has played: up to `position_ms` of `next_utterance_id`.

        Of one before it that was not sent whole, the caller has played all that was sent.
        """
        held, self._held = self._held, []
        for each in held:
            if each.utterance_id == next_utterance_id:
                each.keep_from(self._audio.output_bytes(position_ms))
            elif each.utterance_id < next_utterance_id:
                each.keep_from(each.sent_bytes)
        return held

    def clear(self) -> None:
        """Forget all."""
        self._held = []
