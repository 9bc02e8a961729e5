"""A strict umask, as root and as an ordinary user: Lean, which runs as another user, can read its own files."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

NOBODY = 65534

SCRIPT = """
import os, sys
from prover.environments.isolation.sandbox import drop_user
umask, user = int(sys.argv[1], 8), int(sys.argv[2])
os.umask(umask)
if user != os.getuid():
    drop_user(user, read_all=True)  # the interpreter may lie in a folder of root's
from prover.environments import Complete, StepRequest, open_environment
from prover.environments.base import ProofClaim, ProofState
from prover.theorems import Theorem
with open_environment(workers=1) as lean:
    (root,) = lean.start([Theorem("t", "(p : Prop) (h : p) : p")])
    assert isinstance(root, ProofState), root
    ((right, wrong),) = lean.step([StepRequest(root, ("exact h", "exact q"))])
    assert isinstance(right, Complete), right
    assert type(wrong).__name__ == "Rejected", wrong
    (certificate,) = lean.certify([ProofClaim(root.theorem, ("exact h",))])
    assert certificate.certified, certificate
print("proved")
"""


@pytest.fixture
def cache() -> Iterator[Path]:
    """A cache folder that both users reach: the prelude is compiled in it under the umask."""
    folder = Path(tempfile.mkdtemp(prefix="umask-", dir="/tmp"))
    yield folder
    shutil.rmtree(folder)


@pytest.mark.long
@pytest.mark.parametrize("umask", ["077", pytest.param("027", marks=pytest.mark.slow)])
@pytest.mark.parametrize("user", ["ordinary", pytest.param("root", marks=pytest.mark.slow)])
def test_lean_reads_its_own_files(umask: str, user: str, cache: Path) -> None:
    if os.geteuid() != 0:
        if user == "root":
            pytest.skip("needs root")
        uid = os.geteuid()
    else:
        uid = 0 if user == "root" else NOBODY
        os.chown(cache, uid, uid)
    environment = {**os.environ, "XDG_CACHE_HOME": str(cache), "HOME": str(cache), "TMPDIR": "/tmp"}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, umask, str(uid)], capture_output=True, text=True, env=environment, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "proved\n"
