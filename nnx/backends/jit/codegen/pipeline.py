"""numba's way from Python to machine code, without what loops over numbers have no use for.

numba's compiler is some thirty passes, and nine end by reading the whole function again: which
variables are alive where.  The passes that are left out look for what a kernel does not contain;
one that did would be refused with an error, so nothing is computed otherwise than with them.
"""

from __future__ import annotations

from typing import Any

from numba.core import types
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.typed_passes import NopythonRewrites

NEEDLESS = {
    "WithLifting",  # `with` blocks
    "InlineClosureLikes",  # functions in functions, and comprehensions
    "MakeFunctionToJitFunction",
    "RewriteDynamicRaises",  # `raise`, with what is not a constant
    "FindLiterallyCalls",  # `literally`, and loops over tuples of several types
    "LiteralUnroll",
    "LiteralPropagationSubPipelinePass",
}
ONCE = {"DeadBranchPrune"}  # which runs after others too: the last time finds what is left

FORMULAS = {"binop", "inplace_binop", "unary"}


@register_pass(mutates_CFG=True, analysis_only=False)
class Rewrites(NopythonRewrites):  # type: ignore[misc]
    """numba's loops for formulas of whole arrays; not looked for where no array is computed."""

    _name = "kernel_rewrites"

    def run_pass(self, state: Any) -> bool:
        made = any(
            isinstance(call.return_type, types.Array)
            for expression, call in state.calltypes.items()
            if call is not None and getattr(expression, "op", None) in FORMULAS
        )
        return bool(super().run_pass(state)) if made else False


class Compiler(CompilerBase):  # type: ignore[misc]
    """numba's compiler for `compiled` and `callable_from_c`, as its `pipeline_class`."""

    def define_pipelines(self) -> list[Any]:
        usual = DefaultPassBuilder.define_nopython_pipeline(self.state)
        names = [kind.__name__ for kind, _ in usual.passes]
        short = PassManager("kernel")
        for k, (kind, text) in enumerate(usual.passes):
            again = names[k] in ONCE and names[k] in names[k + 1 :]
            if names[k] not in NEEDLESS and not again:
                short.add_pass(Rewrites if kind is NopythonRewrites else kind, text)
        short.finalize()
        return [short]
