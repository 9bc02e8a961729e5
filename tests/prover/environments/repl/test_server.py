"""One server process: what lean-interact's own client would wait for without end."""

import sys
import time
from pathlib import Path

import psutil
import pytest

pytest.importorskip("lean_interact", reason="the extra [lean] (lean-interact) is not installed")

from lean_interact import LeanREPLConfig
from lean_interact.server import LeanServer

from prover.environments.repl.reply import ServerFailure, ServerTimedOut, ServerUnusable
from prover.environments.repl.server import ReplServer


def server(tmp_path: Path, program: str) -> ReplServer:
    """A server whose `lake` is a Python program."""
    script = tmp_path / "server.py"
    script.write_text(f"import json, os, subprocess, sys, time\n{program}\n")
    lake = tmp_path / "lake"
    lake.write_text(f'#!/bin/sh\nexec "{sys.executable}" -I -S "{script}"\n')
    lake.chmod(0o755)
    config = LeanREPLConfig(local_repl_path=tmp_path, build_repl=False, lake_path=lake)
    return ReplServer(config, memory_bytes=256 << 20, reply_bytes=1 << 20)


def test_the_methods_that_are_replaced_exist_in_this_version():
    for name in ("_execute_cmd_in_repl", "get_stdout_stderr", "kill", "start"):
        assert callable(getattr(LeanServer, name))
    assert LeanServer._execute_cmd_in_repl.__code__.co_varnames[:4] == ("self", "json_query", "verbose", "timeout")


def test_a_long_request_to_a_server_that_does_not_read_ends_at_the_limit(tmp_path):
    deaf = server(tmp_path, "time.sleep(600)")
    began = time.monotonic()
    with pytest.raises(ServerTimedOut, match=r"no reply within 0.5 s"):
        deaf.ask({"cmd": "x" * (4 << 20)}, 0.5)
    assert time.monotonic() - began < 60, "it waited for what sleeps 600 s"
    with pytest.raises(ServerUnusable):
        deaf.ask({"cmd": "again"}, 0.5)


def test_a_dead_server_whose_child_holds_the_pipes_ends_at_the_limit(tmp_path):
    program = (
        'subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])\nsys.stdin.readline()\nos._exit(1)'
    )
    orphaned = server(tmp_path, program)
    children = []
    while not children:
        children = psutil.Process(orphaned._proc.pid).children(recursive=True)
    began = time.monotonic()
    with pytest.raises(ServerFailure):
        orphaned.ask({"cmd": "x"}, 0.5)
    assert time.monotonic() - began < 60, "it waited for what sleeps 600 s"
    psutil.wait_procs(children, timeout=2)
    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)


def test_unicode_goes_both_ways_in_pieces(tmp_path):
    echo = """
for line in sys.stdin.buffer:
    if line.strip():
        answer = json.dumps({"echo": json.loads(line)["cmd"]}, ensure_ascii=False).encode() + b"\\n\\n"
        for byte in answer:
            sys.stdout.buffer.write(bytes([byte])); sys.stdout.buffer.flush()
"""
    talker = server(tmp_path, echo)
    text = '∀ ε > 0, ∃ δ, 𝔸 ⟨x, y⟩ ∈ ℝ×ℝ \u00a0«h✝»\n\n⊢ "quoted"'
    assert talker.ask({"cmd": text}, 5) == {"echo": text}
    assert talker.ask({"cmd": "n"}, 5) == {"echo": "n"}
    talker.kill()


@pytest.mark.parametrize("pause", [0, 0.1], ids=["at once", "late"])
def test_blank_lines_between_replies_are_no_replies(tmp_path, pause):
    program = f"""
for line in sys.stdin.buffer:
    if line.strip():
        sys.stdout.write("\\n\\n" + json.dumps(json.loads(line)) + "\\n\\n"); sys.stdout.flush()
        time.sleep({pause})
        sys.stdout.write("\\n\\n\\n"); sys.stdout.flush()
"""
    talker = server(tmp_path, program)
    for text in ("one", "two", "three"):
        assert talker.ask({"cmd": text}, 5) == {"cmd": text}
    talker.kill()


def test_a_call_without_a_limit_is_refused(tmp_path):
    idle = server(tmp_path, "time.sleep(600)")
    with pytest.raises(ValueError, match="wall-clock limit"):
        idle.run_dict({"cmd": "x"})
    idle.kill()


def test_memory_is_watched_while_the_server_is_talking(tmp_path):
    greedy = server(
        tmp_path,
        """
sys.stdin.readline()
hoard = []
while True:
    hoard.append(bytearray(os.urandom(1 << 20)) * 16)
    sys.stdout.write(" "); sys.stdout.flush(); time.sleep(0.01)
""",
    )
    with pytest.raises(ServerFailure, match="memory limit: the Lean server took"):
        greedy.ask({"cmd": "x"}, 20)
    assert greedy._proc is None


def test_last_words_are_kept(tmp_path):
    loud = server(
        tmp_path, 'sys.stderr.write("INTERNAL PANIC: out of memory\\n"); sys.stderr.flush(); sys.stdin.readline()'
    )
    with pytest.raises(ServerFailure, match="INTERNAL PANIC: out of memory"):
        loud.ask({"cmd": "x"}, 5)
