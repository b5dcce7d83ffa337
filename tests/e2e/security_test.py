"""Who gets in over HTTP, and who cannot keep others out."""

import contextlib
import json
import os
import re
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.request

import pytest
from conftest import BUILD, START_SECONDS, STOP_SECONDS, run_tool

BSD = BUILD / "bsd" / "wdmoe-bsd"
SECRET_WORDS = "xyzzy plugh 48151623"


class Station:
    def __init__(self, process, log, url):
        self.process, self.log, self.url = process, log, url
        self.port = int(url.rsplit(":", 1)[1])

    def ask(self, path, key=None, body=None, context=None):
        """(status, body text)"""
        headers = {"content-type": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            self.url + path, headers=headers, data=None if body is None else json.dumps(body).encode())
        try:
            with urllib.request.urlopen(request, timeout=START_SECONDS, context=context) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def complete(self, **options):
        return self.ask("/v1/completions", body={"prompt": SECRET_WORDS, "max_tokens": 2}, **options)


@contextlib.contextmanager
def station(model, folder, *flags, local_experts="true"):
    """A base station, by default with its experts in its own process."""
    log = folder / "bsd.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [BSD, "--model", model, "--http-listen", "127.0.0.1:0", "--fleet-local-experts", local_experts,
             "--engine-kv-cache-mib", "16", *map(str, flags)], stdout=out, stderr=subprocess.STDOUT)
    try:
        deadline = time.monotonic() + START_SECONDS
        while not (found := re.search(r"http_listening url=(\S+)", log.read_text())):
            assert process.poll() is None and time.monotonic() < deadline, log.read_text()
            time.sleep(0.02)
        yield Station(process, log, found[1])
    finally:
        process.terminate()
        process.wait(STOP_SECONDS)


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "api.keys"


def make_key(key_file, name):
    made = run_tool("keygen", "--api", key_file, name)
    assert made.returncode == 0, made.stderr
    return made.stdout.strip()


def test_keys_are_asked_for_and_can_be_taken_back(tiny_model, tmp_path, key_file):
    ann, bob = make_key(key_file, "ann"), make_key(key_file, "bob")
    with station(tiny_model, tmp_path, "--http-api-keys", key_file) as bs:
        assert bs.complete()[0] == 401
        status, body = bs.complete(key=ann[:-1] + ("0" if ann[-1] != "0" else "1"))
        assert status == 401 and json.loads(body)["error"]["code"] == "invalid_api_key"
        assert bs.complete(key=ann)[0] == bs.complete(key=bob)[0] == 200
        for path in ("/metrics", "/wdmoe/v1/agents", "/wdmoe/v1/policy", "/v1/models"):
            assert bs.ask(path)[0] == 401, path
            assert bs.ask(path, key=bob)[0] == 200, path
        assert bs.ask("/healthz")[0] == 200

        lines = key_file.read_text().splitlines(keepends=True)
        key_file.write_text("".join(line for line in lines if not line.startswith("ann ")))
        began = time.monotonic()
        while bs.complete(key=ann)[0] == 200:
            assert time.monotonic() - began < START_SECONDS
        assert bs.complete(key=bob)[0] == 200

        tool = run_tool("policy", "show", "--bsd", bs.url, "--api-key", bob)
        assert tool.returncode == 0, tool.stderr
        tool = run_tool("policy", "show", env={**os.environ, "WDMOE_URL": bs.url, "WDMOE_API_KEY": ann})
        assert tool.returncode == 1 and "API key" in tool.stderr


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem", "-days", "2", "-subj", "/CN=bs",
         "-addext", "subjectAltName=IP:127.0.0.1"], check=True, capture_output=True)
    return folder


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion")
def test_tls_serves_the_tool_and_refuses_everything_else(tiny_model, tmp_path, certificate):
    flags = ["--http-tls-certificate", certificate / "cert.pem", "--http-tls-key", certificate / "key.pem"]
    with station(tiny_model, tmp_path, *flags) as bs:
        assert bs.url.startswith("https://")
        trusting = {**os.environ, "SSL_CERT_FILE": str(certificate / "cert.pem")}
        context = ssl.create_default_context(cafile=certificate / "cert.pem")
        assert bs.complete(context=context)[0] == 200
        said = run_tool("generate", "--bsd", bs.url, "-n", 4, "hello", env=trusting)
        assert said.returncode == 0, said.stderr
        said = run_tool("generate", "--bsd", bs.url, "-n", 4, "hello")
        assert said.returncode == 1 and "certificate" in said.stderr
        said = run_tool("generate", "--bsd", bs.url.replace("127.0.0.1", "localhost"), "hello", env=trusting)
        assert said.returncode == 1, "a certificate for another host is no certificate"
        with socket.create_connection(("127.0.0.1", bs.port), timeout=START_SECONDS) as plain:
            plain.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
            assert b"200" not in plain.recv(1000)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        old.set_ciphers("DEFAULT:@SECLEVEL=0")  # this client would
        old.minimum_version = old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, ConnectionError)):
            with socket.create_connection(("127.0.0.1", bs.port), timeout=START_SECONDS) as raw:
                old.wrap_socket(raw)
        assert bs.complete(context=context)[0] == 200


