"""The page of settings is what the command prints, and says what a reader needs."""

from itertools import chain

import pytest

from prover.scale.config import RayConfig
from prover.settings import settings_of
from prover_assets.defs.configs import OWNERS
from prover_assets.operate.imports import ROOT
from prover_assets.operate.settings_tables import RESOURCES, markdown, settings_table


def test_the_docs_have_what_the_command_prints():
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == markdown(), (
        "run `prover settings > docs/settings.md`"
    )


def test_the_page_on_scale_has_the_table_of_rays_settings():
    assert settings_table(RayConfig) in (ROOT / "docs" / "scale.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("owner", sorted({RayConfig, *chain(*OWNERS.values(), *RESOURCES.values())}, key=str))
def test_every_setting_has_a_help(owner):
    for name, found in settings_of(owner).items():
        assert len(found.help) > 15, name
