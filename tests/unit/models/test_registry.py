import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from headrace.errors import IntegrityError, NameRefused, NotFound, RegistrationRefused, UsageError
from headrace.models import registry
from headrace.models.aliases import Move, move
from headrace.models.registry import Registration, find, register, versions
from headrace.models.version import Lineage, ModelVersion


def wine_model(example, **given):
    return Registration(**{"name": "wine", "example": example, "licence": "CC0-1.0", **given})


def test_a_version_carries_what_was_said_of_it(stores, adds, wine):
    lineage = Lineage({"wine@1": "abc"}, {"train": "def"}, "run-1", "c0ffee")
    version = register(stores, adds(1.0), wine_model(wine, metrics={"auc": 0.7}, lineage=lineage))
    assert str(version) == "wine@1"
    assert (version.licence, version.metrics, version.datasets) == ("CC0-1.0", {"auc": 0.7}, {"wine@1": "abc"})
    assert (version.steps, version.run, version.commit) == ({"train": "def"}, "run-1", "c0ffee")
    assert version.at > 0
    assert find(stores.ledger, "wine") == version


def test_the_signature_is_the_example_without_what_the_model_does_not_take(stores, adds, wine):
    signature = register(stores, adds(1.0), wine_model(wine, nullable=["ash"])).signature
    found = [(c.name, c.dtype, c.nullable) for c in signature.columns]
    assert found == [("alcohol", "float64", False), ("ash", "int64", True), ("grape", "string", True)]
    assert [(c.name, c.dtype) for c in signature.outputs] == [("answer", "float32")]


def test_an_equal_model_is_the_version_that_it_already_is(stores, adds, wine):
    first = register(stores, adds(1.0), wine_model(wine))
    again = register(stores, adds(1.0), wine_model(wine.reverse(), metrics={"auc": 0.1}))
    other = register(stores, adds(2.0), wine_model(wine))
    assert again == first
    assert (other.version, other.digest != first.digest) == (2, True)
    assert [v.version for v in versions(stores.ledger, "wine")] == [1, 2]


def test_an_equal_model_under_another_name_keeps_its_own_examples(stores, adds, wine):
    first = register(stores, adds(1.0), wine_model(wine))
    second = register(stores, adds(1.0), wine_model(wine.reverse(), name="cider"))
    alcohol = [
        json.loads((registry.fetch(stores.files, v) / "examples.json").read_text())["columns"]["alcohol"]
        for v in (first, second)
    ]
    assert alcohol == [[12.8, 13.1], [13.1, 12.8]]


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ({"licence": ""}, "--licence"),
        ({"example": None}, "example=rows"),
        ({"nullable": ["sugar"]}, "alcohol, ash, grape"),
    ],
)
def test_what_is_missing_is_refused_with_the_fix(stores, adds, wine, change, fix):
    with pytest.raises(RegistrationRefused, match=fix):
        register(stores, adds(1.0), wine_model(**{"example": wine, **change}))
    assert versions(stores.ledger) == []
    assert stores.files.list("models/") == []


def test_an_example_without_an_input_is_refused_by_its_name(stores, adds, wine):
    with pytest.raises(RegistrationRefused, match="lacks ash"):
        register(stores, adds(1.0), wine_model(wine.drop("ash")))


def test_an_example_without_rows_is_refused(stores, adds, wine):
    with pytest.raises(RegistrationRefused, match="lacks rows"):
        register(stores, adds(1.0), wine_model(wine.head(0)))


def test_rows_that_are_no_table_are_refused_with_the_fix(stores, adds, wine):
    with pytest.raises(UsageError, match=r"not a list.*fix: pandas\.DataFrame\(rows\)"):
        register(stores, adds(1.0), wine_model(wine.to_dicts()))


def test_a_column_that_no_model_takes_is_refused(stores, adds, wine):
    dated = wine.with_columns(ash=wine["ash"].cast(int).cast(str).str.to_date("%d", strict=False))
    with pytest.raises(RegistrationRefused, match="'ash' has type Date"):
        register(stores, adds(1.0), wine_model(dated))


def test_a_name_that_breaks_the_rule_is_refused(stores, adds, wine):
    with pytest.raises(NameRefused):
        register(stores, adds(1.0), wine_model(wine, name="../wine"))


