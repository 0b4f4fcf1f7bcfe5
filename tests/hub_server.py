"""A server on this machine that speaks the Hugging Face hub's protocol for files.

`HEAD` and `GET /<owner>/<repository>/resolve/<revision>/<file>` as the hub answers them
(ETag, commit, size, ranges, error codes); any other path is a plain file, as
keras.applications' are. Faults are switched on by attributes.
"""

import hashlib
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubServer(ThreadingHTTPServer):
    """Serves `files` (path -> bytes) from a thread, as a context manager.

    Attributes:
        url: of the server.
        requests: (method, path, Range header) of each request, in order.
        cut: bytes after which the next bodies break off, one entry a body.
        published: path -> SHA-256 to publish in place of the true one.
        refuse: status with which every request is refused, 0 for none.
        html: answer every request with a page, as a captive portal does.
    """

    def __init__(self, files: dict[str, bytes]):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.files = files
        self.requests = []
        self.cut = []
        self.published = {}
        self.refuse = 0
        self.html = False

    def __enter__(self):
        threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    def do_HEAD(self):
        self._answer(body=False)

    def do_GET(self):
        self._answer(body=True)

    def _answer(self, body):
        server = self.server
        server.requests.append((self.command, self.path, self.headers.get("Range")))
        match = re.fullmatch(r"/([^/]+/[^/]+)/resolve/[^/]+/(.+)", self.path)
        key = "/".join(match.groups()) if match else self.path.lstrip("/")
        if server.html:
            self._send(200, b"<html>Please log in</html>", body, {})
        elif server.refuse:
            self._send(server.refuse, b"", body, {})
        elif key not in server.files:
            self._send(404, b"", body, {"X-Error-Code": "EntryNotFound"})
        else:
            content = server.files[key]
            digest = hashlib.sha256(content).hexdigest()
            headers = {
                "ETag": f'"{server.published.get(key, digest)}"',
                "X-Repo-Commit": COMMIT,
                "Accept-Ranges": "bytes",
            }
            self._send_part(content, body, headers)

    def _send_part(self, content, body, headers):
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if not wanted:
            return self._send(200, content, body, headers)
        start, last = int(wanted[1]), len(content) - 1
        headers["Content-Range"] = f"bytes {start}-{last}/{len(content)}"
        return self._send(206, content[start:], body, headers)

    def _send(self, status, content, body, headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if not body:
            return
        if self.server.cut:
            content = content[: self.server.cut.pop(0)]
        self.wfile.write(content)

    def log_message(self, *_):
        """Nothing in the tests' output."""
