"""Who may ask: every refusal names what is wrong, and the server goes on."""

from __future__ import annotations

import re
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tests.cli.commands import check_one_line, hrm
from tests.studio.conftest import Served

GETS = ("/", "/api/about", "/api/runs", "/api/models", "/report?run=scored")


def error_of(answer: httpx.Response) -> str:
    error = answer.json()["error"]
    return f"{error['where']}: {error['what']}"


@pytest.mark.parametrize("path", GETS)
def test_a_name_that_is_pointed_at_this_machine_is_refused(studio: Served, path: str) -> None:
    port = studio.origin.rpartition(":")[2]
    for host in (f"evil.example:{port}", "127.0.0.1:1", f"127.0.0.1.evil.example:{port}", ""):
        answer = httpx.get(f"{studio.origin}{path}", headers={"Host": host})
        assert answer.status_code in (400, 403), host
        assert "flip" not in answer.text
    assert error_of(httpx.get(f"{studio.origin}{path}", headers={"Host": "evil.example"})).startswith("Host: ")
    assert httpx.get(f"{studio.origin}{path}", headers={"Host": f"localhost:{port}"}).status_code == 200


def test_another_page_can_neither_read_nor_start_anything(studio: Served, runs: Path) -> None:
    before = sorted(runs.iterdir())
    order = {"recipe": "quickstart", "changes": {}}
    for origin in ("http://evil.example", "null", studio.origin.replace("http", "https"), "http://localhost:1"):
        answer = studio.post("/api/runs/start", order, {"Origin": origin})
        assert answer.status_code == 403
        assert error_of(answer).startswith("Origin: ")
        read = httpx.get(f"{studio.origin}/api/runs", headers={"Origin": origin})
        assert read.status_code == 403
        assert "access-control-allow-origin" not in read.headers
    without = httpx.post(f"{studio.origin}/api/runs/start", json=order)
    assert (without.status_code, error_of(without)[:8]) == (403, "Origin: ")
    # A form of another page can send text, and nothing else, without being asked for leave.
    form = httpx.post(f"{studio.origin}/api/runs/start", content="{}", headers={"Origin": studio.origin})
    assert (form.status_code, error_of(form)[:12]) == (415, "Content-Type")
    site = httpx.get(f"{studio.origin}/api/runs", headers={"Sec-Fetch-Site": "cross-site"})
    assert site.status_code == 403
    assert sorted(runs.iterdir()) == before
    assert studio.is_up()


def test_every_answer_has_a_strict_policy(studio: Served) -> None:
    for path in (*GETS, "/static/app.js", "/no-such-page", "/api/run?run=none"):
        headers = studio.get(path).headers
        policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
        assert policy["default-src"] == "'none'"
        assert policy["script-src"] == policy["style-src"] == "'self'"
        assert policy["frame-ancestors"] == "'none'"
        assert headers["x-content-type-options"] == "nosniff"


def test_pages_have_no_script_and_no_style_in_them(studio: Served) -> None:
    for path in ("/", "/report?run=scored"):
        text = studio.get(path).text
        assert re.findall(r"<script(?![^>]*\bsrc=)", text) == []
        assert re.findall(r"<style|\sstyle=|\son\w+=", text) == []
        assert re.findall(r"(?:src|href)=[\"'](?:https?:)?//", text) == []


def test_a_body_of_100_megabytes_is_refused(studio: Served) -> None:
    def parts() -> object:
        for _ in range(100):
            yield b" " * 2**20

    headers = {"Origin": studio.origin, "Content-Type": "application/json"}
    for content in (b" " * (100 * 2**20), parts()):
        answer = httpx.post(f"{studio.origin}/api/check", content=content, headers=headers, timeout=60)  # type: ignore[arg-type]
        assert answer.status_code == 413
        assert error_of(answer).startswith("body: larger than 8 MiB")
    assert studio.is_up()


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b"\xff", b'{"name": 3}'])
def test_bodies_that_are_no_request(studio: Served, body: bytes) -> None:
    headers = {"Origin": studio.origin, "Content-Type": "application/json"}
    for path in ("check", "judge", "think", "think/stop", "runs/start", "runs/stop", "runs/resume"):
        answer = httpx.post(f"{studio.origin}/api/{path}", content=body, headers=headers, timeout=60)
        assert 400 <= answer.status_code < 500
        assert error_of(answer)


PATHS = ("../made", "..", "/etc/passwd", "trained/../../flips", "%2e%2e", ".", "", "trained/", "scored/scores.json")


