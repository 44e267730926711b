"""The live server answers its own page on this machine, and nobody else; the evaluator says what the model says."""

import contextlib
import gc
import http.client
import json
import logging
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import msgspec
import pytest
from waitress.trigger import trigger

from thinwire.circuits.ablation import isolate
from thinwire.circuits.artefact import load_circuit
from thinwire.circuits.isolated import isolate_circuit, without
from thinwire.circuits.prompts import Prompts, logit_difference
from thinwire.cli.main import main
from thinwire.errors import UserError
from thinwire.evidence.effects import effect
from thinwire.runs.trained import Trained
from thinwire.viewer import live
from thinwire.viewer.live import MOST_BYTES, LiveServer, Question
from thinwire.workflows import view as viewing
from thinwire.workflows.live import Ask, Parts, Resident, Residents, Which, live_server
from thinwire.workflows.view import choose, circuit_id


def answer(request: Ask) -> dict[str, str]:
    if request.prompt == "bad":
        raise UserError("no such prompt")
    return {"said": request.prompt}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    monkeypatch.setattr(live, "STALLED_SECONDS", 1)
    running = LiveServer("<!doctype html><p>page</p>", {"evaluate": Question(Ask, answer)})
    thread = threading.Thread(target=running.serve_forever, daemon=True)
    thread.start()
    yield running
    running.close()
    thread.join(10)
    assert not thread.is_alive()


def ask(
    server: LiveServer, method: str, path: str, body: str | bytes = "", **headers: str
) -> tuple[int, str, http.client.HTTPMessage]:
    with closing(http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)) as connection:
        connection.request(method, path, body or None, {n.replace("_", "-"): value for n, value in headers.items()})
        response = connection.getresponse()
        return response.status, response.read().decode(), response.headers


def post(server: LiveServer, body: str | bytes, **headers: str) -> tuple[int, str, http.client.HTTPMessage]:
    return ask(server, "POST", f"/{server.token}/evaluate", body, **{"Content_Type": "application/json", **headers})


def raw(server: LiveServer, *lines: str, body: bytes = b"") -> bytes:
    """The status line that bytes of one's own are answered with."""
    head = [f"POST /{server.token}/evaluate HTTP/1.1", f"Host: 127.0.0.1:{server.server_port}"]
    head += ["Content-Type: application/json", *lines]
    with closing(socket.create_connection(("127.0.0.1", server.server_port), timeout=20)) as connection:
        connection.sendall("\r\n".join(head).encode("latin-1") + b"\r\n\r\n" + body)
        return connection.recv(4096).partition(b"\r\n")[0]


GOOD = '{"circuit": "c", "prompt": "x"}'


def test_the_page_is_served_at_its_address(server: LiveServer) -> None:
    status, page, headers = ask(server, "GET", f"/{server.token}/")
    assert (status, page) == (200, "<!doctype html><p>page</p>")
    assert headers["X-Frame-Options"] == "DENY" and headers["Cache-Control"] == "no-store"
    assert server.url == f"http://127.0.0.1:{server.server_port}/{server.token}/"


def test_it_listens_on_the_loopback_alone(server: LiveServer) -> None:
    assert server._server.effective_host == "127.0.0.1"


def test_a_question_is_answered(server: LiveServer) -> None:
    origin = f"http://127.0.0.1:{server.server_port}"
    assert post(server, GOOD, Origin=origin)[:2] == (200, '{"said":"x"}')


@pytest.mark.parametrize("path", ["/", "/evaluate", "/wrong/", "/wrong/evaluate", "/../etc/passwd", "//", "/%2e%2e/"])
def test_without_the_token_there_is_nothing(server: LiveServer, path: str) -> None:
    for method in ("GET", "POST"):
        status, body, _ = ask(server, method, path, "{}" if method == "POST" else "", Content_Type="application/json")
        assert status == 404 and "page" not in body


def test_an_address_beside_the_token_is_nothing(server: LiveServer) -> None:
    whole = f"http://127.0.0.1:{server.server_port}/{server.token}/"
    for path in (f"/{server.token}", f"/{server.token}/x", f"/{server.token}/?", f"//{server.token}/", whole):
        assert ask(server, "GET", path)[0] == 404


def test_tokens_differ_and_are_long() -> None:
    with LiveServer("", {}) as one, LiveServer("", {}) as other:
        assert one.token != other.token and len(one.token) >= 32


