"""The playback buffer against what a loudspeaker and a server need."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from voice_client.audio.playback import Playback, Position

RATE = 1000  # a sample a millisecond


def pcm(samples: int) -> bytes:
    return b"\x01\x02" * samples


def test_utterances_are_played_one_after_the_other() -> None:
    playback = Playback(RATE)
    playback.push(1, b"\x01\x01" * 30)
    playback.end(1)
    playback.push(2, b"\x02\x02" * 30)
    playback.end(2)
    assert playback.pull(40) == b"\x01\x01" * 30 + b"\x02\x02" * 10
    assert playback.take_positions() == [Position(1, 30, is_complete=True, ago_samples=10)]
    assert playback.pull(40) == b"\x02\x02" * 20
    assert playback.take_positions() == [Position(2, 30, is_complete=True, ago_samples=20)]
    assert not playback.is_active
    assert playback.played_ms == 60


def test_a_utterance_waits_for_the_end_of_the_one_before() -> None:
    playback = Playback(RATE)
    playback.begin(1)
    playback.push(2, pcm(10))
    assert playback.pull(10) == b""
    playback.end(1)
    assert playback.pull(10) == pcm(10)


def test_positions_are_reported_every_200_ms() -> None:
    playback = Playback(RATE)
    playback.push(1, pcm(1000))
    reported = []
    for _ in range(50):
        playback.pull(20)
        reported += [position.position_ms for position in playback.take_positions()]
    assert reported == [200, 400, 600, 800, 1000]


def test_a_stall_is_reported_once_where_it_began() -> None:
    playback = Playback(RATE)
    playback.push(1, pcm(50))
    reported = []
    for late in (None, None, None, None, pcm(300), None, None):
        if late is not None:
            playback.push(1, late)
        reported += playback.take_positions()
        playback.pull(20)
    # 50 samples were played 10 before the end of the third pull
    assert reported == [Position(1, 50, is_complete=False, ago_samples=10)]


def test_a_position_says_how_long_ago_it_was_reached() -> None:
    playback = Playback(24_000)
    playback.push(1, pcm(5_000))
    for _ in range(10):
        playback.pull(480)
    assert playback.take_positions() == [Position(1, 200, is_complete=False, ago_samples=0)]
    playback.pull(190)
    # 4,990 samples are 207 ms and 22 samples
    assert playback.flush(1) == [Position(1, 207, is_complete=False, ago_samples=22)]


def test_an_interruption_drops_what_is_buffered_and_what_comes_late() -> None:
    playback = Playback(RATE)
    playback.push(1, pcm(100))
    playback.pull(30)
    assert playback.flush(1) == [Position(1, 30, is_complete=False)]
    assert playback.pull(10) == b""
    assert not playback.push(1, pcm(5))
    assert playback.late_bytes == 10
    assert playback.push(2, pcm(5))
    assert playback.pull(10) == pcm(5)


def test_a_flush_overtakes_the_speech_it_is_for() -> None:
    playback = Playback(RATE)
    assert playback.flush(3) == []
    assert not playback.push(3, pcm(1))
    assert not playback.is_active


def test_an_answer_without_sound_is_complete_at_once() -> None:
    playback = Playback(RATE)
    playback.begin(1)
    assert playback.take_positions() == []
    playback.end(1)
    assert playback.take_positions() == [Position(1, 0, is_complete=True)]


def test_only_silence_within_an_answer_is_an_underrun() -> None:
    playback = Playback(RATE)
    playback.begin(1)
    playback.pull(500)
    assert playback.longest_underrun_ms == 0
    playback.push(1, pcm(10))
    playback.pull(20)
    playback.pull(20)
    playback.push(1, pcm(20))
    playback.pull(20)
    playback.pull(5)
    playback.end(1)
    playback.pull(500)
    assert playback.longest_underrun_ms == 30


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("push"), st.integers(1, 5), st.integers(0, 50)),
        st.tuples(st.just("end"), st.integers(1, 5), st.just(0)),
        st.tuples(st.just("flush"), st.integers(1, 5), st.just(0)),
        st.tuples(st.just("pull"), st.just(0), st.integers(1, 60)),
    ),
    max_size=60,
)


@given(STEPS)
def test_sound_is_played_dropped_or_still_buffered_and_never_after_its_flush(
    steps: list[tuple[str, int, int]],
) -> None:
    playback = Playback(RATE)
    accepted = played = dropped = flushed = 0
    complete: list[int] = []
    for action, utterance_id, samples in steps:
        before = playback.buffered_samples
        if action == "push" and playback.push(utterance_id, bytes([utterance_id]) * 2 * samples):
            assert utterance_id > flushed
            accepted += samples
        elif action == "end":
            playback.end(utterance_id)
        elif action == "flush":
            playback.flush(utterance_id)
            flushed = max(flushed, utterance_id)
            dropped += before - playback.buffered_samples
        elif action == "pull":
            sound = playback.pull(samples)
            assert len(sound) <= samples * 2
            assert all(byte > flushed for byte in sound)
            assert list(sound) == sorted(sound)
            played += len(sound) // 2
        complete += [position.utterance_id for position in playback.take_positions() if position.is_complete]
    assert accepted == played + dropped + playback.buffered_samples
    assert playback.played_ms == played
    assert complete == sorted(set(complete))


class TestHeld:
    """Audio that outlives its connection."""

    SPEECH = bytes(i % 251 for i in range(96_000))

    def held(self, played: int) -> Playback:
        playback = Playback(24_000)
        playback.push(1, self.SPEECH[:48_000])
        playback.pull(played)
        return playback

    def test_what_is_said_again_goes_on_without_a_seam(self) -> None:
        playback = self.held(2_417)
        assert playback.hold() == (1, 100)
        heard = self.SPEECH[: 2_417 * 2] + playback.pull(480) + playback.pull(480)
        playback.replace_held(2, is_again=True)
        playback.push(2, self.SPEECH[100 * 48 :])
        playback.end(2)
        while chunk := playback.pull(480):
            heard += chunk
        assert heard == self.SPEECH

    def test_the_audio_may_come_before_its_announcement(self) -> None:
        playback = self.held(2_400)
        playback.hold()
        playback.push(2, self.SPEECH[100 * 48 :])
        heard = self.SPEECH[:4_800] + playback.pull(480)
        playback.replace_held(2, is_again=True)
        heard += playback.pull(480)
        assert heard == self.SPEECH[: len(heard)]
        assert playback.unplayed[0] == 2

    def test_something_else_takes_the_place_of_what_was_held_at_once(self) -> None:
        playback = self.held(2_400)
        playback.hold()
        playback.replace_held(2, is_again=False)
        playback.push(2, b"\1\1" * 480)
        assert playback.pull(480) == b"\1\1" * 480

    def test_what_is_said_after_the_repeated_answer_follows_it(self) -> None:
        playback = self.held(2_400)
        playback.hold()
        playback.replace_held(2, is_again=True)
        playback.push(2, self.SPEECH[100 * 48 : 60_000])
        playback.end(2)
        playback.replace_held(3, is_again=False)
        playback.push(3, self.SPEECH[60_000:])
        assert self.SPEECH[:4_800] + playback.pull(48_000) == self.SPEECH

    def test_a_loss_before_the_repeated_answer_had_its_turn_forgets_it(self) -> None:
        playback = self.held(2_400)
        playback.hold()
        playback.replace_held(2, is_again=True)
        playback.push(2, self.SPEECH[100 * 48 : 110 * 48])
        assert playback.hold() == (1, 100)
        heard = self.SPEECH[:4_800] + playback.pull(480)
        playback.replace_held(3, is_again=True)
        playback.push(3, self.SPEECH[100 * 48 :])
        playback.end(3)
        assert heard + playback.pull(48_000) == self.SPEECH

    def test_a_second_loss_names_the_same_position(self) -> None:
        playback = self.held(2_400)
        assert playback.hold() == (1, 100)
        playback.pull(4_800)
        assert playback.hold() == (1, 100)

    def test_an_interruption_drops_what_was_held(self) -> None:
        playback = self.held(2_400)
        playback.hold()
        assert [position.utterance_id for position in playback.flush(1)] == [1]
        assert playback.pull(480) == b""
