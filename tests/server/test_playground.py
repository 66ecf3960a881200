"""The playground in a real browser, against the real server."""

from __future__ import annotations

import base64
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from browsing import Browser, browsing, node_modules
from serving import GRAFANA, MODEL_NAME, Server, png

DONE = "document.getElementById('state').textContent === 'Done.'"
ORANGE, BLUE = (213, 94, 0), (86, 180, 233)
QUESTION = "What does the sign say?"

PIXELS = """
const canvas = document.querySelectorAll("canvas")[arguments[0]];
const [width, height] = [canvas.width, canvas.height];
let source = canvas;
if (arguments[1]) {
  source = new OffscreenCanvas(width, height);
  source.getContext("2d").drawImage(document.getElementById("preview"), 0, 0, width, height);
}
const data = source.getContext("2d").getImageData(0, 0, width, height).data;
let text = "";
for (let i = 0; i < data.length; i += 4096) text += String.fromCharCode(...data.subarray(i, i + 4096));
return [width, height, btoa(text)];
"""
"""A panel's canvas, or the picture alone at its size."""

GIVE = """
const [way, content, name, type, place] = arguments;
const bytes = Uint8Array.from(atob(content), (letter) => letter.charCodeAt(0));
const carried = new DataTransfer();
if (name) carried.items.add(new File([bytes], name, { type }));
else carried.setData("text/plain", atob(content));
const options = { bubbles: true, cancelable: true, dataTransfer: carried, clipboardData: carried };
const event = way === "paste" ? new ClipboardEvent("paste", options) : new DragEvent("drop", options);
return !document.querySelector(way === "paste" ? "body" : place).dispatchEvent(event);
"""
"""Gives whether the page took the event for itself."""

HELD = """
const real = window.fetch;
window.fetch = async (url, ...rest) => {
  const response = await real(url, ...rest);
  if (!String(url).includes("chat/completions")) return response;
  window.fetch = real;
  await new Promise((done) => { window.release = done; });
  return response;
};
"""
"""Holds the next answer back until `release`."""


