"""The rows that pretraining reads: those of the training side, and customers of whom nobody knows whether they left."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from churnlib.config import TrainConfig
from churnlib.data.coercion import coerce
from churnlib.data.customers import Customers
from churnlib.data.preparation import Encoded
from churnlib.errors import ConfigError
from churnlib.schema import near_misses
from churnlib.training.tables import configured_pseudonyms

if TYPE_CHECKING:
    from churnlib.config import PretrainConfig
    from churnlib.data.pseudonyms import Pseudonyms

TABNET = "churnlib.models.tabnet.TabNet"


def pretraining_rows(config: TrainConfig, customers: Customers) -> Encoded | None:
    """Return the rows to pretrain on, as a network reads them; None if the run does not pretrain.

    They are prepared with what was learned from the training rows, and change nothing in it. Of the table of unlabelled
    customers those that are named as a validation or test customer are left out: nothing about them may be learned.

    Raises:
        ChurnlibError: If the model cannot be pretrained, or the table of unlabelled customers cannot be read.
    """
    if config.pretrain.passes == 0:
        return None
    if config.model["_target_"] != TABNET:
        raise ConfigError(f"pretrain=on is for TabNet, but the model is {config.model['_target_']}; take model=tabnet")
    rows = customers.encoded["train"]
    if config.pretrain.path is None:
        return rows
    extra = _read(config.pretrain, customers, configured_pseudonyms(config.data))
    return Encoded(np.concatenate([rows.numeric, extra.numeric]), np.concatenate([rows.codes, extra.codes]))


def _read(options: PretrainConfig, customers: Customers, pseudonyms: Pseudonyms | None) -> Encoded:
    from churnlib.data.sources import read_table

    schema = customers.schema
    frame = read_table(str(options.path), **options.reading())
    absent = [name for name in schema.required() if name not in frame.columns]
    if absent:
        near = near_misses(absent[0], frame.columns)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(f"pretrain.path={options.path} lacks the column {absent[0]!r}, which the model reads{hint}")
    if schema.id is not None and schema.id in frame.columns:
        frame = frame if pseudonyms is None else pseudonyms.frame(frame, schema.id)
        held_out = [customers.customer_ids(side).cast(pl.String) for side in ("validation", "test")]
        frame = frame.filter(~pl.col(schema.id).cast(pl.String).is_in(pl.concat(held_out).implode()).fill_null(False))
    return customers.preparation.encode(coerce(frame, schema).typed)
