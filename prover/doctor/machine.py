"""`prover doctor`: Python, GPU, memory and disk."""

import os
import platform
import shutil
import tempfile

from prover.doctor.checks import GIB, Check, Subject


def check_python(subject: Subject) -> Check:
    """Python and the machine."""
    detail = f"{platform.python_version()} on {platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    return Check("Python", "ok", detail)


def check_gpu(subject: Subject) -> Check:
    """The GPUs that torch sees."""
    import torch

    if torch.cuda.is_available():
        parts = []
        for index in range(torch.cuda.device_count()):
            free, total = torch.cuda.mem_get_info(index)
            parts.append(f"{torch.cuda.get_device_name(index)} ({free / GIB:.0f} of {total / GIB:.0f} GiB free)")
        return Check("GPU", "ok", f"torch {torch.__version__}: {', '.join(parts)}")
    detail = f"torch {torch.__version__}: none"
    if subject.llm_path is None:
        return Check("GPU", "ok", f"{detail}, and the shipped policy needs none")
    return Check("GPU", "warn", detail, "a 7B model needs one; run the model behind a server, or use a smaller one")


def check_memory(subject: Subject) -> Check:
    """Free memory."""
    import psutil

    memory = psutil.virtual_memory()
    detail = f"{memory.available / GIB:.1f} of {memory.total / GIB:.1f} GiB free"
    needed = 3 if subject.kind == "embedded" and subject.llm_path is None else 16
    if memory.available < needed * GIB:
        return Check("Memory", "warn", detail, f"this setup wants {needed} GiB; use fewer --lean-workers")
    return Check("Memory", "ok", detail)


def check_disk(subject: Subject) -> Check:
    """Whether the data folder can be written, and its free disk space."""
    folder = subject.data.absolute()
    while not folder.exists():
        folder = folder.parent
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        return Check("Data folder", "fail", f"{folder} cannot be written: {error.strerror}", "set PROVER_DATA")
    free = shutil.disk_usage(folder).free
    detail = f"{subject.data.absolute()}, {free / GIB:.1f} GiB free"
    if free < GIB:
        return Check(
            "Data folder", "warn", detail, "an iteration of the demo writes some 100 MiB, larger runs much more"
        )
    return Check("Data folder", "ok", detail)
