"""What /metrics of a real server says after a request."""

import json
from contextlib import closing
from http.client import HTTPConnection

import pytest
import vllm
from anthropic_bodies import count_body, messages_body
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from bad_images import blank_png
from serving import chat_body, data_url, eventually, metric, png, responses_body, unread_stream
from sppruner_vllm import __version__
from sppruner_vllm.metrics.families import FAMILIES

TOKENS = "sppruner_visual_tokens_original_total", "sppruner_visual_tokens_retained_total"
LONG = {"max_tokens": 3000, "ignore_eos": True}


@pytest.fixture
def growth(client):
    """How much samples have grown since the test began; name them at the start by calling it once."""
    assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == 0)  # counted behind their last byte
    before: dict[tuple[str, ...], float] = {}

    def of(name: str, **labels: str) -> float:
        key = (name, *sorted(labels.values()))
        now = metric(client, name, **labels)
        return now - before.setdefault(key, now)

    return of


def scraped(client) -> dict[str, list[Sample]]:
    """The samples of each family on /metrics."""
    text = client.get("/metrics").text
    return {family.name: family.samples for family in text_string_to_metric_families(text)}


def test_vllms_families_and_ours_are_there_before_any_request_needs_them(client):
    found = scraped(client)
    assert {"vllm:prompt_tokens", "vllm:time_to_first_token_seconds"} <= found.keys()
    assert {family.name for family in FAMILIES} <= found.keys()


def test_no_series_of_ours_is_of_a_process_or_tells_when_it_was_created(client):
    ours = [sample for name, samples in scraped(client).items() if name.startswith("sppruner_") for sample in samples]
    assert ours
    assert not [sample for sample in ours if "pid" in sample.labels or sample.name.endswith("_created")]


def test_the_build_and_the_operators_limits_are_told(client):
    (build,) = scraped(client)["sppruner_build_info"]
    assert build.value == 1
    assert build.labels["version"] == __version__
    assert build.labels["vllm_version"] == vllm.__version__
    limits = {sample.labels["bound"]: sample.value for sample in scraped(client)["sppruner_keep_ratio_limit"]}
    assert limits == {"min": 0.05, "default": 1.0, "max": 1.0}


def test_what_a_worker_measured_at_its_start_has_come_to_the_api_server(client):
    parts = {sample.labels["part"]: sample.value for sample in scraped(client)["sppruner_part_seconds"]}
    assert parts.keys() == {"prefill", "image", "row", "pair"}
    assert parts["prefill"] > 0
    assert parts["image"] + parts["row"] + parts["pair"] > 0


@pytest.mark.parametrize(
    ("path", "make"),
    [
        ("/v1/chat/completions", chat_body),
        ("/v1/chat/completions", lambda picture, **fields: chat_body(picture, stream=True, **fields)),
        ("/v1/responses", responses_body),
        ("/v1/messages", messages_body),
    ],
    ids=["chat", "chat stream", "response", "message"],
)
def test_token_counters_move_once_by_what_the_request_had_and_kept(client, picture, growth, path, make):
    ratios = "sppruner_retained_ratio_count", "sppruner_requested_ratio_count"
    [growth(name) for name in (*TOKENS, *ratios, "sppruner_requested_ratio_sum", "sppruner_requests_total")]
    client.post(path, json=make(picture, keep_ratio=0.222))
    assert eventually(lambda: growth("sppruner_requests_total") == 1)
    assert [growth(name) for name in TOKENS] == [1296, 288]
    assert [growth(name) for name in ratios] == [1, 1]
    assert growth("sppruner_requested_ratio_sum") == pytest.approx(0.222)


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_latency_and_output_count_in_the_band_of_what_was_kept(client, picture, growth, stream):
    first, output = "sppruner_time_to_first_token_seconds_count", "sppruner_output_tokens_total"
    for band in ("1", "0.1-0.25"):
        [growth(name, ratio_band=band) for name in (first, output)]
    for ratio in (1, 0.222):
        body = chat_body(picture, keep_ratio=ratio, stream=stream, max_tokens=7, ignore_eos=True)
        client.post("/v1/chat/completions", json=body)
    for band in ("1", "0.1-0.25"):
        assert growth(first, ratio_band=band) == 1
        assert growth(output, ratio_band=band) == 7


def test_a_request_without_images_has_no_band(client, growth):
    [growth(name) for name in ("sppruner_time_to_first_token_seconds_count", "sppruner_output_tokens_total")]
    client.post("/v1/chat/completions", json=chat_body())
    assert growth("sppruner_time_to_first_token_seconds_count") == 0
    assert growth("sppruner_output_tokens_total") == 0


def test_the_same_image_again_saves_kv_tokens_again_and_prefill_once(client, growth):
    saved = "sppruner_kv_tokens_saved_total", "sppruner_prefill_tokens_saved_total"
    body = chat_body(data_url(png(1008, 1008, seed=77)), keep_ratio=0.222)
    [growth(name) for name in saved]
    first = client.post("/v1/chat/completions", json=body).json()["usage"]["prompt_tokens_details"]
    kv, prefill = (growth(name) for name in saved)
    assert kv == 1296 - 288
    assert prefill == pytest.approx(kv) if not first["cached_tokens"] else prefill < kv
    again = client.post("/v1/chat/completions", json=body).json()["usage"]["prompt_tokens_details"]
    assert again["cached_tokens"] >= 256
    assert growth(saved[0]) == 2 * kv
    assert growth(saved[1]) - prefill < kv * 32 / 288, "only what is left of the last block was computed"


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", chat_body(*[data_url(png(1008, 1008, seed=8))] * 4)),
        ("/v1/chat/completions", chat_body(data_url(png(112, 112)), stream=True, logit_bias={"99999999": 1})),
        ("/v1/messages/count_tokens", count_body(data_url(png(112, 112)))),
        ("/tokenize", chat_body(data_url(png(112, 112)))),
    ],
    ids=["too long", "refused in its stream", "counted", "tokenized"],
)
def test_an_image_that_the_engine_did_not_get_moves_no_token_counter(client, growth, path, body):
    [growth(name) for name in (*TOKENS, "sppruner_skipped_total", "sppruner_requests_total")]
    client.post(path, json=body)
    client.post("/v1/chat/completions", json=chat_body())  # counted after it, whether it was counted or not
    assert eventually(lambda: growth("sppruner_requests_total") == (1 if path == "/tokenize" else 2))
    assert [growth(name) for name in (*TOKENS, "sppruner_skipped_total")] == [0, 0, 0]


