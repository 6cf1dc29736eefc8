"""Convolutions compiled by numba: `conv` and `block` hand a batch to loops in `conv_loops` and
`block_loops`, which multiply by `products`; `record` and `plan` say where everything lies."""
