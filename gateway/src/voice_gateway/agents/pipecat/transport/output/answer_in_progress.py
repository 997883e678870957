"""Whether a pipeline makes an answer: the model's responses, and the tools that it calls between them."""

from __future__ import annotations

from pipecat.frames.frames import (
    Frame,
    FunctionCallCancelFrame,
    FunctionCallResultFrame,
    FunctionCallsStartedFrame,
    LLMFullResponseEndFrame,
    LLMFullResponseStartFrame,
)


class AnswerInProgress:
    """Follows the frames that reach the pipeline's output; all but the answer's own are ignored."""

    def __init__(self) -> None:
        self._calls: set[str] = set()
        self._is_response = self._follows_up = False

    @property
    def is_made(self) -> bool:
        """Whether the model has nothing more to say of it."""
        return not (self._is_response or self.waits_for_tools)

    @property
    def waits_for_tools(self) -> bool:
        """Whether a tool runs, or the model has yet to follow up what one returned."""
        return bool(self._calls) or self._follows_up

    def note(self, frame: Frame) -> None:
        match frame:
            case LLMFullResponseStartFrame():
                self._is_response, self._follows_up = True, False
            case LLMFullResponseEndFrame():
                self._is_response = False
            case FunctionCallsStartedFrame():
                self._calls.update(each.tool_call_id for each in frame.function_calls)
            case FunctionCallResultFrame():
                is_final = frame.properties is None or frame.properties.is_final
                if is_final:
                    self._calls.discard(frame.tool_call_id)
                    self._follows_up = frame.properties is None or frame.properties.run_llm is not False
            case FunctionCallCancelFrame():
                self._calls.discard(frame.tool_call_id)

    def cut(self) -> None:
        """Nothing more of it is made."""
        self._calls.clear()
        self._is_response = self._follows_up = False
