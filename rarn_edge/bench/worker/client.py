"""The parent's end of a worker process: ask, get an answer, or learn how the process died."""

import json
import os
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import rarn_edge
from rarn_edge.errors import InputError, ProviderError

_TIMEOUT_S = 600.0


class WorkerError(Exception):
    """The worker answered with an error, crashed, or hung; `exit_code` is the command line's for it."""

    def __init__(self, reason: str, exit_code: int = InputError.exit_code) -> None:
        super().__init__(reason)
        self.exit_code = exit_code

    @property
    def is_provider(self) -> bool:
        return self.exit_code == ProviderError.exit_code


class Worker:
    """One child process. It dies with its `with` block; after a crash every further question raises at once."""

    def __init__(self, timeout_s: float = _TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 - closed in close(); a pipe nobody reads could block the child
        self._answers: queue.Queue[str] = queue.Queue()
        self._dead: WorkerError | None = None
        command = [
            sys.executable,
            "-P",
            "-m",
            "rarn_edge.bench.worker.process",
        ]  # -P: the working folder is no import path
        home = str(Path(rarn_edge.__file__).parent.parent)
        search_path = os.pathsep.join(filter(None, (home, os.environ.get("PYTHONPATH"))))
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                text=True,
                encoding="utf-8",
                errors="replace",
                env={**os.environ, "PYTHONPATH": search_path},
            )
        except OSError as error:
            self._stderr.close()
            raise WorkerError(f"the measuring process could not start ({error.strerror})") from error
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the process."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # what it had not read of a crashed child's question
                    continue
        self._stderr.close()

    def ask(self, command: str, **arguments: Any) -> dict[str, Any]:
        """The answer to one request.

        Raises:
            WorkerError: the answer is an error, or there is none because the process died or hangs.
        """
        return self.ask_within(self._timeout_s, command, **arguments)

    def ask_within(self, timeout_s: float, command: str, **arguments: Any) -> dict[str, Any]:
        """`ask` with a time limit of its own."""
        if self._dead is not None:
            raise self._dead
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": command, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=timeout_s)
        except queue.Empty:
            self._process.kill()
            raise self._died(f"gave no answer to '{command}' within {timeout_s:g} s") from None
        except OSError:
            raise self._died(self._obituary()) from None
        if not line:
            raise self._died(self._obituary())
        try:
            answer: dict[str, Any] = json.loads(line)
        except ValueError:
            self._process.kill()
            raise self._died(f"answered {line.strip()[-80:]!r}") from None
        if "error" in answer:
            raise WorkerError(str(answer["error"]), int(answer["exit_code"]))
        return answer

    @property
    def alive(self) -> bool:
        return self._dead is None

    def _read(self) -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                self._answers.put(line)
        except ValueError:  # closed while reading: the worker is being ended
            pass
        finally:
            self._answers.put("")

    def _died(self, how: str) -> WorkerError:
        self._dead = WorkerError(f"its process {how}")
        return self._dead

    def _obituary(self) -> str:
        """One line from an exit status: the signal's name, or the last line of the traceback."""
        try:
            code = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return "closed its answers and hung"
        if code < 0:
            try:
                name = signal.Signals(-code).name
            except ValueError:
                name = f"signal {-code}"
            return f"was killed by {name}" + (" (out of memory?)" if name == "SIGKILL" else "")
        self._stderr.seek(0)
        text = self._stderr.read().decode("utf-8", "replace").strip()
        return f"ended with exit code {code}: {(text.splitlines() or ['no message'])[-1][:200]}"
