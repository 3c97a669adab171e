# Copyright 2026 The mmr1-trl contributors. Licensed under the Apache License, Version 2.0 (see LICENSE).
"""The worker pool: deadlines, memory, threads, forks, spawned processes, shutdown."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from mmr1_trl.rewards.gold import Question
from mmr1_trl.rewards.pool import VerifyPool, _Worker, default_pool


EQUAL = (Question(r"2\sqrt{3}", "latex"), r"\sqrt{12}")
DIFFERENT = (Question(r"2\sqrt{3}", "latex"), r"\sqrt{13}")
HANGING = [(Question(r"2\sqrt{3}", "latex"), f"9^{{9^{{9^{{{n}}}}}}}") for n in range(7, 12)]


@pytest.fixture(scope="module")
def pool():
    pool = VerifyPool(num_workers=2, deadline=1.5, memory_mb=1024)
    yield pool
    pool.close()


def _alive(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    with open(f"/proc/{process_id}/stat") as stat:
        return stat.read().rpartition(")")[2].split()[0] != "Z"


def _children_of(process_id: int) -> list[int]:
    with open(f"/proc/{process_id}/task/{process_id}/children") as children:
        return [int(child) for child in children.read().split()]


def _wait_until_gone(process_ids: list[int], seconds: float = 60.0) -> list[int]:
    end = time.monotonic() + seconds
    while (left := [p for p in process_ids if _alive(p)]) and time.monotonic() < end:
        time.sleep(0.05)
    return left


def test_verdicts_come_in_order_and_repeated_tasks_share_one(pool, monkeypatch):
    asked, ask = [], _Worker.ask
    monkeypatch.setattr(_Worker, "ask", lambda self, task: asked.append(task) or ask(self, task))
    assert pool.compare([EQUAL, DIFFERENT, EQUAL]) == ["equal", "different", "equal"]
    assert pool.compare([EQUAL] * 1000) == ["equal"] * 1000
    assert pool.compare([]) == []
    assert sorted(answer for _, answer in asked) == [r"\sqrt{12}", r"\sqrt{13}"]


def test_hanging_items_cost_their_deadline_and_spare_the_rest(pool):
    honest = [(Question(f"{n}\\sqrt{{2}}", "latex"), f"\\sqrt{{{2 * n * n}}}") for n in range(2, 22)]
    # Others, which start both workers unless another test has.
    pool.compare([(Question(f"{n}\\sqrt{{3}}", "latex"), f"\\sqrt{{{3 * n * n}}}") for n in range(2, 8)])
    workers = pool.process_ids()
    start = time.monotonic()
    verdicts = pool.compare(HANGING[:2] + honest[:10] + HANGING[2:4] + honest[10:])
    elapsed = time.monotonic() - start
    assert verdicts == ["timeout"] * 2 + ["equal"] * 10 + ["timeout"] * 2 + ["equal"] * 10
    assert elapsed < 4 / 2 * pool.deadline + 15.0  # hanging items / workers * deadline, and room for a busy machine
    assert pool.process_ids() == workers  # only their children were replaced


def test_memory_is_capped():
    pool = VerifyPool(num_workers=1, deadline=20.0, memory_mb=512)
    huge = (Question("x", "latex"), r"2^{2^{36}}")  # an integer of 8 GiB
    assert pool.compare([EQUAL]) == ["equal"]
    assert pool.compare([huge])[0] != "equal"
    child = _children_of(pool.process_ids()[0])[0]
    with open(f"/proc/{child}/limits") as limits:
        assert f"{512 << 20}" in next(line for line in limits if "address space" in line)
    assert pool.compare([DIFFERENT]) == ["different"]
    pool.close()


def test_killed_workers_are_replaced(pool):
    assert pool.compare([(Question("a+b", "latex"), "b+a")]) == ["equal"]
    for process_id in pool.process_ids():
        os.killpg(process_id, signal.SIGKILL)
    tasks = [(Question("a+c", "latex"), "c+a"), (Question("a+d", "latex"), "d+a")]
    assert pool.compare(tasks) == ["equal", "equal"]


def test_a_worker_child_killed_in_the_middle_scores_zero_and_is_replaced():
    pool = VerifyPool(num_workers=1, deadline=30.0)
    assert pool.compare([EQUAL]) == ["equal"]
    child = _children_of(pool.process_ids()[0])[0]
    threading.Timer(0.5, os.kill, (child, signal.SIGKILL)).start()
    assert pool.compare([HANGING[0]]) == ["crash"]
    assert pool.compare([DIFFERENT]) == ["different"]
    pool.close()


def test_many_threads_share_a_pool(pool):
    results: dict[int, list[str]] = {}

    def ask(n: int) -> None:
        results[n] = pool.compare([(Question(f"x+{n}", "latex"), f"{n}+x"), (Question(f"x+{n}", "latex"), f"{n}-x")])

    threads = [threading.Thread(target=ask, args=(n,)) for n in range(2, 14)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {n: ["equal", "different"] for n in range(2, 14)}


def test_alarms_of_the_caller_survive(pool):
    fired = []
    previous = signal.signal(signal.SIGALRM, lambda *_: fired.append(True))
    before, _ = signal.setitimer(signal.ITIMER_REAL, 60.0)
    try:
        assert pool.compare([(Question("y+1", "latex"), "1+y")]) == ["equal"]
        left, _ = signal.getitimer(signal.ITIMER_REAL)
        assert 0 < left <= 60.0 and not fired
    finally:
        signal.setitimer(signal.ITIMER_REAL, before)  # pytest-timeout's own timer
        signal.signal(signal.SIGALRM, previous)


def _compare_in_child(connection) -> None:
    from mmr1_trl.rewards import accuracy_reward

    # Numbers of no other test: a forked child inherits the verdicts that its parent has cached.
    connection.send(accuracy_reward([r"\boxed{\sqrt{27436}}", r"\boxed{\sqrt{27437}}"], [r"2\sqrt{6859}"] * 2))
    connection.send(default_pool().process_ids())


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_forked_and_spawned_processes_start_their_own_workers(method):
    assert default_pool().compare([EQUAL]) == ["equal"]
    own = default_pool().process_ids()
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    child = context.Process(target=_compare_in_child, args=(there,))
    child.start()
    assert here.poll(60) and here.recv() == [1.0, 0.0]
    theirs = here.recv()
    child.join(30)
    assert child.exitcode == 0 and theirs and not set(own) & set(theirs)
    assert _wait_until_gone(theirs) == []
    assert all(_alive(process_id) for process_id in own)
    assert default_pool().compare([(Question("z+1", "latex"), "1+z")]) == ["equal"]


SCRIPT = """
import os, signal, sys
from mmr1_trl.rewards.pool import default_pool
from mmr1_trl.rewards.gold import Question
assert default_pool().compare([(Question("x+1", "latex"), "1+x")]) == ["equal"]
print(*default_pool().process_ids(), flush=True)
if sys.argv[1] == "killed":
    os.kill(os.getpid(), signal.SIGKILL)
