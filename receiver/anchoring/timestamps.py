"""RFC 3161 time-stamps over checkpoints: an authority says that the log stood so far at that time.

They stand beside the ledger, in `LEDGER.timestamps/TENANT/`: SIZE.checkpoint, the note, and SIZE.tsr, the authority's
answer, which `openssl ts -verify -data SIZE.checkpoint -in SIZE.tsr -CAfile CA` checks.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import aiohttp
from cryptography import x509
from rfc3161_client import (
    HashAlgorithm,
    TimeStampRequest,
    TimestampRequestBuilder,
    VerificationError,
    VerifierBuilder,
    decode_timestamp_response,
)

from receiver.anchoring.outside import NotPlaced

ANSWER_BYTES_MAX = 65_536
ANSWER_SECONDS = 30.0
QUERY, REPLY = "application/timestamp-query", "application/timestamp-reply"


class TimeStamps:
    """An outside place: the answers of a time-stamping authority, none of which is kept unless it verifies.

    certificates: the roots that are trusted, and what may stand between them and the authority's own.
    """

    kind = "timestamp"
    last_words = False

    def __init__(
        self,
        url: str,
        every_seconds: float,
        certificates: Sequence[x509.Certificate],
        folder: Path,
        session: Callable[[], aiohttp.ClientSession],
    ) -> None:
        self.every_seconds = every_seconds
        self._url = url
        self._certificates = certificates
        self._folder = folder
        self._session = session

    async def place(self, tenant: str, note: str) -> None:
        folder, size = self._folder / tenant, note.split("\n")[1]
        answer_file = folder / f"{size}.tsr"
        if answer_file.exists():  # of the service before this one
            return
        data = note.encode()
        request = TimestampRequestBuilder().data(data).hash_algorithm(HashAlgorithm.SHA256).build()
        answer = await self._ask(request)
        self._check(request, answer, data)
        try:
            await asyncio.to_thread(_keep, folder, f"{size}.checkpoint", data)
            # Crash here: a note without its time-stamp, which the next start asks for again.
            await asyncio.to_thread(_keep, folder, answer_file.name, answer)
        except OSError as error:
            raise NotPlaced(f"{folder}: {error.strerror or error}") from error

    async def _ask(self, request: TimeStampRequest) -> bytes:
        try:
            async with (
                asyncio.timeout(ANSWER_SECONDS),
                self._session().post(
                    self._url, data=request.as_bytes(), headers={"Content-Type": QUERY, "Accept": REPLY}
                ) as answer,
            ):
                if answer.status != 200:
                    raise NotPlaced(f"{self._url} answers {answer.status}")
                body = bytearray()
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > ANSWER_BYTES_MAX:
                        raise NotPlaced(f"{self._url} answers more than {ANSWER_BYTES_MAX} bytes")
                return bytes(body)
        except TimeoutError:
            raise NotPlaced(f"{self._url} does not answer within {ANSWER_SECONDS:g} s") from None
        except aiohttp.ClientError as error:
            raise NotPlaced(f"{self._url}: {type(error).__name__}: {error}") from error

    def _check(self, request: TimeStampRequest, answer: bytes, data: bytes) -> None:
        """Law of this place: what does not verify is not kept."""
        try:
            response = decode_timestamp_response(answer)
            builder = VerifierBuilder.from_request(request)
            for certificate in self._certificates:
                if certificate.subject == certificate.issuer:
                    builder = builder.add_root_certificate(certificate)
                else:
                    builder = builder.add_intermediate_certificate(certificate)
            builder.build().verify_message(response, data)
        except (ValueError, VerificationError) as error:
            raise NotPlaced(f"{self._url}: its time-stamp does not verify: {error}") from error


def _keep(folder: Path, name: str, data: bytes) -> None:
    """Write a file whole or not at all. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    new = folder / f"{name}.new"
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(folder / name)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
