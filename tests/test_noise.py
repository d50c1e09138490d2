"""Noise of other packages, silenced for a while and no longer."""

from __future__ import annotations

import logging
import warnings

import pytest

from churnlib.noise import TALKATIVE, quiet


def test_known_noise_is_silenced_inside_the_block_alone(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
):
    logger = logging.getLogger(TALKATIVE[0])
    monkeypatch.setattr(logger, "filters", [])  # a command may have run in this process
    logger.setLevel(logging.INFO)
    noise = "The 'train_dataloader' does not have many workers which may be a bottleneck."
    before = (list(logger.filters), list(warnings.filters))
    with quiet():
        warnings.warn(noise, stacklevel=1)
        logger.info("GPU available: False")
        logger.warning("something is wrong")
        with pytest.warns(UserWarning, match="something new"):
            warnings.warn("something new", stacklevel=1)
    assert (list(logger.filters), list(warnings.filters)) == before
    assert [record.message for record in caplog.records] == ["something is wrong"]
    logger.info("GPU available: False")
    assert caplog.records[-1].message == "GPU available: False"


def test_a_quiet_block_inside_another_leaves_the_outer_one_quiet():
    logger = logging.getLogger(TALKATIVE[0])
    with quiet():
        inside = list(logger.filters)
        with quiet():
            pass
        assert logger.filters == inside


def test_an_error_ends_the_silence_too():
    logger = logging.getLogger(TALKATIVE[0])
    before = list(logger.filters)
    with pytest.raises(RuntimeError), quiet():
        raise RuntimeError
    assert logger.filters == before
