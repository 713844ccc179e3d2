"""A time-stamping authority (RFC 3161) of OpenSSL's, behind a handler: what it signs is not our word for it."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path

from aiohttp import web

CONFIGURATION = """
[req]
distinguished_name = name
prompt = no
[name]
[root]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
subjectKeyIdentifier = hash
[stamps]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[tsa]
default_tsa = here
[here]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
certs = {folder}/tsa.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.3.6.1.4.1.99999.1
digests = sha256, sha512
accuracy = secs:1
ess_cert_id_alg = sha256
"""


class Authority:
    """One authority in a folder: `root` is what a client must trust. `answer` changes what it says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "root.pem"
        self.requests: list[bytes] = []
        self.status = 200
        self.replay: bytes | None = None
        folder.mkdir()
        (folder / "serial").write_text("01\n")
        self._configuration = folder / "openssl.cnf"
        self._configuration.write_text(CONFIGURATION.format(folder=folder))
        self._certificate("root", "/CN=Test root", "root", None)
        self._certificate("tsa", "/CN=Test time-stamps", "stamps", "root")

    def _certificate(self, name: str, subject: str, extensions: str, issuer: str | None) -> None:
        words = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"]
        words += ["-config", str(self._configuration), "-extensions", extensions, "-subj", subject]
        words += ["-keyout", str(self.folder / f"{name}.key"), "-out", str(self.folder / f"{name}.pem")]
        if issuer is not None:
            words += ["-CA", str(self.folder / f"{issuer}.pem"), "-CAkey", str(self.folder / f"{issuer}.key")]
        openssl(*words)

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/tsr", self._stamp)
        return app

    async def _stamp(self, request: web.Request) -> web.Response:
        assert request.content_type == "application/timestamp-query"
        self.requests.append(await request.read())
        body = self.replay if self.replay is not None else await asyncio.to_thread(self.stamp, self.requests[-1])
        return web.Response(status=self.status, body=body, content_type="application/timestamp-reply")

    def stamp(self, query: bytes) -> bytes:
        (self.folder / "query").write_bytes(query)
        words = ["ts", "-reply", "-config", str(self._configuration), "-section", "here"]
        openssl(*words, "-queryfile", str(self.folder / "query"), "-out", str(self.folder / "answer"))
        return (self.folder / "answer").read_bytes()


def openssl(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *words], capture_output=True, text=True, check=True, timeout=30)


def accepts(root: Path, data: Path, answer: Path) -> bool:
    """Whether OpenSSL finds that the authority has stamped these very bytes."""
    words = ["openssl", "ts", "-verify", "-data", str(data), "-in", str(answer), "-CAfile", str(root)]
    return subprocess.run(words, capture_output=True, check=False, timeout=30).returncode == 0
