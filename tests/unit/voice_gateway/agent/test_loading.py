"""Agents by name: built in, installed by others, or a class of a module; and what is said where that is impossible."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from voice_gateway.agent import loading
from voice_gateway.agent.base import Agent
from voice_gateway.agent.loading import GivenSettings, installed_agents, load_agent, open_agent
from voice_gateway.agents.echo import EchoAgent
from voice_gateway.errors import AgentError

MODULE = """
from pathlib import Path
from pydantic import BaseModel, ConfigDict, Field, field_validator
from voice_gateway.agent.base import Agent, Conversation
from voice_gateway.agent.call import CallAgent, CallOptions
from voice_gateway.errors import AgentError

class Plain(Agent):
    def converse(self, emit, state):
        return Conversation(emit)

class Named(Plain):
    name = "polly"

class Settings(BaseModel):
    words: int = Field(default=3, ge=1)
    file: Path | None = None

    @field_validator("words")
    @classmethod
    def _check(cls, words):
        if words == 13:
            raise LookupError("no luck")
        return words

class Parrot(Plain):
    settings_model = Settings
    def __init__(self, settings):
        self.settings = settings

class Open(Parrot):
    settings_model = type("Any", (BaseModel,), {"model_config": ConfigDict(extra="allow")})

class Abstract(Agent):
    pass

class Raises(Plain):
    def __init__(self):
        raise ValueError("two\\nlines")

class Refuses(Plain):
    def __init__(self):
        raise AgentError("the parrot is asleep")

class Needy(Plain):
    requires = ("json", "zoo.keeper")
    install = "zoo[keeper]"

class Coroutine(CallAgent):
    settings_model = Settings
    def __init__(self, settings):
        super().__init__(CallOptions(output_rate_hz=8_000))
    async def converse(self, call):
        await call.say("Hello.")

class Halfway(CallAgent):
    pass

class NeedyCall(Coroutine):
    requires = ("zoo.keeper",)
    install = "zoo[keeper]"

