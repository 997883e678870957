"""The context that the aggregators of a pipeline share."""

from __future__ import annotations

from pipecat.processors.aggregators.llm_context import LLMContext
from pipecat.processors.aggregators.llm_response_universal import LLMContextAggregator
from pipecat.processors.frame_processor import FrameProcessor


def context_of(processor: FrameProcessor) -> LLMContext | None:
    """Find it from any processor of the pipeline; `None` where there are no aggregators."""
    each: FrameProcessor | None = processor
    while each is not None and each.previous is not None:
        each = each.previous
    while each is not None:
        for found in (each, *_within(each)):
            if isinstance(found, LLMContextAggregator):
                return found.context
        each = each.next
    return None


def _within(processor: FrameProcessor) -> list[FrameProcessor]:
    inner = list(processor.processors)
    return [*inner, *(each for child in inner for each in _within(child))]
