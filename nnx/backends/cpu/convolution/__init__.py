"""Convolutions on NumPy: `conv` and `conv_block` by rows, `columns` where there is little to do,
`depthwise` with as many groups as channels."""
