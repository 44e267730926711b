"""What a node reads and writes in words: tokens by weight along the direct path to the embeddings.

A reading node is a direction in the residual stream (its row of weights, or one channel); its words are the tokens
whose embeddings have the largest products with it. A writing node is likewise held against the unembedding. Inside a
circuit only the channels that it keeps count, of the embedding, of the block and of the final norm alike. Norms,
AbsTopK and every block on the way are left out, so this tells what weights say, not what happens.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from thinwire.evidence.records import NodeWords, Said, Words
from thinwire.model.gpt import GPT
from thinwire.model.nodes import Nodes
from thinwire.model.sites import EMBED, FINAL, is_in_head, is_read, is_residual, node_key, part_of

N_WORDS = 6


def read_products(model: GPT, site: str, channels: list[int], kept: Nodes | None = None) -> Float[Tensor, "V kept"]:
    """Every token's embedding times what each channel reads; zeros at sites that only write, and for channels of
    concatenated positions.

    With `kept` only embedding channels and reads of the block that are among these nodes count.
    """
    embed, d_model = model.embed.weight * _among(model, EMBED, kept), model.config.d_model
    if part_of(site) in ("attn.out", "mlp.out"):
        return embed.new_zeros(len(embed), len(channels))
    if is_residual(site):
        return F.pad(embed, (0, model.space.widths[site] - d_model))[:, channels]
    name, source = next((n, source) for n, (source, target) in model.space.matrices.items() if target == site)
    weights = model.get_parameter(name)[channels, :d_model] * _among(model, source, kept)[:d_model]
    return embed @ weights.T


def write_products(model: GPT, site: str, channels: list[int], kept: Nodes | None = None) -> Float[Tensor, "V kept"]:
    """Every token's unembedding times what each channel writes; zeros at sites that only read."""
    unembed = model.unembed.weight * _among(model, FINAL, kept)
    if is_in_head(site) and part_of(site) != "attn.v" or is_read(site) and site != FINAL:
        return unembed.new_zeros(len(unembed), len(channels))
    if is_residual(site):
        return unembed[:, channels]
    name, target = next((n, target) for n, (source, target) in model.space.matrices.items() if source == site)
    return unembed @ (model.get_parameter(name)[:, channels] * _among(model, target, kept)[:, None])


def _among(model: GPT, site: str, kept: Nodes | None) -> Float[Tensor, " width"]:
    """1 at the channels that count, 0 elsewhere."""
    width = model.space.widths[site]
    if kept is None:
        return torch.ones(width, device=model.device)
    mask = torch.zeros(width, device=model.device)
    mask[list(kept.get(site, ()))] = 1.0
    return mask


def top_words(products: Float[Tensor, "V kept"], text: Callable[[int], str]) -> list[Words]:
    """For each column the `N_WORDS` tokens of largest magnitude, as `text` writes them; zeros are no words."""
    order = products.abs().sort(dim=0, descending=True, stable=True).indices[:N_WORDS]
    return [
        [(text(i), float(products[i, c])) for i in order[:, c].tolist() if products[i, c] != 0]
        for c in range(products.shape[1])
    ]


def node_words(model: GPT, nodes: Nodes, text: Callable[[int], str]) -> dict[str, Said]:
    """`site:channel` -> its words inside the circuit of these nodes, and in the whole model; `text` of a token id."""
    found = {}
    for site, channels in nodes.items():
        columns = [
            top_words(products(model, site, list(channels), kept), text)
            for kept in (nodes, None)
            for products in (read_products, write_products)
        ]
        for channel, reads, writes, all_reads, all_writes in zip(channels, *columns, strict=True):
            found[node_key(site, channel)] = Said(NodeWords(reads, writes), NodeWords(all_reads, all_writes))
    return found
