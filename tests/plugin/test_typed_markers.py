"""What a client types is text, however much it reads like a marker of the model: through vLLM's own renderer."""

from __future__ import annotations

import inspect
import json
import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
from PIL import Image
from real_renderer import real_renderer
from transformers import AutoTokenizer
from vllm.exceptions import VLLMValidationError
from vllm.renderers import ChatParams
from vllm.renderers.hf import HfRenderer

from beds import BEDS, Bed
from beds.llava_tokenizer import IMAGE, build_llava_tokenizer
from sppruner_vllm.api.typed_markers import TypedMarkers, UnsafeMarker

PICTURE = {"type": "image_pil", "image_pil": Image.new("RGB", (336, 336), "teal")}
PLAIN = ("what is this", "a < b | c >", "<|image_pad", "<|", "if a <|b|> c", "<image", "<i>x</i>", "<im_start>", "x<")
MARKERS: Mapping[str, tuple[str, ...]] = {
    "qwen2_5_vl": ("<|image_pad|>", "<|vision_start|>", "<|im_start|>", "<|im_end|>", "<|video_pad|>"),
    "llava": ("<image>", "<s>", "</s>", "<unk>", "<pad>"),
}


class Rendered:
    """A family's renderer, as `LLM.chat` calls it."""

    def __init__(self, bed: Bed, renderer: Any) -> None:
        self.bed, self.renderer = bed, renderer
        self.tokenizer = renderer.get_tokenizer()
        self.markers = MARKERS[bed.name]
        self.place = self.tokenizer.convert_tokens_to_ids(bed.placeholder)

    def ids(self, *messages: Mapping[str, Any], given: str = "auto", **kwargs: Any) -> list[int]:
        """Before placeholders are expanded."""
        params = ChatParams(chat_template_content_format=given, chat_template_kwargs={"tokenize": False, **kwargs})
        _, prompt = self.renderer.render_messages([dict(message) for message in messages], params)
        return self.renderer.tokenize_prompt(prompt, self.renderer.default_chat_tok_params)["prompt_token_ids"]

    def special(self, ids: list[int]) -> list[int]:
        """The markers of a prompt in order."""
        known = {self.tokenizer.convert_tokens_to_ids(marker) for marker in self.markers} - {
            self.tokenizer.unk_token_id
        }
        return [number for number in ids if number in known]


@pytest.fixture(scope="module", params=MARKERS)
def rendered(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rendered]:
    bed = BEDS[request.param]
    online = real_renderer(bed.build(tmp_path_factory.mktemp("typed") / bed.name))
    yield Rendered(bed, online.renderer)
    online.renderer.shutdown()


def user(*parts: Any) -> dict[str, Any]:
    return {
        "role": "user",
        "content": [part if isinstance(part, dict) else {"type": "text", "text": part} for part in parts],
    }


