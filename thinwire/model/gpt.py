"""GPT: a pre-norm decoder whose every node site can be hooked. Dense models are the same class.

Source: Gao et al. 2025, section 2.1 and appendix "Architecture". In a layer:

    h = AbsTopK(norm(x))                                  attn.in
    q, k, v = AbsTopK(W h + b)                            attn.q, attn.k, attn.v
    x = x + AbsTopK(W_out softmax(q k / sqrt(K)) v + b)   attn.out
    h = AbsTopK(norm(x))                                  mlp.in
    x = x + AbsTopK(W_out AbsTopK(gelu(W h + b)) + b)     mlp.neuron, mlp.out

and logits = W_U norm(x) + bigram[token]. Nothing is normalised twice and no bias hides in the norms, so that
zero stays special in the residual stream. `config.Variant` lists what released and older models do otherwise.
"""

import math
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from thinwire.model.attention import attention_pattern, causal_attention, heads
from thinwire.model.config import ModelConfig
from thinwire.model.hooks import Edges, Hook, Site, edge_linear, identity
from thinwire.model.nodes import NodeSpace, node_space
from thinwire.model.norm import NORMS
from thinwire.model.sites import EMBED, FINAL, PATTERN, RESIDUAL_SITES
from thinwire.sparsity.costs import CostTable, default_costs
from thinwire.sparsity.linear import linear, support_linear
from thinwire.sparsity.support import SupportMatrix
from thinwire.sparsity.topk import abs_topk, gelu_topk

INIT_STD = 0.02
ACTIVATIONS = {"gelu": F.gelu, "gelu_tanh": partial(F.gelu, approximate="tanh"), "relu": torch.relu}
"""By the name that `Variant.activation` gives them."""


class Linear(nn.Linear):
    """nn.Linear that may use the zeros of its weight."""

    costs: CostTable | None = None
    """See `GPT.use_costs`."""
    support: SupportMatrix | None = None
    """While training follows the nonzeros: the stored entries, which stand in for `weight`."""

    def __init__(self, source: int, target: int, bias: bool = True, shares: tuple[float, float] = (1.0, 1.0)) -> None:
        """`shares` of sources, and of targets' gradients, that AbsTopK leaves."""
        super().__init__(source, target, bias)
        self.shares = shares

    def forward(self, input: Float[Tensor, "*batch source"]) -> Float[Tensor, "*batch target"]:
        if self.support is not None:
            return support_linear(input, self.support, self.bias)
        return linear(input, self.weight, self.bias, self.costs, self.shares)


class Reader(nn.Module):
    """What attention and MLP have in common: the norm of what they read, and AbsTopK at their sites."""

    def __init__(self, config: ModelConfig, layer: int, block: str) -> None:
        super().__init__()
        space, norm = node_space(config), NORMS[config.variant.norm]
        self.site, self.matrix = f"{layer}.{block}", f"blocks.{layer}.{block}"
        sites = [site for site in space.sites if site.startswith(f"{self.site}.")]
        self.n_kept = {site.rpartition(".")[2]: space.n_kept(site) for site in sites}
        self.shares = {site.rpartition(".")[2]: space.n_kept(site) / space.widths[site] for site in sites}
        self.norm = norm(config.d_model, self.site)
        d_positions = config.variant.d_positions
        self.position_norm = norm(d_positions, f"{self.site}.positions") if d_positions else None
        for name in self.n_kept:
            self.add_module(f"hook_{name}", Site(f"{self.site}.{name}"))

    def read(self, x: Float[Tensor, "B T D"], beside: Tensor | None, hook: Hook) -> Float[Tensor, "B T R"]:
        """The normed residual stream, and behind it the normed positions `beside` it, where there are some."""
        h = self.norm(x, hook)  # (B, T, D)
        if beside is not None:
            h = torch.cat([h, self.positions_beside(beside).expand(*h.shape[:-1], -1)], dim=-1)  # (B, T, R = D + P)
        return self.node("in", h, hook)

    def positions_beside(self, table: Float[Tensor, "T P"]) -> Float[Tensor, "T P"]:
        """Positional embeddings as they are concatenated: normed, by a norm of this block's own."""
        assert self.position_norm is not None
        return self.position_norm(table, identity)

    def node(self, name: str, x: Float[Tensor, "B T W"], hook: Hook) -> Float[Tensor, "B T W"]:
        return self.at(name, abs_topk(x, self.n_kept[name]), hook)

    def at(self, name: str, x: Float[Tensor, "B T W"], hook: Hook) -> Float[Tensor, "B T W"]:
        """What the model goes on with at one of its sites."""
        return getattr(self, f"hook_{name}")(x, hook)


