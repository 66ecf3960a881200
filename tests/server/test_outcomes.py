"""How the end of a request is classified."""

import pytest
from sppruner_server.outcomes import outcome_of, outcome_of_event


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(200, "success"), (400, "client_error"), (404, "client_error"), (500, "server_error"), (503, "server_error")],
)
def test_a_whole_answer_counts_by_its_status(status, outcome):
    assert outcome_of(status, complete=True) == outcome


@pytest.mark.parametrize("status", [0, 200, 500])
def test_an_answer_cut_short_means_that_the_client_left(status):
    assert outcome_of(status, complete=False) == "client_disconnect"


@pytest.mark.parametrize(
    ("event", "outcome"),
    [
        ('data: {"error": {"message": "too long", "code": 400}}\n\n', "client_error"),
        ('data: {"error": {"message": "engine died", "code": 500}}\n\n', "server_error"),
        (b'data: {"error": {"message": "too long", "code": 400}}\n\n', "client_error"),
        ('event: error\ndata: {"type": "error", "error": {"type": "x", "message": "y"}}\n\n', "server_error"),
        ('event: response.failed\ndata: {"type": "response.failed"}\n\n', "server_error"),
        ('data: {"choices": [{"delta": {"content": "error"}}]}\n\n', None),
        ("data: [DONE]\n\n", None),
        (": keep-alive\n\n", None),
    ],
)
def test_an_error_inside_a_stream_counts_although_its_status_was_200(event, outcome):
    assert outcome_of_event(event) == outcome
