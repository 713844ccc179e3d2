"""The recipes of contrib/executors: each is read, each makes its request, and five are run."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from aiohttp import web

from receiver.execution.runner import Runner
from receiver.execution.runner_config import load_runner_config
from receiver.intake.results import Results
from receiver.papers import ExecutionOutcome
from tests.contrib.recipes import RECIPES, TEXT, WHSEC, installed, office_of, order_for, run, served
from tests.tools import find_tool

NAMES = sorted(path.parent.name for path in RECIPES.glob("*/counterfoil.yml"))
NOT_RUN = {"ansible-eda", "argo", "awx", "gitlab", "jenkins", "nomad"}


def test_every_recipe_is_told_of_and_says_whether_it_was_run() -> None:
    listed = (RECIPES / "README.md").read_text(encoding="utf-8")
    assert set(NAMES) == {path.name for path in RECIPES.iterdir() if path.is_dir()}
    for name in NAMES:
        assert f"[{name}]({name}/README.md)" in listed
        text = (RECIPES / name / "README.md").read_text(encoding="utf-8")
        assert ("**Not run against the real thing.**" in text) == (name in NOT_RUN), name


@pytest.mark.parametrize("name", NAMES)
def test_every_recipe_is_read_and_makes_its_request(tmp_path: Path, name: str) -> None:
    loaded = installed(tmp_path, name)
    office = office_of(loaded)
    (rule,) = loaded.charters["default"].rulebook.rules
    assert {action.executor for action in rule.actions.values()} == set(loaded.settings.tenants["default"].executors)
    for action in rule.actions:
        order = order_for(loaded, action)
        request = office.render(order)
        assert "checkout" in request.address + request.body, "the service is not told"
        for secret in (WHSEC[6:], TEXT):
            assert secret not in repr(request)


@pytest.mark.parametrize(
    ("name", "address", "body"),
    [
        (
            "gitlab",
            "https://gitlab.example.org/api/v4/projects/42/pipeline",
            {
                "ref": "main",
                "variables": [{"key": "SERVICE", "value": "checkout"}, {"key": "WEBHOOK_ID", "value": "exec-1"}],
            },
        ),
        ("jenkins", "https://jenkins.internal/job/restart/buildWithParameters", "SERVICE=checkout&WEBHOOK_ID=exec-1"),
        (
            "awx",
            "https://awx.internal/api/v2/job_templates/7/launch/",
            {"extra_vars": {"service": "checkout", "webhook_id": "exec-1"}},
        ),
        (
            "nomad",
            "https://nomad.internal:4646/v1/job/restart/dispatch?idempotency_token=exec-1",
            {"Meta": {"service": "checkout"}},
        ),
    ],
)
def test_what_was_not_run_is_at_least_what_is_documented(tmp_path: Path, name: str, address: str, body: Any) -> None:
    loaded = installed(tmp_path, name)
    request = office_of(loaded).render(order_for(loaded, "restart"))
    assert request.address == address
    assert (request.body if isinstance(body, str) else json.loads(request.body)) == body


# --- adnanh/webhook, the program itself


@pytest.fixture
async def hooked(tmp_path: Path, free_port: Callable[[], int]) -> AsyncIterator[tuple[str, Path]]:
    """Where the real server listens, and the file into which its command writes what it was called with."""
    program = find_tool("webhook")
    if program is None:
        pytest.skip("webhook (Debian's package of adnanh/webhook)")
    ran, ids, port = tmp_path / "ran", tmp_path / "ids", free_port()
    ids.mkdir()
    recorder = tmp_path / "recorder"
    recorder.write_text(f'#!/bin/sh\necho "$@" >>{ran}\necho "restarted $1"\n[ "$1" != wallet.service ]\n')
    recorder.chmod(0o755)
    hooks = (RECIPES / "webhook" / "hooks.json").read_text(encoding="utf-8")
    (tmp_path / "hooks.json").write_text(
        hooks.replace("/usr/local/bin/restart-service", str(RECIPES / "webhook" / "restart-service"))
    )
    server = await asyncio.create_subprocess_exec(
        str(program),
        *("-template", "-hooks", str(tmp_path / "hooks.json"), "-ip", "127.0.0.1", "-port", str(port), "-verbose"),
        env={
            "PATH": os.environ["PATH"],
            "WEBHOOK_SECRET": TEXT,
            "WEBHOOK_IDS": str(ids),
            "WEBHOOK_RUNS": str(recorder),
        },
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    assert server.stderr is not None
    async with asyncio.timeout(30):
        while b"serving hooks on" not in (line := await server.stderr.readline()):
            assert line, "it has ended"
    reading = asyncio.create_task(server.stderr.read())
    yield f"http://127.0.0.1:{port}", ran
    server.terminate()
    await server.wait()
    await reading


async def test_adnanhs_webhook_runs_what_is_signed_and_nothing_else(tmp_path: Path, hooked: tuple[str, Path]) -> None:
    origin, ran = hooked
    loaded = installed(tmp_path, "webhook", {"http://127.0.0.1:9000": origin})
    office = office_of(loaded)
    done = await run(office, order_for(loaded, "restart"))
    assert (done.outcome, done.http_status, done.output) == (
        ExecutionOutcome.EXECUTED,
        200,
        "restarted checkout.service\n",
    )
    again = await run(office, order_for(loaded, "restart"))
    assert (again.outcome, again.http_status) == (ExecutionOutcome.FAILED, 500)
    assert "exec-1 was run before" in again.output
    broken = await run(office, order_for(loaded, "restart", "exec-2", service="wallet"))
    assert (broken.outcome, broken.http_status) == (ExecutionOutcome.FAILED, 500)
    for value in ("other", "checkout; reboot", "$(reboot)"):
        refused = await run(office, order_for(loaded, "restart", "exec-3", service=value))
        assert refused.outcome is ExecutionOutcome.FAILED
        assert "is not allowed" in refused.output
    async with aiohttp.ClientSession() as session:
        for headers in ({}, {"X-Hub-Signature-256": "sha256=" + "0" * 64}):
            body = json.dumps({"id": "exec-4", "service": "checkout"})
            async with session.post(f"{origin}/hooks/restart", data=body, headers=headers) as answer:
                assert answer.status in (403, 500)  # 2.8 says 500 of a signature that does not fit
    assert ran.read_text(encoding="utf-8").splitlines() == ["checkout.service", "wallet.service"]


# --- our own


async def test_our_own_restarts_a_unit_and_runs_an_allowed_command(tmp_path: Path) -> None:
    recorder = tmp_path / "recorder"
    recorder.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/ran\n')
    recorder.chmod(0o755)
    served_file = (RECIPES / "executor-serve" / "executor.yml").read_text(encoding="utf-8")
    config = yaml.safe_load(served_file)
    # The proof has tests of its own (tests/receiver/test_executor_proof.py); here it is what runs that counts.
    assert set(config.pop("proof")) == {"keys", "address", "max_age"}
    for action in config["actions"].values():
        action["command"][0] = str(recorder)
    (tmp_path / "executor.yml").write_text(yaml.safe_dump(config), encoding="utf-8")
    installed(tmp_path, "executor-serve")
    async with served(Runner(load_runner_config(tmp_path / "executor.yml")).app()) as origin:
        loaded = installed(
            tmp_path, "executor-serve", {"https://shop-1.internal:9879": origin, "    proof: true\n": ""}
        )
        office = office_of(loaded)
        for number, (action, params, outcome) in enumerate(
            [
                ("restart", {}, ExecutionOutcome.EXECUTED),
                ("clear-cache", {}, ExecutionOutcome.EXECUTED),
                ("restart", {"service": "other"}, ExecutionOutcome.FAILED),
                ("clear-cache", {"hours": "49"}, ExecutionOutcome.FAILED),
                ("clear-cache", {"service": "--all"}, ExecutionOutcome.FAILED),
            ]
        ):
            assert (await run(office, order_for(loaded, action, f"exec-{number}", **params))).outcome is outcome
    assert (tmp_path / "ran").read_text(encoding="utf-8").splitlines() == [
        "restart checkout.service",
        "--older-than-hours 6 --of checkout",
    ]


# --- GitHub


class GitHub:
    """`POST /repos/{owner}/{repo}/dispatches` as api.github.com 23.0.2 describes it, and strict about it."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/repos/OWNER/REPOSITORY/dispatches", self.dispatch)
        return app

    async def dispatch(self, request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {TEXT}":
            return web.json_response({"message": "Bad credentials"}, status=401)
        if not request.headers.get("User-Agent"):
            return web.json_response({"message": "Request forbidden by administrative rules"}, status=403)
        assert request.headers["Accept"] == "application/vnd.github+json"
        assert request.headers["X-GitHub-Api-Version"] == "2022-11-28"
        body = await request.json()
        payload = body.get("client_payload", {})
        problems = [
            not isinstance(body.get("event_type"), str) or not 1 <= len(body["event_type"]) <= 100,
            not isinstance(payload, dict) or len(payload) > 10,
            len(await request.read()) >= 65_536,
            set(body) - {"event_type", "client_payload"},
        ]
        if any(problems):
            return web.json_response({"message": "Invalid request."}, status=422)
        self.taken.append(body)
        return web.Response(status=204)


class Book:
    """One tenant's executions, of which one was dispatched to GitHub."""

    def __init__(self) -> None:
        self.settled: list[tuple[str, bool, str]] = []

    async def executor_of(self, webhook_id: str) -> str | None:
        return "github-restart" if webhook_id == "exec-1" else None

    async def settle(self, webhook_id: str, succeeded: bool, detail: str, output: str) -> bool:
        self.settled.append((webhook_id, succeeded, output))
        return True


@pytest.mark.parametrize(("outcome", "succeeded"), [("success", True), ("failure", False), ("cancelled", False)])
async def test_github_takes_the_dispatch_and_its_workflow_tells_the_result(
    tmp_path: Path, outcome: str, succeeded: bool
) -> None:
    if find_tool("curl") is None:
        pytest.skip("curl")
    github, book = GitHub(), Book()
    async with served(github.app()) as origin:
        loaded = installed(tmp_path, "github", {"https://api.github.com": origin})
        result = await run(office_of(loaded), order_for(loaded, "restart"))
    assert (result.outcome, result.http_status) == (ExecutionOutcome.ACCEPTED, 204)
    payload = github.taken[0]["client_payload"]
    workflow = yaml.safe_load((RECIPES / "github" / "workflow.yml").read_text(encoding="utf-8"))
    assert workflow[True]["repository_dispatch"]["types"] == [github.taken[0]["event_type"]]
    restart, tell = workflow["jobs"]["restart"]["steps"]
    for step in (restart, tell):
        assert "${{" not in step["run"], "what came in the payload must not become text of a script"
    secrets = loaded.settings.tenants["default"].executors["github-restart"].callback_secrets()
    app = web.Application()
    app.router.add_post("/executions/{id}", Results(lambda: [("default", book)], lambda *_: secrets).result)
    async with served(app) as origin:
        told = await asyncio.create_subprocess_exec(
            *("bash", "-e", "-c", tell["run"]),
            env={
                "PATH": os.environ["PATH"],
                "ID": payload["id"],
                "CALLBACK_URL": payload["callback_url"].replace("https://counterfoil.example.org", origin),
                "OUTCOME": outcome,
                "WHSEC": WHSEC,
                "GITHUB_RUN_ID": "77",
            },
        )
        assert await told.wait() == 0
    assert book.settled == [("exec-1", succeeded, f"{outcome}, run 77")]


def test_the_workflows_own_allow_list_refuses_what_is_not_on_it() -> None:
    workflow = yaml.safe_load((RECIPES / "github" / "workflow.yml").read_text(encoding="utf-8"))
    script = workflow["jobs"]["restart"]["steps"][0]["run"]
    for service, code in (("checkout", 0), ("other", 2), ("$(id)", 2), ("checkout wallet", 2)):
        environment = {"SERVICE": service, "PATH": os.environ["PATH"]}
        ran = subprocess.run(
            ["bash", "-e", "-c", script], env=environment, capture_output=True, check=False, timeout=30
        )
        assert ran.returncode == code, service


# --- Rundeck


class Rundeck:
    """`/job/{id}/run` and `/execution/{id}` as Rundeck's OpenAPI 48 describes them."""

    def __init__(self, last: str) -> None:
        self.last = last
        self.ordered: list[dict[str, Any]] = []
        self.asked = 0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_post("/api/44/job/11111111-2222-3333-4444-555555555555/run", self.order)
        app.router.add_get("/api/44/execution/1", self.tell)
        return app

    def execution(self, status: str) -> web.Response:
        return web.json_response({"id": 1, "status": status, "project": "shop", "job": {"id": "11111111"}})

    async def order(self, request: web.Request) -> web.Response:
        if request.headers.get("X-Rundeck-Auth-Token") != TEXT:
            return web.json_response({"error": True, "errorCode": "unauthorized"}, status=403)
        assert request.content_type == "application/json"
        body = await request.json()
        known = {"argString", "loglevel", "asUser", "filter", "runAtTime", "options"}
        if set(body) - known or not all(isinstance(value, str) for value in body["options"].values()):
            return web.json_response({"error": True, "errorCode": "api.error.invalid.request"}, status=400)
        self.ordered.append(body["options"])
        return self.execution("running")

    async def tell(self, request: web.Request) -> web.Response:
        assert request.headers["X-Rundeck-Auth-Token"] == TEXT
        self.asked += 1
        return self.execution("running" if self.asked < 3 else self.last)


@pytest.mark.parametrize(
    ("last", "outcome"),
    [
        ("succeeded", ExecutionOutcome.EXECUTED),
        ("failed", ExecutionOutcome.FAILED),
        ("aborted", ExecutionOutcome.FAILED),
        ("timedout", ExecutionOutcome.FAILED),
    ],
)
async def test_rundeck_runs_the_job_and_is_polled(tmp_path: Path, last: str, outcome: ExecutionOutcome) -> None:
    rundeck = Rundeck(last)
    async with served(rundeck.app()) as origin:
        loaded = installed(tmp_path, "rundeck", {"https://rundeck.internal:4443": origin})
        result = await run(office_of(loaded), order_for(loaded, "restart"))
    assert (result.outcome, result.detail) == (outcome, f"the executor says '{last}' at status")
    assert rundeck.ordered == [{"service": "checkout", "webhook_id": "exec-1"}]
    assert rundeck.asked == 3


# --- Kubernetes


class Kubernetes:
    """An API server of three deployments: the rights of rbac.yml, two kinds of patch, a controller that takes time."""

    def __init__(self) -> None:
        documents = list(yaml.safe_load_all((RECIPES / "kubernetes" / "rbac.yml").read_text(encoding="utf-8")))
        self.rules = next(d["rules"] for d in documents if d["kind"] == "Role")
        self.documents = documents
        self.objects = {name: deployment(name) for name in ("checkout", "wallet", "other")}
        self.reads: dict[str, int] = {}
        self.patched = 0

    def app(self) -> web.Application:
        app = web.Application()
        base = "/apis/apps/v1/namespaces/shop/deployments/{name}"
        app.router.add_get(base, self.read)
        app.router.add_patch(base, self.patch)
        app.router.add_patch(f"{base}/scale", self.scale)
        return app

    def refused(self, request: web.Request, resource: str, verb: str) -> web.Response | None:
        if request.headers.get("Authorization") != f"Bearer {TEXT}":
            return status(401, "Unauthorized")
        name = request.match_info["name"]
        for rule in self.rules:
            if resource in rule["resources"] and verb in rule["verbs"] and name in rule["resourceNames"]:
                return None
        return status(403, f'deployments.apps "{name}" is forbidden')

    async def read(self, request: web.Request) -> web.Response:
        if (no := self.refused(request, "deployments", "get")) is not None:
            return no
        name = request.match_info["name"]
        found = self.objects[name]
        self.reads[name] = self.reads.get(name, 0) + 1
        reason = "ReplicaSetUpdated" if self.reads[name] < 3 else "NewReplicaSetAvailable"
        found["status"]["observedGeneration"] = found["metadata"]["generation"]
        found["status"]["conditions"] = [
            {"type": "Available", "status": "True", "reason": "MinimumReplicasAvailable"},
            {"type": "Progressing", "status": "True", "reason": reason},
        ]
        return web.json_response(found)

    async def patch(self, request: web.Request) -> web.Response:
        if (no := self.refused(request, "deployments", "patch")) is not None:
            return no
        if request.content_type != "application/strategic-merge-patch+json":
            return status(415, "the body of the request was in an unknown format")
        assert request.query["fieldManager"] == "counterfoil"
        found = self.objects[request.match_info["name"]]
        before = json.dumps(found["spec"], sort_keys=True)
        merge(found, await request.json())
        if json.dumps(found["spec"], sort_keys=True) != before:
            found["metadata"]["generation"] += 1
            self.patched += 1
        return web.json_response(found)

    async def scale(self, request: web.Request) -> web.Response:
        if (no := self.refused(request, "deployments/scale", "patch")) is not None:
            return no
        if request.content_type != "application/merge-patch+json":
            return status(415, "the body of the request was in an unknown format")
        patch = await request.json()
        assert set(patch) == {"spec"}
        assert set(patch["spec"]) == {"replicas"}
        name = request.match_info["name"]
        self.objects[name]["spec"]["replicas"] = patch["spec"]["replicas"]
        scaled = {"apiVersion": "autoscaling/v1", "kind": "Scale", "metadata": {"name": name, "namespace": "shop"}}
        return web.json_response(scaled | {"spec": patch["spec"], "status": {"replicas": 2}})


def status(code: int, message: str) -> web.Response:
    return web.json_response({"kind": "Status", "apiVersion": "v1", "code": code, "message": message}, status=code)


def deployment(name: str) -> dict[str, Any]:
    labels = {"app": name}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": "shop", "generation": 1},
        "spec": {
            "replicas": 2,
            "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels},
                "spec": {"containers": [{"name": name, "image": "shop:1"}]},
            },
        },
        "status": {"observedGeneration": 1},
    }