if sys.argv[1] == "raises":
    raise SystemExit(3)
"""


@pytest.mark.parametrize("ending", ["normal", "killed", "raises"])
def test_no_worker_outlives_its_process(ending):
    done = subprocess.run([sys.executable, "-c", SCRIPT, ending], capture_output=True, text=True, timeout=120)
    workers = [int(word) for word in done.stdout.split()]
    assert workers and done.returncode == {"normal": 0, "killed": -9, "raises": 3}[ending], done.stderr
    assert done.stderr == ""
    assert _wait_until_gone(workers) == []


def test_workers_import_neither_torch_nor_numpy_and_start_fast():
    code = (
        "import sys, time; start = time.process_time(); import mmr1_trl.rewards.worker; "
        "print(time.process_time() - start, len({'torch', 'numpy', 'trl', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    seconds, heavy = done.stdout.split()
    assert float(seconds) < 5.0  # of CPU time; about 0.8 on an idle core
    assert heavy == "0"


def test_a_worker_that_cannot_start_is_an_error(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(RuntimeError, match="did not start"):
        VerifyPool(num_workers=1).compare([EQUAL])


def test_cache_is_bounded(monkeypatch, pool):
    monkeypatch.setattr("mmr1_trl.rewards.pool._CACHE_ITEMS", 3)
    pool.compare([(Question(f"x+{n}", "latex"), f"{n}+x") for n in range(20, 26)])
    assert len(pool._cache) == 3
