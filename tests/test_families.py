"""Every shipped model says how it can be read and what its training time grows with."""

from importlib import import_module

from churnlib.models.baselines import BASELINES
from churnlib.models.families import FAMILIES, UNKNOWN, family_of
from churnlib.models.network import NETWORKS


def test_every_shipped_model_has_an_entry_and_nothing_else_has():
    assert set(FAMILIES) == {*NETWORKS, *BASELINES, "stack"}


def test_an_entry_is_a_word_and_a_sentence():
    for name, family in FAMILIES.items():
        assert " " not in family.shows and family.shows != UNKNOWN.shows, name
        assert len(family.because.split()) >= 5 and not family.because.endswith("."), name
        assert family.grows_with.startswith("rows"), name


def test_a_model_with_masks_is_one_that_explains_itself():
    for name, target in NETWORKS.items():
        module, _, cls = target.rpartition(".")
        explains = hasattr(getattr(import_module(module), cls), "explain")
        assert (family_of(name).shows == "masks") == explains, name


def test_a_model_with_contributions_is_one_whose_answers_come_in_parts():
    for name, target in NETWORKS.items():
        module, _, cls = target.rpartition(".")
        in_parts = hasattr(getattr(import_module(module), cls), "parts")
        assert (family_of(name).shows == "contributions") == in_parts, name


def test_a_model_with_coefficients_is_a_linear_one():
    for name, target in BASELINES.items():
        linear = target.startswith("churnlib.models.baselines.linear.")
        assert (family_of(name).shows == "coefficients") == linear, name
