"""The live server answers its own page on this machine, and nobody else; the evaluator says what the model says."""

import http.client
import json
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from thinwire.circuits.ablation import isolate
from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.isolated import without
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.cli.main import main
from thinwire.errors import UserError
from thinwire.viewer.live import MOST_BYTES, LiveServer
from thinwire.workflows import view as viewing
from thinwire.workflows.live import evaluator, live_server
from thinwire.workflows.view import choose, circuit_id


def answer(request: Mapping[str, Any]) -> Mapping[str, Any]:
    if request.get("prompt") == "bad":
        raise UserError("no such prompt")
    return {"said": request["prompt"]}


@pytest.fixture
def server() -> Iterator[LiveServer]:
    running = LiveServer("<!doctype html><p>page</p>", answer)
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield running
    running.shutdown()
    running.server_close()
    thread.join()


def ask(
    server: LiveServer, method: str, path: str, body: str = "", **headers: str
) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=10)
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body or None, sent)
    response = connection.getresponse()
    found = response.status, response.read().decode(), response.headers
    connection.close()
    return found


def post(server: LiveServer, body: str, **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
    return ask(server, "POST", f"/{server.token}/evaluate", body, **{"Content_Type": "application/json", **headers})


def test_the_page_is_served_at_its_address(server: LiveServer) -> None:
    status, page, headers = ask(server, "GET", f"/{server.token}/")
    assert (status, page) == (200, "<!doctype html><p>page</p>")
    assert headers["X-Frame-Options"] == "DENY" and headers["Cache-Control"] == "no-store"
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"


def test_it_listens_on_the_loopback_alone(server: LiveServer) -> None:
    assert server.server_address[0] == "127.0.0.1"


def test_a_question_is_answered(server: LiveServer) -> None:
    origin = f"http://127.0.0.1:{server.server_port}"
    assert post(server, '{"prompt": "x"}', Origin=origin)[:2] == (200, '{"said": "x"}')


@pytest.mark.parametrize("path", ["/", "/evaluate", "/wrong/", "/wrong/evaluate", "/../etc/passwd", "//"])
def test_without_the_token_there_is_nothing(server: LiveServer, path: str) -> None:
    for method in ("GET", "POST"):
        status, body, _ = ask(server, method, path, "{}" if method == "POST" else "", Content_Type="application/json")
        assert status == 404 and "page" not in body


def test_tokens_differ_and_are_long() -> None:
    with LiveServer("", answer) as one, LiveServer("", answer) as other:
        assert one.token != other.token and len(one.token) >= 32


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "127.0.0.1:1", "evil.example:80"])
def test_other_hosts_are_refused(server: LiveServer, host: str) -> None:
    assert ask(server, "GET", f"/{server.token}/", Host=host)[0] == 403
    assert post(server, "{}", Host=host)[0] == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://"])
def test_other_origins_are_refused(server: LiveServer, origin: str) -> None:
    assert post(server, '{"prompt": "x"}', Origin=origin)[0] == 403


def test_malformed_questions_are_refused_and_the_server_goes_on(server: LiveServer) -> None:
    assert post(server, "{")[0] == 400
    assert post(server, '{"prompt": "bad"}')[:2] == (400, '{"error": "no such prompt"}')
    assert post(server, "{}", Content_Type="text/plain")[0] == 415
    assert post(server, "x" * (MOST_BYTES + 1))[0] == 413
    assert post(server, '{"prompt": "x"}')[0] == 200


def test_other_methods_do_nothing(server: LiveServer) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH"):
        assert ask(server, method, f"/{server.token}/")[0] == 501


# --- the evaluator --------------------------------------------------------------------------------------------------


def test_the_evaluator_says_what_model_and_circuit_say(pruned_path: Path) -> None:
    (item,) = choose([pruned_path], "cpu")
    stored = load_circuit(item.path)
    pairs, model = stored.pairs["test"], item.run.model
    prompt = item.run.tokenizer.decode(pairs.clean[0, : pairs.clean_length[0]].tolist())
    ask_ = evaluator([item])
    name = circuit_id(item, stored.circuit)
    told = ask_({"circuit": name, "prompt": prompt, "nodes": [], "edges": []})
    prompts = Prompts.of(pairs)
    whole = logit_difference(model, prompts).sigmoid()[0]
    kept = logit_difference(model, prompts, isolate(model, stored.circuit.nodes, stored.means)).sigmoid()[0]
    assert told["model"] == pytest.approx(float(whole), abs=1e-4)
    assert told["circuit"] == told["changed"] == pytest.approx(float(kept), abs=1e-4)
    assert "".join(told["tokens"]) == prompt

    site, channels = next(iter(stored.circuit.nodes.items()))
    off = without(stored.circuit.nodes, [(site, channels[0])])
    changed = logit_difference(model, prompts, isolate(model, off, stored.means)).sigmoid()[0]
    told = ask_({"circuit": name, "prompt": prompt, "nodes": [f"{site}:{channels[0]}"], "edges": []})
    assert told["changed"] == pytest.approx(float(changed), abs=1e-4)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": 3}, "prompt is empty"),
        ({"prompt": "x " * 500}, "shorten it"),
        ({"prompt": "x", "nodes": ["9.mlp.in:0"]}, "a node that the circuit does not keep"),
        ({"prompt": "x", "edges": [10**6]}, "an edge that the circuit does not have"),
        ({"circuit": "other"}, "no circuit of this page"),
    ],
)
def test_wrong_requests_are_refused(pruned_path: Path, request_: dict[str, Any], words: str) -> None:
    (item,) = choose([pruned_path], "cpu")
    name = circuit_id(item, load_circuit(item.path).circuit)
    with pytest.raises(UserError, match=words):
        evaluator([item])({"circuit": name, **request_})


def test_a_live_page_writes_nothing(pruned_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NODE_EFFECTS": 0, "EDGE_EFFECTS": 2, "TEXT_WINDOWS": 8, "LADDER_STEPS": 2}.items():
        monkeypatch.setattr(viewing, name, value)
    before = {p: p.stat().st_mtime_ns for p in pruned_path.rglob("*")}
    with live_server([pruned_path], device="cpu") as server:
        assert json.loads(server.page.decode().split('id="data">')[1].split("</script>")[0])["live"]
        assert b"connect-src &#x27;self&#x27;" in server.page
    assert {p: p.stat().st_mtime_ns for p in pruned_path.rglob("*")} == before


def test_a_taken_port_is_said_at_once(pruned_path: Path, server: LiveServer) -> None:
    with pytest.raises(UserError, match=f"port {server.server_port} cannot be used"):
        live_server([pruned_path], port=server.server_port, device="cpu")


def test_a_live_page_takes_no_file_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", "runs/x", "--live", "--out", "page.html"]) == 2
    assert "--live writes no files; drop --out and --graph" in capsys.readouterr().err
