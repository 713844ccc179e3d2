"""`executor check`: what an executor would be sent, with nothing sent and no secret shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from ledger import checkpoint
from receiver.__main__ import counterfoil

CONFIG = """\
public_url: https://counterfoil.example.org
admin_token: "${ADMIN}"
ledger: {origin: counterfoil.example.org, key_file: ledger.key, personal_key_file: personal.key}
twilio: {account_sid: AC00000000000000000000000000000000, auth_token: "${ADMIN}", sender: "whatsapp:+14155238886"}
tenants:
  default:
    token: "${TOKEN}"
    policy: policy.yml
    executors:
      rollout:
        url: "https://127.0.0.1:6443/apis/apps/v1/namespaces/{namespace}/deployments/{service}"
        method: PATCH
        headers: {Content-Type: application/strategic-merge-patch+json}
        json: {spec: {template: {metadata: {annotations: {restartedAt: "{proposed_at}"}}}}}
        auth: {type: bearer, token_file: k8s.token}
      signed: {url: "http://localhost:9879/run/restart", secret_file: signed.whsec}
      private: {url: "http://10.0.0.5/run", auth: {type: none}, json: {}}
      unused: {url: "http://127.0.0.1:1/run", auth: {type: none}, json: {}}
"""
POLICY = """\
policy: {name: p, version: '1'}
rules:
  - name: shop
    matchers: ['alertname="A"']
    group_by: []
    recover: {when: [alerts.firing == 0]}
    actions:
      rollout: {executor: rollout, title: t, approvers: {roles: [a]}, params: {namespace: shop, service: checkout}}
      restart: {executor: signed, title: t, approvers: {roles: [a]}, params: {service: checkout}}
      other: {executor: private, title: t, approvers: {roles: [a]}}
"""
TOKEN = "eyJhbGciOi.a-token-that-nobody-sees"
SECRET = "whsec_YXR0YWNrLXNldC1zZWNyZXQtb2YtMzItYnl0ZXMtb2s="


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    checkpoint.make_key_file(tmp_path / "ledger.key")
    for name, text in {
        "personal.key": "ab" * 32,
        "k8s.token": TOKEN,
        "signed.whsec": SECRET,
        "policy.yml": POLICY,
        "counterfoil.yml": CONFIG,
    }.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path


def check(folder: Path, *words: str) -> Result:
    environment = {"ADMIN": "a" * 20, "TOKEN": "t" * 20, "COUNTERFOIL_CONFIG": str(folder / "counterfoil.yml")}
    return CliRunner(env=environment).invoke(counterfoil, ["executor", "check", *words])


def test_the_exact_request_is_printed_and_no_secret(folder: Path) -> None:
    result = check(folder, "rollout", "--dry-run", "--param", "namespace=shop", "--param", "service=a b")
    assert result.exit_code == 0, result.output
    assert "PATCH /apis/apps/v1/namespaces/shop/deployments/a%20b HTTP/1.1\nHost: 127.0.0.1:6443\n" in result.output
    assert "Content-Type: application/strategic-merge-patch+json" in result.output
    assert "Authorization: Bearer ********" in result.output
    assert '{"spec":{"template":{"metadata":{"annotations":{"restartedAt":"20' in result.output
    assert "used by shop/rollout" in result.output
    assert TOKEN not in result.output
    signed = check(folder, "signed", "--dry-run", "--json", "--param", "service=checkout")
    told = json.loads(signed.output)
    assert told["ok"] is True
    assert "webhook-signature: v1,********" in told["request"]
    assert SECRET[6:20] not in signed.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["private"], 1, "FAIL  address        10.0.0.5 is a private address: if that is meant, say `private: true`"),
        (["unused"], 1, "FAIL  policy         no action of the policy uses it"),
        (["other"], 2, "there is no executor other; there is private, rollout, signed, unused"),
        (["unused", "--dry-run"], 1, "ok    request        as for ACTION, with no parameter"),
        (["rollout", "--dry-run", "--param", "other=x"], 2, "--param other: the action has namespace, service"),
        (["rollout", "--dry-run", "--action", "restart"], 2, "no action restart uses it; used by shop/rollout"),
        (["rollout", "--dry-run", "--param", "x"], 2, "--param x: it is NAME=VALUE"),
        (
            ["rollout", "--dry-run", "--param", "namespace=..", "--param", "service=a"],
            1,
            "FAIL  request        {namespace} is '..', which is no segment of a path",
        ),
    ],
)
def test_what_is_wrong_is_said_in_one_line(folder: Path, words: list[str], code: int, said: str) -> None:
    result = check(folder, *words)
    assert result.exit_code == code, result.output
    assert said in result.output
    assert "Traceback" not in result.output


def test_without_parameters_the_request_is_one_that_the_policy_would_send(folder: Path) -> None:
    told = json.loads(check(folder, "signed", "--dry-run", "--json").output)
    assert {"action": "restart", "params": {"service": "checkout"}}.items() <= json.loads(
        told["request"].splitlines()[-1]
    ).items()
    params = "service: {label: service, allow: [wallet, checkout]}, bytes: {signal: free, min: 7, max: 9}"
    again = "again: {executor: signed, title: t, approvers: {roles: [a]}}"
    policy = POLICY.replace("group_by: []", "group_by: [service]")
    policy = policy.replace("params: {service: checkout}}", f"params: {{{params}}}}}\n      {again}")
    policy = policy.replace("rules:", "signals:\n  free: {max_age: 2m, promql: 'free_bytes'}\nrules:")
    (folder / "policy.yml").write_text(policy, encoding="utf-8")
    first = check(folder, "signed", "--dry-run")
    assert "ok    request        as for shop/restart, with service=wallet, bytes=7\n" in first.output, first.output
    other = check(folder, "signed", "--dry-run", "--action", "again")
    assert '{"action":"again",' in other.output
    assert '"params":{}' in other.output


def test_a_placeholder_that_an_action_cannot_fill_has_its_line(folder: Path) -> None:
    policy = folder / "policy.yml"
    policy.write_text(POLICY.replace("namespace: shop, ", ""), encoding="utf-8")
    result = check(folder, "rollout")
    assert result.exit_code == 2
    assert (
        f"{folder / 'counterfoil.yml'}:11: tenants.default.executors.rollout.url: {{namespace}}: "
        "action rollout of rule shop has no parameter namespace"
    ) in result.output
