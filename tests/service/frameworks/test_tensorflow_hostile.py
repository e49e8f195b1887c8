"""SavedModels that would do more than compute: refused before TensorFlow has the graph, and nothing is touched."""

import os
import tempfile
from pathlib import Path

import numpy as np
import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import tensorflow as tf
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from headrace.engines.tensorflow.saved_model import declared, load
from headrace.errors import HeadraceError, IntegrityError, Refused

pytestmark = [pytest.mark.service, pytest.mark.filterwarnings("ignore")]

ROWS = tf.TensorSpec([None], tf.float32, "x")
raw = tf.raw_ops


def saved(folder, act, **of_module):
    """A model whose answer is ``act(x)``, in the folder of a registered one."""
    module = tf.Module()
    for name, value in of_module.items():
        setattr(module, name, value)
    module.weight = tf.Variable(2.0)
    module.serve = tf.function(lambda x: {"y": x * module.weight + act(x)}, input_signature=[ROWS])
    tf.saved_model.save(module, str(folder / "model.tensorflow"), module.serve)
    return folder


def changed(folder, change):
    """The model with its message changed."""
    path = folder / "model.tensorflow" / "saved_model.pb"
    message = SavedModel.FromString(path.read_bytes())
    change(message.meta_graphs[0])
    path.write_bytes(message.SerializeToString())
    return folder


def of_text(text):
    return tf.cast(tf.strings.length(text), tf.float32)


def after(operation, x):
    with tf.control_dependencies([operation]):
        return tf.identity(x)


@tf.function(input_signature=[ROWS])
def inner(x):
    return x + of_text(tf.io.read_file("/etc/passwd"))


def queued(x):
    queue = raw.FIFOQueueV2(component_types=[tf.float32])
    return raw.QueueDequeueV2(handle=queue, component_types=[tf.float32])[0] + x


ACTS = {
    "ReadFile": lambda _: of_text(tf.io.read_file("/etc/passwd")),
    "MatchingFiles": lambda _: of_text(tf.io.matching_files("/etc/*")[0]),
    "WriteFile": lambda x: after(tf.io.write_file(TOUCHED, "x"), x),
    "PrintV2": lambda x: after(tf.print("x", output_stream=f"file://{TOUCHED}"), x),
    "EagerPyFunc": lambda x: tf.py_function(lambda a: a, [x], tf.float32),
    "PyFunc": lambda x: tf.numpy_function(lambda a: a, [x], tf.float32),
    "RemoteCall": lambda x: raw.RemoteCall(
        target="/job:localhost/replica:0/task:0/cpu:0", args=[x], Tout=[tf.float32], f=inner.get_concrete_function()
    )[0],
    "FIFOQueueV2": queued,
    "Dataset": lambda _: tf.data.TextLineDataset("/etc/passwd").reduce(0.0, lambda n, _: n + 1),
    "DebugIdentityV2": lambda x: raw.DebugIdentityV2(input=x, debug_urls=[f"file://{TOUCHED}"]),
    "RestoreV2": lambda _: raw.RestoreV2(
        prefix="/etc/others/variables", tensor_names=["a"], shape_and_slices=[""], dtypes=[tf.float32]
    )[0],
    "SaveV2": lambda x: after(raw.SaveV2(prefix=TOUCHED, tensor_names=["a"], shape_and_slices=[""], tensors=[x]), x),
}
TOUCHED = str(Path(tempfile.gettempdir()) / f"headrace-touched-{os.getpid()}")


@pytest.mark.parametrize("operation", ACTS)
def test_an_operation_that_does_more_than_compute_is_named(tmp_path, operation):
    with pytest.raises(Refused, match=operation):
        declared(saved(tmp_path, ACTS[operation]))
    assert not os.path.lexists(TOUCHED)


@pytest.mark.parametrize("where", ["function", "branch", "loop"])
def test_it_is_found_wherever_it_hides(tmp_path, where):
    ways = {
        "function": inner,
        "branch": lambda x: tf.cond(tf.reduce_sum(x) > 1e9, lambda: inner(x), lambda: x),
        "loop": lambda x: tf.while_loop(lambda _: tf.constant(False), inner, [x])[0],
    }
    with pytest.raises(Refused, match="ReadFile"):
        declared(saved(tmp_path, ways[where]))