def merge(into: dict[str, Any], patch: dict[str, Any]) -> None:
    """Strategic merge, of maps: the recipe's patch has no list."""
    for key, value in patch.items():
        if isinstance(value, dict):
            merge(into.setdefault(key, {}), value)
        else:
            into[key] = value


def validated(folder: Path, documents: list[Any]) -> None:
    """Against the schemas that Kubernetes publishes, strictly: a property that they do not know is refused."""
    program = find_tool("kubernetes-validate")
    if program is None:
        pytest.skip("kubernetes-validate (PyPI)")
    file = folder / "objects.yml"
    file.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    ran = subprocess.run(
        [str(program), "--strict", str(file)], capture_output=True, text=True, check=False, timeout=120
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


async def test_kubernetes_rolls_out_and_scales_within_its_rights(tmp_path: Path) -> None:
    cluster = Kubernetes()
    async with served(cluster.app()) as origin:
        loaded = installed(
            tmp_path,
            "kubernetes",
            {
                "https://kubernetes.internal:6443": origin,
                "    tls_config: {ca_file: secrets/kubernetes-ca.pem}\n": "",
            },
        )
        office = office_of(loaded)
        done = await run(office, order_for(loaded, "rollout"))
        assert (done.outcome, cluster.reads) == (ExecutionOutcome.EXECUTED, {"checkout": 3})
        assert (await run(office, order_for(loaded, "rollout"))).outcome is ExecutionOutcome.EXECUTED
        assert cluster.patched == 1, "the same patch again changes nothing: the action is idempotent"
        scaled = await run(office, order_for(loaded, "scale-up"))
        assert scaled.outcome is ExecutionOutcome.EXECUTED
        for action, params in (("rollout", {"service": "other"}), ("scale-up", {"service": "other"})):
            forbidden = await run(office, order_for(loaded, action, **params))
            assert (forbidden.outcome, forbidden.http_status) == (ExecutionOutcome.FAILED, 403)
        elsewhere = await run(office, order_for(loaded, "rollout", namespace="kube-system"))
        assert (elsewhere.outcome, elsewhere.http_status) == (ExecutionOutcome.FAILED, 404)
    found = cluster.objects["checkout"]
    assert found["spec"]["template"]["metadata"]["annotations"] == {
        "kubectl.kubernetes.io/restartedAt": "2026-11-23T09:00:00Z"
    }
    assert found["spec"]["replicas"] == 6
    assert cluster.objects["other"] == deployment("other")
    validated(tmp_path, [*cluster.documents, *cluster.objects.values()])


def test_what_kubernetes_would_refuse_is_found(tmp_path: Path) -> None:
    wrong = deployment("checkout")
    wrong["spec"]["template"]["metadata"]["anotations"] = {}
    with pytest.raises(AssertionError, match="anotations"):
        validated(tmp_path, [wrong])
