"""A real Prometheus that knows exactly the samples of a text."""

from __future__ import annotations

import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

READY_SECONDS = 30.0
LOOK_SECONDS = 0.02


@contextmanager
def filled_prometheus(
    tool: Callable[[str], Path], folder: Path, free_port: Callable[[], int], samples: str
) -> Iterator[str]:
    """Its address. samples: OpenMetrics with times, `# EOF` at the end; folder: an empty one."""
    program, promtool = tool("prometheus"), tool("promtool")
    (folder / "samples").write_text(samples, encoding="utf-8")
    (folder / "prometheus.yml").write_text("", encoding="utf-8")
    fill = [promtool, "tsdb", "create-blocks-from", "openmetrics", folder / "samples", folder / "data"]
    subprocess.run(fill, check=True, capture_output=True)
    port = free_port()
    serve = [
        str(program),
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",  # else blocks of long ago are deleted
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with subprocess.Popen(serve, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            _wait(f"http://127.0.0.1:{port}", process)
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + READY_SECONDS
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/-/ready", timeout=1):
                return
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            time.sleep(LOOK_SECONDS)
    raise AssertionError(f"prometheus is not ready at {url}")
