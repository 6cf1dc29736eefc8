"""Convolutions on NumPy: `conv` and `conv_block` by rows, `columns` where there is little to do or
small groups, `tiles` where windows do not overlap, as of 1x1,
`depthwise` with as many groups as channels."""
