"""How the evaluation asks over HTTP, against a made-up server: what goes out, what is measured, what a refusal says."""

from __future__ import annotations

import io
import json
import threading
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from PIL import Image

from sppruner_vllm.evaluation.asking import AskingFailed, Manner
from sppruner_vllm.evaluation.conditions import FULL, Condition, conditions
from sppruner_vllm.evaluation.over_http import HttpAsker
from sppruner_vllm.evaluation.questions import Picture, Question
from sppruner_vllm.evaluation.turns import Turn


def png():
    buffer = io.BytesIO()
    Image.new("RGB", (8, 8)).save(buffer, "PNG")
    return buffer.getvalue()


QUESTION = Question("q", (Picture("p", png), Picture("p", png)), "what is this", ("a cat",))
MANNER = Manner()
DPP, OURS = Condition("dpp", 0.5), Condition("focus_context", 0.5)
WANTED = conditions(["focus_context", "dpp"], [0.5])


def refusal(param, code, message="refused"):
    return 400, {"error": {"message": message, "type": "invalid_request_error", "param": param, "code": code}}


def reducing(body):
    """Answers as a server with the plugin does."""
    method = body.get("reduction_method", "focus_context")
    return 200, {"original": 100, "retained": round(100 * body["keep_ratio"]), "method": method}


def stock(body):
    return 200, None


def strict(body):
    """As OpenAI's own API: no field that it does not know."""
    return refusal("keep_ratio", None, "Unrecognized request argument") if "keep_ratio" in body else stock(body)


def closed(body):
    return refusal("reduction_method", "unsupported_parameter") if "reduction_method" in body else reducing(body)


def bounded(body):
    return (
        refusal("keep_ratio", "invalid_keep_ratio", "too large")
        if body.get("keep_ratio") == 1
        else reducing({"keep_ratio": 0.5} | body)
    )


def unknown(body):
    if body.get("reduction_method") == "dpp":
        return refusal("reduction_method", "invalid_reduction_method", "one of a, b")
    return reducing(body)


@contextmanager
def asker(rule, manner=MANNER, owner="vllm", **options):
    """An HttpAsker of a server that follows the rule; the bodies it was sent are in `bodies`."""
    bodies = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.answer(
                200, json.dumps({"object": "list", "data": [{"id": "m", "object": "model", "owned_by": owner}]})
            )

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            status, said = rule(body)
            self.answer(status, json.dumps(said) if status != 200 else stream(said))

        def answer(self, status, text):
            self.send_response(status)
            self.send_header("Content-Type", "text/event-stream" if text.startswith("data:") else "application/json")
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        with HttpAsker(f"http://127.0.0.1:{server.server_port}/v1/", None, manner, 2, **options) as found:
            found.bodies = bodies
            yield found
    finally:
        server.shutdown()
        server.server_close()


def stream(counts):
    """A streamed answer "a cat" with its usage."""
    parts = [[delta(""), None], [delta("a "), None], [delta("cat"), "stop"]]
    chunks = [{"choices": [{"index": 0, "delta": part, "finish_reason": end}]} for part, end in parts]
    details = {"cached_tokens": 0} | ({"visual_tokens": counts} if counts else {})
    usage = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11, "prompt_tokens_details": details}
    head = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "m"}
    events = [json.dumps(head | chunk) for chunk in [*chunks, {"choices": [], "usage": usage}]]
    return "".join(f"data: {event}\n\n" for event in [*events, "[DONE]"])


def delta(text):
    return {"role": "assistant", "content": text}


def test_an_answer_has_its_text_counts_and_times():
    with asker(reducing) as ask:
        (answer,) = ask.ask([QUESTION], DPP)
    assert (answer.text, answer.original, answer.retained, answer.prompt_tokens) == ("a cat", 100, 50, 9)
    assert 0 < answer.ttft <= answer.seconds


def test_answers_come_in_the_order_of_the_questions():
    with asker(reducing) as ask:
        assert len(ask.ask([QUESTION] * 7, FULL)) == 7


def test_a_chat_goes_out_turn_by_turn_and_a_question_may_bring_what_its_picture_is_chosen_for():
    later = replace(QUESTION, before=(Turn("where is it", "top left"),))
    with asker(reducing) as ask:
        ask.ask([later], DPP)
        ask.ask([replace(QUESTION, focus="the sign")], DPP)
        chat, steered = ask.bodies
    assert [message["role"] for message in chat["messages"]] == ["user", "assistant", "user"]
    assert chat["messages"][0]["content"][-1] == {"type": "text", "text": "where is it"}
    assert [message["content"] for message in chat["messages"][1:]] == ["top left", "what is this"]
    assert "focus_query" not in chat
    assert steered["focus_query"] == "the sign"


def test_the_request_is_greedy_and_says_what_is_asked():
    manner = Manner(max_tokens=5, instruction="Briefly.", focus_query="cat", seed=3)
    with asker(reducing, manner) as ask:
        ask.ask([QUESTION], DPP)
        (body,) = ask.bodies
    assert (body["temperature"], body["max_tokens"], body["seed"], body["model"]) == (0, 5, 3, "m")
    assert (body["keep_ratio"], body["reduction_method"], body["focus_query"]) == (0.5, "dpp", "cat")
    first, second, text = body["messages"][0]["content"]
    assert text == {"type": "text", "text": "what is this\nBriefly."}
    assert first["image_url"]["url"].startswith("data:image/png;base64,")
    assert first["uuid"] != second["uuid"]


def test_only_vllm_is_sent_what_only_vllm_knows():
    with asker(reducing, owner="somebody") as ask:
        ask.ask([QUESTION], FULL)
        assert "uuid" not in ask.bodies[0]["messages"][0]["content"][0]


def test_every_condition_is_tried_before_a_long_run():
    with asker(reducing) as ask:
        assert ask.usable(QUESTION, WANTED).conditions == WANTED


@pytest.mark.parametrize("rule", [stock, strict])
def test_a_server_that_reduces_nothing_is_asked_for_the_reference_alone(rule):
    with asker(rule) as ask:
        usable = ask.usable(QUESTION, WANTED)
        assert usable.conditions == [FULL]
        assert "reduces none" in usable.note
        assert ask.ask([QUESTION], FULL)[0].retained is None


def test_where_the_method_is_closed_the_servers_own_is_measured():
    with asker(closed) as ask:
        usable = ask.usable(QUESTION, WANTED)
        assert usable.conditions == [FULL, OURS]
        assert "--allow-reduction-method" in usable.note
        with pytest.raises(AskingFailed, match="--allow-reduction-method"):
            ask.usable(QUESTION, [FULL, DPP])


def test_an_unknown_method_is_named():
    with asker(unknown) as ask, pytest.raises(AskingFailed, match="does not know dpp: one of a, b"):
        ask.usable(QUESTION, WANTED)


def test_a_server_that_refuses_ratio_1_is_not_taken_for_a_stock_one():
    with asker(bounded) as ask, pytest.raises(AskingFailed, match="too large"):
        ask.usable(QUESTION, WANTED)


def test_a_missing_server_and_a_missing_model_are_told_in_one_line():
    with pytest.raises(AskingFailed, match="no OpenAI-compatible server"):
        HttpAsker("http://127.0.0.1:9", None, MANNER, 1)
    with asker(stock) as ask, pytest.raises(AskingFailed, match="does not serve gpt; it serves m"):
        HttpAsker(ask.facts["url"], "gpt", MANNER, 1)
