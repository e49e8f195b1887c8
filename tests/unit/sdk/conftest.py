from pathlib import Path

import numpy as np
import polars as pl
import pytest
from sklearn.datasets import load_wine

from headrace.assembly import open_platform
from headrace.datasets.put import put
from headrace.sdk import ambient
from headrace.settings import Settings

PROJECT = Path(__file__).with_name("searched_wine.py").read_text()


def wine():
    """scikit-learn's wine with a time for each bottle, a text column and some cells lost."""
    data = load_wine()
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({"bottle": range(178), "proline": data.data[:, 12], "hue": data.data[:, 10]})
    order = rng.permutation(178)
    return frame.with_columns(
        made=pl.Series(order),
        cellar=pl.Series(np.where(data.data[:, 0] > 13, "north", "south")),
        hue=pl.when(pl.Series(rng.random(178) < 0.1)).then(None).otherwise(pl.col("hue")),
        first=pl.Series((data.target == 0).astype(int)),
    )


@pytest.fixture(scope="session")
def bottles():
    return wine()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder with the wine pipeline on its path, its platform the ambient one."""
    root = tmp_path_factory.mktemp("wine")
    (root / "searched_wine.py").write_text(PROJECT)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(root))
        platform = open_platform(Settings(root=root, workers=2, tracking="off"))
        with ambient.use(platform):
            wine().write_parquet(root / "wine.parquet")
            put(platform.stores(), "wine", root / "wine.parquet", licence="CC-BY-4.0")
            yield platform
        platform.close()
