"""What a client types is text, also where it reads like a token by which a template marks turns and pictures.

A chat template pastes what was typed between such markers, and a tokenizer cannot tell them apart afterwards. So each
character that might begin a marker is disguised before the template sees it, and the tokenizer is given the undisguised
text in stretches: what the template made is cut as ever, what was typed is cut without markers.
docs/develop/architecture.md, "What a client types".
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, cast

_DISGUISE: Final = 0x100000
"""Added to the code of a character that might begin a marker: the private use plane 16."""

_ESCAPE: Final = "\U0010ffff"
"""Stands before a character of that plane that a client typed."""

_PRIVATE: Final = "[\U00100000-\U0010ffff]"
_UNDO: Final = re.compile(f"{_ESCAPE}({_PRIVATE})|([\U00100000-\U0010fffe])", re.DOTALL)

_MEDIA: Final = frozenset(
    ("audio_embeds", "audio_url", "image_embeds", "image_pil", "image_url", "input_audio", "prompt_embeds", "uuid")
) | frozenset(("video_embeds", "video_url"))
"""Keys of a content part under which no text stands; what does may be megabytes."""

_PROBES: Final = ("a b", " a b", "\na ", "a")


class UnsafeMarker(ValueError):
    """A typed marker that this tokenizer cannot cut as text."""


class TypedMarkers:
    """The markers of one tokenizer and chat template."""

    def __init__(self, tokenizer: Any, media: Collection[int], placeholders: Iterable[str] = ()) -> None:
        """Args:
        tokenizer: transformers' own, safe to call from several threads.
        media: ids that stand for pictures and videos, whether the tokenizer calls them special or not.
        placeholders: text that the renderer takes for the place of a picture, though it is no token.
        """
        added = tokenizer.added_tokens_decoder
        self._tokenizer = tokenizer
        self._ids = {token.content: number for number, token in added.items() if token.special or number in media}
        self._markers = _alternatives(self._ids)
        self._suspect = _beginnings([*self._ids, *placeholders])
        self._exact: bool | None = None

    def disguise(self, messages: Iterable[Any], given: Mapping[str, Any]) -> tuple[list[Any], dict[str, Any], bool]:
        """Copies of messages and template arguments in which no text can make a marker, and whether they differ.

        Iterators become lists; arguments of tool calls are read, for JSON can spell a marker in other letters.
        """
        disguise = _Disguise(self._suspect)
        return [disguise.message(message) for message in messages], disguise.of(given), disguise.found

    def reveal(self, value: Any) -> Any:
        """The copy with its own letters again."""
        if isinstance(value, str):
            return _UNDO.sub(_revealed, value)
        if isinstance(value, dict):
            return {self.reveal(key): self.reveal(entry) for key, entry in value.items()}
        return [self.reveal(entry) for entry in value] if isinstance(value, list) else value

    def cut(self, disguised: str, kwargs: Mapping[str, Any]) -> tuple[str, list[int] | None]:
        """A rendered prompt with its own letters, and its ids.

        Args:
            disguised: what the template made of disguised messages.
            kwargs: how vLLM would call the tokenizer.

        Returns:
            No ids where nothing typed is a marker: the text is to be cut as ever.

        Raises:
            UnsafeMarker: the tokenizer cuts a text otherwise when it stands beside a marker.
        """
        text, typed = _undisguised(disguised)
        stretches = list(self._stretches(text, typed))
        if not any(said for _, said in stretches):
            return text, None
        if not self._cuts_exactly():
            raise UnsafeMarker
        ids = [number for stretch, said in stretches for number in self._encode(stretch, split_special_tokens=said)]
        return text, self._framed(ids, kwargs)

    def _stretches(self, text: str, typed: Collection[int]) -> Iterator[tuple[str, bool]]:
        """The prompt in pieces between markers of the template, and whether a marker was typed in each.

        Args: typed: places of characters that came disguised.
        """
        done = plain = 0
        said = False
        for match in self._markers.finditer(text):
            if match.start() in typed:
                said = True
                continue
            if said:
                yield text[done:plain], False
                yield text[plain : match.start()], True
                done, said = match.start(), False
            plain = match.end()
        if said:
            yield text[done:plain], False
            yield text[plain:], True
        else:
            yield text[done:], False

    def _cuts_exactly(self) -> bool:
        """Whether a text is cut alike beside a marker and alone, and a marker can be cut as text."""
        if self._exact is None:
            self._exact = all(self._stands_apart(marker, number) for marker, number in self._ids.items())
        return self._exact

    def _stands_apart(self, marker: str, number: int) -> bool:
        alone = [self._encode(probe, split_special_tokens=True) for probe in _PROBES]
        return (
            number not in self._encode(marker, split_special_tokens=True)
            and all(self._encode(marker + probe) == [number, *ids] for probe, ids in zip(_PROBES, alone, strict=True))
            and all(self._encode(probe + marker) == [*ids, number] for probe, ids in zip(_PROBES, alone, strict=True))
        )

    def _encode(self, text: str, *, split_special_tokens: bool = False) -> list[int]:
        encoded = self._tokenizer(text, add_special_tokens=False, split_special_tokens=split_special_tokens)
        return cast("list[int]", encoded["input_ids"])

    def _framed(self, ids: list[int], kwargs: Mapping[str, Any]) -> list[int]:
        """With what the tokenizer sets around a prompt, if it is asked to, and no longer than it may be."""
        before: Sequence[int] = ()
        after: Sequence[int] = ()
        if kwargs.get("add_special_tokens"):
            bare = self._encode("a")
            framed: list[int] = self._tokenizer("a", add_special_tokens=True)["input_ids"]
            start = next(place for place in range(len(framed)) if framed[place : place + len(bare)] == bare)
            before, after = framed[:start], framed[start + len(bare) :]
        if kwargs.get("truncation"):
            room = max(0, kwargs["max_length"] - len(before) - len(after))
            ids = ids[max(0, len(ids) - room) :] if self._tokenizer.truncation_side == "left" else ids[:room]
        return [*before, *ids, *after]


class _Disguise:
    """One pass over what a client sent.

    found: whether anything had to be disguised, so that the prompt must be undisguised.
    """

    def __init__(self, suspect: re.Pattern[str]) -> None:
        self._suspect = suspect
        self.found = False

    def message(self, message: Any) -> Any:
        if not isinstance(message, Mapping):
            return self.of(message)
        return {
            self.of(key): self._content(entry) if key == "content" else self.of(entry, key)
            for key, entry in message.items()
        }

    def of(self, value: Any, key: object = None) -> Any:
        """Args: key: under which it stands."""
        if isinstance(value, str):
            read = _arguments(value) if key == "arguments" else None
            return self._suspect.sub(self._disguised, value) if read is None else self.of(read)
        if isinstance(value, Mapping):
            return {self.of(name): self.of(entry, name) for name, entry in value.items()}
        if isinstance(value, list | tuple | Iterator):
            return [self.of(entry) for entry in value]
        return value

    def _content(self, content: Any) -> Any:
        if not isinstance(content, list | tuple | Iterator):
            return self.of(content)
        return [self._part(part) for part in content]

    def _part(self, part: Any) -> Any:
        if not isinstance(part, Mapping):
            return self.of(part)
        return {name: entry if name in _MEDIA else self.of(entry) for name, entry in part.items()}

    def _disguised(self, match: re.Match[str]) -> str:
        self.found = True
        letter = match[0]
        return _ESCAPE + letter if ord(letter) >= _DISGUISE else chr(_DISGUISE + ord(letter))


def _arguments(text: str) -> dict[str, Any] | None:
    """What a tool is called with, as vLLM would read it; None where it is no JSON object."""
    try:
        read = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return read if isinstance(read, dict) else None


def _undisguised(text: str) -> tuple[str, set[int]]:
    """The text, and the places of characters that were disguised."""
    pieces: list[str] = []
    typed: set[int] = set()
    done = length = 0
    for match in _UNDO.finditer(text):
        pieces += [text[done : match.start()], _revealed(match)]
        length += match.start() - done + 1
        if match[2]:
            typed.add(length - 1)
        done = match.end()
    return "".join([*pieces, text[done:]]), typed


def _revealed(match: re.Match[str]) -> str:
    return match[1] or chr(ord(match[2]) - _DISGUISE)


def _alternatives(words: Iterable[str]) -> re.Pattern[str]:
    """Finds the longest word at the leftmost place, as tokenizers do."""
    ordered = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, ordered)) or r"(?!)")


def _beginnings(words: Iterable[str]) -> re.Pattern[str]:
    """A letter that may begin one of the words, here or with what a template puts behind this text."""
    followers: dict[str, set[str]] = {}
    for word in words:
        followers.setdefault(word[0], set()).add(word[1:2])
    parts = [_PRIVATE]
    for first, seconds in followers.items():
        here = "".join(map(re.escape, seconds))
        parts.append(re.escape(first) + (rf"(?=[{here}]|\s*\Z)" if "" not in seconds else ""))
    return re.compile("|".join(parts))
