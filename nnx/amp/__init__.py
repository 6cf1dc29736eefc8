"""Mixed precision under the names of `torch.amp`: products in 16 bits, everything else in 32.

`Trainer(precision="float16")` and `nnx train --precision` do by themselves what is here by hand.
"""

from ..autograd import autocast
from .grad_scaler import GradScaler
from .precision import Precision

__all__ = ["GradScaler", "Precision", "autocast"]
