"""What tests of every height share."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

from tests.tools import find_tool

# Hypothesis would fail an example of more than 200 ms: on a machine that is shared, how long it takes says nothing.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")


@pytest.fixture(autouse=True)
def no_configuration() -> Iterator[None]:
    """The command line leaves the name of its configuration in its environment, which here is every test's."""
    os.environ.pop("COUNTERFOIL_CONFIG", None)
    yield
    os.environ.pop("COUNTERFOIL_CONFIG", None)


@pytest.fixture(scope="session")
def tool() -> Callable[[str], Path]:
    """tool("prometheus") is the path of a program of others; the test is skipped where the machine has none."""

    def find(name: str) -> Path:
        path = find_tool(name)
        if path is None:
            pytest.skip(f"{name} is not on this machine: contrib/fetch-tools gets Prometheus and Alertmanager")
        return path

    return find


@pytest.fixture(scope="session")
def free_port() -> Callable[[], int]:
    """free_port() is a loopback port that nothing listened on, for a program that cannot take port 0."""

    def find() -> int:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            port: int = listener.getsockname()[1]
            return port

    return find


LEFT = pytest.StashKey[list[str]]()


def _threads_left_behind() -> list[str]:
    threads = threading.enumerate()
    return [thread.name for thread in threads if not thread.daemon and thread is not threading.main_thread()]


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any, error: object) -> None:
    """What a process beside this one (`pytest -n`) said when it ended."""
    node.config.stash.setdefault(LEFT, []).extend(getattr(node, "workeroutput", {}).get("left", []))


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """A thread that a test left behind, of a database that was not closed, would hold the run for ever."""
    left = [*config.stash.get(LEFT, []), *_threads_left_behind()]
    if left:
        print(f"\nthreads were left behind: {', '.join(left)}", flush=True)
        os._exit(pytest.ExitCode.TESTS_FAILED)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """CI sets COUNTERFOIL_NOTHING_SKIPPED: there everything is at hand, and a test that was skipped is a failure."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left"] = _threads_left_behind()
        return
    if not os.environ.get("COUNTERFOIL_NOTHING_SKIPPED"):
        return
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    skipped = reporter.stats.get("skipped", []) if reporter is not None else []
    if skipped:
        reporter.write_line(f"COUNTERFOIL_NOTHING_SKIPPED is set, and {len(skipped)} were skipped (see them with -rs)")
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
