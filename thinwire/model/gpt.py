"""GPT: a pre-norm decoder whose every node site can be hooked. Dense models are the same class.

Source: Gao et al. 2025, section 2.1 and appendix "Architecture". In a layer:

    h = AbsTopK(norm(x))                                  attn.in
    q, k, v = AbsTopK(W h + b)                            attn.q, attn.k, attn.v
    x = x + AbsTopK(W_out softmax(q k / sqrt(K)) v + b)   attn.out
    h = AbsTopK(norm(x))                                  mlp.in
    x = x + AbsTopK(W_out AbsTopK(gelu(W h + b)) + b)     mlp.neuron, mlp.out

and logits = W_U norm(x) + bigram[token]. Nothing is normalised twice and no bias hides in the norms, so that
zero stays special in the residual stream.
"""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from thinwire.model.attention import attention_pattern, causal_attention, heads
from thinwire.model.config import ModelConfig
from thinwire.model.hooks import Edges, Hook, edge_linear, identity
from thinwire.model.nodes import NodeSpace, node_space
from thinwire.model.norm import rms_norm
from thinwire.model.sites import EMBED, FINAL
from thinwire.sparsity.costs import CostTable
from thinwire.sparsity.linear import linear, support_linear
from thinwire.sparsity.support import SupportMatrix
from thinwire.sparsity.topk import abs_topk, count_kept, gelu_topk

INIT_STD = 0.02


class RMSNorm(nn.Module):
    """x / rms(x) x gain, with torch's default eps (finfo of the dtype)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "*batch D"], site: str, hook: Hook) -> Float[Tensor, "*batch D"]:
        if hook is identity:
            return rms_norm(x, self.gain)
        scale = torch.rsqrt(x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps)
        return x * hook(f"{site}.scale", scale) * self.gain


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

    def forward(self, x: Float[Tensor, "*batch source"]) -> Float[Tensor, "*batch target"]:
        if self.support is not None:
            return support_linear(x, self.support, self.bias)
        return linear(x, self.weight, self.bias, self.costs, self.shares)


class Attention(nn.Module):
    """Causal self-attention with H heads of width K. Head h owns channels h K to (h + 1) K - 1 of q, k and v."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        width = config.d_model
        self.layer, self.n_head, self.d_head = layer, config.n_head, config.d_head
        self.n_kept = count_kept(width, config.activation_frac)
        self.norm = RMSNorm(width)
        share = self.n_kept / width
        self.q, self.k, self.v = (Linear(width, width, shares=(share, share)) for _ in range(3))
        self.out = Linear(width, width, shares=(1.0, share))
        self.sink = nn.Parameter(torch.zeros(config.n_head)) if config.sink else None

    def forward(self, x: Float[Tensor, "B T D"], hook: Hook, edges: Edges) -> Float[Tensor, "B T D"]:
        site, matrix = f"{self.layer}.attn", f"blocks.{self.layer}.attn"

        def node(name: str, value: Tensor) -> Tensor:
            return hook(f"{site}.{name}", abs_topk(value, self.n_kept))

        h = node("in", self.norm(x, site, hook))
        q = node("q", edge_linear(self.q, h, edges.get(f"{matrix}.q.weight")))
        k = node("k", edge_linear(self.k, h, edges.get(f"{matrix}.k.weight")))
        v = node("v", edge_linear(self.v, h, edges.get(f"{matrix}.v.weight")))
        out_mask = edges.get(f"{matrix}.out.weight")
        if hook is identity and (self.sink is None or out_mask is None):
            return node("out", edge_linear(self.out, causal_attention(q, k, v, self.sink, self.n_head), out_mask))
        mixed, gain = self._mix(q, k, v, hook)
        return node("out", edge_linear(self.out, mixed, out_mask, gain))

    def _mix(self, q: Tensor, k: Tensor, v: Tensor, hook: Hook) -> tuple[Tensor, Tensor | None]:
        """(values mixed over positions, total attention per channel where a sink makes it less than 1)."""
        pattern = hook(f"{self.layer}.attn.pattern", attention_pattern(q, k, self.sink, self.n_head))
        mixed = (pattern @ heads(v, self.n_head)).transpose(1, 2).flatten(2)
        if self.sink is None:
            return mixed, None
        return mixed, pattern.sum(-1).transpose(1, 2).repeat_interleave(self.d_head, dim=-1)