@pytest.mark.parametrize("flags, named", [
    (["--http-listen", "0.0.0.0:0"], "http.insecure"),
    (["--http-api-keys", "/no/such/file"], "/no/such/file"),
    (["--http-tls-certificate", "/no/such/cert"], "http.tls_key"),
    (["--http-tls-certificate", "/no/such/cert", "--http-tls-key", "/no/such/key"], "/no/such/cert"),
])
@pytest.mark.parametrize("check", [[], ["--check"]])
def test_what_is_not_safe_or_not_there_ends_the_start(tiny_model, flags, named, check):
    done = subprocess.run(
        [BSD, "--model", tiny_model, "--fleet-local-experts", "true", "--http-listen", "127.0.0.1:0", *flags, *check],
        capture_output=True, text=True, timeout=START_SECONDS)
    assert done.returncode == 1, done.stderr
    assert named in done.stderr


def hostile_clients(port, stop):
    """What strangers do: each yields a connection in some bad state."""
    def connect():
        return socket.create_connection(("127.0.0.1", port), timeout=START_SECONDS)

    kinds = [
        b"",                                                              # silence
        b"GET / HT",                                                      # half a request line
        b"POST /v1/completions HTTP/1.1\r\nContent-Length: 100000\r\n\r\n{",  # half a body
        b"\x16\x03\x01 not HTTP at all\r\n\r\n" * 20,
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 200,                 # pipelined, never read
        b"POST /v1/completions HTTP/1.1\r\nContent-Length: 99999999999\r\n\r\n" + b"x" * 4096,
        b"A" * 60_000,
    ]
    kept = []
    for number in range(1000):
        if stop.is_set():
            break
        with contextlib.suppress(OSError):
            one = connect()
            one.sendall(kinds[number % len(kinds)])
            kept.append(one)
    while not stop.wait(0.01):  # slow-loris: a byte here and there
        for one in kept[1::7]:
            with contextlib.suppress(OSError):
                one.sendall(b"T")
    for one in kept:
        one.close()


def test_a_well_behaved_client_is_served_beside_a_thousand_hostile_ones(tiny_model, tmp_path):
    with station(tiny_model, tmp_path) as bs:
        stop = threading.Event()
        crowd = threading.Thread(target=hostile_clients, args=(bs.port, stop))
        crowd.start()
        try:
            for _ in range(50):
                assert bs.complete()[0] == 200
        finally:
            stop.set()
            crowd.join()
        assert bs.complete()[0] == 200
        assert bs.process.poll() is None


def test_no_prompt_reaches_the_log(tiny_model, tmp_path, key_file):
    key = make_key(key_file, "ann")
    with station(tiny_model, tmp_path, "--http-api-keys", key_file, "--log-level", "info") as bs:
        assert bs.complete(key=key)[0] == 200
        assert bs.ask("/v1/completions", key=key, body={"prompt": SECRET_WORDS, "top_p": 7})[0] == 400
        assert bs.ask("/v1/completions", key=key, body={"prompt": SECRET_WORDS * 10_000})[0] == 400
        assert bs.complete()[0] == 401
    text = bs.log.read_text()
    assert "xyzzy" not in text and key not in text
    assert "stopped" in text
