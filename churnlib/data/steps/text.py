"""Free text as a few numbers: hashed words, weighted by how rare they are, brought down to their main directions.

The same as scikit-learn's ``HashingVectorizer`` (its default words), ``TfidfTransformer`` and ``TruncatedSVD`` in a
row. No list of words is kept, so that a bundle holds nothing that a customer wrote.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import polars as pl

from churnlib.data.murmur import bucket_and_sign
from churnlib.data.steps.block import with_block
from churnlib.data.steps.coding import coded
from churnlib.data.steps.step import Fitted, Learned, Step, Training, number, tuples
from churnlib.errors import ConfigError
from churnlib.schema import Kind

if TYPE_CHECKING:
    from scipy.sparse import csr_array

WORD = r"[\p{L}\p{N}_]{2,}"
"""A word has two letters, digits or underscores at least; spelled out: ``\\w`` is wider in polars than in Python."""

READ = (Kind.text, Kind.categorical)


@dataclass(frozen=True)
class Text(Step):
    """Numbers from free text: TF-IDF of hashed words, then the directions in which the training texts vary most.

    A column of text is a feature once ``data.columns.NAME.role=feature`` says so. A missing text, or one without a
    known word, is 0 in all directions.

    Attributes:
        columns: Texts to read; every column of the kind text if none is named.
        n_features: Places that words are hashed to.
        n_components: Numbers that each column becomes, fewer where there are fewer texts or words.
    """

    word = "text"
    columns: tuple[str, ...] = ()
    n_features: int = 4096
    n_components: int = 16

    def __post_init__(self) -> None:
        self.check_range("n_features", 2, 2**18)
        self.check_range("n_components", 1, 1000)

    def fit(self, training: Training) -> Learned:
        """Learn how rare the words are, and the directions."""
        names = training.choose(self.columns, READ if self.columns else (Kind.text,), option=self.option("columns"))
        if not names:
            raise ConfigError(
                f"the step {self.word!r} finds no text; say which column is one with data.columns.NAME.kind=text and "
                "data.columns.NAME.role=feature"
            )
        found = [self._directions(training.rows.get_column(name), training.seed) for name in names]
        fitted = FittedText(tuple(one for one, _ in found))
        columns = self.columns_after(training, map(number, fitted.made), in_place_of=names)
        said = [
            f"{one.n_components} directions of {one.name!r} hold {share:.1%} of the variance of its words"
            for one, share in found
        ]
        return Learned(fitted, columns, said=tuple(said))

    def _directions(self, texts: pl.Series, seed: int) -> tuple[Directions, float]:
        from scipy.sparse import diags_array
        from sklearn.decomposition import TruncatedSVD

        counts = _counted(texts, self.n_features)
        used = np.flatnonzero(np.bincount(counts.indices, minlength=self.n_features))
        if not len(used):
            raise ConfigError(f"the step {self.word!r} finds no word in {texts.name!r}; leave the column out")
        rows_with = np.bincount(counts.indices, minlength=self.n_features)[used]
        idf = (np.log((1 + len(texts)) / (1 + rows_with)) + 1).astype(np.float32)
        # All words of a training text are in used places: the weight of the others bears on later texts alone.
        weighted = _normalised(counts[:, used] @ diags_array(idf.astype(np.float64)))
        wanted = min(self.n_components, len(used), len(texts))
        if len(used) == 1:  # too few for scikit-learn
            components, share = np.ones((1, 1)), 1.0
        else:
            svd = TruncatedSVD(wanted, random_state=seed).fit(weighted)
            components, share = np.asarray(svd.components_), float(svd.explained_variance_ratio_.sum())
        found = Directions(
            texts.name, self.n_features, len(texts), tuple(used.tolist()), packed(idf), packed(components), wanted
        )
        return found, share


@dataclass(frozen=True)
class Directions:
    """What is known of one column of text.

    Numbers are kept as base64 of little-endian float32: as decimal text they would be three times as long, and
    there are up to ``n_features * n_components`` of them.

    Attributes:
        name: Column.
        n_features: Places that words are hashed to.
        n_texts: Training rows.
        used: The places that words of the training rows have; other words only take weight from those of their text.
        idf: Weight of each of them.
        components: ``(n_components, used)`` weight of each of them in each direction.
        n_components: Directions.
    """

    name: str
    n_features: int
    n_texts: int
    used: tuple[int, ...]
    idf: str
    components: str
    n_components: int

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the new columns."""
        return tuple(f"{self.name} direction {place}" for place in range(1, self.n_components + 1))

    @cached_property
    def _weights(self) -> np.ndarray:
        """``(n_features, n_components)``: idf times component, 0 for places that are not used."""
        weights = np.zeros((self.n_features, self.n_components))
        weights[list(self.used)] = unpacked(self.components).reshape(self.n_components, -1).T
        return weights * self._idf[:, None]

    @cached_property
    def _idf(self) -> np.ndarray:
        idf = np.full(self.n_features, np.log(1 + self.n_texts) + 1)
        idf[list(self.used)] = unpacked(self.idf)
        return idf

    def numbers(self, table: pl.DataFrame) -> np.ndarray:
        """Return the directions of a table of one column of text, ``(n, n_components)``."""
        row, place, count = word_counts(table.to_series(), self.n_features)
        length = np.sqrt(np.bincount(row, weights=(count * self._idf[place]) ** 2, minlength=len(table)))
        numbers = np.zeros((len(table), self.n_components))
        for direction, weights in enumerate(self._weights.T):
            numbers[:, direction] = np.bincount(row, weights=count * weights[place], minlength=len(table))
        return numbers / np.where(length > 0, length, 1.0)[:, None]


