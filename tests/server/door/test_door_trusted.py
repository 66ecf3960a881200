"""What a client may send that the operator trusts."""

from __future__ import annotations

import base64
import io
import json

import pytest
import torch

from door.served import CHAT, PICTURE
from serving import chat_body


@pytest.mark.parametrize("ratio", [{}, {"keep_ratio": 0.5}], ids=["whole", "reduced"])
@pytest.mark.parametrize(
    "kwargs",
    [
        {"merge_size": 1},
        {"merge_size": "x"},
        {"temporal_patch_size": 1},
        {"patch_size": 7},
        {"images_kwargs": {"temporal_patch_size": 1}},
        {"max_pixels": 0},
        {"size": {}},
        {"image_mean": [1]},
        {"device": "meta"},
        {"resample": 99},
        {"do_resize": "x"},
    ],
    ids=json.dumps,
)
def test_processor_kwargs_that_the_model_cannot_take_are_refused(alice, kwargs, ratio):
    response = alice.post(CHAT, json=chat_body(PICTURE, mm_processor_kwargs=kwargs, **ratio))
    assert response.status_code == 400, response.text
    assert alice.post(CHAT, json=chat_body(PICTURE)).status_code == 200


def test_processor_kwargs_that_it_can_take_are_served(alice):
    response = alice.post(CHAT, json=chat_body(PICTURE, mm_processor_kwargs={"max_pixels": 100352, "merge_size": 2}))
    assert response.status_code == 200, response.text


ROWS, WIDTH = 16, 256
GRID = torch.tensor([1, 8, 8])

MISFITS = {
    "three dimensions": (torch.zeros(1, ROWS, WIDTH), GRID),
    "one dimension": (torch.zeros(WIDTH), GRID),
    "another width": (torch.zeros(ROWS, WIDTH + 1), GRID),
    "a row too few": (torch.zeros(ROWS - 1, WIDTH), GRID),
    "whole numbers": (torch.zeros(ROWS, WIDTH, dtype=torch.int64), GRID),
    "no numbers": (torch.full((ROWS, WIDTH), torch.nan), GRID),
    "several frames": (torch.zeros(ROWS, WIDTH), torch.tensor([4, 4, 4])),
    "odd sides": (torch.zeros(12, WIDTH), torch.tensor([1, 7, 8])),
    "sides below zero": (torch.zeros(ROWS, WIDTH), -GRID),
    "a grid of two": (torch.zeros(ROWS, WIDTH), GRID[:2]),
    "a grid of fractions": (torch.zeros(ROWS, WIDTH), GRID.float()),
}


def embedded(rows: torch.Tensor, grid: torch.Tensor, **fields: object) -> dict[str, object]:
    """A chat about a picture that comes encoded."""

    def text(tensor: torch.Tensor) -> str:
        torch.save(tensor.clone(), buffer := io.BytesIO())
        return base64.b64encode(buffer.getvalue()).decode()

    part = {"type": "image_embeds", "image_embeds": {"image_embeds": text(rows), "image_grid_thw": text(grid)}}
    return {**chat_body(), "messages": [{"role": "user", "content": [part]}], **fields}


@pytest.mark.parametrize("ratio", [{}, {"keep_ratio": 0.5}], ids=["whole", "reduced"])
@pytest.mark.parametrize("name", MISFITS)
def test_embeddings_that_are_no_picture_are_refused(alice, name, ratio):
    response = alice.post(CHAT, json=embedded(*MISFITS[name], **ratio))
    assert response.status_code == 400, response.text
    assert alice.post(CHAT, json=embedded(torch.zeros(ROWS, WIDTH), GRID)).status_code == 200
