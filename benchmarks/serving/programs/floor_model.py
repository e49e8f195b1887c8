"""What the floors share: the least that still parses the JSON, checks it and scores it with the same session.

``python floor_asgi.py MODEL PORT [COLUMNS]``: with COLUMNS (JSON of name to ``number`` or ``text``, null allowed) rows
are objects of named columns, else lists of as many numbers as the model takes.
"""

import json
import sys
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
import onnxruntime as ort


def session_of(path: str) -> ort.InferenceSession:
    """A session with one thread that does not spin, as headrace has it."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def answerer() -> Any:
    """A function from the body of a request to the body of the reply; raises ``msgspec.MsgspecError``."""
    session = session_of(sys.argv[1])
    outputs = [session.get_outputs()[-1].name]
    encode = msgspec.json.Encoder().encode
    if len(sys.argv) > 3:
        return _named(session, outputs, encode, json.loads(Path(sys.argv[3]).read_text()))
    taken = session.get_inputs()[0]
    row = Annotated[list[float], msgspec.Meta(min_length=taken.shape[1], max_length=taken.shape[1])]
    decode = msgspec.json.Decoder(msgspec.defstruct("Predict", [("instances", list[row])])).decode
    run, name = session.run, taken.name

    def answer(body: bytes) -> bytes:
        pixels = np.array(decode(body).instances, np.float32)
        return encode({"predictions": run(outputs, {name: pixels})[0].tolist()})

    return answer


def _named(session: Any, outputs: list[str], encode: Any, columns: dict[str, str]) -> Any:
    """Rows as objects become a matrix of numbers and one of text."""
    fields = [(f"f{i}", float | None if kind == "number" else str) for i, kind in enumerate(columns.values())]
    rename = {f"f{i}": name for i, name in enumerate(columns)}
    row = msgspec.defstruct("Row", fields, rename=rename, forbid_unknown_fields=True, gc=False)
    decode = msgspec.json.Decoder(msgspec.defstruct("Predict", [("instances", list[row])])).decode
    cells, run = msgspec.structs.astuple, session.run
    n = sum(kind == "number" for kind in columns.values())

    def answer(body: bytes) -> bytes:
        rows = [cells(row) for row in decode(body).instances]
        batch = {
            "numbers": np.array([r[:n] for r in rows], np.float32),
            "strings": np.array([r[n:] for r in rows], object),
        }
        return encode({"predictions": run(outputs, batch)[0].ravel().tolist()})

    return answer
