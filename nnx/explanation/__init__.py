"""What a layer does to one input, derived with that input's numbers: `nnx.explain`.

    print(nnx.explain(nn.Linear(3, 2), [[1.0, 2.0, -1.0]]))

Every number that is printed is made of the numbers beside it, and compared with what the layer's
own forward and backward computed; a line that does not hold says so.
"""

from .explaining import explain
from .page import Explanation
from .steps import Equality

__all__ = ["Equality", "Explanation", "explain"]
