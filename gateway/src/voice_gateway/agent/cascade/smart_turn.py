"""The end of a turn by its sound: Smart Turn v3.2, with the weights and the features that pipecat-ai brings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final

import numpy as np
import structlog

from voice_gateway.agent.cascade.parts import OnJudged

_FOLDER: Final = "audio/turn/smart_turn"
_WEIGHTS: Final = "data/smart-turn-v3.2-cpu.onnx"
_FEATURES: Final = "_whisper_features.py"
_SAMPLES: Final = 8 * 16_000
_MOST_WAITING: Final = 4
"""Pauses, of all calls, that wait for the thread; later ones are judged by their length."""
_log = structlog.get_logger("voice_gateway.agent.cascade.smart_turn")


class SmartTurn:
    """Runs the network in a thread of its own, 16 kHz: some 70 ms of one core a pause.

    The turn is over at a probability of `threshold` or more. Pipecat itself is not imported. Where its package, or
    onnxruntime, is missing, one warning is logged and pauses end turns by their length.
    """

    def __init__(self, threshold: float = 0.5) -> None:
        self._threshold = threshold
        self._thread: ThreadPoolExecutor | None = None
        self._probability: Callable[[bytes], float] | None = None
        self._waiting = 0

    async def open(self) -> None:
        """Load the network, or log why turns end without it."""
        thread = ThreadPoolExecutor(1, "end-of-turn")
        try:
            self._probability = await asyncio.get_running_loop().run_in_executor(thread, _load)
        except Exception as error:  # a file of another version of pipecat-ai may fail in any way
            thread.shutdown(wait=False)
            _log.warning(
                "end_of_turn_model_missing",
                error=f"{type(error).__name__}: {error}",
                consequence="turns end by the length of the pause alone",
                remedy="pip install 'voice-gateway[agent,pipecat]'",
            )
            return
        self._thread = thread

    def judge(self, pcm: bytes, on_judged: OnJudged) -> None:
        if self._thread is None or self._probability is None or self._waiting >= _MOST_WAITING:
            return
        self._waiting += 1
        judging = asyncio.get_running_loop().run_in_executor(self._thread, self._probability, pcm)

        def on_done(judged: asyncio.Future[float]) -> None:
            self._waiting -= 1
            if not judged.cancelled() and judged.exception() is None:
                on_judged(judged.result() >= self._threshold)

        judging.add_done_callback(on_done)

    async def close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.shutdown(wait=False, cancel_futures=True)


def _load() -> Callable[[bytes], float]:
    spec = find_spec("pipecat")
    if spec is None or not spec.submodule_search_locations:
        raise ModuleNotFoundError("the package pipecat-ai, which holds the weights, is not installed")
    folder = Path(next(iter(spec.submodule_search_locations))) / _FOLDER
    features = _module(folder / _FEATURES).compute_whisper_log_mel_features
    runtime: Any = import_module("onnxruntime")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = runtime.InferenceSession(str(folder / _WEIGHTS), options, providers=["CPUExecutionProvider"])

    def judge(pcm: bytes) -> float:
        samples = np.frombuffer(pcm, "<i2").astype(np.float32)[-_SAMPLES:] / 32_768
        padded = np.pad(samples, (_SAMPLES - len(samples), 0))
        (probability,) = session.run(None, {"input_features": features(padded, do_normalize=True)[None]})
        return float(np.asarray(probability).item())

    judge(bytes(2))  # the first run allocates
    return judge


def _module(file: Path) -> Any:
    """Import one file by its path: importing its package would import all of Pipecat."""
    spec = spec_from_file_location("voice_gateway_smart_turn_features", file)
    if spec is None or spec.loader is None or not file.is_file():
        raise ModuleNotFoundError(f"this version of pipecat-ai has no {_FOLDER}/{file.name}")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
