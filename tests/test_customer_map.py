"""A map puts similar customers together and draws itself."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import numpy as np
import polars as pl
import pytest
from sklearn.neighbors import KNeighborsClassifier

from churnlib.errors import ConfigError, DataError
from churnlib.explanation.customer_map import tsne_map

RNG = np.random.default_rng(0)
GROUP = RNG.integers(0, 3, 240)
TABLE = pl.DataFrame(
    {
        "charges": [
            None if i % 9 == 0 else value for i, value in enumerate((GROUP * 30 + RNG.normal(size=240)).tolist())
        ],
        "plan": np.array(["basic", "plus", "max"])[GROUP],
        "left": RNG.choice(["yes", "no"], 240),
    }
)


def test_similar_customers_are_neighbours():
    found = tsne_map(TABLE, drop=["left"], rows=200, seed=1)
    assert found.places.shape == (200, 2) and len(set(found.rows)) == 200
    near = KNeighborsClassifier(6).fit(found.places, GROUP[found.rows])
    assert near.score(found.places, GROUP[found.rows]) == 1.0


def test_the_picture_has_a_point_for_each_customer_in_its_colour():
    risk = np.linspace(0.02, 0.9, 240)
    found = tsne_map(TABLE, colour=risk, name="risk <b>", drop=["left"], rows=50)
    np.testing.assert_array_equal(found.colour, risk[found.rows])
    picture = ET.fromstring(found.svg())
    circles = picture.findall(".//{*}circle")
    assert len(circles) == 50
    assert circles[int(found.colour.argmin())].get("fill") == "rgb(44,127,184)"
    assert circles[int(found.colour.argmax())].get("fill") == "rgb(217,72,1)"
    assert all(0 <= float(circle.get(axis)) <= 640 for circle in circles for axis in ("cx", "cy"))
    assert picture.findall(".//{*}text")[0].text == "risk <b>"


def test_a_map_is_a_file_that_stands_alone(tmp_path):
    found = tsne_map(TABLE[:5])
    found.save(tmp_path / "map.svg")
    assert (tmp_path / "map.svg").read_text() == found.svg() == tsne_map(TABLE[:5]).svg()
    assert "href" not in found.svg()


@pytest.mark.parametrize(
    ("table", "options", "error", "says"),
    [
        (TABLE, {"rows": 6000}, ConfigError, "between 4 and 5,000 customers, got rows=6000"),
        (TABLE, {"colour": [1.0]}, ConfigError, "colour has 1 numbers for 240 customers"),
        (TABLE[:3], {}, DataError, "3 customers make no map"),
    ],
)
def test_an_impossible_map_is_refused(table, options, error, says):
    with pytest.raises(error, match=says):
        tsne_map(table, **options)
