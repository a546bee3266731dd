import http.server
import threading

import huggingface_hub
import pytest


@pytest.fixture
def elsewhere(monkeypatch):
    """Points the client at a server of which every answer is this status and text."""
    servers = []

    def serve(status, text, where="127.0.0.1"):
        class Answers(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                body = text(self.path) if callable(text) else text
                self.send_response(200 if body == "[]" else status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *given):
                pass

        servers.append(http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://{where}:{servers[-1].server_port}")

    yield serve
    for server in servers:
        server.shutdown()
        server.server_close()