@pytest.mark.parametrize("name", PATHS)
def test_no_part_of_a_request_becomes_a_path(studio: Served, name: str) -> None:
    for answer in (
        studio.get("/api/run", run=name),
        studio.get("/api/run/events", run=name),
        studio.get("/report", run=name),
        studio.get("/report", run="scored", scores=f"../{name}"),
        studio.get("/api/tasks", source=name),
        studio.get("/api/tasks", source=f"../{name}"),
        studio.get("/api/task", source="arc-agi-1/training", task=name),
        studio.get("/api/solved", model=f"run:{name}"),
        studio.get("/api/solved", model=f"file:{name}"),
        studio.post("/api/runs/resume", {"run": name}),
        studio.post("/api/runs/start", {"recipe": f"../recipes/{name}"}),
    ):
        assert 400 <= answer.status_code < 500, answer.url
        assert error_of(answer)
    for path in (f"/static/../{name}", f"/static/%2e%2e/{name}", f"/static/..%2f{name}", f"/report/../{name}"):
        with socket.create_connection(studio.origin.removeprefix("http://").split(":")) as raw:  # type: ignore[arg-type]
            host = studio.origin.removeprefix("http://")
            raw.sendall(f"GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
            assert b" 200 " not in raw.recv(64)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("model.name", "os:system"),
        ("data.solve", "/etc"),
        ("data.study", "x"),
        ("training.trackers", "wandb"),
        ("optimizer.lr", "$(id)"),
        ("--help", "1"),
        ("config", "x"),
        ("out", "elsewhere"),
        ("resume", "trained"),
        ("profile", "1"),
        ("training.max_steps", [1]),
        ("training.max_steps", "../x"),
    ],
)
def test_a_run_is_started_with_numbers_and_words_only(studio: Served, key: str, value: object) -> None:
    answer = studio.post("/api/runs/start", {"recipe": "quickstart", "changes": {key: value}})
    assert 400 <= answer.status_code < 500
    assert error_of(answer)


def test_a_mistake_in_a_recipe_is_named_as_hrm_train_names_it(studio: Served) -> None:
    answer = studio.post("/api/runs/start", {"recipe": "quickstart", "changes": {"training.max_stepz": 3}})
    assert answer.status_code == 400
    assert "no such flag" in error_of(answer)
    assert "training.max_steps" in error_of(answer)


def test_other_machines_need_the_token(runs: Path) -> None:
    served = Served(runs, "--host", "0.0.0.0", cwd=runs.parent)
    try:
        token = served.address.partition("token=")[2]
        assert len(token) >= 32
        # 0.0.0.0 is no address that another machine can open.
        name, _, port = served.origin.removeprefix("http://").rpartition(":")
        assert name == socket.gethostname()
        origin = f"http://127.0.0.1:{port}"
        for path in (*GETS, "/static/app.js", "/?token=", f"/?token={token[:-1]}", f"/api/runs?token={token}"):
            answer = httpx.get(f"{origin}{path}")
            assert answer.status_code == 401, path
            assert error_of(answer).startswith("token: ")
        stale = httpx.get(f"{origin}/api/runs", cookies={f"hrm_studio_{origin.rpartition(':')[2]}": "x"})
        assert stale.status_code == 401
        with httpx.Client() as client:
            entered = client.get(f"{origin}/?token={token}")
            assert (entered.status_code, entered.headers["location"]) == (303, "/")
            cookie = entered.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            # A browser keeps one cookie of a name for all ports of a machine, and so for two studios there.
            assert cookie.startswith(f"hrm_studio_{origin.rpartition(':')[2]}=")
            assert client.get(f"{origin}/api/runs").status_code == 200
            assert client.get(f"{origin}/api/runs", headers={"Host": f"{name}:{port}"}).status_code == 200
            assert client.get(f"{origin}/api/runs", headers={"Host": "evil.example"}).status_code == 403
    finally:
        served.end()


def test_mistakes_of_the_command_line(studio: Served, tmp_path: Path) -> None:
    port = studio.origin.rpartition(":")[2]
    check_one_line(hrm("studio", tmp_path, "--port", port), "--port", "is in use")
    check_one_line(hrm("studio", tmp_path, "--port", "70000"), "--port", "expected 0 to 65535")
    check_one_line(hrm("studio", tmp_path, "--host", "no.such.host.invalid"), "--host", "not an address")
    check_one_line(hrm("studio", tmp_path, "--tasks", "no-such-source"), "no-such-source", "no such source")
    check_one_line(hrm("studio", tmp_path, "--model", "none.onnx"), "none.onnx", "there is no such file")
    check_one_line(hrm("studio", __file__), "test_security.py", "not a folder")
    help_text = hrm("studio", "--help")
    assert all(word in help_text.stdout for word in ("--host", "--tasks", "Ctrl-C", "token"))


@pytest.mark.parametrize("missing", ["starlette", "uvicorn"])
def test_without_the_extra_one_line_says_what_to_install(missing: str, tmp_path: Path) -> None:
    program = "sys.argv = ['hrm', 'studio']; from hrm_arc.__main__ import entry; entry()"
    code = f"import sys; sys.modules[{missing!r}] = None; {program}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "pip install 'hrm-arc[studio]'" in done.stderr


def test_the_server_loads_no_torch(tmp_path: Path) -> None:
    code = "import sys, hrm_arc.studio.serving; print('torch' in sys.modules, 'matplotlib' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=tmp_path, timeout=120)
    assert done.stdout.split() == ["False", "False"], done.stderr