@pytest.mark.parametrize("host", ["example.org", "127.0.0.1", "127.0.0.1:1", "evil.example:80"])
def test_other_hosts_are_refused(server: LiveServer, host: str) -> None:
    assert ask(server, "GET", f"/{server.token}/", Host=host)[0] == 403
    assert post(server, "{}", Host=host)[0] == 403


def test_a_second_host_is_refused(server: LiveServer) -> None:
    assert raw(server, "Host: evil.example", f"Content-Length: {len(GOOD)}", body=GOOD.encode()).split()[1] == b"403"


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "file://"])
def test_other_origins_are_refused(server: LiveServer, origin: str) -> None:
    assert post(server, GOOD, Origin=origin)[0] == 403


DEEP = 50_000
WRONG: dict[str, bytes | str] = {
    "no JSON": "{",
    "nothing": "",
    "another type": "[]",
    "a number for a prompt": '{"circuit": "c", "prompt": 3}',
    "a list for a circuit": '{"circuit": [1], "prompt": "x"}',
    "an object for a circuit": '{"circuit": {}, "prompt": "x"}',
    "lists among nodes": '{"circuit": "c", "prompt": "x", "nodes": [[1]]}',
    "objects among nodes": '{"circuit": "c", "prompt": "x", "nodes": [{}]}',
    "text for nodes": '{"circuit": "c", "prompt": "x", "nodes": ""}',
    "true for an edge": '{"circuit": "c", "prompt": "x", "edges": [true]}',
    "a number too large": '{"circuit": "c", "prompt": "x", "edges": [1e999]}',
    "a number of many digits": '{"circuit": "c", "prompt": "x", "edges": [' + "9" * 5000 + "]}",
    "an unknown key": '{"circuit": "c", "prompt": "x", "more": 1}',
    "deep lists": "[" * DEEP,
    "deep lists that end": "[" * DEEP + "]" * (MOST_BYTES - DEEP - 1),
    "deep objects": '{"a":' * (DEEP // 5),
    "a lone surrogate": '{"circuit": "c", "prompt": "\\ud800"}',
    "no UTF-8": b'{"circuit": "c", "prompt": "\xff\xfe"}',
    "what the answer refuses": '{"circuit": "c", "prompt": "bad"}',
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_questions_get_a_status_and_the_server_goes_on(
    server: LiveServer, case: str, capfd: pytest.CaptureFixture[str]
) -> None:
    status, body, _ = post(server, WRONG[case])
    assert status == 400 and json.loads(body)["error"]
    assert post(server, GOOD)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_other_types_and_long_requests_are_refused(server: LiveServer) -> None:
    assert post(server, GOOD, Content_Type="text/plain")[0] == 415
    assert post(server, "x" * (MOST_BYTES + 1))[0] == 413
    assert post(server, GOOD)[0] == 200


@pytest.mark.parametrize(
    "length", ["\u00b2", "9" * 5000, "-1", "1_0", "0x10", "1e3", " ", str(1 << 40), "3, 4"], ids=lambda text: text[:6]
)
def test_odd_lengths_get_a_status(server: LiveServer, length: str, capfd: pytest.CaptureFixture[str]) -> None:
    status = int(raw(server, f"Content-Length: {length}", body=b"{}").split()[1])
    assert 400 <= status < 500
    assert post(server, GOOD)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_other_methods_do_nothing(server: LiveServer) -> None:
    for method in ("PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "POST"):
        assert ask(server, method, f"/{server.token}/")[0] == 405
    assert ask(server, "GET", f"/{server.token}/evaluate")[0] == 405


def test_clients_that_go_away_make_no_noise(server: LiveServer, capfd: pytest.CaptureFixture[str]) -> None:
    for cut in (b"", b"POST /", f"POST /{server.token}/evaluate HTTP/1.1\r\nContent-Length: 50\r\n\r\n{{".encode()):
        for _ in range(20):
            connection = socket.create_connection(("127.0.0.1", server.server_port))
            connection.sendall(cut)
            # A reset instead of a farewell, as from a closed tab.
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            connection.close()
    assert post(server, GOOD)[0] == 200
    assert capfd.readouterr() == ("", "")


def test_two_hundred_at_once_all_get_an_answer(server: LiveServer, capfd: pytest.CaptureFixture[str]) -> None:
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(post(server, GOOD)[0])) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [200] * 200
    assert capfd.readouterr() == ("", "")


def test_stalled_clients_are_let_go_and_block_nobody(server: LiveServer) -> None:
    stalled = [socket.create_connection(("127.0.0.1", server.server_port), timeout=30) for _ in range(20)]
    for connection in stalled:
        connection.sendall(b"POST / HTTP/1.1\r\nHost:")
    assert post(server, GOOD)[0] == 200
    began = time.monotonic()
    for connection in stalled:
        assert connection.recv(10) == b""  # closed from the other side
        connection.close()
    assert time.monotonic() - began < 20


def test_a_server_ends_in_the_middle_of_its_answers(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its threads are about to do: no error in any of them, and nothing is written into a pipe that is closed,
    whose number may be another file's by then."""
    stray: list[str] = []
    pipe: Any = trigger
    physical = pipe._physical_pull

    def pull(self: Any) -> None:
        stray.extend(["pulled when closed"] if self._closed else [])
        physical(self)

    monkeypatch.setattr(pipe, "_physical_pull", pull)
    for i in range(50):
        running = LiveServer("page", {"evaluate": Question(Ask, lambda request: time.sleep(0.001) or answer(request))})
        serving = threading.Thread(target=running.serve_forever)
        clients = [threading.Thread(target=ask_until_closed, args=(running,)) for _ in range(4)]
        for thread in (serving, *clients):
            thread.start()
        time.sleep(0.005 + 0.001 * (i % 10))
        closing_too = threading.Thread(target=running.close)
        closing_too.start()
        running.close()
        for thread in (closing_too, serving, *clients):
            thread.join(20)
            assert not thread.is_alive()
    assert not stray
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR] == []


def ask_until_closed(server: LiveServer) -> None:
    with contextlib.suppress(OSError, http.client.HTTPException):
        while True:
            post(server, GOOD)


# --- what it answers --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def resident(pruned_path: Path) -> Resident:
    (item,) = choose([pruned_path], "cpu")
    return Resident(item)


def test_the_evaluator_says_what_model_and_circuit_say(resident: Resident) -> None:
    run, stored = resident.item.run, resident.stored
    pairs, model, nodes = stored.pairs["test"], run.model, stored.circuit.nodes
    prompt = run.tokenizer.decode(pairs.clean[0, : pairs.clean_length[0]].tolist()).removeprefix("\n")
    told = resident.evaluate(Ask("", prompt=prompt))
    prompts = Prompts.of(pairs)
    whole = logit_difference(model, prompts).sigmoid()[0]
    kept = logit_difference(model, prompts, isolate(model, nodes, stored.means)).sigmoid()[0]
    assert told["model"] == pytest.approx(float(whole), abs=2e-3)  # three digits travel
    assert told["circuit"] == told["changed"] == pytest.approx(float(kept), abs=2e-3)
    assert "".join(told["tokens"]) == "\n" + prompt  # the newline that stands before every prompt of a task

    site, channels = next(iter(nodes.items()))
    key = f"{site}:{channels[0]}"
    off = without(nodes, [(site, channels[0])])
    changed = logit_difference(model, prompts, isolate(model, off, stored.means)).sigmoid()[0]
    told = resident.evaluate(Ask("", [key], prompt=prompt))
    assert told["changed"] == pytest.approx(float(changed), abs=2e-3)
    after, before = told["nodes"][key]
    assert after == pytest.approx([float(stored.means[site][channels[0]])] * len(told["tokens"]), rel=1e-2)
    assert len(before) == len(told["tokens"]) and set(told["nodes"]) == {f"{s}:{c}" for s in nodes for c in nodes[s]}


def test_scores_are_those_of_all_test_pairs(resident: Resident) -> None:
    run, stored = resident.item.run, resident.stored
    test = stored.circuit.scores["test"]
    found = resident.score(Parts(""))
    assert (found.loss, found.accuracy) == (pytest.approx(test.loss, abs=1e-4), pytest.approx(test.accuracy))
    assert found.n_prompts == 2 * len(stored.pairs["test"])
    prompts = Prompts.of(stored.pairs["test"])
    whole = (logit_difference(run.model, prompts) * prompts.sign).mean()
    kept = logit_difference(run.model, prompts, isolate(run.model, stored.circuit.nodes, stored.means))
    assert found.recovered == pytest.approx(float((kept * prompts.sign).mean() / whole), abs=1e-4)
    everything = [f"{site}:{c}" for site, channels in stored.circuit.nodes.items() for c in channels]
    assert resident.score(Parts("", everything)).recovered == pytest.approx(0, abs=0.2)


def test_edges_that_are_out_change_the_answer_as_their_removal_does(resident: Resident) -> None:
    stored, model = resident.stored, resident.item.run.model
    edges = list(range(stored.circuit.n_edges))
    alone = isolate_circuit(model, stored.circuit, stored.means, Prompts.of(stored.pairs["test"]))
    expected = effect(alone.without(edges=stored.circuit.edges))
    assert resident.score(Parts("", edges=edges)).loss == pytest.approx(expected.loss, abs=1e-5)


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": "x " * 500}, "shorten it"),
        ({"prompt": "x", "nodes": ["9.mlp.in:0"]}, "a node that the circuit does not keep"),
        ({"prompt": "x", "nodes": ["nothing"]}, "is no node"),
        ({"prompt": "x", "edges": [10**6]}, "an edge that the circuit does not have"),
        ({"prompt": "x", "edges": [-1]}, "an edge that the circuit does not have"),
        ({"prompt": "x", "circuit": "other"}, "no circuit of this page"),
    ],
)
def test_wrong_requests_are_refused(pruned_path: Path, request_: dict[str, Any], words: str) -> None:
    chosen = choose([pruned_path], "cpu")
    name = circuit_id(chosen[0], load_circuit(chosen[0].path).circuit)
    question = Residents(chosen).questions()["evaluate"]
    with pytest.raises(UserError, match=words):
        question.answer(msgspec.convert({"circuit": name, **request_}, question.asks))