class Attention(Reader):
    """Causal self-attention with H heads of width K. Head h owns channels h K to (h + 1) K - 1 of q, k and v."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__(config, layer, "attn")
        self.n_head, self.d_head = config.n_head, config.d_head
        source, width = config.d_read, config.d_attn
        self.q, self.k, self.v = (Linear(source, width, shares=(self.shares["in"], self.shares[x])) for x in "qkv")
        self.out = Linear(width, config.d_model, shares=(1.0, self.shares["out"]))
        self.sink = nn.Parameter(torch.zeros(config.n_head)) if config.sink else None
        self.hook_pattern = Site(f"{self.site}{PATTERN}")

    def forward(
        self, x: Float[Tensor, "B T D"], beside: Tensor | None, hook: Hook, edges: Edges
    ) -> Float[Tensor, "B T D"]:
        matrix = self.matrix
        h = self.read(x, beside, hook)  # (B, T, R)
        q = self.node("q", edge_linear(self.q, h, edges.get(f"{matrix}.q.weight")), hook)  # (B, T, H K), so are k and v
        k = self.node("k", edge_linear(self.k, h, edges.get(f"{matrix}.k.weight")), hook)
        v = self.node("v", edge_linear(self.v, h, edges.get(f"{matrix}.v.weight")), hook)
        out_mask = edges.get(f"{matrix}.out.weight")
        plain = hook is identity and not self.hook_pattern.watched
        if plain and (out_mask is None or (self.sink is None and not out_mask.varies)):
            mixed = causal_attention(q, k, v, self.sink, self.n_head)  # (B, T, H K)
            return self.node("out", edge_linear(self.out, mixed, out_mask), hook)  # (B, T, D)
        pattern = self.hook_pattern(attention_pattern(q, k, self.sink, self.n_head), hook)  # (B, H, T, T)
        gain = None
        if out_mask is not None and out_mask.varies:
            out_mask = replace(out_mask, mean=self._mix(pattern, out_mask.mean))
        elif self.sink is not None:
            gain = pattern.sum(-1).transpose(1, 2).repeat_interleave(self.d_head, dim=-1)  # (B, H, T) -> (B, T, H K)
        return self.node("out", edge_linear(self.out, self._mix(pattern, v), out_mask, gain), hook)

    def _mix(self, pattern: Float[Tensor, "B H T T"], v: Float[Tensor, "B T W"]) -> Float[Tensor, "B T W"]:
        """Values mixed over positions."""
        return (pattern @ heads(v, self.n_head)).transpose(1, 2).flatten(2)  # (B, H, T, K) -> (B, T, H K)


class MLP(Reader):
    """MLP with N neurons: GELU, unless the variant says otherwise."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__(config, layer, "mlp")
        self.activate = ACTIVATIONS[config.variant.activation]
        self.neuron = Linear(config.d_read, config.d_mlp, shares=(self.shares["in"], self.shares["neuron"]))
        self.out = Linear(config.d_mlp, config.d_model, shares=(self.shares["neuron"], self.shares["out"]))

    def forward(
        self, x: Float[Tensor, "B T D"], beside: Tensor | None, hook: Hook, edges: Edges
    ) -> Float[Tensor, "B T D"]:
        h = self.read(x, beside, hook)  # (B, T, R)
        h = edge_linear(self.neuron, h, edges.get(f"{self.matrix}.neuron.weight"))  # (B, T, N)
        n_kept = self.n_kept["neuron"]
        h = gelu_topk(h, n_kept) if self.activate is F.gelu else abs_topk(self.activate(h), n_kept)
        h = self.at("neuron", h, hook)
        return self.node("out", edge_linear(self.out, h, edges.get(f"{self.matrix}.out.weight")), hook)  # (B, T, D)


