"""A stand-in for `lake env .../repl`: speaks the Lean REPL's protocol, from recordings, from a toy prover, or badly.

Run as `repl_standin.py RECORDINGS LOG`. Requests are answered so:
- a recorded request (tests/data/lean_repl_recorded) gets its recorded reply; `theorem recorded_N ... := by sorry` is
  the one on line N. State numbers are given out in the order in which this process makes states, as the real REPL
  does, so the same number means another state after a restart;
- `theorem toy...` opens a toy proof with one goal, in which `more` adds a goal, `done` closes the main one, and others
  named in `misbehave` below make the server hang, die or talk nonsense;
- LOG gets a line for every process and every request, so that tests can see what reached a server.
"""

import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

COMMAND = re.compile(r"\Atheorem (?P<name>\S+)\s+(?P<statement>.*?)\s*:=\s*by\s+sorry\Z", re.DOTALL)
CLAIM = json.dumps({"proofStatus": "Completed", "proofState": 0, "goals": []}) + "\n\n"


def load(path):
    """({command text or `recorded_LINE`: reply}, {(test, recorded state number, tactic): reply})"""
    commands, tactics = {}, {}
    with open(path, encoding="utf-8") as file:
        for number, line in enumerate(file):
            pair = json.loads(line)
            request, reply = pair["request"], pair["response"]
            if "tactic" in request:
                tactics[pair["test"], request["proofState"], request["tactic"]] = (pair["test"], reply)
            elif "cmd" in request:
                commands[f"recorded_{number}"] = commands[request["cmd"]] = (pair["test"], reply)
    return commands, tactics


