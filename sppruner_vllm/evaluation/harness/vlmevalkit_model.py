"""VLMEvalKit's view of our server; vlmevalkit.py enters it into VLMEvalKit's table of models."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from vlmeval.api.base import BaseAPI

from sppruner_vllm.evaluation.pictures import media_type

from .client import Asking, HarnessClient, Messages

ANSWERS: Final = "answers.jsonl"


class SpprunerAPI(BaseAPI):  # type: ignore[misc]  # VLMEvalKit is not installed where types are checked
    """A model behind our server, asked under one setting of our fields; greedy."""

    is_api = True

    def __init__(
        self,
        fields: Mapping[str, Any],
        url: str,
        model: str | None = None,
        api_key: str = "none",
        max_tokens: int = 1024,
        answers: Path | None = None,
        **ignored: Any,
    ) -> None:
        """Connect.

        Args:
            fields: our request fields.
            url, model, api_key: the server, see `HarnessClient`.
            max_tokens: longest answer.
            answers: folder in which answers are kept; None keeps none.
            ignored: what VLMEvalKit gives every model, such as `verbose`.
        """
        super().__init__(retry=1, verbose=False)
        self._max_tokens = max_tokens
        kept = None if answers is None else answers / ANSWERS
        self._client = HarnessClient(url, model, fields, answers=kept, api_key=api_key)

    def generate_inner(self, inputs: Sequence[Mapping[str, str]], **_: Any) -> tuple[int, str, str]:
        """The answer to one message of texts and pictures' paths, in the form that VLMEvalKit wants."""
        options = {"max_tokens": self._max_tokens, "temperature": 0}
        answer = self._client.answer(Asking("", lambda: _messages(inputs), options))
        return (0, answer.text, "") if answer.refused is None else (-1, self.fail_msg, answer.refused)


def _messages(inputs: Sequence[Mapping[str, str]]) -> Messages:
    """One user turn; pictures go as the files they are."""
    content: list[dict[str, Any]] = []
    for part in inputs:
        if part["type"] == "image":
            data = Path(part["value"]).read_bytes()
            url = f"data:{media_type(data)};base64,{base64.b64encode(data).decode()}"
            content.append({"type": "image_url", "image_url": {"url": url}})
        else:
            content.append({"type": "text", "text": part["value"]})
    return [{"role": "user", "content": content}]
