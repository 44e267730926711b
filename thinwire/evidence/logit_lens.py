"""What a node reads and writes in words: tokens by weight along the direct path to the embeddings.

A reading node is a direction in the residual stream (its row of weights, or one channel); its words are the tokens
whose embeddings have the largest products with it. A writing node is likewise held against the unembedding. Norms,
AbsTopK and every block on the way are left out, so this tells what weights say, not what happens.
"""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from thinwire.model.gpt import GPT
from thinwire.model.nodes import Nodes
from thinwire.model.sites import is_residual

N_WORDS = 6
Words = list[tuple[int, float]]
"""(token id, product), largest magnitude first."""


def read_words(model: GPT, site: str, channels: list[int]) -> list[Words]:
    """For each channel, the tokens whose embeddings it reads most; empty at sites that only write, and for channels of
    concatenated positions."""
    if site.endswith(".out"):
        return [[] for _ in channels]
    into = {target: name for name, (_, target) in model.space.matrices.items()}
    if is_residual(site):
        d_positions = model.space.widths[site] - model.config.d_model
        products = F.pad(model.embed.weight, (0, d_positions))[:, channels]
    else:
        products = model.embed.weight @ model.get_parameter(into[site])[channels, : model.config.d_model].T
    return _top(products)


def write_words(model: GPT, site: str, channels: list[int]) -> list[Words]:
    """For each channel, the tokens whose logits it moves most per unit; empty at sites that only read."""
    if site.endswith((".in", ".q", ".k")):
        return [[] for _ in channels]
    out_of = {source: name for name, (source, _) in model.space.matrices.items()}
    if is_residual(site):
        products = model.unembed.weight[:, channels]
    else:
        products = model.unembed.weight @ model.get_parameter(out_of[site])[:, channels]
    return _top(products)


def _top(products: Float[Tensor, "V kept"]) -> list[Words]:
    order = products.abs().sort(dim=0, descending=True, stable=True).indices[:N_WORDS]
    return [
        [(token, float(products[token, i])) for token in order[:, i].tolist() if products[token, i] != 0]
        for i in range(products.shape[1])
    ]


def node_words(model: GPT, nodes: Nodes) -> dict[str, dict[str, Words]]:
    """`site:channel` -> `reads` and `writes`."""
    found = {}
    for site, channels in nodes.items():
        pairs = zip(read_words(model, site, list(channels)), write_words(model, site, list(channels)), strict=True)
        for channel, (reads, writes) in zip(channels, pairs, strict=True):
            found[f"{site}:{channel}"] = {"reads": reads, "writes": writes}
    return found
