"""What stands where a picture or another medium stands: the refusal names the part, and what is wrong with it."""

import base64

import pytest

from serving import chat_body, data_url, png

PICTURE = png(56, 56)
TEXT = base64.b64encode(PICTURE).decode()

TAKEN = {
    "upper-case base64": f"data:image/png;BASE64,{TEXT}",
    "upper-case scheme": f"DATA:image/png;base64,{TEXT}",
    "lines": "data:image/png;base64," + "\n".join(TEXT[at : at + 76] for at in range(0, len(TEXT), 76)),
    "blanks": "data:image/png;base64, " + " ".join(TEXT[at : at + 64] for at in range(0, len(TEXT), 64)),
    "no padding": f"data:image/png;base64,{TEXT.rstrip('=')}",
    "URL-safe": f"data:image/png;base64,{base64.urlsafe_b64encode(PICTURE).decode()}",
    "a charset": f"data:image/png;charset=utf-8;base64,{TEXT}",
    "escapes": f"data:image/png;base64,{TEXT.replace('+', '%2B').replace('/', '%2F').replace('=', '%3D')}",
    "no base64": "data:image/png," + "".join(f"%{value:02x}" for value in PICTURE),
    "no media type": f"data:;base64,{TEXT}",
    "bytes of no kind": f"data:application/octet-stream;base64,{TEXT}",
    "another kind of picture": f"data:image/jpeg;base64,{TEXT}",
    "blanks before": f"  data:image/png;base64,{TEXT}",
}

REFUSED = {
    "no comma": (f"data:image/png;base64{TEXT[:40]}", "no comma"),
    "empty": ("data:image/png;base64,", "empty"),
    "blanks alone": ("data:image/png;base64, \n", "empty"),
    "empty without base64": ("data:image/png,", "empty"),
    "other characters": ("data:image/png;base64,@@@@", "no base64 at 0"),
    "beyond ASCII": ("data:image/png;base64,ÄÖÜ", "characters that are no base64"),
    "both alphabets": ("data:image/png;base64,ab+-cd/_", "mixes"),
    "cut": (f"data:image/png;base64,{TEXT[:41]}", "cut off"),
    "padding inside": (f"data:image/png;base64,{TEXT[:40]}={TEXT[40:80]}", "no base64 at 40"),
    "a text": (f"data:text/plain;base64,{TEXT}", "text/plain"),
    "a video": (f"data:video/mp4;base64,{TEXT}", "video/mp4"),
    "half a picture": (f"data:image/png;base64,{TEXT[: len(TEXT) // 8 * 4]}", "incomplete"),
}


@pytest.mark.parametrize("url", TAKEN.values(), ids=TAKEN)
def test_a_data_url_that_can_mean_one_thing_is_taken(client, url):
    response = client.post("/v1/chat/completions", json=chat_body(url, max_tokens=1))
    assert response.status_code == 200
    usual = client.post("/v1/chat/completions", json=chat_body(data_url(PICTURE), max_tokens=1))
    assert response.json()["choices"][0]["message"] == usual.json()["choices"][0]["message"]


@pytest.mark.parametrize(("url", "why"), REFUSED.values(), ids=REFUSED)
def test_a_data_url_that_can_not_is_refused_with_a_word_about_it(client, url, why):
    response = client.post("/v1/chat/completions", json=chat_body(url))
    assert response.status_code == 400
    error = response.json()["error"]
    assert why in error["message"]
    assert (error["param"], error["code"]) == ("messages[0].content[0].image_url", "invalid_image")


@pytest.mark.parametrize("ratio", [{}, {"keep_ratio": 0.5}], ids=["without", "with"])
@pytest.mark.parametrize("given", ["x", 5, True, {}, {"a": 1}, [], ["x"], [[1]]], ids=repr)
def test_what_is_no_picture_where_a_picture_object_stands_is_a_400(client, given, ratio):
    body = chat_body(**ratio)
    body["messages"][0]["content"].insert(0, {"type": "image_pil", "image_pil": given})
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert "PIL image" in error["message"]
    assert (error["param"], error["code"]) == ("messages[0].content[0].image_pil", "invalid_image")


@pytest.mark.parametrize("content", [PICTURE, b"hello"], ids=["picture", "text"])
def test_a_video_that_is_none_is_not_blamed_on_an_image(client, content):
    body, url = chat_body(), data_url(content, "video/mp4")
    body["messages"][0]["content"].insert(0, {"type": "video_url", "video_url": {"url": url}})
    response = client.post("/v1/chat/completions", json=body)
    assert response.status_code == 400
    error = response.json()["error"]
    assert "image" not in error["message"]
    assert (error["param"], error["code"]) == ("messages[0].content[0].video_url", "invalid_media")


def test_the_server_still_answers_after_all_of_these(client, picture):
    assert client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=0.222)).status_code == 200
