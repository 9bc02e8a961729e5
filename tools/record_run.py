"""Record `make run` as an animated picture, docs/images/make-run.gif, with pictures of the UIs after it.

    python tools/record_run.py                     # runs the next iteration in a temporary folder, and records it
    python tools/record_run.py -- --config laptop  # arguments after -- go to `make run`
    python tools/record_run.py --log run.log       # what an earlier `make run > run.log` printed

The picture shows what was printed. The whole run is sped up by one factor, so that it takes `SECONDS`. For a saved log,
the times are those that the steps printed. The pictures of the UIs are those that the browser tests keep in
docs/images.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
UIS = ("report", "dagster-lineage", "mlflow-iterations")
SIZE, SECONDS, SHOWN_S, COLOURS = (920, 560), 12.0, 2.5, 48
"""Pixels of a frame; seconds of the run, and of each further picture; colours of the palette."""
ROWS, LINE, LEFT, FONT_SIZE = 30, 17, 14, 13
GROUND, INK, GOOD, SOFT = "#14191c", "#e6eaec", "#7fd487", "#aeb9c0"

COLUMNS = 112
STEP = re.compile(r"✓ +\d+/\d+ .* (?P<seconds>\d+\.\d) s\b")

Line = tuple[float, str]
"""When it was printed (seconds after the start), and its text."""


def record(command: Sequence[str], environment: dict[str, str]) -> list[Line]:
    """Run a command and note what it prints. Raises RuntimeError if it fails."""
    began = time.monotonic()
    lines = []
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as run:
        assert run.stdout is not None
        for text in run.stdout:
            lines.append((time.monotonic() - began, text.rstrip()))
            print(text, end="")
    if run.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {run.returncode}; nothing was written")
    return lines


def read_log(text: str) -> list[Line]:
    """The lines of a saved run: each step's line comes when the seconds that it says have passed."""
    now, lines = 0.0, []
    for line in text.splitlines():
        step = STEP.match(line)
        now += float(step["seconds"]) if step else 0.0
        lines.append((now, line.rstrip()))
    return lines


def terminal(texts: Sequence[str]) -> Image.Image:
    """The last rows of a terminal with these lines."""
    image = Image.new("RGB", SIZE, GROUND)
    draw = ImageDraw.Draw(image)
    font = ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSansMono.ttf", FONT_SIZE)
    wrapped = [part for text in texts for part in textwrap.wrap(text, COLUMNS, drop_whitespace=False) or [""]]
    for row, text in enumerate(wrapped[-ROWS:]):
        x, y = LEFT, LEFT + row * LINE
        colour = SOFT if text.startswith("  ") else GOOD if " promoted" in text or text.startswith("$") else INK
        if text.startswith("✓"):
            draw.text((x, y), "✓", GOOD, font)
            text = " " + text[1:]
        draw.text((x, y), text, colour, font)
    return image


def picture(path: Path) -> Image.Image:
    """A picture of a UI, as large as fits."""
    shown = Image.open(path).convert("RGB")
    shown.thumbnail(SIZE)
    frame = Image.new("RGB", SIZE, GROUND)
    frame.paste(shown, ((SIZE[0] - shown.width) // 2, (SIZE[1] - shown.height) // 2))
    return frame


def frames_of(lines: Sequence[Line], pictures: Sequence[Path]) -> tuple[list[Image.Image], list[int]]:
    """Frames, and for how long each is shown (milliseconds)."""
    total = max((when for when, _ in lines), default=1.0) or 1.0
    texts, frames, durations = ["$ make run"], [terminal(["$ make run"])], [800]
    for place, (when, text) in enumerate(lines):
        texts.append(text)
        until = lines[place + 1][0] if place + 1 < len(lines) else when
        shown = int(1000 * SECONDS * (until - when) / total)
        if shown >= 60 or place == len(lines) - 1:  # lines that came at once are one frame
            frames.append(terminal(texts))
            durations.append(max(shown, 60))
    durations[-1] = int(1000 * SHOWN_S)
    frames += [picture(path) for path in pictures]
    durations += [int(1000 * SHOWN_S)] * len(pictures)
    return frames, durations


def save(frames: Sequence[Image.Image], durations: Sequence[int], output: Path) -> None:
    """Write the animation, which repeats."""
    small = [frame.quantize(COLOURS, dither=Image.Dither.NONE) for frame in frames]
    small[0].save(output, save_all=True, append_images=small[1:], duration=list(durations), loop=0, optimize=True)


def main() -> int:
    """Record, and write the picture."""
    parser = argparse.ArgumentParser(description="Record `make run` as an animated picture.")
    parser.add_argument("--output", type=Path, default=IMAGES / "make-run.gif")
    parser.add_argument("--log", type=Path, help="show a saved output of `make run`, and run nothing")
    options, passed_on = parser.parse_known_args()
    lines = read_log(options.log.read_text(encoding="utf-8")) if options.log else run_and_record(passed_on)
    frames, durations = frames_of(lines, [IMAGES / f"{name}.png" for name in UIS])
    save(frames, durations, options.output)
    print(f"{options.output}: {len(frames)} frames, {options.output.stat().st_size / 1000:.0f} kB")
    return 0


def run_and_record(passed_on: Sequence[str]) -> list[Line]:
    """Run the next iteration in a temporary folder. passed_on: arguments of `make run`."""
    with tempfile.TemporaryDirectory() as temporary:
        dagster = Path(temporary) / "dagster"
        dagster.mkdir()
        environment = {
            **os.environ,
            "PROVER_DATA": str(Path(temporary) / "data"),
            "DAGSTER_HOME": str(dagster),
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": str(COLUMNS),
        }
        command = [sys.executable, "-m", "prover_assets.run", *(word for word in passed_on if word != "--")]
        return [(when, text.replace(temporary + "/", "")) for when, text in record(command, environment)]


if __name__ == "__main__":
    sys.exit(main())
