"""Loss functions as modules; derivations and sources are in `nnx.ops.loss`.

`loss(input, target)` compares what a model gives with what it should give.  With `reduction`
"mean" or "sum" one number comes back, with "none" a loss for each element or row.  A target whose
shape does not match is a ValueError, never a broadcast.  Weights are buffers: `loss.to("cupy")`
moves them.
"""
