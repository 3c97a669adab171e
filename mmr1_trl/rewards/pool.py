# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""
Symbolic comparison that cannot hang, crash or exhaust the training process.

math-verify's own timeout is SIGALRM: it raises off the main thread and cancels the caller's alarms. Here each
comparison runs in a worker process with a wall clock deadline and a memory cap, and the calling process only waits on
a pipe. That works from any thread, under pytest-timeout, in forked and spawned processes (each starts workers of its
own when it first needs them) and under torchrun. Linux and macOS.
"""

import atexit
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from queue import LifoQueue

from mmr1_trl.rewards.gold import Question


DEADLINE_SECONDS = 3.0
MEMORY_MB = 1024
_CACHE_ITEMS = 65_536
_START_SECONDS = 120.0
_GRACE_SECONDS = 1.0
_PACKAGE_ROOT = Path(__file__).resolve().parents[2]
Task = tuple[Question, str]
_pools: "weakref.WeakSet[VerifyPool]" = weakref.WeakSet()


class _Worker:
    """One worker process; used by one thread at a time."""

    def __init__(self, deadline: float, memory_mb: int):
        self.deadline, self.memory_mb = deadline, memory_mb
        self.process: subprocess.Popen[bytes] | None = None
        self.pending = b""
        self.ready = False

    def start(self) -> None:
        paths = [str(_PACKAGE_ROOT), os.environ.get("PYTHONPATH", "")]
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "CUDA_VISIBLE_DEVICES": ""}
        self.process = subprocess.Popen(
            # -P: the folder of the script and the current directory must not shadow the standard library.
            [
                sys.executable,
                "-P",
                "-m",
                "mmr1_trl.rewards.worker",
                str(self.deadline),
                str(self.memory_mb << 20),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # Ctrl-C goes to the training process, which then closes the pipe
        )
        self.pending, self.ready = b"", False

    def ask(self, task: Task) -> str:
        """Return the status of one comparison; restart the process when it is beyond repair."""
        for _ in range(2):  # a worker that died while idle gets a second chance with the same task
            if self.process is None:
                self.start()
            if not self.ready:
                if not self._read_status(_START_SECONDS):
                    self.kill()
                    raise RuntimeError(
                        "The worker process that compares mathematical answers did not start. Run "
                        f"`{sys.executable} -m mmr1_trl.rewards.worker 3 1073741824` to see why."
                    )
                self.ready = True
            question, answer = task
            line = json.dumps({"question": asdict(question), "answer": answer}).encode() + b"\n"
            assert self.process is not None and self.process.stdin is not None
            try:
                self.process.stdin.write(line)
                self.process.stdin.flush()
            except OSError:
                self.kill()
                continue
            # The kernel timer in the worker comes first; this clock only covers a machine that stalls it.
            status = self._read_status(self.deadline + _GRACE_SECONDS)
            if status:
                return status
            self.kill()
            if status is None:
                return "timeout"
        return "crash"

    def _read_status(self, timeout: float) -> str | None:
        """The next verdict; `None` when none comes in time, `""` when the process is gone."""
        assert self.process is not None and self.process.stdout is not None
        descriptor, end = self.process.stdout.fileno(), time.monotonic() + timeout
        poll = select.poll()  # unlike select(), fine with descriptors above 1024
        poll.register(descriptor, select.POLLIN)
        while b"\n" not in self.pending:
            if not poll.poll(max(0.0, end - time.monotonic()) * 1000):
                return None
            chunk = os.read(descriptor, 4096)
            if not chunk:
                return ""
            self.pending += chunk
        line, _, self.pending = self.pending.partition(b"\n")
        return json.loads(line)["status"]

    def kill(self) -> None:
        if self.process is None:
            return
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
        self._close_pipes()
        self.process.wait()
        self.process = None

    def stop(self) -> None:
        """End an idle worker by closing its input."""
        if self.process is None:
            return
        self._close_pipes()
        try:
            self.process.wait(timeout=_GRACE_SECONDS)
            self.process = None
        except subprocess.TimeoutExpired:
            self.kill()

    def _close_pipes(self) -> None:
        assert self.process is not None
        for pipe in (self.process.stdin, self.process.stdout):
            try:
                if pipe is not None:
                    pipe.close()
            except OSError:
                pass  # unwritten input of a process that is gone

    def forget(self) -> None:
        """In a forked child: drop the parent's worker without touching it."""
        if self.process is not None:
            self._close_pipes()
            self.process.returncode = 0  # not ours to wait for
            self.process = None


