"""Pocketsphinx: models that come with the package, decoders, and the words of a hypothesis."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Final

from voice_gateway.errors import AgentError

SPHINX_RATE_HZ: Final = 16_000
CEPSTRAL_MEAN: Final = "41,-5,-1"
"""Where the live normalisation of each utterance starts, so that it does not depend on those before."""


def model_path(name: str) -> str:
    """Return the path of a model inside the package, by its name there."""
    return str(_pocketsphinx().get_model_path(name))


def new_decoder(language_model: Path, dictionary: Path, **parameters: object) -> Any:
    """Load an English decoder; raises `AgentError` for models that do not load, and where the package is missing."""
    try:
        return _pocketsphinx().Decoder(
            hmm=model_path("en-us/en-us"),
            lm=str(language_model),
            dict=str(dictionary),
            fwdflat=False,
            cmninit=CEPSTRAL_MEAN,
            loglevel="FATAL",
            **parameters,
        )
    except (RuntimeError, ValueError) as error:
        raise AgentError(f"pocketsphinx cannot load its models: {error}") from error


def words_of(hypothesis: Any) -> tuple[str, ...]:
    """Return the words of a pocketsphinx hypothesis, without noises and marks of variants."""
    words = hypothesis.hypstr.split() if hypothesis is not None else []
    return tuple(word for word in words if word.isascii() and word[:1].isalpha())


def _pocketsphinx() -> Any:
    try:
        return import_module("pocketsphinx")
    except ModuleNotFoundError as error:
        raise AgentError(f"speech recognition needs {error.name}: pip install 'voice-gateway[agent]'") from error
