"""A scenario: steps of a caller, expectations and budgets. The JSON schema of its file is made from these classes."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator

Milliseconds = Annotated[float, Field(ge=0, le=600_000)]
Words = Annotated[str, Field(min_length=1, max_length=2_000)]
Name = Annotated[str, Field(min_length=1, max_length=80, pattern=r"^[A-Za-z0-9][A-Za-z0-9._ -]*$")]


class Part(BaseModel):
    """Keys that the model does not know are mistakes."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Say(Part):
    """The caller says a text, or plays a WAV file whose words are `text`."""

    say: Words | None = None
    """What a synthetic voice says."""
    wav: str | None = None
    """A WAV file beside the scenario's, of any rate; give its words as `text` to have lost words counted."""
    text: Words | None = None
    """The words of the WAV file."""
    voice: str | None = Field(default=None, pattern=r"^(hibari|espeak(:[A-Za-z0-9+_-]+)?)$")
    """`hibari` (default, inside the package), `espeak` or `espeak:VOICE` (the program espeak-ng)."""
    barge_in_ms: Milliseconds | None = None
    """Interrupt the agent when it has spoken for so long; without it the caller lets the agent finish."""
    pause_ms: Milliseconds = 200.0
    """Quiet before the first word."""

    @model_validator(mode="after")
    def _one_source(self) -> Say:
        if (self.say is None) == (self.wav is None):
            raise ValueError("give either say (a text) or wav (a file)")
        if self.text is not None and self.wav is None:
            raise ValueError("text is for the words of a wav; what is said stands in say")
        return self

    @property
    def words(self) -> str | None:
        """What is said, where it is known."""
        return self.say if self.say is not None else self.text


class Press(Part):
    """The caller presses keys of the telephone, one after the other."""

    press: str = Field(pattern=r"^[0-9A-D*#]{1,64}$")
    between_ms: Milliseconds = 300.0


class Type(Part):
    """The caller types a text, where the driver can."""

    type: Words


class Listen(Part):
    """The caller lets the agent finish, and waits for so long for it to begin."""

    listen_ms: Milliseconds


class Wait(Part):
    """The caller is quiet."""

    wait_ms: Milliseconds


Step = Say | Press | Type | Listen | Wait
STEPS: dict[str, type[Part]] = {
    "say": Say,
    "wav": Say,
    "press": Press,
    "type": Type,
    "listen_ms": Listen,
    "wait_ms": Wait,
}
"""Which class a step is, by the key that it must have."""


class ToolExpectation(Part):
    """A tool that must be called, with these arguments among its own, exactly so many times."""

    name: str
    arguments: dict[str, Any] = Field(default_factory=dict)
    times: int = Field(default=1, ge=0, le=1_000)


class OfferedTool(Part):
    """A tool that the caller's application offers to the agent, and what it returns."""

    name: str = Field(min_length=1)
    result: Any = None
    error: str | None = None


class Absent(Part):
    """What must not be there."""

    transcript: tuple[Words, ...] = ()
    """Texts that the caller's side of the transcript must not have."""
    answer: tuple[Words, ...] = ()
    """Texts that the agent must not say."""
    tools: tuple[str, ...] = ()
    """Tools that must not be called."""
    state: dict[str, Any] = Field(default_factory=dict)
    """Values that the state must not have at these keys; a list must have no such item."""


class Expectations(Part):
    """What must be true at the end of the call."""

    transcript: tuple[Words, ...] = ()
    """Texts that the caller's side of the transcript must have, apart from case and punctuation."""
    answer: tuple[Words, ...] = ()
    """Texts that the agent must have said."""
    state: dict[str, Any] = Field(default_factory=dict)
    """Values that the agent's state must have: maps by the keys given here, lists item by item and of this length."""
    tools: tuple[ToolExpectation, ...] = ()
    absent: Absent = Absent()
    judge: tuple[Words, ...] = ()
    """Sentences that a language model must find true of the transcript; needs `--judge-url`."""


class Budgets(Part):
    """The most that is allowed; what is not given is measured and not judged."""

    words_lost: int | None = Field(default=None, ge=0)
    """Words that the agent understood on the clean link and not here."""
    answer_p50_ms: Milliseconds | None = None
    answer_p99_ms: Milliseconds | None = None
    """From the end of the caller's last word to the first sound of the answer."""
    silence_ms: Milliseconds | None = None
    """All silence within answers, where the loudspeaker ran dry."""
    barge_in_ms: Milliseconds | None = None
    """From the caller's first sound to the agent's silence, the longest."""
    duration_ms: Milliseconds | None = None


class Scenario(Part):
    """One call, what must come of it, and how long it may take."""

    name: Name
    description: str = ""
    has_greeting: bool = True
    """Whether the agent speaks first."""
    steps: tuple[Step, ...] = Field(min_length=1)
    tools: tuple[OfferedTool, ...] = ()
    expect: Expectations = Expectations()
    budgets: Budgets = Budgets()
    budgets_under: dict[str, Budgets] = Field(default_factory=dict)
    """Budgets in place of `budgets`, whole, under a condition or fault of this name."""
    ignore_words: tuple[Words, ...] = ()
    """Words that do not count as lost, such as articles that a recogniser drops now and then on any line."""
    answer_timeout_ms: Milliseconds = 12_000.0
    """How long the caller waits for an answer to begin before going on."""

    def budgets_for(self, *names: str | None) -> Budgets:
        """Return the budgets of a run: those of the first of these names that has its own."""
        return next((self.budgets_under[name] for name in names if name in self.budgets_under), self.budgets)