@dataclass(frozen=True)
class FittedText(Fitted):
    """The directions.

    Attributes:
        columns: What is known of each column.
    """

    columns: tuple[Directions, ...]

    @property
    def made(self) -> tuple[str, ...]:
        """Names of the new columns."""
        return tuple(name for column in self.columns for name in column.made)

    def apply(self, rows: pl.LazyFrame) -> pl.LazyFrame:  # noqa: D102
        for column in self.columns:
            rows = with_block(rows, [column.name], column.made, column.numbers)
        return rows.drop(column.name for column in self.columns)

    def made_of(self) -> dict[str, tuple[str, ...]]:  # noqa: D102
        return {made: (column.name,) for column in self.columns for made in column.made}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Self:  # noqa: D102
        return cls(tuple(Directions(**one) for one in tuples(values)["columns"]))


def word_counts(texts: pl.Series, n_features: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return how often the words of each text come: rows, places and counts, each pair of row and place once.

    A count may be negative: each word has a sign, so that words in the same place cancel out rather than add up.
    """
    words = (
        texts.alias("text")
        .to_frame()
        .select(row=pl.int_range(pl.len()), word=pl.col("text").str.to_lowercase().str.extract_all(WORD))
        .explode("word", empty_as_null=False, keep_nulls=False)
    )
    code, known = coded(words["word"])
    place, sign = bucket_and_sign(known, n_features)
    hashed = words.select("row").with_columns(place=pl.Series(place[code]), sign=pl.Series(sign[code]))
    counts = hashed.group_by("row", "place").agg(pl.col("sign").sum()).sort("row", "place")
    return counts["row"].to_numpy(), counts["place"].to_numpy(), counts["sign"].to_numpy()


def _counted(texts: pl.Series, n_features: int) -> csr_array:
    from scipy.sparse import csr_array

    row, place, count = word_counts(texts, n_features)
    return csr_array((count, (row, place)), shape=(len(texts), n_features))


def _normalised(weighted: csr_array) -> csr_array:
    from sklearn.preprocessing import normalize

    return normalize(weighted, norm="l2", copy=False)  # type: ignore[return-value]


def packed(numbers: np.ndarray) -> str:
    """Return numbers as text: base64 of little-endian float32.

    >>> unpacked(packed(np.array([1.0, -2.5]))).tolist()
    [1.0, -2.5]
    """
    return base64.b64encode(numbers.astype("<f4").tobytes()).decode("ascii")


def unpacked(text: str) -> np.ndarray:
    """Return the numbers that :func:`packed` wrote, float64."""
    return np.frombuffer(base64.b64decode(text), dtype="<f4").astype(np.float64)
