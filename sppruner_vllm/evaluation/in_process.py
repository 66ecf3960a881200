"""Asks a vLLM engine inside this process: the fastest way through many questions, without times to first token."""

from __future__ import annotations

import os
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

from sppruner_vllm.recipes import request_methods

from .asking import Answer, AskingFailed, Manner, Usable
from .conditions import FULL, Condition
from .model_stamp import model_stamp
from .pictures import opened
from .questions import Question
from .turns import messages


class InProcessAsker:
    """An engine of our own."""

    def __init__(self, flags: Sequence[str], manner: Manner, lowest_ratio: float) -> None:
        """Load the model.

        Args:
            flags: vLLM's, --model among them.
            manner: how to ask.
            lowest_ratio: smallest keep ratio that will be asked for.
        """
        # Read once, by the processor, when the engine starts.
        os.environ["SPPRUNER_ALLOW_METHOD"] = "1"
        os.environ["SPPRUNER_MIN_KEEP_RATIO"] = str(lowest_ratio)
        os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        os.environ.setdefault("VLLM_LOGGING_LEVEL", "WARNING")  # for the sake of the progress bar
        from vllm import LLM

        options = _engine_options(flags)
        self.model = str(options["model"])
        self.stamp = model_stamp(self.model)
        self.facts: Mapping[str, str] = {"backend": "in process"}
        self._manner = manner
        self._llm = LLM(**options)
        self._image_token = int(self._llm.llm_engine.model_config.hf_config.image_token_id)

    def usable(self, question: Question, wanted: Sequence[Condition]) -> Usable:
        for condition in wanted:
            if condition != FULL and condition.method not in (known := request_methods()):
                raise AskingFailed(
                    f"there is no method {condition.method}; choose with --methods of {', '.join(sorted(known))}"
                )
        return Usable(list(wanted))

    def ask(self, questions: Sequence[Question], condition: Condition) -> list[Answer]:
        answers: dict[int, Answer] = {}
        # The engine takes one set of our fields for all chats of a call.
        for focus in dict.fromkeys(question.focus for question in questions):
            alike = [index for index, question in enumerate(questions) if question.focus == focus]
            outputs = self._chat([questions[index] for index in alike], self._manner.fields(condition, focus))
            answers |= {index: self._answer(one, condition) for index, one in zip(alike, outputs, strict=True)}
        return [answers[index] for index in range(len(questions))]

    def _chat(self, questions: Sequence[Question], fields: dict[str, Any]) -> Sequence[Any]:
        from vllm import SamplingParams

        outputs: Sequence[Any] = self._llm.chat(
            [self._messages(question) for question in questions],
            SamplingParams(max_tokens=self._manner.max_tokens, temperature=0, seed=self._manner.seed),
            use_tqdm=False,
            mm_processor_kwargs=fields,
        )
        return outputs

    def _answer(self, output: Any, condition: Condition) -> Answer:
        prompt = list(output.prompt_token_ids)
        retained = prompt.count(self._image_token)
        # The engine does not say what it left out; the reference's own count does.
        original = retained if condition == FULL else None
        return Answer(output.outputs[0].text.strip(), original, retained, len(prompt), None, None)

    def _messages(self, question: Question) -> list[Any]:
        content: list[dict[str, Any]] = []
        for picture in question.images:
            image = opened(picture)
            # A new uuid keeps vLLM's caches out of the throughput.
            content.append({"type": "image_pil", "image_pil": image, "uuid": uuid.uuid4().hex})
        return messages(self._manner.prompt(question), question.before, content)


def _engine_options(flags: Sequence[str]) -> dict[str, Any]:
    """What the flags of `vllm serve` set, as arguments of `LLM`."""
    from vllm import EngineArgs
    from vllm.utils.argparse_utils import FlexibleArgumentParser

    parser = EngineArgs.add_cli_args(FlexibleArgumentParser(prog="python -m sppruner_vllm.evaluation run --in-process"))
    given = vars(parser.parse_args(list(flags)))
    return {name: value for name, value in given.items() if value != parser.get_default(name)}
