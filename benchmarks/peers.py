"""Peers that ``make bench`` compares with: each in an environment of its own, installed only when asked for.

``python -m benchmarks.peers`` installs them below ``benchmarks/.peers``. Each runs five steps that do nothing, in the
way of its own that starts fastest.
"""

from benchmarks.environments import install

PACKAGES = {
    "kedro": ["kedro"],
    "hamilton": ["apache-hamilton"],
    "metaflow": ["metaflow", "setuptools<81"],
    "dagster": ["dagster"],
}

PROGRAMS = {
    "kedro": """
from kedro.io import DataCatalog, MemoryDataset
from kedro.pipeline import node, pipeline
from kedro.runner import SequentialRunner
def same(x): return x
steps = pipeline([node(same, a, b, name=b) for a, b in zip("xabcd", "abcde")])
SequentialRunner().run(steps, DataCatalog({"x": MemoryDataset(1)}))
""",
    "hamilton": """
import types
from hamilton import ad_hoc_utils, driver
def a(x: int) -> int: return x
def b(a: int) -> int: return a
def c(b: int) -> int: return b
def d(c: int) -> int: return c
def e(d: int) -> int: return d
module = ad_hoc_utils.create_temporary_module(a, b, c, d, e, module_name="five")
assert driver.Builder().with_modules(module).build().execute(["e"], inputs={"x": 1})
""",
    "metaflow": """
from metaflow import FlowSpec, step
class Five(FlowSpec):
    @step
    def start(self): self.x = 1; self.next(self.b)
    @step
    def b(self): self.next(self.c)
    @step
    def c(self): self.next(self.d)
    @step
    def d(self): self.next(self.end)
    @step
    def end(self): pass
if __name__ == "__main__": Five()
""",
    "dagster": """
from dagster import job, op
@op
def one(): return 1
@op
def same(x): return x
@job
def five(): same.alias("e")(same.alias("d")(same.alias("c")(same.alias("b")(one()))))
assert five.execute_in_process().success
""",
}
ARGUMENTS = {"metaflow": ["--quiet", "run"]}


if __name__ == "__main__":
    install(PACKAGES)