NUMBER = 3
def function(): return Plain()
"""


@pytest.fixture(autouse=True)
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "parrots.py").write_text(MODULE)
    (tmp_path / "needs_zoo.py").write_text("import zoo")
    (tmp_path / "broken.py").write_text("1 / 0")
    for name, entries in {
        "one": "parrot = parrots:Parrot\nplain = parrots:Plain\ntwice = parrots:Plain\ngone = parrots_two:Parrot",
        "two": "twice = parrots:Named",
    }.items():
        folder = tmp_path / f"{name}-1.0.dist-info"
        folder.mkdir()
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (folder / "entry_points.txt").write_text(f"[voice_gateway.agents]\n{entries}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(
    ("module", "extra"), [("pipecat", "pipecat"), ("livekit.agents", "livekit"), ("openai", "openai")]
)
def test_a_users_module_without_its_extra_names_the_extra(
    packages: Path, monkeypatch: pytest.MonkeyPatch, module: str, extra: str
) -> None:
    monkeypatch.setitem(sys.modules, module.partition(".")[0], None)  # what is imported so cannot be found
    (packages / f"bot_{extra}.py").write_text(f"import {module}")
    with pytest.raises(AgentError, match=rf"which is not installed: pip install 'voice-gateway\[{extra}\]'$"):
        load_agent(f"bot_{extra}:Bot")


@pytest.mark.parametrize("name", ["echo", "echo-pcmu", "order"])
def test_the_agents_of_the_gateway_come_in_by_entry_points(name: str) -> None:
    assert name in installed_agents()
    assert load_agent(name).name == name


@pytest.mark.parametrize(
    ("name", "shown"),
    [("plain", "plain"), ("parrots:Plain", "Plain"), ("parrots:Named", "polly"), ("parrot", "parrot")],
)
def test_an_agent_without_a_name_has_the_one_it_was_loaded_by(name: str, shown: str) -> None:
    agent = load_agent(name)
    assert isinstance(agent, Agent)
    assert agent.name == shown


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        (
            "oracle",
            {},
            "there is no agent 'oracle'; installed are deepgram, echo, echo-pcmu, elevenlabs, "
            "gemini, gone, gpt-live, openai-realtime, order, parrot, plain, ",
        ),
        ("twice", {}, "there are several agents 'twice'; name one of parrots:Named, parrots:Plain"),
        ("gone", {}, "the agent 'gone' is in the module parrots_two, which is not installed"),
        ("parrots.grey:Parrot", {}, "the agent 'parrots.grey:Parrot' is in the module parrots.grey, which is not inst"),
        ("needs_zoo:Parrot", {}, "the agent 'needs_zoo:Parrot' needs the package zoo, which is not installed"),
        ("broken:Parrot", {}, "the agent 'broken:Parrot' cannot be imported: ZeroDivisionError: division by zero"),
        ("parrots:Macaw", {}, "the agent 'parrots:Macaw' is not there: the module parrots has no Macaw"),
        ("parrots:", {}, "agent.name is an installed agent's name or package.module:Class, got 'parrots:'"),
        (":Parrot", {}, "agent.name is an installed agent's name or package.module:Class, got ':Parrot'"),
        ("parrots.py:Parrot()", {}, "agent.name is an installed agent's name or package.module:Class, got"),
        ("parrots:NUMBER", {}, "the agent 'parrots:NUMBER' must be a subclass of voice_gateway.agent.base.Agent"),
        (
            "parrots:NUMBER",
            {},
            "the agent 'parrots:NUMBER' must be a subclass of voice_gateway.agent.base.Agent or of voi",
        ),
        (
            "parrots:Halfway",
            {},
            "the agent 'parrots:Halfway' cannot be made: TypeError: Can't instantiate abstract class",
        ),
        ("parrots:NeedyCall", {}, "the agent 'parrots:NeedyCall' needs zoo.keeper: pip install 'zoo[keeper]'"),
        ("parrots:Coroutine", {"words": 0}, "agent.settings.words: must be at least 1"),
        ("parrots:function", {}, "the agent 'parrots:function' must be a subclass of"),
        ("parrots:Settings", {}, "the agent 'parrots:Settings' must be a subclass of"),
        ("parrots:Abstract", {}, "the agent 'parrots:Abstract' cannot be made: TypeError: Can't instantiate abstract"),
        ("parrots:Raises", {}, "the agent 'parrots:Raises' cannot be made: ValueError: two lines"),
        ("parrots:Refuses", {}, "the parrot is asleep"),
        ("parrots:Needy", {}, "the agent 'parrots:Needy' needs zoo.keeper: pip install 'zoo[keeper]'"),
        ("plain", {"menu": "x"}, "agent.settings.menu: the agent 'plain' has no such setting; it has none"),
        ("parrot", {"wrods": 1}, "agent.settings.wrods: the agent 'parrot' has no such setting; it has file, words"),
        ("parrot", {"words": 0}, "agent.settings.words: must be at least 1"),
        ("parrot", {"words": "many"}, "agent.settings.words: must be a whole number"),
        ("parrot", {"words": 13}, "agent.settings: LookupError: no luck"),
    ],
)
def test_what_is_wrong_is_one_sentence(name: str, values: dict[str, object], message: str) -> None:
    with pytest.raises(AgentError) as refused:
        load_agent(name, GivenSettings(values))
    assert str(refused.value).startswith(message)
    assert "\n" not in str(refused.value)


def test_a_call_agent_is_loaded_as_any_agent() -> None:
    agent = load_agent("parrots:Coroutine", GivenSettings({"words": 5}))
    assert isinstance(agent, Agent)
    assert (agent.name, agent.input_rate_hz, agent.output_rate_hz) == ("Coroutine", 16_000, 8_000)


def test_settings_are_validated_by_the_agents_own_model(tmp_path: Path) -> None:
    agent = load_agent("parrot", GivenSettings({"words": 5, "file": "words.txt"}, {}, tmp_path))
    assert (agent.settings.words, agent.settings.file) == (5, tmp_path / "words.txt")  # type: ignore[attr-defined]


def test_variables_win_and_their_paths_are_of_the_current_directory(tmp_path: Path) -> None:
    given = GivenSettings({"words": 5, "file": "words.txt"}, {"words": "6", "file": "mine.txt"}, tmp_path)
    agent = load_agent("parrot", given)
    assert (agent.settings.words, agent.settings.file) == (6, Path("mine.txt"))  # type: ignore[attr-defined]


def test_an_agent_may_take_any_settings() -> None:
    agent = load_agent("parrots:Open", GivenSettings({"anything": [1, 2]}))
    assert agent.settings.model_extra == {"anything": [1, 2]}  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("raised", "shown"),
    [
        (OSError("no\nmodel"), "the agent 'polly' cannot be opened: OSError: no model"),
        (AgentError("the model is missing"), "the model is missing"),
    ],
)
async def test_an_agent_that_cannot_open_says_so_in_one_sentence(raised: Exception, shown: str) -> None:
    async def fail() -> None:
        raise raised

    agent = load_agent("parrots:Named")
    agent.open = fail  # type: ignore[method-assign]
    with pytest.raises(AgentError) as refused:
        await open_agent(agent)
    assert str(refused.value) == shown


def test_missing_packages_are_named_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "find_spec", lambda package: None if package == "pocketsphinx" else object())
    with pytest.raises(AgentError, match=r"needs pocketsphinx: pip install 'voice-gateway\[agent\]'"):
        load_agent("order")
    assert isinstance(load_agent("echo"), EchoAgent)
