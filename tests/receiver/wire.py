"""An executor that is heard byte for byte, wherever its name leads: nothing of this goes further than loopback."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp.connector
import pytest
from aiohttp.abc import ResolveResult
from aiohttp.resolver import ThreadedResolver
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

ENDLESS_PIECES = 4_096


@dataclass
class Heard:
    """One request as it came over the wire. headers: names in lower case, in order."""

    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    address: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return urlsplit(self.target).query

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, f"{name} stands {len(values)} times"
        return values[0] if values else None


@dataclass
class Wire:
    """Every connection of aiohttp ends here. dns: host → addresses, or a list of them for each look-up in turn."""

    dns: Mapping[str, Sequence[Any]] = field(default_factory=dict)
    address: str = "93.184.216.34"
    answers: list[Mapping[str, Any]] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    connected: list[str] = field(default_factory=list)
    _looked: dict[str, int] = field(default_factory=dict)

    def reset(self, dns: Mapping[str, Sequence[Any]], address: str, *answers: Mapping[str, Any]) -> None:
        self.dns, self.address, self.answers = dns, address, list(answers)
        self.heard, self.asked, self.connected, self._looked = [], [], [], {}

    async def start(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*_certificate(folder))
        self._servers = [
            await asyncio.start_server(self._take, "127.0.0.1", 0),
            await asyncio.start_server(self._take, "127.0.0.1", 0, ssl=context),
        ]
        plain, secure = (server.sockets[0].getsockname()[1] for server in self._servers)
        self._secure = False

        async def resolve(_: Any, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
            self.asked.append(host)
            found = self._found(host)
            if not found:
                raise OSError(None, "Name or service not known")
            kind = {True: socket.AF_INET6, False: socket.AF_INET}
            return [
                ResolveResult(hostname=host, host=each, port=port, family=kind[":" in each], proto=0, flags=0)
                for each in found
            ]

        async def connect(addr_infos: Sequence[Any], **_: Any) -> socket.socket:
            self.connected.append(addr_infos[0][4][0])
            taken = socket.socket()
            taken.setblocking(False)
            await asyncio.get_running_loop().sock_connect(taken, ("127.0.0.1", secure if self._secure else plain))
            return taken

        monkeypatch.setattr(ThreadedResolver, "resolve", resolve)
        monkeypatch.setattr(aiohttp.connector.aiohappyeyeballs, "start_connection", connect)

    def speaks_tls(self, secure: bool) -> None:
        self._secure = secure

    async def close(self) -> None:
        for server in self._servers:
            server.close()
            await server.wait_closed()

    def _found(self, host: str) -> Sequence[str]:
        rows = self.dns.get(host, [self.address])
        if rows and isinstance(rows[0], list):
            number = self._looked.get(host, 0)
            self._looked[host] = number + 1
            rows = rows[min(number, len(rows) - 1)]
        return rows

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            first, *lines = head.rstrip("\r\n").split("\r\n")
            method, target, _ = first.split(" ")
            headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
            length = int(dict(headers).get("content-length", "0"))
            body = await reader.readexactly(length)
            self.heard.append(Heard(method, target, headers, body, self.connected[-1]))
            answer = self.answers[min(len(self.heard), len(self.answers)) - 1]
            await _say(writer, answer)
        writer.close()


async def _say(writer: asyncio.StreamWriter, answer: Mapping[str, Any]) -> None:
    body = answer["body"]
    endless = bool(answer.get("endless"))
    rows = [f"{name}: {value}" for name, value in answer.get("headers", {}).items()]
    rows += ["Connection: close"] if endless else [f"Content-Length: {len(body)}", "Connection: close"]
    writer.write(("\r\n".join([f"HTTP/1.1 {answer['status']} Answer", *rows]) + "\r\n\r\n").encode())
    for _ in range(ENDLESS_PIECES if endless else 1):
        writer.write(body * 64 if endless else body)
        await writer.drain()


@cache
def trusting() -> ssl.SSLContext:
    """A client's context that takes the certificate of any host: which one is called is looked at otherwise."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _certificate(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hooks.example")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    chain, secret = folder / "wire.pem", folder / "wire.key"
    chain.write_bytes(certificate.public_bytes(pem))
    plain = serialization.NoEncryption()
    secret.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return chain, secret