def test_text_outside_ascii_gives_the_numbers_of_its_tokens(resident: Resident) -> None:
    """Tokens of a byte each are shown as escapes; what is typed is text, and its own bytes are read."""
    told = resident.evaluate(Ask("", prompt="café = λ"))
    tokenizer = resident.item.run.tokenizer
    assert told["tokens"] == [tokenizer.token_text(i) for i in tokenizer.encode("\ncafé = λ")]


def test_the_page_is_there_before_anything_is_measured(pruned_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: object, **__: object) -> None:
        pytest.fail("measured before anybody looked")

    before = {p: p.stat().st_mtime_ns for p in pruned_path.rglob("*")}
    with monkeypatch.context() as patch:
        for name in ("gather_circuit", "node_effects", "pair_evidence", "node_examples"):
            patch.setattr(viewing, name, measure)
        server = live_server([pruned_path], device="cpu")
    monkeypatch.setattr(Trained, "heldout_loss", measure)  # is on the page already
    with server:
        data = json.loads(server.page.decode().split('id="data">')[1].split("</script>")[0])
        (outline,) = data["circuits"]
        assert data["live"] and "layout" not in outline and outline["judgement"]["verdict"]
        assert b"connect-src &#x27;self&#x27;" in server.page
        for name, value in {"NODE_EFFECTS": 0, "EDGE_EFFECTS": 2, "TEXT_WINDOWS": 8, "LADDER_STEPS": 2}.items():
            monkeypatch.setattr(viewing, name, value)
        question = server.questions["circuit"]
        entry = question.answer(Which(outline["id"]))
        assert entry["layout"]["nodes"] and msgspec.json.encode(entry)
        typed = server.questions["evaluate"].answer(Ask(outline["id"], prompt=outline["first_prompt"]))
        shown = entry["pairs"][0]["probability"]
        assert (typed["model"], typed["circuit"]) == (shown["model"]["clean"], shown["circuit"]["clean"])
    assert {p: p.stat().st_mtime_ns for p in pruned_path.rglob("*")} == before


def test_a_taken_port_is_said_at_once(pruned_path: Path, server: LiveServer) -> None:
    with pytest.raises(UserError, match=f"port {server.server_port} cannot be used"):
        live_server([pruned_path], port=server.server_port, device="cpu")
    gc.collect()  # a socket that was left open is a warning now, and a warning is an error


def test_a_live_page_takes_no_file_to_write(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["view", "runs/x", "--live", "--out", "page.html"]) == 2
    assert "--live writes no files; drop --out, --graph and --examples" in capsys.readouterr().err
