"""The page of settings is what the command prints, and says what a reader needs."""

import pytest

from prover.settings import settings_of
from prover_assets.defs.configs import OWNERS
from prover_assets.operate.imports import ROOT
from prover_assets.operate.settings_tables import markdown


def test_the_docs_have_what_the_command_prints():
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == markdown(), (
        "run `prover settings > docs/settings.md`"
    )


@pytest.mark.parametrize("owner", sorted({owner for owners in OWNERS.values() for owner in owners}, key=str))
def test_every_setting_has_a_help(owner):
    for name, found in settings_of(owner).items():
        assert len(found.help) > 15, name