def test_references(stores, adds, wine):
    first, second = (register(stores, adds(c), wine_model(wine)) for c in (1.0, 2.0))
    move(stores.ledger, "wine", Move("champion", 1))
    assert find(stores.ledger, "wine") == second
    assert find(stores.ledger, "wine@1") == find(stores.ledger, "wine@champion") == first
    for absent in ("cider", "wine@3", "wine@challenger"):
        with pytest.raises(NotFound):
            find(stores.ledger, absent)
    with pytest.raises(NotFound, match="models promote wine@2 --alias challenger"):
        find(stores.ledger, "wine@challenger")


def test_a_mistyped_alias_is_answered_with_the_one_that_was_meant(stores, adds, wine):
    register(stores, adds(1.0), wine_model(wine))
    move(stores.ledger, "wine", Move("champion", 1))
    with pytest.raises(NotFound, match=r"did you mean wine@champion\?"):
        find(stores.ledger, "wine@champoin")
    with pytest.raises(NotFound, match="fix: headrace models ls wine"):
        find(stores.ledger, "wine@2")
    with pytest.raises(NotFound, match="fix: headrace models promote wine@1 --alias other"):
        find(stores.ledger, "wine@other")


def test_a_flipped_bit_in_any_file_is_refused(stores, adds, wine, tmp_path):
    version = register(stores, adds(1.0), wine_model(wine, profile={"alcohol": [1, 2]}))
    files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert names == {"model.onnx", "signature.json", "examples.json", "profile.json", "manifest.json"}
    for path in files:
        whole = path.read_bytes()
        path.chmod(0o600)
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(IntegrityError):
            registry.fetch(stores.files, version)
        path.write_bytes(whole)
    assert registry.fetch(stores.files, version).is_dir()


def test_a_lost_file_is_noticed(stores, adds, wine, tmp_path):
    version = register(stores, adds(1.0), wine_model(wine))
    next((tmp_path / "store").rglob("signature.json")).unlink()
    with pytest.raises(IntegrityError, match="missing"):
        registry.fetch(stores.files, version)


def test_the_profile_comes_back(stores, adds, wine):
    profiled = register(stores, adds(1.0), wine_model(wine, profile={"alcohol": [1, 2]}))
    plain = register(stores, adds(2.0), wine_model(wine))
    assert registry.profile_of(stores.files, profiled) == {"alcohol": [1, 2]}
    assert registry.profile_of(stores.files, plain) is None


def test_nulls_in_examples_are_json_nulls(stores, adds, wine):
    holes = wine.with_columns(alcohol=wine["alcohol"].replace_strict({12.8: float("nan"), 13.1: 13.1}))
    version = register(stores, adds(1.0), wine_model(holes))
    text = (registry.fetch(stores.files, version) / "examples.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["columns"]["alcohol"] == [None, 13.1]
    assert version.signature.columns[0].nullable


def test_versions_registered_at_once_have_numbers_of_their_own(stores, adds, wine):
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda c: register(stores, adds(float(c)), wine_model(wine)).version, range(8)))
    assert sorted(found) == list(range(1, 9))


def test_a_version_survives_json(stores, adds, wine):
    version = register(stores, adds(1.0), wine_model(wine))
    assert ModelVersion.from_json(json.loads(json.dumps(version.to_json()))) == version


def test_a_model_of_several_folders_is_kept_and_verified(stores, adds, wine):
    artifact = adds(1.0)
    parts = {**artifact.files, "model.x/graph": b"g", "model.x/weights/0": b"w"}
    version = register(stores, replace(artifact, files=parts), wine_model(wine))
    folder = registry.fetch(stores.files, version)
    assert (folder / "model.x/weights/0").read_bytes() == b"w"
    other = register(stores, replace(artifact, files={**parts, "model.x/weights/0": b"v"}), wine_model(wine))
    assert other.digest != version.digest
    stores.files.get(f"{version.folder}/model.x/weights/0").write_bytes(b"v")
    with pytest.raises(IntegrityError, match="weights/0"):
        registry.fetch(stores.files, version)


@pytest.mark.parametrize(
    "path", ["../up", "/etc/up", "a//b", "a/.b", "a/../../b", "a\\b", "/".join("d" * 17), "a/", ""]
)
def test_a_file_that_would_leave_its_folder_is_refused(stores, adds, wine, path):
    artifact = adds(1.0)
    with pytest.raises(NameRefused):
        register(stores, replace(artifact, files={**artifact.files, path: b""}), wine_model(wine))
    assert stores.files.list("models/") == []
