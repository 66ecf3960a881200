"""Locust's way in: `locust -f loadtest/locustfile.py --headless --host URL --users 8 --run-time 60s`.

Users play sessions (workload.py) one after another; the open loop is one user that starts sessions on time and waits
for none. Locust's own table has one row per scenario and keep ratio, timed to the end of the answer; the reports have
the rest.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from itertools import count
from pathlib import Path
from typing import Any, Final

import gevent
import httpx
from gevent.pool import Group
from locust import LoadTestShape, User, events, task
from locust.env import Environment
from locust.exception import StopUser
from locust.runners import STATE_CLEANUP, STATE_STOPPED, STATE_STOPPING, LocalRunner

sys.path.insert(0, str(Path(__file__).parents[1]))  # Locust loads this file by its path, outside its package

from loadtest.arrivals import poisson_times, run_open_loop
from loadtest.client import ChatClient, authorization
from loadtest.mix import show_ratio
from loadtest.options import BadOption, Job, add_arguments, make_job
from loadtest.recorder import Recorder
from loadtest.sample import Sample
from loadtest.server_metrics import read_gauges
from loadtest.shapes import SHAPES, users_at
from loadtest.stream import StreamedAnswer, failed
from loadtest.workload import Session

STOP_TIMEOUT: Final = 120
"""Seconds that answers under way at the end may still take, unless --stop-timeout says otherwise."""

FOREVER: Final = 365 * 86400.0
FASTEST_SPAWN: Final = 100
UNFINISHED: Final = "unfinished when the run ended"
WARMUP_NUMBER: Final = 1_000_000_000
_ENDING: Final = frozenset({STATE_STOPPING, STATE_STOPPED, STATE_CLEANUP})

_log = logging.getLogger(__name__)
_run: Run


class Run:
    """The state that users, shape and events of one Locust process share."""

    def __init__(self, job: Job, environment: Environment) -> None:
        self.job = job
        self.environment = environment
        self.recorder = Recorder(job)
        self.numbers = count()
        self.ready = False
        self.over = False
        self._poller: gevent.Greenlet | None = None

    def begin(self) -> None:
        """Find the model, warm up and start to read the server's gauges.

        Raises:
            httpx.HTTPError: the server does not say which model it has.
        """
        host = self.environment.host or ""
        self.numbers, self.ready, self.over = count(), False, False
        self.recorder.begin(self.job.model or _first_model(host))
        client = ChatClient(host)
        for number in range(WARMUP_NUMBER, WARMUP_NUMBER + self.job.warmup):
            self.play(client, self._session(number), keep=False)
        client.close()
        if self.job.poll_s:
            self._poller = gevent.spawn(self._poll, f"{host.rstrip('/')}/metrics")
        self.ready = True

    def end(self) -> None:
        """Stop reading and write the reports."""
        if self._poller is not None:
            self._poller.kill()
        result = self.recorder.finish()
        _log.info("Reports of %d requests are in %s", result["num_prompts"], self.job.out)

    def next_session(self) -> Session | None:
        """The next one in order, or None when the run has had all of them."""
        if self.over:
            return None
        number = next(self.numbers)
        if self.job.sessions is not None and number >= self.job.sessions:
            self.over = True
            return None
        return self._session(number)

    def play(self, client: ChatClient, session: Session, late_s: float = 0.0, keep: bool = True) -> None:
        """Send the requests of a session, each after the answer to the one before; a failed one ends it."""
        messages = next(session.conversation)
        for turn in count():
            body = session.body(self.recorder.model, messages)
            began = time.perf_counter()
            try:
                sent_at, answer = client.ask(body)
            except gevent.GreenletExit:
                self._keep(session, turn, began, late_s, failed(UNFINISHED, time.perf_counter() - began))
                raise
            if keep:
                self._keep(session, turn, sent_at, late_s if turn == 0 else 0.0, answer)
            if answer.error is not None:
                return
            try:
                messages = session.conversation.send(answer.text)
            except StopIteration:
                return

    def ending(self) -> bool:
        """Whether no further session should begin."""
        runner = self.environment.runner
        return runner is None or runner.state in _ENDING

    def _session(self, number: int) -> Session:
        size = self.job.workload.size
        return self.job.workload.session(number if size is None else number % WARMUP_NUMBER % size)

    def _keep(self, session: Session, turn: int, sent_at: float, late_s: float, answer: StreamedAnswer) -> None:
        sample = Sample(session.number, turn, session.scenario, session.keep_ratio, sent_at, late_s, answer)
        self.recorder.samples.append(sample)
        self.environment.events.request.fire(
            request_type=session.scenario,
            name=f"keep_ratio {show_ratio(session.keep_ratio)}",
            response_time=answer.end_s * 1000,
            response_length=answer.usage.output_tokens,
            exception=None if answer.error is None else RuntimeError(answer.error),
            context={},
        )

    def _poll(self, url: str) -> None:
        with httpx.Client(timeout=10, headers=authorization()) as http:
            while True:
                try:
                    page = http.get(url)
                except httpx.HTTPError as problem:
                    _log.warning("no reading of %s: %s", url, problem)
                else:
                    if page.is_success:
                        self.recorder.readings.append(read_gauges(page.text, time.perf_counter()))
                gevent.sleep(self.job.poll_s)


class ClosedLoop(User):
    """Plays sessions one after another, as a person would: the next begins when the last is answered."""

    def on_start(self) -> None:
        self.client = ChatClient(self.host or "")

    def wait_time(self) -> float:
        """Seconds between sessions."""
        return _run.job.think_s

    @task
    def play(self) -> None:
        session = _run.next_session()
        if session is None:
            raise StopUser
        _run.play(self.client, session)

    def on_stop(self) -> None:
        self.client.close()


class OpenLoop(User):
    """Starts sessions at the times of a Poisson process and waits for none; ends when all are answered."""

    fixed_count = 1

    @task
    def start_all(self) -> None:
        job, client, sessions = _run.job, ChatClient(self.host or ""), Group()

        def start(late_s: float) -> None:
            session = _run.next_session()
            if session is not None:
                sessions.spawn(_run.play, client, session, late_s)

        times = poisson_times(job.rate or 1.0, job.arrival_seed, job.seconds, job.sessions)
        try:
            _run.recorder.pace = run_open_loop(times, start, time.perf_counter, gevent.sleep, lambda: not _run.ending())
            sessions.join()
        finally:
            sessions.kill()
            _run.over = True
            client.close()
        raise StopUser


class Shape(LoadTestShape):
    """The shape that --load-shape names; ends the run early when all sessions were played."""

    use_common_options = True

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        job = _run.job
        if _run.over and self.runner is not None and self.runner.user_count == 0:
            return None
        if job.users is None:
            return 1, 1, [OpenLoop]
        elapsed = time.perf_counter() - self.start_time if _run.ready else 0.0
        users = users_at(SHAPES[job.shape](job.users, job.seconds or FOREVER), elapsed)
        return None if users is None else (users, min(users, FASTEST_SPAWN), [ClosedLoop])


@events.init_command_line_parser.add_listener
def _options(parser: argparse.ArgumentParser) -> None:
    add_arguments(parser)


@events.init.add_listener
def _init(environment: Environment, **_: Any) -> None:
    global _run
    if not isinstance(environment.runner, LocalRunner):
        sys.exit("loadtest keeps every sample in one process: run several of it beside each other instead of workers")
    options = environment.parsed_options
    if options is None or not environment.host:
        sys.exit("loadtest needs --host, the server's URL")
    try:
        _run = Run(make_job(options), environment)
    except BadOption as problem:
        sys.exit(f"loadtest: {problem}")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # a line per reading of /metrics
    options.run_time = None  # the shape ends the run; Locust's own timer would cut the open loop's last answers
    environment.stop_timeout = environment.stop_timeout or STOP_TIMEOUT


@events.test_start.add_listener
def _start(environment: Environment, **_: Any) -> None:
    try:
        _run.begin()
    except httpx.HTTPError as problem:
        _log.error("no server to load at %s: %s", environment.host, problem)
        _run.over = True
    if environment.shape_class is not None:
        environment.shape_class.reset_time()  # the warm-up is no part of the run


@events.test_stop.add_listener
def _stop(environment: Environment, **_: Any) -> None:
    _run.end()


@events.quitting.add_listener
def _quit(environment: Environment, **_: Any) -> None:
    environment.process_exit_code = _run.recorder.status


def _first_model(host: str) -> str:
    answer = httpx.get(f"{host.rstrip('/')}/v1/models", headers=authorization(), timeout=30)
    answer.raise_for_status()
    return str(answer.json()["data"][0]["id"])
