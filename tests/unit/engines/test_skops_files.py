"""skops files made to do harm: read in this process, where a canary would show that something ran."""

import io
import json
import pickle
import zipfile

import hostile
import numpy as np
import pytest
import skops.io
from sklearn.linear_model import LinearRegression

from headrace.engines.skops.estimator import load
from headrace.errors import HeadraceError, Refused
from headrace.models.signature import Column, Signature

SIGNATURE = Signature("table", (Column("a", "float64"), Column("b", "float64")), (Column("total", "float32"),))
ROWS = np.eye(3, 2)


def node(loader, module, name, **more):
    return {"__loader__": loader, "__module__": module, "__class__": name, "__id__": hash((loader, name)), **more}


def text(value):
    return node("JsonNode", "builtins", "str", content=json.dumps(value), is_json=True)


def parts(*given):
    return node("TupleNode", "builtins", "tuple", content=list(given))


def mapping(**given):
    names = [node("TypeNode", "builtins", "str") for _ in given]
    listed = node("ListNode", "builtins", "list", content=names)
    return node("DictNode", "builtins", "dict", content=given, key_types=listed)


def _evil(canary):
    """Nodes that would run code, by what they are."""
    touch = f"touch {canary}"
    system = node("FunctionNode", "os", "system")
    return {
        "a function": system,
        "a type": node("TypeNode", "subprocess", "Popen"),
        "a partial": node(
            "PartialNode",
            "functools",
            "partial",
            content={"func": system, "args": parts(text(touch)), "kwds": mapping(), "namespace": mapping()},
        ),
        "a constructor": node("ConstructorFromReduceNode", "os", "system", content=parts(text(touch))),
        "an operator": node("OperatorFuncNode", "operator", "methodcaller", attrs=parts(text("system"), text(touch))),
        "an operator of another module": node("OperatorFuncNode", "os", "system", attrs=parts(text(touch))),
        "a method": node(
            "MethodNode",
            "subprocess",
            "Popen",
            content={"obj": node("ObjectNode", "subprocess", "Popen", content=mapping()), "func": "communicate"},
        ),
        "an object": node("ObjectNode", "subprocess", "Popen", content=mapping(args=text(touch))),
        "a generator": node("RandomGeneratorNode", "os", "system", content=mapping(bit_generator=text(touch))),
        "a loss": node("LossNode", "os", "system", __reduce__={"args": parts(text(touch))}, content=mapping()),
        "a tree": node("TreeNode", "os", "system", __reduce__={"args": parts(text(touch))}, content=mapping()),
        "an array of a type": node("NdArrayNode", "os", "system", type="numpy", file="a.npy"),
        "a factory": node(
            "DefaultDictNode", "collections", "defaultdict", content={"default_factory": system, "main": mapping()}
        ),
        "an unknown node": node("EvilNode", "os", "system"),
    }


KINDS = sorted(_evil(""))


@pytest.fixture
def canary(tmp_path):
    found = tmp_path / "canary"
    yield found
    assert not found.exists(), "a skops file ran code"


@pytest.fixture
def saved(tmp_path):
    """A folder with a regression of whose schema ``change`` made something else."""

    def saved(change, more=(), protocol=None):
        with zipfile.ZipFile(io.BytesIO(skops.io.dumps(LinearRegression().fit(ROWS, ROWS @ [1, 2])))) as whole:
            entries = {name: whole.read(name) for name in whole.namelist()}
        schema = json.loads(entries["schema.json"])
        schema["protocol"] = schema["protocol"] if protocol is None else protocol
        entries["schema.json"] = json.dumps(change(schema)).encode()
        (tmp_path / "model.skops").write_bytes(hostile.zipped([*entries.items(), *more]))
        return tmp_path

    return saved


def _inside(evil):
    def change(schema):
        schema["content"]["content"]["coef_"] = evil
        return schema

    return change


def test_what_is_changed_here_loads_when_it_is_not(saved):
    assert load(saved(lambda schema: schema), SIGNATURE)({"numbers": np.float32([[1, 1]])})["total"] == pytest.approx(3)


@pytest.mark.parametrize("protocol", [None, 0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_no_node_of_a_skops_file_runs_code(saved, canary, kind, protocol):
    plain = io.BytesIO()
    np.save(plain, np.array(f"touch {canary}"))
    folder = saved(_inside(_evil(canary)[kind]), [("a.npy", plain.getvalue())], protocol)
    with pytest.raises(HeadraceError) as refused:
        load(folder, SIGNATURE)
    assert refused.value.where == str(folder / "model.skops")


@pytest.mark.parametrize("kind", KINDS)
def test_nor_does_it_as_the_whole_of_the_file(saved, canary, kind):
    evil = _evil(canary)[kind]
    with pytest.raises(HeadraceError):
        load(saved(lambda schema: {**evil, "protocol": schema["protocol"], "_skops_version": "1"}), SIGNATURE)


@pytest.mark.parametrize(("loader", "type_"), [("NdArrayNode", "numpy"), ("SparseMatrixNode", "scipy")])
def test_no_array_is_unpickled(saved, canary, loader, type_):
    evil = np.array([hostile.Evil(canary)], object)
    kept = io.BytesIO()
    if type_ == "numpy":
        np.save(kept, evil, allow_pickle=True)
    else:
        np.savez(kept, format=np.array(b"csr"), shape=evil, data=evil, indices=evil, indptr=evil)
    at = node(
        loader, "numpy" if type_ == "numpy" else "scipy.sparse._csr", "ndarray" if type_ == "numpy" else "csr_matrix"
    )
    with pytest.raises(HeadraceError):
        load(saved(_inside({**at, "type": type_, "file": "evil"}), [("evil", kept.getvalue())]), SIGNATURE)


def test_a_file_elsewhere_is_not_read(saved, tmp_path):
    kept = io.BytesIO()
    np.save(kept, np.zeros(2))
    (tmp_path.parent / "outside.npy").write_bytes(kept.getvalue())
    evil = node("NdArrayNode", "numpy", "ndarray", type="numpy", file="../outside.npy")
    with pytest.raises(HeadraceError, match="no item named"):
        load(saved(_inside(evil)), SIGNATURE)


def test_pickles_beside_the_schema_are_never_looked_at(saved, canary):
    evil = pickle.dumps(hostile.Evil(canary))
    load(saved(lambda schema: schema, [("model.pkl", evil), ("data.joblib", evil)]), SIGNATURE)


def test_trust_in_one_type_is_none_in_another(saved, canary):
    folder = saved(_inside(_evil(canary)["a partial"]))
    (folder / "trusted.json").write_text('["functools.partial"]')
    with pytest.raises(Refused, match=r"not trusted - .* - .*system - fix: .*--trust (os|posix)\.system"):
        load(folder, SIGNATURE)
