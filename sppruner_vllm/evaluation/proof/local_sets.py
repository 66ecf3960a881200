"""Sets that lie on this machine in place of those of the hub, in the hub's own columns.

A folder holds one folder per task of lmms-eval, with a folder `test` in it: pictures and `metadata.jsonl`, as the
datasets package reads an `imagefolder`. `override` has lmms-eval's task read it; the demo's world can fill one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sppruner_vllm.evaluation.demo_dataset import demo_questions
from sppruner_vllm.evaluation.questions import Question

from .sets import StandardSet

PREFIX: Final = "sppruner_local_"
OPTIONS: Final = "task.json"
"""Beside it: keys of lmms-eval's task that are this set's own."""

_METADATA: Final = "metadata.jsonl"
_SPLIT: Final = "test"
"""The datasets package knows few names of splits in an `imagefolder`."""


def override(standard: StandardSet, data: Path, tasks: Path) -> str:
    """Write a task that is lmms-eval's own but for its data, and return its name.

    Args:
        standard: the set.
        data: folder of local sets.
        tasks: folder for the tasks, which lmms-eval is told of.

    Raises:
        FileNotFoundError: the set is not in the folder.
    """
    here = data / standard.task
    if not (here / _SPLIT / _METADATA).is_file():
        raise FileNotFoundError(f"{here / _SPLIT} has no {_METADATA}: {standard.name} is not in {data}")
    (file,) = (_harness_tasks() / standard.folder).glob(f"{standard.task}.yaml")
    own = json.loads((here / OPTIONS).read_text()) if (here / OPTIONS).is_file() else {}
    name = PREFIX + standard.task
    settings = {
        "include": str(file),
        "task": name,
        "dataset_path": "imagefolder",
        "dataset_name": None,
        "dataset_kwargs": {"data_dir": str(here.resolve())},
        "test_split": _SPLIT,
        **({"process_docs": None} if standard.task == "gqa" else {}),  # it would fetch the pictures from the hub
        **own,
    }
    tasks.mkdir(parents=True, exist_ok=True)
    (tasks / f"{name}.yaml").write_text("\n".join(f"{key}: {json.dumps(value)}" for key, value in settings.items()))
    return name


def _harness_tasks() -> Path:
    found = find_spec("lmms_eval.tasks")
    if found is None or not found.submodule_search_locations:
        raise FileNotFoundError("lmms-eval is not installed in this environment")
    return Path(found.submodule_search_locations[0])


Columns = Callable[[int, Question], Mapping[str, Any]]


def _ocrbench(index: int, question: Question) -> Mapping[str, Any]:
    kind = "Scene Text-centric VQA"
    return {"dataset": "demo", "question_type": kind, "question": question.text, "answer": list(question.answers)}


def _textvqa(index: int, question: Question) -> Mapping[str, Any]:
    return {"question_id": index, "question": question.text, "answers": [question.answers[0]] * 10, "ocr_tokens": []}


def _docvqa(index: int, question: Question) -> Mapping[str, Any]:
    return {"questionId": str(index), "question": question.text, "answers": list(question.answers)}


def _chartqa(index: int, question: Question) -> Mapping[str, Any]:
    return {"type": "human_test", "question": question.text, "answer": question.answers[0]}


def _gqa(index: int, question: Question) -> Mapping[str, Any]:
    return {"id": str(index), "imageId": str(index), "question": question.text, "answer": question.answers[0]}


def _mmbench(index: int, question: Question) -> Mapping[str, Any]:
    wrong = [word for word in ("circle", "square", "star", "heart", "ring") if word != question.answers[0]][:3]
    place = index % 4
    options = [*wrong[:place], question.answers[0], *wrong[place:]]
    return {
        "index": index,
        "question": question.text,
        "hint": "nan",
        **dict(zip("ABCD", options, strict=True)),
        "answer": "ABCD"[place],
        "category": question.family,
        "L2-category": question.family,
        "source": "demo",
        "split": "dev",
    }


def _pope(index: int, question: Question) -> Mapping[str, Any]:
    return {"question_id": str(index), "question": question.text, "answer": question.answers[0]}


def _refcoco(index: int, question: Question) -> Mapping[str, Any]:
    return {"question_id": str(index), "answer": [question.text], "bbox": [0.0, 0.0, 448.0, 448.0]}


_DEMO: Final[Mapping[str, tuple[tuple[str, ...], Columns]]] = {
    "ocrbench": (("reading",), _ocrbench),
    "textvqa_val": (("reading", "focus"), _textvqa),
    "docvqa_val": (("reading", "neighbour"), _docvqa),
    "chartqa": (("count",), _chartqa),
    "gqa": (("place", "neighbour", "focus"), _gqa),
    "mmbench_en_dev_static": (("focus",), _mmbench),
    "pope": (("presence",), _pope),
    "refcoco_bbox_rec_val": (("focus",), _refcoco),
}
_PLAIN: Final = {"lmms_eval_specific_kwargs": {"default": {"pre_prompt": "", "post_prompt": ""}}}
"""The demo model knows questions alone, and no "answer with a single word"."""

_MODELS_OWN: Final = frozenset({"refcoco_bbox_rec_val"})
"""Tasks whose prompt is not a setting."""


def write_demo_sets(sets: Sequence[StandardSet], folder: Path, number: int, seed: int) -> None:
    """Fill a folder with questions about the demo's world, in the columns of the standard sets.

    They show that the kit runs: the demo model names no boxes and picks no letters, and its world has no documents.

    Args:
        sets: which to write; one that is there stays.
        folder: made if need be.
        number: questions of each.
        seed: of the scenes.

    Raises:
        DatasetError: what draws the scenes is not installed.
    """
    if all((folder / one.task / _SPLIT / _METADATA).is_file() for one in sets):
        return
    for one in sets:
        families, columns = _DEMO[one.task]
        asked = (question for question in demo_questions(40 * number, seed) if len(question.images) == 1)
        chosen = list(islice((question for question in asked if question.family in families), number))
        _write(one, folder / one.task, [(question, columns(index, question)) for index, question in enumerate(chosen)])


def _write(standard: StandardSet, folder: Path, rows: Sequence[tuple[Question, Mapping[str, Any]]]) -> None:
    split = folder / _SPLIT
    split.mkdir(parents=True, exist_ok=True)
    lines = []
    for index, (question, columns) in enumerate(rows):
        name = f"{index:05}.png"
        (split / name).write_bytes(question.images[0].read())
        lines.append(json.dumps({"file_name": name, **columns}) + "\n")
    if standard.task not in _MODELS_OWN:
        (folder / OPTIONS).write_text(json.dumps(_PLAIN))
    (split / _METADATA).write_text("".join(lines))  # last: it says that the set is whole
