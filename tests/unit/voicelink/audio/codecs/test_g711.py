"""G.711 against the reference that CPython shipped until 3.12."""

from __future__ import annotations

import importlib
import warnings
from types import ModuleType

import numpy as np
import pytest

from voicelink.audio.codecs import g711

ALL_SAMPLES = bytes(np.arange(-32_768, 32_768).astype("<i2"))
ALL_CODES = bytes(range(256))


@pytest.fixture(scope="module")
def audioop() -> ModuleType:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        try:
            return importlib.import_module("audioop")
        except ModuleNotFoundError:
            pytest.skip("this Python has no audioop any more")


def test_every_sample_becomes_the_reference_code(audioop: ModuleType) -> None:
    assert g711.pcmu_encode(ALL_SAMPLES) == audioop.lin2ulaw(ALL_SAMPLES, 2)
    assert g711.pcma_encode(ALL_SAMPLES) == audioop.lin2alaw(ALL_SAMPLES, 2)


def test_every_code_becomes_the_reference_sample(audioop: ModuleType) -> None:
    assert g711.pcmu_decode(ALL_CODES) == audioop.ulaw2lin(ALL_CODES, 2)
    assert g711.pcma_decode(ALL_CODES) == audioop.alaw2lin(ALL_CODES, 2)


def test_codes_survive_decoding_and_encoding() -> None:
    assert g711.pcma_encode(g711.pcma_decode(ALL_CODES)) == ALL_CODES
    # Mu-law has two zeros, which decode to the same sample.
    assert g711.pcmu_encode(g711.pcmu_decode(ALL_CODES)) == ALL_CODES.replace(b"\x7f", b"\xff")


def test_known_codes_of_silence() -> None:
    assert g711.pcmu_encode(bytes(4)) == b"\xff\xff"
    assert g711.pcma_encode(bytes(4)) == b"\xd5\xd5"
