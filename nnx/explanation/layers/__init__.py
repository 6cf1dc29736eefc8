"""How each layer is explained: a function of a `Writer` for each, by family."""