def table(tmp_path):
    (tmp_path / "words.txt").write_text("1\n2\n")
    words = tf.lookup.StaticHashTable(
        tf.lookup.TextFileInitializer(
            str(tmp_path / "words.txt"),
            *(tf.string, tf.lookup.TextFileIndex.WHOLE_LINE, tf.int64, tf.lookup.TextFileIndex.LINE_NUMBER),
        ),
        -1,
    )
    return saved(tmp_path, lambda x: tf.cast(words.lookup(tf.as_string(tf.cast(x, tf.int32))), tf.float32), words=words)


def test_a_vocabulary_is_read_from_the_models_assets(tmp_path):
    folder = table(tmp_path)
    score = load(folder, declared(folder))[""]
    np.testing.assert_array_equal(score({"x": np.array([1, 2, 3], np.float32)})["y"], [2, 5, 5])


@pytest.mark.parametrize("name", ["../../words.txt", "/etc/passwd", "a/../../../x", ""])
def test_an_asset_outside_the_model_is_refused(tmp_path, name):
    def change(meta):
        meta.asset_file_def[0].filename = name

    with pytest.raises(Refused, match="an asset lies outside the model"):
        declared(changed(table(tmp_path), change))


def test_a_vocabulary_of_a_path_of_its_own_is_refused(tmp_path):
    """The path is a constant of the graph, and no asset says that it will be given another."""

    def change(meta):
        node = next(node for node in meta.graph_def.node if node.name == "asset_path_initializer")
        node.op = "Const"
        node.attr.pop("shape")
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))
        del meta.asset_file_def[:]

    with pytest.raises(Refused, match="reads a file of its own choice: InitializeTableFromTextFileV2"):
        declared(changed(table(tmp_path), change))


def test_variables_of_a_path_of_its_own_are_refused(tmp_path):
    def change(meta):
        for function in meta.graph_def.library.function:
            for node in function.node_def:
                if node.op == "RestoreV2":
                    node.input[0] = "elsewhere:output:0"
                    made = function.node_def.add(name="elsewhere", op="Const")
                    made.attr["dtype"].type = 7
                    made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/others/variables"))
                    return

    with pytest.raises(Refused, match="reads a file of its own choice: RestoreV2"):
        declared(changed(saved(tmp_path, tf.identity), change))


def test_the_initialiser_is_judged_too(tmp_path):
    def change(meta):
        made = meta.graph_def.node.add(name="reads", op="ReadFile", input=["path"])
        made = meta.graph_def.node.add(name="path", op="Const")
        made.attr["dtype"].type = 7
        made.attr["value"].tensor.CopyFrom(tf.make_tensor_proto("/etc/passwd"))
        next(node for node in meta.graph_def.node if node.name == "NoOp").input.append("^reads")

    with pytest.raises(Refused, match="ReadFile"):
        declared(changed(saved(tmp_path, tf.identity), change))


def test_a_graph_that_names_what_it_lacks_is_broken(tmp_path):
    def change(meta):
        del meta.graph_def.library.function[:]

    with pytest.raises(IntegrityError, match="it lacks"):
        declared(changed(saved(tmp_path, tf.identity), change))


def test_functions_that_call_themselves_end(tmp_path):
    def change(meta):
        for function in meta.graph_def.library.function:
            made = function.node_def.add(name="again", op="PartitionedCall")
            made.attr["f"].func.name = function.signature.name

    with pytest.raises(HeadraceError):
        declared(changed(saved(tmp_path, tf.identity), change))


def test_flipped_bits_in_variables_are_noticed(tmp_path):
    """Besides the digests of the registry: TensorFlow's checksums, or the answer is as it was."""
    folder = saved(tmp_path, tf.identity)
    signature = declared(folder)
    rows = {"x": np.array([1, 2], np.float32)}
    refused = 0
    for path in sorted((folder / "model.tensorflow" / "variables").iterdir()):
        whole = path.read_bytes()
        for at in range(0, len(whole), 1 + len(whole) // 40):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << at % 8]) + whole[at + 1 :])
            try:
                np.testing.assert_array_equal(load(folder, signature)[""](rows)["y"], [3, 6])
            except IntegrityError:
                refused += 1
        path.write_bytes(whole)
    assert refused > 40
    np.testing.assert_array_equal(load(folder, signature)[""](rows)["y"], [3, 6])
