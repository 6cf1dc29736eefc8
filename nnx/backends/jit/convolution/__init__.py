"""Convolutions compiled by numba: `conv` and `conv_block` hand a batch to loops in `conv_loops` and
`conv_block_loops`, which multiply by `products`; `record` and `plan` say where everything lies."""
