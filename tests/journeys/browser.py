"""A headless Chromium, driven over its DevTools protocol: go, ask, click, type, look."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from pathlib import Path
from typing import Any, Self

import aiohttp

START_SECONDS = 60.0
WAIT_SECONDS = 60.0
TEXT = "(document.body?.innerText ?? '')"  # what can be read; between two documents there is no body
_LOOK_SECONDS = 0.05  # between two looks at a page, which tells nobody when it changes
_GONE = (  # what Chromium answers where the document that was asked gives way to the next one
    "Inspected target navigated or closed",
    "Execution context was destroyed",
    "Cannot find default execution context",
    "Cannot find context with specified id",
)


class Gone(AssertionError):
    """The document that was asked is gone, and the next one is not there yet."""


class Browser:
    """One browser with one tab. `complaints` holds every error of the console and every request that failed."""

    def __init__(self, program: Path, folder: Path) -> None:
        self._program = program
        self._folder = folder
        self._number = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._process: asyncio.subprocess.Process
        self._session: aiohttp.ClientSession
        self._socket: aiohttp.ClientWebSocketResponse
        self._reading: asyncio.Task[None]
        self.complaints: list[str] = []
        self.requested: list[str] = []

    async def __aenter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        words = ["--headless=new", "--remote-debugging-port=0", "--no-first-run", "--disable-gpu", "--hide-scrollbars"]
        words += ["--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage"]
        words += ["--no-sandbox"] if os.geteuid() == 0 else []
        log = (self._folder / "chromium.log").open("wb")
        with log:
            self._process = await asyncio.create_subprocess_exec(
                *(str(self._program), *words, f"--user-data-dir={self._folder / 'profile'}", "about:blank"),
                stdout=log,
                stderr=log,
            )
        self._session = aiohttp.ClientSession()
        port = await self._port()
        async with self._session.get(f"http://127.0.0.1:{port}/json/list") as answer:
            tabs = [tab for tab in await answer.json(content_type=None) if tab["type"] == "page"]
        self._socket = await self._session.ws_connect(tabs[0]["webSocketDebuggerUrl"], max_msg_size=0)
        self._reading = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.call(f"{domain}.enable")
        return self

    async def __aexit__(self, *_: object) -> None:
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)
        await self._socket.close()
        await self._session.close()
        self._process.terminate()
        await self._process.wait()

    async def _port(self) -> int:
        """The port that Chromium chose, which it writes into its profile."""
        path = self._folder / "profile" / "DevToolsActivePort"
        async with asyncio.timeout(START_SECONDS):
            while True:
                assert self._process.returncode is None, (self._folder / "chromium.log").read_text()[-2000:]
                with contextlib.suppress(FileNotFoundError):
                    lines = path.read_text().splitlines()
                    if len(lines) == 2:
                        return int(lines[0])
                await asyncio.sleep(_LOOK_SECONDS)

    async def _read(self) -> None:
        async for message in self._socket:
            data = json.loads(message.data)
            if "id" in data:
                self._answers.pop(data["id"]).set_result(data)
            else:
                self._note(data["method"], data["params"])

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"].get("text")))
        elif method == "Network.requestWillBeSent":
            self.requested.append(params["request"]["url"])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        """One command of the protocol. Raises AssertionError with its error, Gone where a document gave no answer."""
        self._number += 1
        answer = asyncio.get_running_loop().create_future()
        self._answers[self._number] = answer
        await self._socket.send_json({"id": self._number, "method": method, "params": params})
        data = await asyncio.wait_for(answer, WAIT_SECONDS)
        if "error" in data:
            gone = data["error"]["message"].startswith(_GONE)
            raise (Gone if gone else AssertionError)(f"{method}: {data['error']}")
        result: dict[str, Any] = data["result"]
        return result

    # --- what a person does -----------------------------------------------------------------------------------------

    async def size(self, width: int, height: int) -> None:
        mobile = width < 600
        await self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )

    async def go(self, url: str) -> None:
        """Open `url` and wait until its document is read."""
        await self.call("Page.navigate", url=url)
        await self.until(f"document.readyState === 'complete' && location.href.startsWith({json.dumps(url)})")

    async def ask(self, script: str) -> Any:
        """The value of a script in the page."""
        # The page's own policy forbids eval; the debugger is not the page.
        result = await self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    async def until(self, script: str) -> None:
        """Wait until a script in the page is true, in this document or in one that follows it."""
        try:
            async with asyncio.timeout(WAIT_SECONDS):
                while True:
                    with contextlib.suppress(Gone):
                        if await self.ask(script):
                            return
                    await asyncio.sleep(_LOOK_SECONDS)
        except TimeoutError:
            text = await self.ask(TEXT)
            raise AssertionError(f"never true: {script}\n{text}") from None

    async def until_it_says(self, text: str) -> None:
        await self.until(f"{TEXT}.includes({json.dumps(text)})")

    async def click(self, selector: str, text: str = "") -> None:
        """Click the last element of `selector` that holds `text`, where it is, with the mouse."""
        found = (
            f"[...document.querySelectorAll({json.dumps(selector)})]"
            f".filter(e => e.innerText.includes({json.dumps(text)}) && !e.disabled).at(-1)"
        )
        await self.until(f"!!{found}")
        place = await self.ask(
            f"(() => {{ const e = {found}; e.scrollIntoView({{block: 'center'}}); const b = e.getBoundingClientRect();"
            " return [b.x + b.width / 2, b.y + b.height / 2] })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            await self._press("Mouse", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    async def type(self, selector: str, text: str, *, enter: bool = True) -> None:
        """Type into a field, with the keyboard."""
        await self.until(f"!!document.querySelector({json.dumps(selector)})")
        await self.ask(f"document.querySelector({json.dumps(selector)}).focus()")
        await self.call("Input.insertText", text=text)
        if enter:
            await self.key("Enter", "\r")

    async def key(self, key: str, text: str = "") -> None:
        code = {"Enter": 13, "Tab": 9}[key]
        common = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        await self._press("Key", type="keyDown", text=text, **common)
        await self._press("Key", type="keyUp", **common)

    async def _press(self, device: str, **event: Any) -> None:
        """One event of the mouse or the keyboard. One that leads to another document may go unanswered by the first."""
        with contextlib.suppress(Gone):
            await self.call(f"Input.dispatch{device}Event", **event)

    async def picture(self, path: Path) -> None:
        data = await self.call("Page.captureScreenshot", format="png")
        await asyncio.to_thread(path.write_bytes, base64.b64decode(data["data"]))

    async def overflow(self) -> int:
        """How many pixels of the page stand beyond its width."""
        found: int = await self.ask("document.scrollingElement.scrollWidth - document.documentElement.clientWidth")
        return found
