"""lmms-eval's view of our server: `lmms-eval --model sppruner --model_args keep_ratio=0.222`.

lmms-eval loads it by the entry point (lmms_plugin.py) in its own environment; nothing of ours imports it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NoReturn

from lmms_eval.api.instance import GenerationResult, TokenCounts
from lmms_eval.api.model import lmms
from lmms_eval.protocol import ChatMessages
from tqdm import tqdm

from .client import DEFAULT_URL, Asking, HarnessClient, Messages

LONGEST: Final = 1024
"""Tokens of an answer whose task does not say, as lmms-eval's own server class has it."""


class SpprunerServer(lmms):  # type: ignore[misc]  # lmms-eval is not installed where types are checked
    """A model behind our server; the constructor's arguments are lmms-eval's `--model_args`."""

    is_simple = False

    def __init__(
        self,
        base_url: str = DEFAULT_URL,
        model: str | None = None,
        keep_ratio: float | None = None,
        keep_tokens: int | None = None,
        focus_query: str | None = None,
        focus_scope: str | None = None,
        reduction_method: str | None = None,
        answers: str | None = None,
        run: str = "",
        num_concurrent: int = 8,
        api_key: str = "none",
        timeout: float = 600.0,
        batch_size: object = None,
        max_batch_size: object = None,
        device: object = None,
    ) -> None:
        """Connect; a name that is none of these is refused by Python.

        Args:
            base_url, model, api_key, timeout: the server, see `HarnessClient`.
            keep_ratio, keep_tokens, focus_query, focus_scope, reduction_method: our request fields.
            answers, run: file of kept answers, see `HarnessClient`.
            num_concurrent: most requests under way at a time.
            batch_size, max_batch_size, device: lmms-eval always gives them; without effect on a server.
        """
        super().__init__()
        fields = {
            "keep_ratio": keep_ratio,
            "keep_tokens": keep_tokens,
            "focus_query": focus_query,
            "focus_scope": focus_scope,
            "reduction_method": reduction_method,
        }
        self._client = HarnessClient(
            base_url,
            model,
            fields,
            answers=None if answers is None else Path(answers),
            run=str(run),
            concurrency=int(num_concurrent),
            api_key=str(api_key),
            timeout=float(timeout),
        )

    def generate_until(self, requests: Sequence[Any]) -> list[GenerationResult]:
        """Answers to all requests; stop texts are not sent, as other server classes of lmms-eval send none."""
        with tqdm(total=len(requests), desc="answers") as bar:
            answers = self._client.ask([self._asking(request) for request in requests], bar.update)
        return [
            GenerationResult(answer.text, TokenCounts(answer.prompt_tokens, answer.completion_tokens))
            for answer in answers
        ]

    def _asking(self, request: Any) -> Asking:
        _, to_messages, options, doc_id, task, split = request.args

        def messages() -> Messages:
            asked = ChatMessages(messages=to_messages(self.task_dict[task][split][doc_id]))
            found: Messages = asked.to_openai_messages()
            return found

        return Asking(f"{task}:{doc_id}", messages, _options(options))

    def generate_until_multi_round(self, requests: Sequence[Any]) -> NoReturn:
        raise NotImplementedError("tasks of several rounds are not asked through sppruner")

    def loglikelihood(self, requests: Sequence[Any]) -> NoReturn:
        raise NotImplementedError("tasks that score given answers are not asked through sppruner")


def _options(options: Mapping[str, Any]) -> dict[str, Any]:
    """A task's generation settings as request fields."""
    sent: dict[str, Any] = {
        "max_tokens": int(options.get("max_new_tokens") or LONGEST),
        "temperature": float(options.get("temperature") or 0),
    }
    if sent["temperature"] > 0:
        sent |= {name: options[name] for name in ("top_p", "seed") if options.get(name) is not None}
    return sent
