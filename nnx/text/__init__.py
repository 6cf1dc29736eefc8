"""Text to numbers: words, a vocabulary, padded arrays; vectors read from GloVe files.

tokenizer = nnx.text.Tokenizer()
vocabulary = nnx.text.Vocabulary.build(map(tokenizer, reviews), min_count=3)
encoder = nnx.text.TextEncoder(tokenizer, vocabulary, length=200)
numbers, lengths = encoder(reviews)             # (N, 200) and (N,), int64
"""

from .beam import Found, beam_search, sample
from .encoder import TextEncoder
from .glove import Vectors, read_glove
from .tokenizer import STOP_WORDS, Tokenizer
from .vocabulary import PADDING, UNKNOWN, Vocabulary

__all__ = [
    "PADDING",
    "STOP_WORDS",
    "UNKNOWN",
    "Found",
    "TextEncoder",
    "Tokenizer",
    "Vectors",
    "Vocabulary",
    "beam_search",
    "read_glove",
    "sample",
]