class VerifyPool:
    """
    Worker processes that compare answers symbolically, each item under a deadline.

    Args:
        num_workers (`int`, *optional*):
            Number of processes. Defaults to the cores of this rank (`os.cpu_count() // LOCAL_WORLD_SIZE`), at most 4.
        deadline (`float`, *optional*, defaults to `3.0`):
            Wall clock seconds per comparison. An honest one takes milliseconds; the rest is for busy machines.
        memory_mb (`int`, *optional*, defaults to `1024`):
            Address space of a worker in MiB.

    Workers start at the first comparison and end with the process, or at [`~VerifyPool.close`]. Verdicts are cached by
    (question, answer); the cache is bounded. All methods may be called from several threads.
    """

    def __init__(self, num_workers: int | None = None, deadline: float = DEADLINE_SECONDS, memory_mb: int = MEMORY_MB):
        if num_workers is None:
            num_workers = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
            num_workers = min(4, max(1, num_workers))
        self.deadline = deadline
        self._workers = [_Worker(deadline, memory_mb) for _ in range(num_workers)]
        self._cache: OrderedDict[Task, str] = OrderedDict()
        self._reset()
        _pools.add(self)

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._idle: LifoQueue[_Worker] = LifoQueue()
        for worker in self._workers:
            self._idle.put(worker)

    def _forget_workers(self) -> None:
        for worker in self._workers:
            worker.forget()
        self._reset()

    def compare(self, tasks: Sequence[Task]) -> list[str]:
        """
        Compare answers with their questions.

        Args:
            tasks (`Sequence[tuple[Question, str]]`):
                What [`types.is_equal`] could not decide without algebra.

        Returns:
            `list[str]`: `"equal"`, `"different"`, `"timeout"`, `"memory"`, `"crash"`, `"unreadable"` or
            `"error <Exception>"` for each task, in order. Everything but `"equal"` scores 0.
        """
        with self._lock:
            verdicts = {task: self._cache[task] for task in tasks if task in self._cache}
        waiting = list(dict.fromkeys(task for task in tasks if task not in verdicts))
        position = iter(waiting)
        errors: list[BaseException] = []

        def work() -> None:
            worker = self._idle.get()
            try:
                while not errors:
                    with self._lock:
                        task = next(position, None)
                    if task is None:
                        return
                    verdicts[task] = worker.ask(task)
            except BaseException as error:  # raised again in the calling thread
                errors.append(error)
            finally:
                self._idle.put(worker)

        threads = [threading.Thread(target=work, daemon=True) for _ in self._workers[: len(waiting)]]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[0]
        with self._lock:
            for task in waiting:
                self._cache[task] = verdicts[task]
            while len(self._cache) > _CACHE_ITEMS:
                self._cache.popitem(last=False)
        return [verdicts[task] for task in tasks]

    def close(self) -> None:
        """End the workers; the pool starts new ones when it is used again."""
        for worker in self._workers:
            worker.stop()

    def process_ids(self) -> list[int]:
        """Process ids of the workers that run."""
        return [worker.process.pid for worker in self._workers if worker.process is not None]


_default: VerifyPool | None = None
_default_lock = threading.Lock()


def default_pool() -> VerifyPool:
    """Return the pool that this process's reward functions share, made on first use."""
    global _default
    with _default_lock:
        if _default is None:
            _default = VerifyPool()
        return _default


def _close_pools() -> None:
    for pool in list(_pools):
        pool.close()


def _after_fork() -> None:
    # A forked child owns neither the parent's workers nor the state of its locks.
    global _default_lock
    _default_lock = threading.Lock()
    for pool in list(_pools):
        pool._forget_workers()


atexit.register(_close_pools)
os.register_at_fork(after_in_child=_after_fork)
