"""A language model as judge of what rules cannot say, behind an OpenAI-compatible API; off unless it is asked for."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any, Final

from voice_eval.call.record import CallRecord
from voice_eval.errors import EvalError

_TIMEOUT_S: Final = 60.0
_INSTRUCTION: Final = (
    "You check the transcript of a telephone call. For each numbered sentence say whether it is true of the call. "
    'Answer with JSON alone: {"sentences": [{"holds": true or false, "reason": "one short sentence"}, ...]}'
)


@dataclass(frozen=True, slots=True)
class Judge:
    """`base_url` is that of an API with `/chat/completions`, such as `http://127.0.0.1:8000/v1`."""

    base_url: str
    model: str
    key: str | None = field(default=None, repr=False)

    async def opinions(self, sentences: tuple[str, ...], record: CallRecord) -> tuple[str, ...]:
        """Return what does not hold, in words; raises `EvalError` where the judge gives no usable answer."""
        if not sentences:
            return ()
        if record.lines is None:
            return ("judge: cannot be asked: the driver gets no transcript",)
        lines = "\n".join(f"{line.role}: {line.text}" for line in record.lines)
        asked = "\n".join(f"{number}. {each}" for number, each in enumerate(sentences, 1))
        answers = await asyncio.to_thread(self._ask, f"Transcript:\n{lines}\n\nSentences:\n{asked}")
        if len(answers) != len(sentences):
            raise EvalError(f"judge: {len(answers)} answers to {len(sentences)} sentences: use another --judge-model")
        return tuple(
            f"judge: {sentence!r} does not hold: {answer.get('reason', '')}"
            for sentence, answer in zip(sentences, answers, strict=True)
            if answer.get("holds") is not True
        )

    def _ask(self, text: str) -> list[dict[str, Any]]:
        messages = [{"role": "system", "content": _INSTRUCTION}, {"role": "user", "content": text}]
        body = {"model": self.model, "temperature": 0, "messages": messages}
        headers = {"Content-Type": "application/json"}
        if self.key is not None:
            headers["Authorization"] = f"Bearer {self.key}"
        url = f"{self.base_url.rstrip('/')}/chat/completions"
        if not url.startswith(("http://", "https://")):
            raise EvalError(f"--judge-url {self.base_url!r}: give http:// or https://")
        request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310 - http only
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310
                said: str = json.loads(answer.read())["choices"][0]["message"]["content"]
            document = json.loads(said[said.index("{") : said.rindex("}") + 1])
            return [dict(each) for each in document["sentences"]]
        except urllib.error.HTTPError as error:
            error.close()
            raise EvalError(f"--judge-url {url}: {error}") from None
        except OSError as error:
            raise EvalError(f"--judge-url {url}: {error}") from None
        except (ValueError, KeyError, IndexError, TypeError):
            raise EvalError(f"--judge-url {url}: the model's answer is not the JSON that was asked for") from None
