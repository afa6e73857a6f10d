"""Firefox by its own protocol, Marionette, with the few commands that these tests need.

Selenium would want geckodriver, which Debian doesn't have.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
from pathlib import Path
from typing import Any

PREFERENCES = {
    "browser.shell.checkDefaultBrowser": False,
    "datareporting.policy.dataSubmissionEnabled": False,
    "app.normandy.enabled": False,
    "browser.startup.homepage_override.mstone": "ignore",
    "services.settings.server": "data:,",
}


class Firefox:
    """A headless Firefox; methods have Selenium's names.

    Parameters
    ----------
    program : str
        The program.
    folder : Path
        An empty folder for its profile.
    """

    def __init__(self, program: str, folder: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        lines = [
            f"user_pref({json.dumps(name)}, {json.dumps(value)});\n"
            for name, value in {**PREFERENCES, "marionette.port": port}.items()
        ]
        (folder / "user.js").write_text("".join(lines), encoding="utf-8")
        self.process = subprocess.Popen(
            [program, "--headless", "--marionette", "--no-remote", "--profile", str(folder)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.count, self.held = 0, b""
        self.socket = self._connected(port)
        self._heard()
        self._say("WebDriver:NewSession")

    def _connected(self, port: int) -> socket.socket:
        last = time.monotonic() + 60
        while True:
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=120)
            except OSError:
                if time.monotonic() > last or self.process.poll() is not None:
                    self.process.kill()
                    raise
                time.sleep(0.2)

    def _heard(self) -> Any:
        while b":" not in self.held:
            self.held += self._received()
        length, self.held = self.held.split(b":", 1)
        while len(self.held) < int(length):
            self.held += self._received()
        message, self.held = self.held[: int(length)], self.held[int(length) :]
        return json.loads(message)

    def _received(self) -> bytes:
        data = self.socket.recv(1 << 20)
        if not data:
            raise ConnectionError("Firefox is gone")
        return data

    def _say(self, command: str, **parameters: Any) -> Any:
        self.count += 1
        message = json.dumps([0, self.count, command, parameters]).encode()
        self.socket.sendall(str(len(message)).encode() + b":" + message)
        _, _, error, result = self._heard()
        if error is not None:
            raise RuntimeError(f"{error['error']}: {error['message']}")
        return result

    def get(self, address: str) -> None:
        self._say("WebDriver:Navigate", url=address)

    def execute_script(self, script: str, *arguments: Any) -> Any:
        return self._say("WebDriver:ExecuteScript", script=script, args=list(arguments))["value"]

    def quit(self) -> None:
        with contextlib.suppress(RuntimeError, OSError):
            self._say("Marionette:Quit", flags=["eForceQuit"])
        self.socket.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
