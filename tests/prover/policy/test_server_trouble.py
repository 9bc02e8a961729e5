"""A server that is busy, dies, comes back or hangs; and Ctrl-C in the middle of it."""

import socket
import threading
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import Any

import pytest
from stand_in_server import StandIn, answer

from prover.policy import PolicyInterrupted
from prover.policy.server import ServerConfig, ServerPolicy, ServerUnavailableError

STATES = [f"h : p{i}\n⊢ p{i}" for i in range(12)]
GOOD = answer(("  exact h", -1.0))


@pytest.fixture
def server() -> Iterator[StandIn]:
    with StandIn() as stand_in:
        yield stand_in.start()
        stand_in.shutdown()


@pytest.fixture
def silent() -> Iterator[str]:
    """The address of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"


def test_retry_after_for_all_requests_at_once_is_waited_for(server: StandIn) -> None:
    seen: set[str] = set()

    def reply(body: dict[str, Any]) -> tuple[Any, ...]:
        first = body["prompt"] not in seen
        seen.add(body["prompt"])
        return (429, {"error": "slow down"}, {"Retry-After": "3"}) if first else (200, GOOD)

    server.reply = reply
    pauses: list[float] = []
    policy = ServerPolicy(ServerConfig(model="m", url=server.url, oversampling=1), sleep=pauses.append)
    assert all(len(found) == 1 for found in policy.generate(STATES, 1))
    assert pauses == [3.0] * len(STATES)


def test_retry_after_may_be_a_date(server: StandIn) -> None:
    dates = {"Retry-After": formatdate(time.time() + 30, usegmt=True)}
    server.reply = lambda body: (429, b"", dates) if len(server.bodies) == 1 else (200, GOOD)
    pauses: list[float] = []
    ServerPolicy(ServerConfig(model="m", url=server.url), sleep=pauses.append).generate(STATES[:1], 1)
    assert 20 <= pauses[0] <= 31


def test_a_server_that_always_asks_to_wait_is_given_up(server: StandIn) -> None:
    server.reply = lambda body: (429, {"error": "quota"}, {"Retry-After": "40"})
    pauses: list[float] = []
    policy = ServerPolicy(ServerConfig(model="m", url=server.url, wait_s=100), sleep=pauses.append)
    with pytest.raises(ServerUnavailableError, match="quota"):
        policy.generate(STATES[:1], 1)
    assert pauses == [40.0, 40.0]


def test_a_server_that_dies_and_comes_back_is_waited_for(caplog: pytest.LogCaptureFixture) -> None:
    first = StandIn()
    port = first.server_address[1]
    policy = ServerPolicy(ServerConfig(model="m", url=first.url, backoff_s=0.05, wait_s=60))
    first.start()
    assert len(policy.generate(STATES[:2], 1)[0]) == 1
    first.stop()
    second: list[StandIn] = []
    back = threading.Timer(0.5, lambda: second.append(StandIn(port).start()))
    back.start()
    try:
        assert all(len(found) == 1 for found in policy.generate(STATES, 1))
    finally:
        back.join()
        second[0].stop()
    assert "waits for it, 1:00 more at most" in caplog.text
    assert "The server is back" in caplog.text


def test_without_waiting_a_dead_server_ends_the_search_at_once() -> None:
    policy = ServerPolicy(ServerConfig(model="m", url="http://127.0.0.1:9/v1", wait_s=0))
    with pytest.raises(ServerUnavailableError, match="Check that the server runs"):
        policy.generate(STATES[:1], 1)


@pytest.mark.long
def test_a_server_that_hangs_is_given_up_after_its_timeout(silent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("prover.policy.server.connection._PING_TIMEOUT_S", 0.2)
    policy = ServerPolicy(ServerConfig(model="m", url=silent, timeout_s=0.3), sleep=lambda seconds: None)
    with pytest.raises(ServerUnavailableError, match="hangs"):
        policy.generate(STATES[:2], 1)
    assert ServerConfig(model="m").timeout_s == 60


def test_a_slow_request_to_a_live_server_is_tried_twice(server: StandIn) -> None:
    server.pages["/v1/models"] = (200, {"data": []})
    release = threading.Event()

    def reply(body: dict[str, Any]) -> tuple[Any, ...]:
        release.wait(10)
        return 200, GOOD

    server.reply = reply
    policy = ServerPolicy(ServerConfig(model="m", url=server.url, timeout_s=0.3), sleep=lambda seconds: None)
    try:
        with pytest.raises(ServerUnavailableError, match=r"2 times, though the server is alive"):
            policy.generate(STATES[:1], 1)
    finally:
        release.set()


@pytest.mark.parametrize("trouble", ["hung", "dead", "busy"])
def test_a_stop_ends_the_work_whatever_is_in_flight(server: StandIn, silent: str, trouble: str) -> None:
    server.reply = lambda body: (429, b"", {"Retry-After": "300"})
    url = {"hung": silent, "dead": "http://127.0.0.1:9/v1", "busy": server.url}[trouble]
    policy = ServerPolicy(ServerConfig(model="m", url=url))
    asked = threading.Event()
    threading.Timer(0.3, asked.set).start()
    policy.stop_when(asked.is_set)
    with pytest.raises(PolicyInterrupted):
        policy.generate(STATES, 1)
