"""Requests of every kind to a real server: reduced by each band, unreduced, text, refused, whole and streamed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx

from serving import chat_body, data_url, png, responses_body

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
BAND_RATIOS = (1.0, 0.7, 0.4, 0.2, 0.06)
"""One keep ratio for each band, for images of 144 visual tokens and more."""

Request = tuple[str, dict[str, object]]


def one_of_each(seed: int) -> Iterator[Request]:
    """Requests whose images no other seed has; each band twice, once whole and once as a stream."""
    for number, ratio in enumerate(BAND_RATIOS):
        for stream in (False, True):
            image = data_url(png(336, 336, seed=seed + 2 * number + stream))
            yield CHAT, chat_body(image, keep_ratio=ratio, stream=stream, ignore_eos=True)
    image = data_url(png(448, 336, seed=seed))
    yield CHAT, chat_body(image, image, keep_ratio=0.3)
    yield RESPONSES, responses_body(image, keep_ratio=0.3)
    yield CHAT, chat_body(data_url(png(56, 56, seed=seed)), keep_ratio=0.1)  # too small to reduce
    yield CHAT, chat_body(ignore_eos=True)
    yield CHAT, chat_body(stream=True, ignore_eos=True)
    yield from refused(random.Random(seed))


def refused(draw: random.Random) -> Iterator[Request]:
    """One request for each way to be refused that takes no fetch, with a wrong value that differs each time."""
    word = f"{draw.random():.12f}"
    yield CHAT, chat_body(keep_ratio=1 + draw.random())
    yield CHAT, chat_body(keep_ratio=word)
    yield CHAT, chat_body(keep_tokens=-draw.randrange(1, 1000))
    yield CHAT, chat_body(focus_query=draw.random())
    yield CHAT, chat_body(reduction_method=word)
    yield CHAT, chat_body(model=f"model-{word}")
    yield CHAT, chat_body(data_url(word.encode()))
    yield CHAT, chat_body(f"file:///{word}")
    yield CHAT, {"model": "tiny", "messages": word}
    yield RESPONSES, responses_body(keep_ratio=-draw.random())
    yield f"/v1/{word}", {}


def send(client: httpx.Client, requests: Iterator[Request], at_a_time: int = 4) -> list[int]:
    """Send requests, a few at a time; their HTTP status codes in order."""
    with ThreadPoolExecutor(at_a_time) as pool:
        return list(pool.map(lambda request: client.post(request[0], json=request[1]).status_code, requests))


def random_requests(count: int, seed: int) -> Iterator[Request]:
    """Many requests, no two alike: most are refused, one in ten has an image, one in ten is text."""
    draw = random.Random(seed)
    for number in range(count):
        match draw.randrange(10):
            case 0:
                image = data_url(png(84, 84, seed=draw.randrange(10**6)))
                ratio = round(draw.uniform(0.05, 1), 6)
                yield CHAT, chat_body(image, keep_ratio=ratio, max_tokens=1, stream=draw.random() < 0.5)
            case 1:
                yield CHAT, chat_body(text=f"what is {number}", max_tokens=1, user=f"user-{draw.random()}")
            case _:
                yield draw.choice(list(refused(draw)))