class Block(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attn = Attention(config, layer)
        self.mlp = MLP(config, layer)
        self.stream = Stream(config, layer)

    def forward(
        self, x: Float[Tensor, "B T D"], beside: Tensor | None, hook: Hook, edges: Edges
    ) -> Float[Tensor, "B T D"]:
        x = self.stream(x, "pre", hook)
        x = self.stream(x + self.attn(x, beside, hook, edges), "mid", hook)
        return self.stream(x + self.mlp(x, beside, hook, edges), "post", hook)


class Stream(nn.Module):
    """The residual stream around attention and MLP, and what a variant does to it; in the paper's models, nothing."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.bends = config.variant.residual == "relu"
        sites = {site.removeprefix("resid."): f"{layer}.{site}" for site in config.variant.residual_sites}
        self.n_kept = {name: node_space(config).n_kept(site) for name, site in sites.items()}
        self.hook_pre, self.hook_mid, self.hook_post = (Site(f"{layer}.{place}") for place in RESIDUAL_SITES)

    def forward(self, x: Float[Tensor, "B T D"], name: str, hook: Hook) -> Float[Tensor, "B T D"]:
        if name in self.n_kept:
            x = abs_topk(torch.relu(x) if self.bends and name != "pre" else x, self.n_kept[name])
        return getattr(self, f"hook_{name}")(x, hook)


class Entry(NamedTuple):
    """Where a forward pass may go on: the residual stream in front of a block."""

    block: int
    """Number of the block; n_layer: after the last."""
    stream: Float[Tensor, "B T D"]


class GPT(nn.Module):
    """The whole decoder. `GPT(config)` is initialised from torch's global generator."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        width = config.variant.d_positions or config.d_model
        self.positions = nn.Embedding(config.context, width) if config.positions == "learned" else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.norm = NORMS[config.variant.norm](config.d_model, FINAL)
        self.hook_embed, self.hook_final = Site(EMBED), Site(FINAL)
        self.unembed = Linear(config.d_model, config.vocab_size, bias=False)
        self.bigram = nn.Parameter(torch.empty(config.vocab_size, config.vocab_size)) if config.bigram else None
        self._initialise()

    @property
    def device(self) -> torch.device:
        """Where the weights lie."""
        return self.embed.weight.device

    @property
    def space(self) -> NodeSpace:
        """The model's nodes and matrices."""
        return node_space(self.config)

    @torch.no_grad()
    def _initialise(self) -> None:
        """normal(0, 0.02); both output projections further by 1/sqrt(2 L); biases 0; bigram uniform(0, 0.02)."""
        output_std = INIT_STD / math.sqrt(2 * self.config.n_layer)
        for name, parameter in self.named_parameters():
            if name == "bigram":
                parameter.uniform_(0, INIT_STD)
            elif name.endswith("bias"):
                parameter.zero_()
            elif parameter.ndim == 2:
                parameter.normal_(0, output_std if name.endswith("out.weight") else INIT_STD)

    def use_costs(self, costs: CostTable | None) -> None:
        """Take, in every matrix, the product that `costs` says is faster; None: always torch's dense one.

        Values change by rounding alone.
        """
        for module in self.modules():
            if isinstance(module, Linear):
                module.costs = costs

    def skipping_zeros(self) -> "GPT":
        """A frozen model of the same weights, shared, that skips zeros where the shipped costs say that this is faster.

        Values change by rounding alone. Off the CPU it is as fast as this one.
        """
        with torch.device("meta"):
            twin = GPT(self.config)
        twin.load_state_dict(self.state_dict(), assign=True)
        if self.device.type == "cpu":
            shapes = [(len(m.weight), m.weight.shape[1]) for m in self.modules() if isinstance(m, Linear)]
            twin.use_costs(default_costs(shapes))
        return twin.requires_grad_(False).eval()

    def forward(
        self, tokens: Int[Tensor, "B T"], hook: Hook = identity, edges: Edges | None = None
    ) -> Float[Tensor, "B T V"]:
        """Next-token logits at every position.

        Raises `ValueError` when T is longer than the context, `UserError` when `edges` names a matrix that is none.
        """
        return self.logits(self.residual(tokens, hook, edges or {}), tokens, hook)

    def residual(
        self, tokens: Int[Tensor, "B T"], hook: Hook, edges: Edges, start: Entry | None = None
    ) -> Float[Tensor, "B T D"]:
        """The residual stream after the last block.

        With `start` the pass goes on from there, in front of a block, and hooks before it are not called.
        """
        x, beside = self._embedded(tokens, hook, edges) if start is None else (start.stream, self._beside(tokens))
        for block in self.blocks[start.block if start else 0 :]:
            x = block(x, beside, hook, edges)
        return x

    def entries(self, tokens: Int[Tensor, "B T"], hook: Hook, edges: Edges) -> list[Entry]:
        """The residual stream in front of every block, and after the last."""
        x, beside = self._embedded(tokens, hook, edges)
        found = [Entry(0, x)]
        for block in self.blocks:
            x = block(x, beside, hook, edges)
            found.append(Entry(len(found), x))
        return found

    def _beside(self, tokens: Int[Tensor, "B T"]) -> Tensor | None:
        """What blocks read beside the stream: concatenated positions, where a variant has them."""
        if self.positions is None or not self.config.variant.d_positions:
            return None
        return self.positions.weight[: tokens.shape[1]]

    def _embedded(self, tokens: Int[Tensor, "B T"], hook: Hook, edges: Edges) -> tuple[Tensor, Tensor | None]:
        """(the stream in front of the first block, what blocks read beside it)."""
        if tokens.shape[1] > self.config.context:
            raise ValueError(f"sequence of {tokens.shape[1]} tokens is longer than the context {self.config.context}")
        self.space.check_matrices(edges)
        x, beside = self.embed(tokens), self._beside(tokens)  # (B, T, D), (T, P)
        if self.positions is not None and beside is None:
            x = x + self.positions.weight[: tokens.shape[1]]
        return self.hook_embed(x, hook), beside

    def final(
        self, tokens: Int[Tensor, "B T"], hook: Hook = identity, edges: Edges | None = None
    ) -> Float[Tensor, "B T D"]:
        """What the unembedding reads at every position: the forward pass up to its last node site."""
        return self.hook_final(self.norm(self.residual(tokens, hook, edges or {}), hook), hook)

    def logits(
        self, x: Float[Tensor, "*batch D"], tokens: Int[Tensor, "*batch"], hook: Hook = identity
    ) -> Float[Tensor, "*batch V"]:
        """Logits after residual stream `x` at the positions of `tokens`."""
        logits = self.unembed(self.hook_final(self.norm(x, hook), hook))  # (*batch, V)
        return logits if self.bigram is None else logits + F.embedding(tokens, self.bigram)

    def last_logits(
        self,
        tokens: Int[Tensor, "B T"],
        lengths: Int[Tensor, " B"],
        hook: Hook = identity,
        edges: Edges | None = None,
    ) -> Float[Tensor, "B V"]:
        """Logits at each row's last token, `lengths - 1`; what stands to its right does not matter."""
        rows = torch.arange(len(tokens), device=tokens.device)
        last = lengths - 1
        return self.logits(self.residual(tokens, hook, edges or {})[rows, last], tokens[rows, last], hook)
