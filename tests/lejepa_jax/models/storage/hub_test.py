"""Models of the hub, from a server on this machine that answers as the hub does."""

import base64
import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest

import lejepa_jax
from lejepa_jax.models.storage.hub import parse_hub_name

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def saved(model, tmp_path_factory):
    folder = lejepa_jax.save(model, tmp_path_factory.mktemp("hub") / "model")
    (folder / "code.py").write_text("raise SystemExit('executed')")
    return folder


@pytest.fixture
def hub(saved):
    """A server with one model, `somebody/tiny`; it notes what it is asked."""
    asked, made = [], {}

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_HEAD(self):
            self.answer(body=False)

        def do_GET(self):
            self.answer(body=True)

        def do_POST(self):
            asked.append(self.path)
            given = self.rfile.read(int(self.headers["Content-Length"]))
            parts = self.path.strip("/").split("/")
            if self.headers["Authorization"] != "Bearer hf_somebody":
                refusal = json.dumps({"error": "no such token"}).encode()
                self.send(refusal, True, {}, status=401)
            elif parts == ["api", "repos", "create"]:
                made.update(json.loads(given))
                self.send(
                    json.dumps({"url": f"http://{self.headers['Host']}/somebody/tiny"}).encode(),
                    True,
                    {},
                )
            elif parts[:2] == ["api", "validate-yaml"]:
                self.send(json.dumps({"errors": [], "warnings": []}).encode(), True, {})
            elif parts[4] == "preupload":
                modes = [
                    {"path": file["path"], "uploadMode": "regular", "shouldIgnore": False}
                    for file in json.loads(given)["files"]
                ]
                self.send(json.dumps({"files": modes}).encode(), True, {})
            elif parts[4] == "commit":
                for line in given.decode().splitlines():
                    entry = json.loads(line)
                    if entry["key"] == "file":
                        value = entry["value"]
                        made[value["path"]] = base64.b64decode(value["content"])
                url = f"http://{self.headers['Host']}/somebody/tiny/commit/{COMMIT}"
                done = {"commitUrl": url, "commitOid": COMMIT}
                self.send(json.dumps(done).encode(), True, {})

        def answer(self, body):
            asked.append(self.path)
            parts = self.path.partition("?")[0].strip("/").split("/")
            if parts[:5] == ["api", "models", "somebody", "tiny", "tree"]:
                known = [
                    {
                        "type": "file",
                        "path": path.name,
                        "size": path.stat().st_size,
                        "oid": "0" * 40,
                    }
                    for path in sorted(saved.iterdir())
                ]
                return self.send(json.dumps(known).encode(), body, {})
            if parts[:4] == ["api", "models", "somebody", "tiny"]:
                files = [{"rfilename": path.name} for path in sorted(saved.iterdir())]
                known = {"id": "somebody/tiny", "sha": COMMIT, "siblings": files}
                return self.send(json.dumps(known).encode(), body, {})
            file = saved / parts[-1]
            if parts[:3] == ["somebody", "tiny", "resolve"] and file.is_file():
                data = file.read_bytes()
                etag = hashlib.sha256(data).hexdigest()
                headers = {"ETag": f'"{etag}"', "X-Repo-Commit": COMMIT}
                return self.send(data, body, headers)
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return None

        def send(self, data, body, headers, status=200):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            if body:
                self.wfile.write(data)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked, made
    server.shutdown()
    thread.join()
    server.server_close()


PROGRAM = """
import sys
import lejepa_jax
for name in sys.argv[1:]:
    try:
        model = lejepa_jax.load(name)
    except ValueError as error:
        print("error:", error)
    else:
        print(model.digest())
"""


def loaded(names, endpoint, cache):
    return answer_of(PROGRAM, names, endpoint, cache).splitlines()


def answer_of(program, arguments, endpoint, cache, **more):
    """What a process of its own prints: where the hub is, its package reads when imported."""
    variables = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1"}
    variables |= {"HF_HUB_DISABLE_PROGRESS_BARS": "1", "HF_HUB_ETAG_TIMEOUT": "5"}
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=os.environ | variables | more,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_a_model_is_fetched_once_and_then_read_from_the_cache(model, hub, tmp_path):
    endpoint, asked, _ = hub
    found, *said = loaded(["hf://somebody/tiny", "hf://somebody/other"], endpoint, tmp_path)
    assert found == model.digest()
    assert said[0].startswith("error: hf://somebody/other cannot be fetched")
    assert len(said) == 1
    assert any("model.safetensors" in path for path in asked)
    assert not any("code.py" in path for path in asked)
    asked.clear()
    names = ["hf://somebody/tiny", f"hf://somebody/tiny@{COMMIT}"]
    assert loaded(names, endpoint, tmp_path) == [model.digest()] * 2
    assert asked == []


PUBLISH = """
import sys
import train
sys.exit(train.main(sys.argv[1:]))
"""


def test_a_model_is_published_as_one_commit_and_privately(model, saved, hub, tmp_path):
    endpoint, asked, made = hub
    words = ["publish", str(saved / "model.safetensors"), "hf://somebody/tiny", "--license", "mit"]
    said = answer_of(PUBLISH, words, endpoint, tmp_path, HF_TOKEN="hf_somebody")
    assert said == f"lejepa_jax.load('hf://somebody/tiny@{COMMIT}')"
    assert made["name"] == "tiny"
    assert made.get("private") or made["visibility"] == "private"  # by the version of the package
    assert {name for name in made if "." in name} == {
        "model.safetensors",
        "config.json",
        "README.md",
    }
    (tmp_path / "published.safetensors").write_bytes(made["model.safetensors"])
    assert lejepa_jax.load(tmp_path / "published.safetensors").digest() == model.digest()
    assert b"license: mit" in made["README.md"]
    assert sum("/commit/" in path for path in asked) == 1


@pytest.mark.slow
def test_what_the_hub_refuses_is_one_line(saved, hub, tmp_path):
    endpoint, _, made = hub
    program = f"""
import lejepa_jax
from lejepa_jax.models import publish_model
try:
    publish_model(lejepa_jax.load({str(saved / "model.safetensors")!r}), "hf://somebody/tiny")
except ValueError as error:
    print(error)
"""
    said = answer_of(program, [], endpoint, tmp_path, HF_TOKEN="hf_nobody")
    assert said.startswith("hf://somebody/tiny cannot be published: ")
    assert "no such token" in said
    assert "\n" not in said
    assert not made


@pytest.mark.parametrize(
    "text", ["hf://tiny", "hf://a/b/c", "hf://a/../b", "hf://a/b@../x", "hf://"]
)
def test_names_that_are_none_are_refused(text):
    with pytest.raises(ValueError, match=r"must read hf://OWNER/NAME"):
        parse_hub_name(text)


def test_without_the_package_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(ValueError, match=r"pip install 'lejepa-jax\[hub\]'"):
        lejepa_jax.load("hf://somebody/tiny")
