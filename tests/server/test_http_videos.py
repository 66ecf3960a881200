"""Videos over HTTP: what usage, headers and metrics say of them, what is reused, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest
from sppruner_server import headers

from clips import EACH, FRAMES, body_with, clip
from serving import data_url, eventually, metric, png, sse_data
from video_files import avi, frames, video_url

CHAT, TOLD = "/v1/chat/completions", "/v1/visual-tokens"
STREAMED = {"stream": True, "stream_options": {"include_usage": True}}


def answered(client: httpx.Client, body: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any], httpx.Headers]:
    """Usage, the account in it, and headers of an answer."""
    response = client.post(CHAT, json=body)
    assert response.status_code == 200, response.text
    events = sse_data(response.text) if body.get("stream") else [response.json()]
    usage = events[-1]["usage"]
    return usage, usage["prompt_tokens_details"]["visual_tokens"], response.headers


def refusal(response: httpx.Response) -> tuple[str, str]:
    assert response.status_code == 400, response.text
    error = response.json()["error"]
    return error["param"], error["code"]


@pytest.mark.parametrize("how", [{}, STREAMED], ids=["plain", "stream"])
def test_a_chat_says_how_many_tokens_its_video_had_and_kept(client, how):
    usage, account, sent = answered(client, body_with(clip(100), keep_ratio=0.3, **how))
    own = {"original": 80, "retained": 24, "keep_ratio": 0.3, "skipped_reason": None}
    assert account == {
        **own,
        "method": "focus_context",
        "focus_scope": "question",
        "videos": [{**own, "frames": FRAMES}],
    }
    assert usage["prompt_tokens_details"]["multimodal_tokens"] == {"video": 24}
    assert usage["prompt_tokens"] < 24 + 64
    assert (sent[headers.ORIGINAL], sent[headers.RETAINED], sent[headers.KEEP_RATIO]) == ("80", "24", "0.3")
    assert headers.SKIPPED_REASON not in sent


def test_pictures_and_videos_count_together_and_are_told_apart(client):
    body = body_with(clip(110), data_url(png(336, 336, seed=110)))
    _, account, _ = answered(client, {**body, "keep_ratio": 0.5})
    assert (account["original"], account["retained"], account["keep_ratio"]) == (144 + 80, 72 + 40, 0.5)
    assert [image["retained"] for image in account["images"]] == [72]
    assert [video["retained"] for video in account["videos"]] == [40]


def test_a_list_is_for_pictures_and_leaves_videos_to_the_default(client):
    body = body_with(clip(120), data_url(png(336, 336, seed=120)), keep_ratio=[0.5])
    _, account, _ = answered(client, body)
    assert (account["original"], account["retained"], account["skipped_reason"]) == (224, 152, None)
    (video,) = account["videos"]
    assert (video["retained"], video["keep_ratio"], video["skipped_reason"]) == (80, 1.0, "keep_ratio_is_1")
    assert account["keep_ratio"] == round(152 / 224, 6)


@pytest.mark.parametrize(
    ("fields", "reason"), [({}, "keep_ratio_is_1"), ({"keep_ratio": 1}, "keep_ratio_is_1")], ids=["default", "1"]
)
def test_a_whole_video_says_why(client, fields, reason):
    _, account, sent = answered(client, body_with(clip(130), **fields))
    assert (account["original"], account["retained"]) == (80, 80)
    assert account["skipped_reason"] == sent[headers.SKIPPED_REASON] == reason


def test_metrics_count_videos(client):
    names = {
        "sppruner_visual_tokens_original_total": 80,
        "sppruner_visual_tokens_retained_total": 16,
        "sppruner_video_keep_ratio_count": 1,
        "sppruner_video_keep_ratio_sum": 0.2,
        "sppruner_image_keep_ratio_count": 0,
        "sppruner_kv_tokens_saved_total": 64,
    }
    of_videos = "sppruner_visual_tokens_retained_total"
    videos = metric(client, of_videos, modality="video")
    assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == 0)
    before = {name: metric(client, name) for name in names}
    answered(client, body_with(clip(140), keep_ratio=0.2))

    def counted() -> bool:
        return all(metric(client, name) == pytest.approx(before[name] + more) for name, more in names.items())

    assert eventually(counted)
    assert metric(client, of_videos, modality="video") == videos + 16


def test_a_second_turn_finds_the_first_ones_video_in_the_cache(client):
    first = body_with(clip(150), text="what happens " * 20, keep_ratio=0.5)
    _, account, _ = answered(client, first)
    more = [{"role": "assistant", "content": "it moves"}, {"role": "user", "content": "and then"}]
    usage, again, _ = answered(client, {**first, "messages": [*first["messages"], *more]})
    assert again == account
    assert usage["prompt_tokens_details"]["cached_tokens"] >= 64


def test_a_video_by_its_uuid_alone_is_answered_like_the_video(client):
    sent = body_with(clip(160), uuid="a video", keep_ratio=0.5)
    _, account, _ = answered(client, sent)
    _, again, _ = answered(client, body_with(None, uuid="a video", keep_ratio=0.5))
    assert again == account
    for other in ({"keep_ratio": 0.25}, {"keep_ratio": 0.5, "text": "why"}):
        param, _ = refusal(client.post(CHAT, json=body_with(None, uuid="a video", **other)))
        assert "uuid" in param
    refusal(client.post(CHAT, json=body_with(None, uuid="never a video", keep_ratio=0.5)))


def test_before_reduction_a_video_counts_as_it_is_encoded(client):
    """The server takes prompts of 6,000 tokens before reduction; this one has 6,400 and more."""
    body = body_with(clip(170, (560, 560), 16), keep_ratio=0.05)
    assert refusal(client.post(CHAT, json=body)) == ("keep_ratio", "too_many_unreduced_tokens")
    _, account, _ = answered(client, body_with(clip(170, (560, 532), 14), keep_ratio=0.05))
    assert account["original"] == 14 * 20 * 19


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"keep_ratio": 0.05}, ("keep_ratio", "too_many_unreduced_tokens")),
        ({}, ("messages", "context_length_exceeded")),
    ],
    ids=["reduced", "whole"],
)
def test_a_video_that_cannot_fit_is_refused_before_it_is_decoded(client, fields, expected):
    """This one could not be: a frame of it is none."""
    size = (560, 560)
    url = video_url(avi([*frames(15, size), b"no picture", *frames(16, size)], size))
    assert refusal(client.post(CHAT, json=body_with(url, **fields))) == expected


def test_a_ratio_inside_the_part_of_a_video_is_refused_not_lost(client):
    body = body_with(clip(180))
    body["messages"][0]["content"][0]["video_url"]["keep_ratio"] = 0.5
    param, code = refusal(client.post(CHAT, json=body))
    assert code == "unknown_parameter"
    assert param.endswith("keep_ratio")


def test_who_asks_what_was_kept_is_told_of_each_frame_and_of_the_pictures_beside_it(client):
    body = body_with(clip(190), data_url(png(336, 336, seed=190)), keep_ratio=0.5)
    told = client.post(TOLD, json=body)
    assert told.status_code == 200, told.text
    assert [len(one["kept"]) for one in told.json()["pictures"]] == [72]
    (video,) = told.json()["visual_tokens"]["videos"]
    assert (video["retained"], video["selection"]["grid"]) == (40, [4, 5])
    frames = video["selection"]["frames"]
    assert (len(frames), sum(len(frame["kept"]) for frame in frames)) == (FRAMES, 40)
    for frame in frames:
        assert sorted(set(frame["kept"])) == frame["kept"]
        assert set(frame["focus"]) <= set(frame["kept"]) <= set(range(EACH))
        assert len(frame["saliency"]) == len(frame["relevance"]) == EACH
    _, account, _ = answered(client, {**body, "include": ["visual_tokens.selection"]})
    assert account["videos"][0]["selection"]["frames"] == frames


def test_of_a_whole_video_no_selection_is_told(client):
    told = client.post(TOLD, json=body_with(clip(195), keep_ratio=1))
    assert told.status_code == 200, told.text
    assert [video["selection"] for video in told.json()["visual_tokens"]["videos"]] == [None]
    _, account, _ = answered(client, body_with(clip(196), keep_ratio=0.5))
    assert "selection" not in account["videos"][0]


def test_a_budget_is_shared_by_pictures_and_videos(client):
    body = body_with(clip(200), data_url(png(336, 336, seed=200)), keep_tokens_total=60)
    _, account, _ = answered(client, body)
    assert (account["original"], account["retained"]) == (224, 60)
    parts = [account["images"][0]["retained"], account["videos"][0]["retained"]]
    assert sum(parts) == 60
    assert min(parts) >= 8
    assert account["videos"][0]["keep_ratio"] == round(parts[1] / 80, 6)
