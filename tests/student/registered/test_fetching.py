"""What comes from the network: http alone, within bounds, and a sentence for everything else."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic

import pytest

from data_prep.errors import PipeError
from student.registered.fetching import fetch

MOST = 1000
END = threading.Event()


class Answer(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
        elif self.path == "/headers":
            self.wfile.write(b"HTTP/1.0 200 OK\r\n")
            while not END.wait(0.02):
                self.wfile.write(b"X")
        elif self.path == "/slow":
            self.send_response(200)
            self.end_headers()
            while not END.wait(0.02):
                self.wfile.write(b"x")
        elif self.path == "/chunks":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\nabc")
        elif self.path == "/nothing":
            self.wfile.write(b"no http at all\r\n\r\n")
        else:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(bytes(int(self.path[1:])))

    def log_message(self, *_):
        pass


@pytest.fixture
def address():
    END.clear()
    server = ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # a client that goes away is what is tested
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    END.set()
    server.shutdown()
    server.server_close()


def test_a_file_comes_whole_and_through_a_redirect(address):
    assert fetch(f"{address}999", MOST) == bytes(999)
    assert fetch(f"{address}1000", MOST) == bytes(1000)
    assert fetch(f"{address}to/{address}7", MOST) == bytes(7)
    with pytest.raises(PipeError, match="more than 1,000 bytes"):
        fetch(f"{address}1001", MOST)


@pytest.mark.parametrize("goal", ["file:///etc/hostname", "ftp://127.0.0.1/a", "data:,abc"])
def test_a_redirect_to_anything_but_http_is_refused(address, goal):
    with pytest.raises(PipeError, match=r"cannot be fetched .*(not allowed|unknown url type)"):
        fetch(f"{address}to/{goal}", MOST)


@pytest.mark.parametrize("path", ["a b", "chunks", "nothing", "to/http://[", "to/http://a b/"])
def test_an_answer_that_is_none_is_a_sentence(address, path):
    with pytest.raises(PipeError, match=r"cannot be fetched \(.+\); fetch it yourself"):
        fetch(f"{address}{path}", MOST)


@pytest.mark.parametrize("path", ["headers", "slow"])
def test_the_time_is_bounded_in_all(address, path, monkeypatch):
    monkeypatch.setattr("student.registered.fetching._SECONDS", 0.2)
    began = monotonic()
    with pytest.raises(PipeError, match=r"more than 0.2 seconds"):
        fetch(f"{address}{path}", 10**9)
    assert monotonic() - began < 60  # and not for ever
