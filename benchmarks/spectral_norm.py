"""How near to 1 a few power iterations bring the norm of a layer.

    python benchmarks/spectral_norm.py [--weights 1000]

For Kaiming weights of several shapes and one to fifteen iterations from random vectors (`fresh`): the layer's true norm
by SVD, and how much two forwards of the same input differ. 1 and 0 would be exact.
"""

import argparse
from collections.abc import Callable

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor, nn

from ebm.model import SpectralNormLinear, SpectralNormLinearConfig

SHAPES = ((64, 32), (512, 4096), (4096, 512))
INITS: dict[str, Callable[[Tensor], Tensor]] = {
    "uniform": lambda weight: nn.init.kaiming_uniform_(weight, a=5**0.5),
    "normal": nn.init.kaiming_normal_,
}


@torch.no_grad()
def measure(
    shape: tuple[int, int], init: Callable[[Tensor], Tensor], iterations: int, weights: int
) -> tuple[np.ndarray, np.ndarray]:
    """True norms of the divided weight, and relative differences of two forwards, (weights,) each."""
    torch.manual_seed(0)
    layer = SpectralNormLinear(
        SpectralNormLinearConfig(*shape, n_power_iterations=iterations, bias=False, power_iteration="fresh")
    )
    norms, differences = [], []
    for _ in range(weights):
        init(layer.weight)
        norms.append(float(torch.linalg.svdvals(layer.weight.double())[0]) / float(layer.sigma()))
        x = torch.randn(8, shape[0])
        first, second = layer(x), layer(x)
        differences.append(float((first - second).norm() / first.norm()))
    return np.array(norms), np.array(differences)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=int, default=1000, help="weights of the smallest shape; of others 5")
    parser.add_argument("--iterations", type=lambda text: [int(n) for n in text.split(",")], default=[1, 5, 10, 15])
    args = parser.parse_args()
    torch.set_num_threads(1)
    table = Table(title="Power iterations from random vectors, on Kaiming weights")
    for column in ("shape", "weights", "iterations", "norm, mean", "worst", "two forwards differ, mean", "worst"):
        table.add_column(column, justify="right")
    for shape in SHAPES:
        for name, init in INITS.items():
            for iterations in args.iterations:
                norms, differences = measure(shape, init, iterations, args.weights if shape == SHAPES[0] else 5)
                table.add_row(
                    f"{shape[0]} -> {shape[1]}",
                    name,
                    str(iterations),
                    f"{norms.mean():.3f}",
                    f"{norms.max():.3f}",
                    f"{differences.mean():.1%}",
                    f"{differences.max():.1%}",
                )
    Console().print(table)


if __name__ == "__main__":
    main()
