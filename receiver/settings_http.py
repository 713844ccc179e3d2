"""How to speak to a server, with the names of Prometheus's http_config; and what every section of the file is."""

from __future__ import annotations

import base64
import ssl

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from receiver.settings_values import FilePath, Name, WebAddress


class Section(BaseModel):
    """Frozen, strict, and silent about values in its errors: a value may be a secret."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class Authorization(Section):
    type: Name = "Bearer"
    credentials: SecretStr


class BasicAuth(Section):
    username: str
    password: SecretStr


class TlsConfig(Section):
    ca_file: FilePath | None = None
    cert_file: FilePath | None = None
    key_file: FilePath | None = None
    insecure_skip_verify: bool = False

    def context(self) -> ssl.SSLContext:
        """Raises OSError where a file cannot be read, or does not hold what its key says."""
        context = ssl.create_default_context(cafile=str(self.ca_file) if self.ca_file else None)
        if self.cert_file:
            context.load_cert_chain(str(self.cert_file), str(self.key_file) if self.key_file else None)
        if self.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def problem(self) -> str | None:
        """Why no connection could be made with it, or None."""
        try:
            for file in (self.ca_file, self.cert_file, self.key_file):
                if file is not None:
                    file.read_bytes()  # by itself, because what is said of a certificate names no file
            self.context()
        except ssl.SSLError as error:
            return f"the certificates do not hold: {error.reason or error}"
        except OSError as error:
            return f"cannot read {error.filename}: {error.strerror}"
        return None


class HttpConfig(Section):
    """How to speak to a server, with the names of Prometheus's http_config."""

    authorization: Authorization | None = None
    basic_auth: BasicAuth | None = None
    tls_config: TlsConfig | None = None

    @model_validator(mode="after")
    def _one_way_in(self) -> HttpConfig:
        if self.authorization and self.basic_auth:
            raise ValueError("authorization and basic_auth exclude each other")
        return self

    def headers(self) -> dict[str, str]:
        """The request headers that sign us in; they are secrets."""
        if self.authorization:
            return {"Authorization": f"{self.authorization.type} {self.authorization.credentials.get_secret_value()}"}
        if self.basic_auth:
            pair = f"{self.basic_auth.username}:{self.basic_auth.password.get_secret_value()}"
            return {"Authorization": "Basic " + base64.b64encode(pair.encode()).decode("ascii")}
        return {}

    def ssl_context(self) -> ssl.SSLContext | None:
        """None: the defaults of the platform. Raises OSError where a file cannot be read."""
        return self.tls_config.context() if self.tls_config is not None else None


class Server(Section):
    """A Prometheus or an Alertmanager to ask."""

    url: WebAddress
    http_config: HttpConfig = HttpConfig()
