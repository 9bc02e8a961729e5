"""Searches printed on a terminal, with colours where it has them. Lean's text is never read as markup."""

from collections.abc import Iterator, Sequence

from rich.console import Console, ConsoleRenderable, Group
from rich.padding import Padding
from rich.syntax import Syntax
from rich.text import Text

from prover.show.view import NodeView, SearchView, visible

_THEME = "ansi_dark"  # the terminal's own sixteen colours, on its own background
_ENDINGS = {
    "budget": "the budget of {view.max_expansions} expansions is used up",
    "frontier_exhausted": "nothing is left to expand after {view.expansions} expansions",
    "timeout": "the time limit was reached after {view.expansions} expansions",
    "crashed": "Lean crashed",
    "invalid": "Lean does not accept the statement",
}


def print_search(console: Console, view: SearchView, *, states: bool = True) -> None:
    """The proof of a theorem with the states between its tactics, or its best open branches. states: print them."""
    console.print(_headline(view))
    console.print(Text(_figures(view), style="dim"))
    if view.reason and not view.proved:
        console.print(Text(visible(view.reason), style="yellow"))
    console.print()
    if view.proved:
        script = "\n".join(f"  {line}" for tactic in view.proof for line in tactic.splitlines())
        console.print(lean(f"{view.declaration} := by\n{script}"))
        if states:
            console.print()
            console.print(Group(*_steps(view.proof_path())))
        return
    console.print(lean(view.declaration))
    branches = view.best_branches()
    for place, path in enumerate(branches, 1):
        kind = "open" if not path[-1].expanded else "dead end"
        order = "energy" if path[-1].energy is not None else "log-probability per step"
        title = f"\nbranch {place} of {len(branches)} ({kind}, best {order} first), {len(path) - 1} tactics"
        console.print(Text(title, style="bold"))
        console.print(Group(*_steps(path, states=states)))


def lean(text: str) -> Syntax:
    """Lean text in colours."""
    return Syntax(visible(text), "lean4", theme=_THEME, background_color="default", word_wrap=True)


def _headline(view: SearchView) -> Text:
    line = Text(visible(view.name), style="bold")
    if view.proved:
        line.append(f"  proved at expansion {view.expansions_to_proof}", style="bold green")
    else:
        why = _ENDINGS.get(view.ended, view.ended).format(view=view)
        line.append(f"  not proved: {why}", style="bold red")
    return line


def _figures(view: SearchView) -> str:
    energies = ", E: energy (lower is better)" if any(node.energy is not None for node in view.nodes) else ""
    return (
        f"{view.wall_s:.1f} s (model {view.model_s:.1f} s, Lean {view.lean_s:.1f} s), {view.expansions} expansions, "
        f"{view.tactics} tactics tried, {len(view.nodes)} states, order {view.mode}{energies}"
    )


def _steps(path: Sequence[NodeView], *, states: bool = True) -> Iterator[ConsoleRenderable]:
    for place, node in enumerate(path):
        if node.tactic:
            mark = Text(f"{place:>3}  ", style="dim")
            mark.append(visible(node.tactic).replace("\n", "\n     "), style="bold cyan")
            if node.energy is not None:
                mark.append(f"   E {node.energy:+.2f}", style="magenta")
            yield mark
        if states or place == len(path) - 1:
            yield Padding(_state(node.state), (0, 0, 0, 5), expand=False)


def _state(text: str) -> Text:
    """The goal lines stand out; hypotheses are as the terminal writes."""
    if not text:
        return Text("no goals", style="green")
    shown = Text()
    for line in visible(text).splitlines():
        style = "bold" if line.startswith("⊢") else "dim italic" if line.startswith("case ") else ""
        shown.append(line + "\n", style=style)
    shown.rstrip()
    return shown