@pytest.fixture(scope="module")
def window(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    with browsing(tmp_path_factory.mktemp("browser") / "driver.log") as browser:
        yield browser


@pytest.fixture
def page(window: Browser, server: Server) -> Iterator[Browser]:
    """The page, as it is when it has shown its first selection; no test leaves a complaint of the browser's behind."""
    window.console(), window.requested()
    window.resize(1280, 1000)
    window.open(f"{server.url}/playground")
    assert window.eventually(DONE), window.text("#error")
    yield window
    complaints = [entry for entry in window.console() if "status of 4" not in entry["message"]]
    assert complaints == []
    assert {url for url in window.requested() if not url.startswith((server.url, "blob:", "data:"))} == set()


def pixels(page: Browser, panel: int, *, plain: bool = False) -> Image.Image:
    width, height, data = page.run(PIXELS, panel, plain)
    return Image.frombytes("RGBA", (width, height), base64.b64decode(data)).convert("RGB")


def slide(page: Browser, slider: str, ratio: float) -> None:
    page.run(
        "const one = document.getElementById(arguments[0]); one.value = arguments[1];"
        "document.getElementById('state').textContent = '';"
        "one.dispatchEvent(new Event('input', { bubbles: true }))",
        slider,
        ratio,
    )
    assert page.eventually(DONE), page.text("#error")


def hand(
    page: Browser, way: str, content: bytes, name: str = "dropped.png", kind: str = "image/png", place: str = "#drop"
) -> bool:
    """Paste or drop a file, or text where it has no name; whether the page took it."""
    return bool(page.run(GIVE, way, base64.b64encode(content).decode(), name, kind, place))


def give(page: Browser, way: str, content: bytes) -> None:
    """Paste a picture or drop it."""
    page.run("document.getElementById('state').textContent = ''")
    assert hand(page, way, content) or way == "paste"
    assert page.eventually(DONE), page.text("#error")


def ask(page: Browser, question: str | None = None) -> None:
    if question is not None:
        page.type("#question", question, anew=True)
    turns = page.run("return document.querySelectorAll('.asked').length")
    page.click("#ask")
    panels = page.run("return document.querySelectorAll('.panel:not([hidden])').length")
    more = f"document.querySelectorAll('.asked').length >= {turns + panels} || !document.getElementById('error').hidden"
    assert page.eventually(more)
    assert page.eventually(f"{DONE} || !document.getElementById('error').hidden")


def figure(page: Browser, panel: int, name: str) -> str:
    return page.run(
        "return document.querySelectorAll('.panel')[arguments[0]]"
        ".querySelector(`[data-figure='${arguments[1]}']`).textContent",
        panel,
        name,
    )


def selection(client: httpx.Client, content: bytes, ratio: float, question: str = QUESTION) -> dict[str, Any]:
    url = f"data:image/png;base64,{base64.b64encode(content).decode()}"
    parts = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": question}]
    body = {"model": MODEL_NAME, "messages": [{"role": "user", "content": parts}], "keep_ratio": ratio}
    (picture,) = client.post("/v1/visual-tokens", json=body).json()["pictures"]
    return picture


def drawn(picture: Image.Image, chosen: dict[str, Any]) -> Image.Image:
    """The picture with what was dropped at 28 % of its light, and frames of 3 and 2 pixels."""
    out = picture.point(lambda level: round(level * 0.28))
    height, width = chosen["grid"]
    for token in chosen["kept"]:
        column, row = token % width, token // width
        box = (
            picture.width * column // width,
            picture.height * row // height,
            picture.width * (column + 1) // width,
            picture.height * (row + 1) // height,
        )
        focus = token in chosen["focus"]
        thick = 3 if focus else 2
        out.paste(ORANGE if focus else BLUE, box)
        inner = (box[0] + thick, box[1] + thick, box[2] - thick, box[3] - thick)
        out.paste(picture.crop(inner), inner[:2])
    return out


def farthest(one: Image.Image, other: Image.Image) -> int:
    assert one.size == other.size
    return max(abs(a - b) for a, b in zip(one.tobytes(), other.tobytes(), strict=True))


def test_the_page_is_one_page_under_a_strict_policy(client, page):
    answer = client.get("/playground")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert not re.search(r"\sstyle=|\son\w+=|<style|<script>", answer.text)
    assert client.get("/playground/nothing.js").json()["error"]["code"] == "unknown_url"
    assert client.get("/playground/index.html").status_code == 404
    assert client.post("/playground").status_code == 405
    assert client.head("/playground").status_code == 200
    assert page.text("#model") == f"Model: {MODEL_NAME}."


def test_a_picture_from_a_file_is_drawn_over_pixel_by_pixel_with_what_the_endpoint_says(client, page, tmp_path):
    file = tmp_path / "two to one.png"
    file.write_bytes(png(504, 252, seed=81))
    page.run("document.getElementById('state').textContent = ''")
    page.type("#file", str(file))
    assert page.eventually(DONE)
    assert page.text("#picture-name") == file.name
    for panel, ratio in enumerate((0.222, 0.5)):
        if panel:
            slide(page, "ratio-b", ratio)
        chosen = selection(client, file.read_bytes(), ratio)
        assert chosen["focus"]
        assert len(chosen["focus"]) < len(chosen["kept"])
        assert farthest(pixels(page, panel), drawn(pixels(page, panel, plain=True), chosen)) <= 2
        assert page.run("return document.querySelectorAll('canvas')[arguments[0]].ariaLabel", panel).startswith(
            f"{len(chosen['kept'])} of 162 tokens are kept, {len(chosen['focus'])} of them focus"
        )


@pytest.mark.parametrize(("way", "name"), [("paste", "Pasted picture"), ("drop", "dropped.png")])
def test_a_picture_may_be_pasted_and_dropped(client, page, way, name):
    content = png(336, 336, seed=82)
    give(page, way, content)
    assert page.text("#picture-name") == name
    assert farthest(pixels(page, 0), drawn(pixels(page, 0, plain=True), selection(client, content, 0.222))) <= 2


def test_a_picture_that_misses_the_frame_does_not_replace_the_page(page):
    assert hand(page, "drop", png(336, 336, seed=91), name="missed.png", place="#panels")
    assert page.eventually("document.getElementById('picture-name').textContent === 'missed.png'")
    assert page.eventually(DONE)


def test_what_is_no_picture_is_refused_in_words(page):
    assert hand(page, "drop", b"some text", name="", place="#drop")
    assert page.text("#error").startswith("There was no file in what you dropped")
    assert not hand(page, "paste", b"some text", name=""), "text is pasted as ever"
    assert not hand(page, "drop", b"some text", name="", place="#question"), "and dragged"
    assert hand(page, "drop", b"some text", name="notes.txt", kind="text/plain")
    assert page.eventually("document.getElementById('error').textContent.includes('status 400')"), page.text("#error")
    page.click("#scene")
    assert page.eventually(f"{DONE} && document.getElementById('error').hidden")


def test_what_this_browser_cannot_show_is_asked_about_and_not_drawn_over_another_picture(page, tmp_path):
    file = tmp_path / "scan.tiff"
    Image.open(io.BytesIO(png(336, 336, seed=95))).save(file)
    page.run("document.getElementById('state').textContent = ''")
    page.type("#file", str(file))
    assert page.eventually(f"document.getElementById('picture-name').textContent === 'scan.tiff' && {DONE}")
    assert pixels(page, 0).getextrema() == ((0, 0), (0, 0), (0, 0))
    assert page.run("return document.querySelector('canvas').ariaLabel").startswith("32 of 144 tokens are kept")


def test_of_two_pictures_the_one_given_last_stays(page):
    page.run("""
const real = window.createImageBitmap;
window.createImageBitmap = async (file) => {
  if (file.name === "slow.png") await new Promise((done) => { window.release = done; });
  return real(file);
};
""")
    hand(page, "drop", png(336, 336, seed=92), name="slow.png")
    assert page.eventually("typeof window.release === 'function'")
    hand(page, "drop", png(336, 168, seed=93), name="quick.png")
    assert page.eventually("document.getElementById('picture-name').textContent === 'quick.png'")
    page.run("window.release()")
    assert page.eventually(DONE)
    assert page.text("#picture-name") == "quick.png"


def test_a_new_picture_ends_what_is_said_about_the_one_before(page):
    page.run(HELD)
    page.click("#ask")
    assert page.eventually("typeof window.release === 'function'")
    page.run("document.getElementById('question').value = ''")
    hand(page, "drop", png(336, 336, seed=94), name="new.png")
    assert page.eventually("document.getElementById('picture-name').textContent === 'new.png'")
    page.run("window.release()")
    page.type("#question", "what is this", anew=True)
    page.click("#ask")
    assert page.eventually(f"document.querySelectorAll('.asked').length >= 2 && {DONE}"), page.text("#error")
    assert page.run("return [...document.querySelectorAll('.asked')].map((one) => one.textContent)") == [
        "what is this",
        "what is this",
    ]


def online(page: Browser, *, there: bool) -> None:
    speed = {"latency": 0, "downloadThroughput": -1, "uploadThroughput": -1}
    page.command("Network.emulateNetworkConditions", offline=not there, **speed)


def test_a_server_that_is_gone_in_the_middle_of_an_answer_is_said_so(page):
    page.type("#longest", "3000", anew=True)
    page.click("#ask")
    assert page.eventually("document.querySelector('.said')?.textContent")
    online(page, there=False)
    assert page.eventually("!document.getElementById('error').hidden")
    online(page, there=True)
    assert page.text("#error").startswith("The server cannot be reached: ")
    assert page.text("#state") == ""
    page.type("#longest", "8", anew=True)
    page.click("#ask")
    assert page.eventually(f"{DONE} && document.getElementById('error').hidden"), page.text("#error")
    assert all("ERR_INTERNET_DISCONNECTED" in entry["message"] for entry in page.console())


def test_no_word_of_a_long_answer_is_lost_when_two_are_compared(page):
    one, other = " ".join(map(str, range(900))), " ".join(map(str, range(500, 1300)))
    parts = page.later(
        "const [one, other, done] = arguments;"
        "import('/playground/words.js').then(({ compared }) => done(compared(one, other)))",
        one,
        other,
    )
    assert ["".join(text for text, _ in told) for told in parts] == [one, other]


def test_enter_that_ends_a_composed_character_does_not_ask(page):
    taken = page.run(
        "const key = new KeyboardEvent('keydown',"
        " { key: 'Enter', isComposing: true, bubbles: true, cancelable: true });"
        "return !document.getElementById('question').dispatchEvent(key)"
    )
    assert not taken
    assert page.text("#state") == "Done."


def test_a_key_that_no_header_can_carry_is_said_so(page):
    page.run("document.getElementById('key-row').hidden = false")
    page.type("#key", "ключ\ue004")
    assert page.eventually("document.getElementById('error').textContent.startsWith('A key has letters')")


def test_a_slider_changes_what_is_kept(page):
    before = pixels(page, 0)
    slide(page, "ratio-a", 0.5)
    assert page.text(".panel h2") == "Keep ratio 0.500"
    assert farthest(before, pixels(page, 0)) > 50
    slide(page, "ratio-a", 0.222)
    assert farthest(before, pixels(page, 0)) == 0


def test_two_ratios_side_by_side(page, client):
    ask(page)
    assert page.run("return document.querySelectorAll('.panel:not([hidden])').length") == 2
    assert [figure(page, panel, "Visual tokens") for panel in (0, 1)] == ["57 of 256", "256 of 256"]
    prompt = [int(figure(page, panel, "Prompt tokens").split()[0]) for panel in (0, 1)]
    assert prompt[1] - prompt[0] == 256 - 57
    body = {"model": MODEL_NAME, "messages": [{"role": "user", "content": "x"}]}
    token = client.post("/v1/visual-tokens", json=body).json()["kv_bytes_per_token"]
    shown = [f"{tokens * token / 1024:.0f} KiB ({prompt[1] * token / 1024:.0f} KiB with" for tokens in prompt]
    assert all(figure(page, panel, "KV cache").startswith(shown[panel]) for panel in (0, 1))
    assert all(float(figure(page, panel, "First token").removesuffix(" ms")) > 0 for panel in (0, 1))
    said = page.run("return [...document.querySelectorAll('.said')].map((one) => one.textContent)")
    assert len(said) == 2
    assert all(said)
    marked = page.run("return document.querySelectorAll('.said mark').length")
    assert (said[0] != said[1]) == (marked > 0)


def test_one_ratio_alone(page):
    page.click("#compare")
    assert page.eventually("document.querySelectorAll('.panel:not([hidden])').length === 1")
    ask(page)
    assert len(page.run("return [...document.querySelectorAll('.said')]")) == 1


def test_a_second_question_shows_what_was_reused(page):
    give(page, "drop", png(336, 336, seed=84))
    ask(page, "how many shapes are there in this picture")
    first = [figure(page, panel, "Reused") for panel in (0, 1)]
    assert first[0].endswith("what the encoder made of the picture")
    assert all(int(one.split()[0]) <= 32 for one in first), "the prompts are computed anew"
    ask(page, "and which one is red")
    for panel in (0, 1):
        cached, _, prompt, *_ = figure(page, panel, "Reused").split()
        assert int(prompt) > int(cached) > int(first[panel].split()[0])
    assert page.run("return document.querySelectorAll('.panel')[0].querySelectorAll('.asked').length") == 2
    page.click("#again")
    assert page.eventually("document.querySelectorAll('.asked').length === 0")


def test_a_question_does_not_wait_for_a_selection_that_is_being_made(page):
    give(page, "drop", png(336, 336, seed=85))
    page.type("#question", "what is this", anew=True)
    page.run("window.answered = window.fetch; window.fetch = () => new Promise(() => {})")
    page.run("document.querySelector('input[type=range]').dispatchEvent(new Event('input'))")
    assert page.eventually("document.getElementById('state').textContent === 'Selecting…'")
    page.run("window.fetch = window.answered")
    ask(page)


def test_a_heat_map_shows_while_its_button_is_pointed_at(page):
    page.hover("#question")
    kept = pixels(page, 0)
    page.hover(".panel [data-view='saliency']")
    assert farthest(kept, pixels(page, 0)) > 50
    page.hover("#question")
    assert farthest(kept, pixels(page, 0)) == 0
    page.click(".panel [data-view='saliency']")
    page.hover("#question")
    assert farthest(kept, pixels(page, 0)) > 50
    page.hover(".panel canvas")
    assert re.match(r"token \d+ \(row \d+, column \d+\): (focus|context|dropped), saliency ", page.text(".token"))


TILED = {
    "grid": [1, 12],
    "pieces": [{"grid": [2, 2], "tokens": [0, 1, 2, 3]}, {"grid": [2, 3], "tokens": [4, 5, 6, 8, 9, 10]}],
    "kept": [1, 4, 7, 9, 11],
    "focus": [1, 9],
}

DRAW = """
const [selection, done] = arguments;
import("/playground/overlay.js").then(({ draw, tokenAt, describeToken }) => {
  const [picture, canvas] = [new OffscreenCanvas(60, 30), document.createElement("canvas")];
  picture.getContext("2d").fillRect(0, 0, 60, 30);
  document.body.append(canvas);
  draw(canvas, picture, selection, "kept");
  const pen = canvas.getContext("2d");
  const found = selection.pieces.map(({ grid: [height, width] }, view) =>
    [...Array(height * width).keys()].map((cell) => {
      const x = view * 680 + Math.floor((672 * (cell % width)) / width);
      const y = Math.floor((336 * Math.floor(cell / width)) / height);
      return [...pen.getImageData(x, y, 1, 1).data.slice(0, 3)];
    }),
  );
  const box = canvas.getBoundingClientRect();
  const point = (x, y) => ({ clientX: box.left + x * box.width, clientY: box.top + y * box.height });
  const at = (x, y) => tokenAt(canvas, selection, point(x, y));
  const tokens = [at(0.1, 0.1), at(0.4, 0.9), at(0.55, 0.1), at(0.95, 0.9)];
  canvas.remove();
  done({ size: [canvas.width, canvas.height], found, tokens, said: describeToken(selection, 9) });
}, (problem) => done({ problem: String(problem) }));
"""


def test_a_tiled_picture_is_drawn_once_for_each_of_its_grids(page):
    seen = page.later(DRAW, TILED)
    assert seen["size"] == [2 * 672 + 8, 336]
    dark, orange, blue = [0, 0, 0], list(ORANGE), list(BLUE)
    assert seen["found"] == [[dark, orange, dark, dark], [blue, dark, dark, dark, orange, dark]]
    assert seen["tokens"] == [0, 3, 4, 10]
    assert seen["said"] == "token 9 (view 2, row 1, column 1): focus"


def test_an_error_is_shown_as_the_api_says_it(page, tmp_path):
    file = tmp_path / "broken.png"
    file.write_bytes(b"\x89PNG\r\n\x1a\n nothing")
    page.type("#file", str(file))
    assert page.eventually("!document.getElementById('error').hidden")
    text = page.text("#error")
    assert "invalid_image, param messages[0].content[0].image_url, status 400, request " in text
    page.click("#scene")
    assert page.eventually(f"{DONE} && document.getElementById('error').hidden"), "and goes away"


def test_all_of_it_fits_a_phone(page):
    page.resize(360, 740, phone=True)
    ask(page)
    assert page.run("return document.documentElement.scrollWidth") <= 360
    widths = page.run("return [...document.querySelectorAll('canvas')].map((one) => one.getBoundingClientRect().right)")
    assert max(widths) <= 360


def test_a_keyboard_and_a_screen_reader_find_everything(page):
    page.command("Accessibility.enable")
    nodes = page.command("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "slider", "textbox", "checkbox", "combobox", "tab", "spinbutton", "image", "region", "form"}
    found = [
        (node["role"]["value"], node["name"]["value"])
        for node in nodes
        if not node.get("ignored") and node["role"]["value"] in roles
    ]
    assert {role for role, _ in found} >= roles - {"image"}
    assert [role for role, name in found if not name.strip()] == []
    assert page.run("return document.documentElement.lang") == "en"
    # Enter asks, arrows slide and change tabs.
    page.type("#question", "what is it\ue007", anew=True)
    assert page.eventually("document.querySelectorAll('.asked').length > 0")
    before = float(page.text("#shown-a"))
    page.type("#ratio-a", "\ue014\ue014")
    assert float(page.text("#shown-a")) == pytest.approx(before + 0.002)
    page.type("#tab-curl", "\ue014")
    assert page.run("return document.activeElement.id") == "tab-python"
    assert page.eventually(DONE)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("phone", [False, True])
def test_axe_finds_no_fault(page, scheme, phone):
    page.colours(scheme)
    if phone:
        page.resize(360, 740, phone=True)
    ask(page)
    page.run((node_modules() / "axe-core" / "axe.min.js").read_text())
    found = page.later("const done = arguments[0]; axe.run().then(done, (error) => done(String(error)))")
    page.colours("light")
    assert len(found["passes"]) > 20, found
    assert [
        (fault["id"], fault["impact"], [node["html"] for node in fault["nodes"]]) for fault in found["violations"]
    ] == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_from_its_ground(page, scheme):
    page.colours(scheme)
    names = ("ground", "raised", "text", "quiet", "wrong", "accent", "on-accent", "marked")
    look = "const style = getComputedStyle(document.documentElement);return arguments[0].map("
    values = page.run(f"{look}(name) => style.getPropertyValue('--' + name).trim())", list(names))
    colours = dict(zip(names, values, strict=True))
    pairs = [(text, ground) for text in ("text", "quiet", "wrong") for ground in ("ground", "raised")]
    for text, ground in [*pairs, ("on-accent", "accent"), ("text", "marked")]:
        assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
    page.colours("light")


def contrast(one: str, other: str) -> float:
    """WCAG's."""

    def light(colour: str) -> float:
        levels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        linear = [level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels]
        return sum(share * level for share, level in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("language", ["curl", "python", "javascript"])
def test_the_request_to_copy_is_one_that_is_answered(page, server, tmp_path, language):
    page.type("#question", 'what "costs" $5 `now` \\ it\'s\n', anew=True)
    # Enter asked; what is answered moves the page, and what is to be clicked with it.
    assert page.eventually(f"document.querySelectorAll('.asked').length > 0 && {DONE}"), page.text("#error")
    page.click(f"#tab-{language}")
    assert page.eventually(
        "document.getElementById('code').getAttribute('aria-labelledby') === arguments[0]", f"tab-{language}"
    )
    (tmp_path / "picture.png").write_bytes(png(336, 336, seed=83))
    program = page.text("#code")
    command = {
        "curl": ["bash", "-ec", program],
        "python": [sys.executable, "-c", program],
        "javascript": ["node", "asked.mjs"],
    }[language]
    if language == "javascript":
        (tmp_path / "node_modules").symlink_to(node_modules())
        (tmp_path / "asked.mjs").write_text(program)
    env = {**os.environ, "SPPRUNER_API_KEY": "none"}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=240)
    if language == "curl":
        assert json.loads(done.stdout)["usage"]["prompt_tokens_details"]["visual_tokens"]["retained"] == 32
        sent = json.loads((tmp_path / "request.json").read_text())["messages"][0]["content"]
        assert sent[1]["text"].startswith('what "costs" $5 `now` \\ it\'s')
        picture = base64.b64decode(sent[0]["image_url"]["url"].partition(",")[2])
        assert Image.open(io.BytesIO(picture)).size == (336, 336)
    elif language == "python":
        assert "'retained': 32" in done.stdout
    else:
        assert "retained: 32" in done.stdout


def test_it_links_to_the_operators_grafana(page):
    link = page.run("const a = document.getElementById('grafana'); return [a.getAttribute('href'), a.rel, a.innerText]")
    assert link == ['https://grafana.example/a"b/d/sppruner-visual-tokens', "noopener noreferrer", "Dashboards"]


def test_its_links_are_written_as_html(client):
    answer = client.get("/playground").text
    assert f'href="{escape(GRAFANA)}d/sppruner-visual-tokens"' in answer
    assert "<!--" not in answer


def test_it_is_shipped_with_the_package():
    static = Path(__file__).resolve().parents[2] / "server" / "playground" / "static"
    kinds = {file.suffix for file in static.iterdir()}
    assert kinds == {".html", ".css", ".js"}
