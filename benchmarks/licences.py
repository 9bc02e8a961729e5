"""The installed packages with version and licence, one per line: `python benchmarks/licences.py`.

Packages whose licence is not in the list of permissive ones are marked with `look`.
"""

import re
from importlib.metadata import Distribution, distributions

PERMISSIVE = re.compile(r"\b(MIT|BSD|Apache|ISC|PSF|Python Software Foundation|Zlib|Unlicense|0BSD|CNRI|HPND)\b", re.I)


def licence(package: Distribution) -> str:
    """What a package says of its licence, in a few words; "unknown" if nothing."""
    expression = package.metadata.get("License-Expression")
    if expression:
        return expression
    classifiers = [text.split(" :: ")[-1] for text in package.metadata.get_all("Classifier") or [] if "License" in text]
    said = classifiers or [(package.metadata.get("License") or "unknown").strip().partition("\n")[0][:60]]
    return ", ".join(said)


def main() -> None:
    found = {package.metadata["Name"]: package for package in distributions()}
    for name in sorted(found, key=str.lower):
        words = licence(found[name])
        mark = "" if PERMISSIVE.search(words) else "  look"
        print(f"{name} {found[name].version}: {words}{mark}")


if __name__ == "__main__":
    main()