def test_a_request_of_which_nothing_was_reduced_is_counted_with_its_reason(client, picture, growth):
    growth("sppruner_skipped_total", reason="keep_ratio_is_1")
    client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=1))
    assert eventually(lambda: growth("sppruner_skipped_total", reason="keep_ratio_is_1") == 1)


def test_the_selection_is_timed_in_the_worker_process(client, picture, growth):
    growth("sppruner_selection_seconds_count")
    client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=0.111))
    assert eventually(lambda: growth("sppruner_selection_seconds_count") >= 1)


@pytest.mark.parametrize(
    ("path", "body", "outcome"),
    [
        ("/v1/chat/completions", chat_body(), "success"),
        ("/v1/chat/completions", chat_body(stream=True), "success"),
        ("/v1/responses", responses_body(), "success"),
        ("/v1/responses", responses_body(stream=True), "success"),
        ("/v1/chat/completions", chat_body(keep_ratio=7), "client_error"),
        ("/v1/chat/completions", chat_body(model="no-such-model"), "client_error"),
        ("/v1/chat/completions", {"model": "tiny"}, "client_error"),
        ("/v1/responses", responses_body(keep_ratio=7), "client_error"),
    ],
    ids=["chat", "chat stream", "response", "response stream", "field", "model", "schema", "response field"],
)
def test_a_request_is_counted_once_by_its_outcome(client, growth, path, body, outcome):
    growth("sppruner_requests_total")
    growth("sppruner_requests_total", outcome=outcome)
    client.post(path, json=body)
    assert eventually(lambda: growth("sppruner_requests_total", outcome=outcome) == 1)
    assert growth("sppruner_requests_total") == 1


@pytest.mark.parametrize(
    ("path", "body", "reason"),
    [
        ("/v1/chat/completions", chat_body(keep_ratio=7), "invalid_keep_ratio"),
        ("/v1/chat/completions", chat_body(data_url(b"no image")), "invalid_image"),
        ("/v1/chat/completions", chat_body(data_url(blank_png(4000)), keep_ratio=0.5), "too_many_unreduced_tokens"),
        ("/v1/responses", responses_body(keep_tokens=1), "invalid_keep_tokens"),
        ("/v1/messages", messages_body(reduction_method="uniform"), "unsupported_parameter"),
        ("/v1/chat/completions", chat_body(model="no-such-model"), "model_not_found"),
        ("/v1/chat/completions", {"model": "tiny"}, "missing_required_parameter"),
    ],
    ids=["field", "image", "bound", "response", "message", "model", "schema"],
)
def test_a_refusal_is_counted_by_its_code(client, growth, path, body, reason):
    growth("sppruner_rejected_total", reason=reason)
    growth("sppruner_rejected_total")
    assert client.post(path, json=body).status_code in (400, 404)
    assert eventually(lambda: growth("sppruner_rejected_total", reason=reason) == 1)
    assert growth("sppruner_rejected_total") == 1


def test_a_stream_is_in_flight_until_its_client_leaves(server, client):
    assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == 0)
    with unread_stream(server):
        assert metric(client, "sppruner_requests_in_flight") == 1
    assert eventually(lambda: metric(client, "sppruner_requests_in_flight") == 0)


def test_requests_of_every_kind_add_no_series(client, picture):
    def serve_all():
        for ratio in (0.05, 0.2, 0.4, 0.8, 1, 7):
            client.post("/v1/chat/completions", json=chat_body(picture, keep_ratio=ratio))
            client.post("/v1/responses", json=responses_body(picture, keep_ratio=ratio))

    def series():
        return {
            (sample.name, *sample.labels.items())
            for name, samples in scraped(client).items()
            if name.startswith("sppruner_")
            for sample in samples
        }

    before = series()
    serve_all()
    assert series() == before


def test_a_client_that_leaves_a_stream_is_counted_and_frees_the_engine(server, client, growth):
    growth("sppruner_requests_total", outcome="client_disconnect")
    with unread_stream(server):
        pass
    assert eventually(lambda: growth("sppruner_requests_total", outcome="client_disconnect") == 1)
    assert eventually(lambda: metric(client, "vllm:num_requests_running") == 0)


def test_a_client_that_leaves_before_the_answer_is_counted(server, client, growth):
    growth("sppruner_requests_total", outcome="client_disconnect")
    with closing(HTTPConnection(server.url.removeprefix("http://"))) as connection:
        body = json.dumps(chat_body(**LONG))
        connection.request("POST", "/v1/chat/completions", body, {"content-type": "application/json"})
    assert eventually(lambda: growth("sppruner_requests_total", outcome="client_disconnect") == 1)
    assert eventually(lambda: metric(client, "vllm:num_requests_running") == 0)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "TRACE"])
def test_metrics_can_only_be_read(client, method):
    response = client.request(method, "/metrics")
    assert (response.status_code, response.headers["allow"]) == (405, "GET, HEAD")
    assert response.json()["error"]["code"] == "method_not_allowed"