class MLP(nn.Module):
    """GELU MLP with N neurons."""

    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.n_kept = count_kept(config.d_model, config.activation_frac)
        self.n_kept_neurons = count_kept(config.d_mlp, config.activation_frac)
        self.norm = RMSNorm(config.d_model)
        share, neurons = self.n_kept / config.d_model, self.n_kept_neurons / config.d_mlp
        self.neuron = Linear(config.d_model, config.d_mlp, shares=(share, neurons))
        self.out = Linear(config.d_mlp, config.d_model, shares=(neurons, share))

    def forward(self, x: Float[Tensor, "B T D"], hook: Hook, edges: Edges) -> Float[Tensor, "B T D"]:
        site, matrix = f"{self.layer}.mlp", f"blocks.{self.layer}.mlp"
        h = hook(f"{site}.in", abs_topk(self.norm(x, site, hook), self.n_kept))
        h = edge_linear(self.neuron, h, edges.get(f"{matrix}.neuron.weight"))
        h = hook(f"{site}.neuron", gelu_topk(h, self.n_kept_neurons))
        return hook(f"{site}.out", abs_topk(edge_linear(self.out, h, edges.get(f"{matrix}.out.weight")), self.n_kept))


class Block(nn.Module):
    def __init__(self, config: ModelConfig, layer: int) -> None:
        super().__init__()
        self.attn = Attention(config, layer)
        self.mlp = MLP(config, layer)

    def forward(self, x: Float[Tensor, "B T D"], hook: Hook, edges: Edges) -> Float[Tensor, "B T D"]:
        x = x + self.attn(x, hook, edges)
        return x + self.mlp(x, hook, edges)


class GPT(nn.Module):
    """The whole decoder. `GPT(config)` is initialised from torch's global generator."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.embed = nn.Embedding(config.vocab_size, config.d_model)
        self.positions = nn.Embedding(config.context, config.d_model) if config.positions == "learned" else None
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.norm = RMSNorm(config.d_model)
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

    def forward(
        self, tokens: Int[Tensor, "B T"], hook: Hook = identity, edges: Edges | None = None
    ) -> Float[Tensor, "B T V"]:
        """Next-token logits at every position.

        Raises `ValueError` when T is longer than the context, `UserError` when `edges` names a matrix that is none.
        """
        return self.logits(self.residual(tokens, hook, edges or {}), tokens, hook)

    def residual(self, tokens: Int[Tensor, "B T"], hook: Hook, edges: Edges) -> Float[Tensor, "B T D"]:
        """The residual stream after the last block."""
        if tokens.shape[1] > self.config.context:
            raise ValueError(f"sequence of {tokens.shape[1]} tokens is longer than the context {self.config.context}")
        self.space.check_matrices(edges)
        x = self.embed(tokens)
        if self.positions is not None:
            x = x + self.positions.weight[: tokens.shape[1]]
        x = hook(EMBED, x)
        for block in self.blocks:
            x = block(x, hook, edges)
        return x

    def final(
        self, tokens: Int[Tensor, "B T"], hook: Hook = identity, edges: Edges | None = None
    ) -> Float[Tensor, "B T D"]:
        """What the unembedding reads at every position: the forward pass up to its last node site."""
        return hook(FINAL, self.norm(self.residual(tokens, hook, edges or {}), FINAL, hook))

    def logits(
        self, x: Float[Tensor, "*batch D"], tokens: Int[Tensor, "*batch"], hook: Hook = identity
    ) -> Float[Tensor, "*batch V"]:
        """Logits after residual stream `x` at the positions of `tokens`."""
        logits = self.unembed(hook(FINAL, self.norm(x, FINAL, hook)))
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