class StandIn:
    def __init__(self, recordings, log):
        self.commands, self.tactics = load(recordings)
        self.log = Path(log).open("a", encoding="utf-8", buffering=1)  # noqa: SIM115 - for the life of the process
        self.states = []  # number -> ("recorded", test, recorded number) or ("toy", goals)
        self.environments = 0
        self.log.write(f"start {os.getpid()}\n")

    def answer(self, request):
        self.log.write(json.dumps(request, ensure_ascii=False) + "\n")
        if "tactic" in request:
            number = request["proofState"]
            if not 0 <= number < len(self.states):
                return {"message": "Unknown proof state."}
            kind, *state = self.states[number]
            return self.recorded_tactic(*state, request["tactic"]) if kind == "recorded" else self.toy(*state, request)
        return self.command(request["cmd"])

    def command(self, text):
        found = COMMAND.match(text)
        if found and found["name"].startswith("toy"):
            goal = "⊢ " + found["statement"].lstrip(": ")
            return {"sorries": [{"proofState": self.new(("toy", [goal])), "goal": goal}], "env": self.environment()}
        if text.startswith("import Missing"):
            return {"message": "unknown module prefix 'Missing'"}
        if text.startswith("import Hang"):
            time.sleep(600)
        if "#print axioms" in text:
            return self.certify(text)
        key = found["name"] if found else text
        if key not in self.commands:
            return {"env": self.environment()}
        test, reply = self.commands[key]
        return self.renumbered(test, reply) | {"env": self.environment()}

    def certify(self, text):
        if "\n  hang\n" in text:
            time.sleep(600)
        if "lie" in text:
            message = {"severity": "error", "pos": {"line": 1, "column": 0}, "data": "unsolved goals\n⊢ False"}
            return {"messages": [message], "env": self.environment()}
        name = re.search(r"#print axioms (?:_root_\.)?(\S+)", text)[1]
        axioms = "depends on axioms: [propext, Evil.trust]" if "cheat" in text else "does not depend on any axioms"
        line = text[: text.index("#print axioms")].count("\n") + 1
        message = {"severity": "info", "pos": {"line": line, "column": 0}, "data": f"'{name}' {axioms}"}
        return {"messages": [message], "env": self.environment()}

    def recorded_tactic(self, test, number, tactic):
        if (test, number, tactic) not in self.tactics:
            return {"message": "Lean error:\nnot in the recordings"}
        return self.renumbered(*self.tactics[test, number, tactic])

    def renumbered(self, test, reply):
        reply = json.loads(json.dumps(reply))
        for part in [*reply.get("sorries", []), reply]:
            if "proofState" in part:
                part["proofState"] = self.new(("recorded", test, part["proofState"]))
        return reply

    def toy(self, goals, request):
        tactic = request["tactic"]
        self.misbehave(tactic)
        if tactic == "more":
            goals = [f"case m{len(goals)}\nh✝ : p\n{goals[0]} ∧ ?m.{os.getpid()}", *goals]
        elif tactic == "done":
            goals = goals[1:]
        elif tactic == "same":
            pass
        elif tactic == "probe":
            goals = ["⊢ " + json.dumps(probe())]
        elif tactic == "drift":
            goals = [f"⊢ made by process {os.getpid()}"]
        elif tactic == "heartbeats":
            return {"message": "Lean error:\n(deterministic) timeout at `whnf`, maximum number of heartbeats (200000)"}
        elif tactic == "old":
            return {"proofState": self.new(("toy", [])), "goals": []}
        elif tactic == "forget":
            return {"message": "Unknown proof state."}
        elif tactic == "contradiction":
            return {"proofStatus": "Completed", "proofState": 0, "goals": goals}
        elif tactic.startswith("(\n"):
            parts = [part for line in tactic[1:-1].splitlines() for part in line.split(";") if part.strip()]
            for part in parts:
                reply = self.toy(goals, {"tactic": part.strip()})
                if "goals" not in reply:
                    return reply
                goals = reply["goals"]
            return reply
        elif ";" in tactic or "\n" in tactic:
            return {"message": "Lean error:\n<input>:1:5: expected end of input"}
        else:
            return {"message": f"Lean error:\n<input>:1:1: unknown tactic '{tactic}'"}
        status = "Incomplete: open goals remain" if goals else "Completed"
        return {"proofStatus": status, "proofState": self.new(("toy", goals)), "goals": goals}

    def misbehave(self, tactic):
        if tactic == "hang":
            time.sleep(600)
        elif tactic == "die":
            sys.stdout.write('{"proofStatus": "Comp')
            sys.stdout.flush()
            sys.stderr.write("uncaught exception: out of luck\n")
            os._exit(3)
        elif tactic == "garbage":
            emit("PANIC at Lean.Expr.bvar!\n\n")
        elif tactic == "bytes":
            sys.stdout.buffer.write(b'{"message": "\xff\xfe"}\n\n')
            sys.stdout.buffer.flush()
        elif tactic == "nested":
            emit("[" * 200_000 + "\n\n")
        elif tactic == "array":
            emit("[1, 2]\n\n")
        elif tactic == "twice":
            emit(CLAIM * 2)
        elif tactic == "late":
            threading.Timer(0.1, emit, (CLAIM,)).start()
        elif tactic == "flood":
            while True:
                emit("x" * 65536)
        elif tactic == "chatter":
            sys.stderr.write("trace\n" * 100_000)
        elif tactic == "grow":
            hoard = []
            while True:
                hoard.append(bytearray(os.urandom(1 << 20)) * 8)
                time.sleep(0.005)
        elif tactic == "orphan":  # its child keeps the pipes open
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
            time.sleep(0.2)
            os._exit(4)

    def new(self, state):
        self.states.append(state)
        return len(self.states) - 1

    def environment(self):
        self.environments += 1
        return self.environments - 1


def probe():
    """What a process in the sandbox can do."""
    found = {
        "user": os.geteuid(),
        "folder": os.getcwd(),
        "secret": os.environ.get("MY_TOKEN"),
        "home": os.environ["HOME"],
    }
    try:
        socket.socket()
        found["socket"] = True
    except OSError:
        found["socket"] = False
    try:
        with open("/tmp/repl-sandbox-probe", "w"):
            found["write"] = True
        os.unlink("/tmp/repl-sandbox-probe")
    except OSError:
        found["write"] = False
    try:
        if os.fork() == 0:
            os._exit(0)
        found["fork"] = True
    except OSError:
        found["fork"] = False
    return found


def emit(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def main():
    standin = StandIn(sys.argv[1], sys.argv[2])
    lines = []
    for line in sys.stdin:
        if line.strip():
            lines.append(line)
            continue
        if lines:
            emit(json.dumps(standin.answer(json.loads("".join(lines))), ensure_ascii=False, indent=1) + "\n\n")
            lines = []


if __name__ == "__main__":
    sys.stdin.reconfigure(encoding="utf-8")
    sys.stdout.reconfigure(encoding="utf-8")
    main()
