"""Settings declared once: bounds, types, help, and the words for what is wrong."""

import math
from dataclasses import dataclass

import pytest

from prover.settings import checked, coerced, faults_of, nearest, setting, settings_of


@dataclass(frozen=True)
class Oven:
    """An oven."""

    size: int
    """No setting: it has no default."""
    heat: float = setting(180.0, unit="degrees", gt=0, le=300)
    """How hot it gets. It takes
    a while."""
    mode: str = setting("fan", choices=("fan", "grill"))
    """How it heats."""
    trays: tuple[int, ...] = setting((1, 3), unit="levels")
    """Where trays are."""
    minutes: int | None = setting(None, unit="minutes", ge=1)
    """When it stops; null means never."""
    lit: bool = False
    """Whether there is light."""


@dataclass(frozen=True)
class SmallOven(Oven):
    """An oven with another default."""

    heat: float = setting(100.0, unit="degrees", gt=0, le=150)
    """How hot it gets, at most."""


def test_a_setting_is_read_from_its_field():
    found = settings_of(Oven)
    assert list(found) == ["heat", "mode", "trays", "minutes", "lit"]
    assert found["heat"].described() == "How hot it gets (degrees). It takes a while."
    assert found["heat"].limits.words() == "positive, at most 300"
    assert found["mode"].limits.words() == "one of fan, grill"
    assert found["minutes"].shown_default() == "none"
    assert found["minutes"].shown_type() == "a whole number (int) or none"
    assert found["trays"].shown_default() == "[1, 3]"
    assert found["lit"].shown_default() == "false"


def test_a_subclass_declares_what_is_its_own():
    assert settings_of(SmallOven)["heat"].default == 100.0
    assert settings_of(SmallOven)["heat"].help == "How hot it gets, at most."
    assert settings_of(SmallOven)["mode"] == settings_of(Oven)["mode"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"heat": 0.0}, "heat is 0.0; heat must be positive, at most 300 (degrees)"),
        ({"heat": 301.0}, "heat is 301.0"),
        ({"heat": math.nan}, "heat is nan"),
        ({"mode": "fann"}, "mode is 'fann', which is none of its values; did you mean 'fan'?"),
        ({"minutes": 0}, "minutes is 0; minutes must be at least 1 (minutes)"),
    ],
)
def test_what_is_out_of_bounds_is_named(values, words):
    oven = Oven(1, **values)
    assert words in faults_of(oven)[0]
    with pytest.raises(ValueError, match="Oven\\."):
        checked(oven)


def test_what_is_within_bounds_passes():
    checked(Oven(1))
    checked(Oven(1, heat=300.0, minutes=1))


def test_values_are_taken_as_they_are_declared():
    assert coerced(Oven, {"heat": 20, "trays": [2], "minutes": None, "lit": True}) == {
        "heat": 20.0,
        "trays": (2,),
        "minutes": None,
        "lit": True,
    }


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"het": 20}, "het is no setting; did you mean 'heat'"),
        ({"heat": True}, "heat is True; expected a number"),
        ({"heat": None}, "heat is None; expected a number"),
        ({"minutes": 1.5}, r"minutes is 1\.5; expected a whole number \(int\) or none"),
        ({"trays": ["x"]}, r"trays is \['x'\]; expected a list of whole numbers"),
        ({"lit": 1}, "lit is 1; expected true or false"),
    ],
)
def test_a_value_of_another_type_is_refused(values, words):
    with pytest.raises(ValueError, match=words):
        coerced(Oven, values)


def test_without_a_near_name_all_are_listed():
    assert nearest("zzz", ["b", "a"]) == "valid: a, b"
