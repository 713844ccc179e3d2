"""What a newcomer does with a fresh installation: init, check, serve; then a scrape, a readiness check and a stop.

    first_start.py COUNTERFOIL PROMTOOL

Standard library alone, so that nothing but the wheel's own dependencies is there.
"""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

READY_SECONDS = 30.0


def main(counterfoil: str, promtool: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "installation"
        run(counterfoil, "--version")
        run(counterfoil, "init", str(folder))
        config = folder / "counterfoil.yml"
        private = choose_ports(config)
        run(counterfoil, "--config", str(config), "check")
        with subprocess.Popen([counterfoil, "serve", "--config", str(config)], stdout=subprocess.PIPE) as service:
            try:
                wait_until_it_listens(service)
                metrics = get(f"http://127.0.0.1:{private}/metrics")
                assert get(f"http://127.0.0.1:{private}/-/healthy")
                assert get(f"http://127.0.0.1:{private}/-/ready")
                subprocess.run([promtool, "check", "metrics"], input=metrics, check=True)
                run(counterfoil, "check", "--config", str(config))
            finally:
                service.terminate()
                code = service.wait(timeout=30)
        assert code == 0, f"serve ended with {code} after SIGTERM"
        run(counterfoil, "ledger", "verify", "--config", str(config))


def run(*command: str) -> None:
    print("$", *command, flush=True)
    subprocess.run(command, check=True)


def choose_ports(config: Path) -> int:
    """Write free ports into the configuration; returns the private one."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        private, public = first.getsockname()[1], second.getsockname()[1]
    text = config.read_text(encoding="utf-8")
    text = text.replace(":9877", f":{private}").replace(":9878", f":{public}")
    config.write_text(text, encoding="utf-8")
    return int(private)


def wait_until_it_listens(service: subprocess.Popen[bytes]) -> None:
    """`serve` prints a line with its addresses when it listens."""
    assert service.stdout is not None
    readable, _, _ = select.select([service.stdout], [], [], READY_SECONDS)
    assert readable, f"serve said nothing within {READY_SECONDS:g} s"
    line = service.stdout.readline().decode()
    assert "listens" in line, f"serve ended at its start: {line!r}"
    print(line.strip(), flush=True)


def get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=10) as response:
            body: bytes = response.read()
            return body
    except urllib.error.HTTPError as error:
        raise SystemExit(f"{url}: {error.code} {error.read().decode()}") from None


if __name__ == "__main__":
    main(*sys.argv[1:])