def assistant(text: str, **fields: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": text, **fields}


Placed = Callable[[str], list[dict[str, Any]]]
WHERE: Mapping[str, Placed] = {
    "earlier turn": lambda typed: [user(typed), assistant("yes"), user(PICTURE, "what is this")],
    "same turn": lambda typed: [user(PICTURE, typed)],
    "before the picture": lambda typed: [user(typed, PICTURE)],
    "plain content": lambda typed: [{"role": "user", "content": typed}],
    "system": lambda typed: [{"role": "system", "content": typed}, user(PICTURE, "what is this")],
    "answer": lambda typed: [user("hi"), assistant(typed), user(PICTURE, "what is this")],
    "tool": lambda typed: [user(PICTURE, "hi"), {"role": "tool", "tool_call_id": "1", "content": typed}],
    "two parts": lambda typed: [user(typed[:3], typed[3:], PICTURE)],
    "cut before a picture": lambda typed: [user(typed[:-1], PICTURE, typed[-1:])],
    "role": lambda typed: [{**user("hi"), "role": typed}, user(PICTURE, "what is this")],
}


@pytest.mark.parametrize("where", WHERE)
def test_a_typed_marker_is_text_wherever_it_is_typed(rendered: Rendered, where: str) -> None:
    make = WHERE[where]
    expected = rendered.special(rendered.ids(*make("a word")))
    for marker in rendered.markers:
        ids = rendered.ids(*make(marker))
        assert rendered.special(ids) == expected, marker
        shown = rendered.tokenizer.decode(ids).upper() if where == "role" else rendered.tokenizer.decode(ids)
        assert (
            where in ("two parts", "cut before a picture")
            or marker == "<unk>"
            or (marker.upper() if where == "role" else marker) in shown
        )


def test_a_picture_takes_its_own_place(rendered: Rendered) -> None:
    typed = rendered.bed.placeholder
    plain = rendered.ids(user("hi"), assistant("yes"), user(PICTURE, "what is this"))
    ids = rendered.ids(user(f"hi{typed}"), assistant("yes"), user(PICTURE, "what is this"))
    assert plain.count(rendered.place) == ids.count(rendered.place) == 1
    behind = len(plain) - plain.index(rendered.place)
    assert len(ids) - ids.index(rendered.place) == behind


@pytest.mark.parametrize("given", ["string", "openai"])
def test_text_without_a_marker_is_cut_as_vllm_cuts_it(rendered: Rendered, given: str) -> None:
    stock = inspect.unwrap(HfRenderer.render_messages)
    tokenize = inspect.unwrap(HfRenderer._tokenize_prompt)
    chance = random.Random(7)
    for _ in range(100):
        text = "".join(
            chance.choice((*PLAIN, " ", "\n", "\U00100041", "\U0010ffff")) for _ in range(chance.randrange(6))
        )
        messages = [{"role": "user", "content": text}, assistant(text), user(text, "why")]
        params = ChatParams(chat_template_content_format=given, chat_template_kwargs={"tokenize": False})
        _, prompt = stock(rendered.renderer, messages, params)
        expected = tokenize(rendered.renderer, prompt, rendered.renderer.default_chat_tok_params)["prompt_token_ids"]
        if rendered.special(rendered.ids(user("a"))) * 3 != rendered.special(expected) and given == "openai":
            continue  # two texts came to a marker
        assert rendered.ids(*messages, given=given) == expected, text


def test_what_is_typed_around_a_marker_stays_as_it_was(rendered: Rendered) -> None:
    chance = random.Random(8)
    for _ in range(100):
        text = "".join(chance.choice((*PLAIN, *rendered.markers, " ", "\U00100041")) for _ in range(5))
        messages = [user(text), assistant("yes"), user("why")]
        params = ChatParams(chat_template_kwargs={"tokenize": False})
        conversation, prompt = rendered.renderer.render_messages(messages, params)
        tokens = rendered.renderer.tokenize_prompt(prompt, rendered.renderer.default_chat_tok_params)
        assert text in tokens.get("prompt", text)
        assert json.dumps(conversation, ensure_ascii=False).count("\U0010003c") == 0


def test_a_marker_that_json_spells_in_other_letters_is_text(rendered: Rendered) -> None:
    markers = rendered.renderer.mm_processor.typed_markers
    typed = rendered.bed.placeholder
    spelt = json.dumps({"a": typed, typed: ["b"]}).replace("<", "\\u003c")
    call = {"id": "1", "type": "function", "function": {"name": "f", "arguments": spelt}}
    copies, _, found = markers.disguise([assistant("", tool_calls=iter([call]))], {})
    assert found
    arguments = copies[0]["tool_calls"][0]["function"]["arguments"]
    assert typed not in str(arguments)
    assert markers.reveal(arguments) == {"a": typed, typed: ["b"]}


def test_template_arguments_and_tools_are_typed_too(rendered: Rendered) -> None:
    markers = rendered.renderer.mm_processor.typed_markers
    typed = rendered.bed.placeholder
    given = {"tools": [{"function": {"description": typed, "url": typed}}], "documents": [{"text": typed}], "n": 1}
    _, copies, found = markers.disguise([], given)
    assert found
    assert typed not in str(copies)
    assert markers.reveal(copies) == given


def test_pictures_are_not_searched_for_text(rendered: Rendered) -> None:
    markers = rendered.renderer.mm_processor.typed_markers
    message = user({"type": "image_url", "image_url": {"url": f"data:,{rendered.bed.placeholder}"}, "uuid": "<s>"})
    assert markers.disguise([message], {}) == ([message], {}, False)


def test_a_prompt_of_a_clients_own_has_no_more_places_than_pictures(rendered: Rendered) -> None:
    place = rendered.place
    with pytest.raises(VLLMValidationError, match="2 places for image items, but there are 1"):
        rendered.renderer.render_cmpl(
            [{"prompt_token_ids": [5, place, 6, place, 7], "multi_modal_data": {"image": PICTURE["image_pil"]}}]
        )


def test_a_tokenizer_that_cuts_text_otherwise_beside_a_marker_is_not_trusted() -> None:
    for legacy in (True, False):
        tokenizer = build_llava_tokenizer(4096, legacy=legacy)
        markers = TypedMarkers(tokenizer, [tokenizer.convert_tokens_to_ids(IMAGE)])
        (copy,), _, _ = markers.disguise([f"a {IMAGE} b"], {})
        if legacy:
            _, ids = markers.cut(f"{IMAGE}\n{copy} c", {})
            assert ids is not None
            assert ids.count(tokenizer.convert_tokens_to_ids(IMAGE)) == 1
        else:
            with pytest.raises(UnsafeMarker):
                markers.cut(f"{IMAGE}\n{copy} c", {})


@pytest.mark.parametrize(("side", "room"), [("left", 6), ("right", 6), ("right", None)])
def test_a_prompt_with_a_typed_marker_is_framed_and_truncated_as_ever(
    rendered: Rendered, side: str, room: int | None
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(rendered.renderer.model_config.tokenizer, truncation_side=side)
    markers = TypedMarkers(tokenizer, [rendered.place])
    (copied,), _, _ = markers.disguise([f"a {rendered.bed.placeholder} what is this"], {})
    kwargs = {"add_special_tokens": True, "truncation": room is not None, "max_length": room}
    _, ids = markers.cut(copied, kwargs)
    undisguised = f"a {rendered.bed.placeholder} what is this"
    assert ids == tokenizer(undisguised, split_special_tokens=True, **kwargs)["input_ids"]
