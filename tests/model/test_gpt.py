"""The forward pass: every seam is there once, changes nothing by itself, and does what the formulas say."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from model_builders import CONFIG, lively, tokens
from torch import Tensor

from thinwire.model.config import ModelConfig
from thinwire.model.gpt import GPT, Block
from thinwire.model.hooks import EdgeMask, compose, identity
from thinwire.model.sites import FINAL, LAYER_SITES, matrix_ends, node_sites

SHAPES = [
    CONFIG,
    replace(CONFIG, sink=True),
    replace(CONFIG, positions="learned"),
    replace(CONFIG, bigram=False),
    replace(CONFIG, activation_frac=1.0),
]


def blocks(model: GPT) -> list[Block]:
    return [block for block in model.blocks if isinstance(block, Block)]


def unchanged(site: str, x: Tensor) -> Tensor:
    """Changes nothing, but is not the hook that the model may leave out."""
    return x


# --- hooks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", SHAPES, ids=["plain", "sink", "positions", "no-bigram", "no-abs-topk"])
def test_a_tap_that_changes_nothing_changes_nothing(config: ModelConfig) -> None:
    """The fused attention and norm of the untapped forward are the plain ones of the hooked forward."""
    model, x = lively(config), tokens()
    torch.testing.assert_close(model(x, unchanged), model(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sink", [False, True])
def test_every_seam_is_tapped_once_in_the_order_of_the_forward(sink: bool) -> None:
    seen: list[str] = []

    def record(site: str, x: Tensor) -> Tensor:
        seen.append(site)
        return x

    lively(replace(CONFIG, sink=sink))(tokens(), record)
    nodes = [site for site in seen if site in node_sites(2)]
    assert nodes == list(node_sites(2))
    others = [site for site in seen if site not in node_sites(2)]
    layer = ["resid.pre", "attn.scale", "attn.pattern", "resid.mid", "mlp.scale", "resid.post"]
    assert others == [f"{n}.{name}" for n in (0, 1) for name in layer] + ["final.scale"]


def test_sites_have_the_width_that_their_name_promises() -> None:
    widths: dict[str, int] = {}

    def record(site: str, x: Tensor) -> Tensor:
        widths[site] = x.shape[-1]
        return x

    lively()(tokens(), record)
    assert {site: widths[site] for site in node_sites(2)} == lively().space.widths


@pytest.mark.parametrize("place", range(1, 17))
def test_a_replacement_changes_what_comes_after_it_only(place: int) -> None:
    model, x, target = lively(), tokens(), node_sites(2)[place]

    def recording(into: dict[str, Tensor]):
        def hook(site: str, value: Tensor) -> Tensor:
            into[site] = value
            return value

        return hook

    def shift(site: str, value: Tensor) -> Tensor:
        return value + 1.5 if site == target else value

    before: dict[str, Tensor] = {}
    after: dict[str, Tensor] = {}
    plain, shifted = model(x, recording(before)), model(x, compose(recording(after), shift))
    untouched = node_sites(2)[: place + 1]
    if target.endswith((".q", ".k")):  # q, k and v are computed side by side
        untouched = (*untouched, *(target[:-1] + name for name in ("k", "v") if name > target[-1] or name == "v"))
    assert all(torch.equal(before[site], after[site]) for site in untouched)
    assert not torch.equal(plain, shifted)
    assert not torch.equal(before[FINAL], after[FINAL])


def test_the_future_never_reaches_back() -> None:
    model, x = lively(replace(CONFIG, sink=True)), tokens()
    y = x.clone()
    y[:, 4:] = (y[:, 4:] + 1) % 23
    for hook in (identity, unchanged):
        torch.testing.assert_close(model(x, hook)[:, :4], model(y, hook)[:, :4])
        assert not torch.allclose(model(x, hook)[:, 4:], model(y, hook)[:, 4:])


def test_abs_topk_comes_before_the_tap() -> None:
    """k = d / 4: 3 of 12 channels, 6 of 24 neurons; a hook may fill in the others, and they stay."""
    model, filled = lively(), {}

    def hook(site: str, x: Tensor) -> Tensor:
        if site[0].isdigit() and site[2:] in LAYER_SITES:
            expected = x.shape[-1] // 4
            assert (x.count_nonzero(-1) <= expected).all()
            assert x.count_nonzero() > 0
            filled[site] = x + (x == 0)
            return filled[site]
        return x

    model(tokens(), hook)
    assert len(filled) == 16
    whole = lively(replace(CONFIG, activation_frac=1.0))
    whole(tokens(), lambda site, x: x if x.count_nonzero() > x.numel() / 2 else pytest.fail(site))


def test_compose_goes_from_left_to_right() -> None:
    double, increment = (lambda site, x: 2 * x), (lambda site, x: x + 1)
    assert compose(double, increment)("embed", torch.tensor([3.0])).item() == 7
    assert compose(increment, double)("embed", torch.tensor([3.0])).item() == 8


# --- the arithmetic, written out ------------------------------------------------------------------------------------


def naive(model: GPT, row: Tensor) -> Tensor:
    """Logits (T, V) of one sequence, head by head and position by position."""
    config = model.config

    def norm(x: Tensor, gain: Tensor) -> Tensor:
        return x / (x.square().mean(-1, keepdim=True) + torch.finfo(x.dtype).eps).sqrt() * gain

    def topk(x: Tensor) -> Tensor:
        k = max(1, int(config.activation_frac * x.shape[-1]))
        kept = torch.zeros_like(x)
        for t in range(len(x)):
            best = sorted(range(x.shape[-1]), key=lambda i: -abs(x[t, i].item()))[:k]
            kept[t, best] = x[t, best]
        return kept

    x = model.embed.weight[row]
    if model.positions is not None:
        x = x + model.positions.weight[: len(row)]
    for block in blocks(model):
        attn, mlp = block.attn, block.mlp
        h = topk(norm(x, attn.norm.gain))
        q, k, v = (topk(h @ m.weight.T + m.bias) for m in (attn.q, attn.k, attn.v))
        mixed = torch.zeros_like(x)
        for head in range(config.n_head):
            part = slice(head * config.d_head, (head + 1) * config.d_head)
            for t in range(len(row)):
                scores = (k[: t + 1, part] @ q[t, part]) / math.sqrt(config.d_head)
                weight = scores.exp()
                sink = attn.sink[head].exp() if attn.sink is not None else torch.tensor(0.0)
                mixed[t, part] = (weight / (weight.sum() + sink)) @ v[: t + 1, part]
        x = x + topk(mixed @ attn.out.weight.T + attn.out.bias)
        h = topk(F.gelu(topk(norm(x, mlp.norm.gain)) @ mlp.neuron.weight.T + mlp.neuron.bias))
        x = x + topk(h @ mlp.out.weight.T + mlp.out.bias)
    logits = norm(x, model.norm.gain) @ model.unembed.weight.T
    return logits if model.bigram is None else logits + model.bigram[row]


@pytest.mark.parametrize("config", SHAPES, ids=["plain", "sink", "positions", "no-bigram", "no-abs-topk"])
def test_the_forward_is_the_formulas(config: ModelConfig) -> None:
    model, x = lively(config), tokens(2)
    for i in range(2):
        torch.testing.assert_close(model(x)[i], naive(model, x[i]), atol=1e-4, rtol=1e-4)


def test_a_sink_takes_its_share_of_the_attention() -> None:
    """All scores 0 and sink log 3: the first position attends itself with 1 / (1 + 3), the second with 2 / 5 in all."""
    model = lively(replace(CONFIG, sink=True))
    for block in blocks(model):
        block.attn.q.weight.zero_()
        block.attn.q.bias.zero_()
        assert block.attn.sink is not None
        block.attn.sink.fill_(math.log(3))
    shares = {}

    def hook(site: str, x: Tensor) -> Tensor:
        if site.endswith("pattern"):
            shares[site] = x.sum(-1)
        return x

    model(tokens(1, 2), hook)
    for share in shares.values():
        torch.testing.assert_close(share, torch.tensor([0.25, 0.4]).expand(1, 3, 2))


def test_the_bigram_row_of_the_current_token_is_added() -> None:
    model, x = lively(), tokens()
    with_table = model(x)
    table, model.bigram = model.bigram, None
    assert table is not None
    torch.testing.assert_close(with_table - model(x), table[x])


def test_learned_positions_are_added_and_none_are_needed() -> None:
    model = lively(replace(CONFIG, positions="learned"))
    same = torch.full((1, 2), 5)
    first, second = model(same)[0]
    assert not torch.allclose(first, second)
    assert model.positions is not None
    model.positions.weight.zero_()
    first, second = model(same)[0]  # two equal tokens: attention mixes two equal values
    torch.testing.assert_close(first, second)


# --- edges ----------------------------------------------------------------------------------------------------------


def masks(model: GPT, keep_share: float, seed: int = 3) -> dict[str, EdgeMask]:
    generator = torch.Generator().manual_seed(seed)
    found = {}
    for name in matrix_ends(2):
        shape = model.get_parameter(name).shape
        keep = torch.rand(shape, generator=generator) < keep_share
        found[name] = EdgeMask(keep, torch.randn(shape[1], generator=generator))
    return found


@pytest.mark.parametrize("sink", [False, True])
def test_keeping_all_edges_is_the_whole_model(sink: bool) -> None:
    model, x = lively(replace(CONFIG, sink=sink)), tokens()
    for hook in (identity, unchanged):
        torch.testing.assert_close(model(x, hook, masks(model, 1.1)), model(x), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("sink", [False, True])
def test_removed_edges_carry_their_sources_mean(sink: bool) -> None:
    """Against a per-edge sum at every target: weight x (source's value if kept, else source's mean) + bias.

    A removed edge out of a value channel carries the mean through the attention that arrives in all: what the sink
    takes of it arrives nowhere.
    """
    model, x = lively(replace(CONFIG, sink=sink, activation_frac=1.0)), tokens(1, 4)
    edges = masks(model, 0.5)
    values: dict[str, Tensor] = {}

    def record(site: str, value: Tensor) -> Tensor:
        values[site] = value[0]
        return value

    model(x, record, edges)
    for name, (source_site, target_site) in matrix_ends(2).items():
        weight, bias = model.get_parameter(name), model.get_parameter(name.replace("weight", "bias"))
        keep, mean = edges[name].keep, edges[name].mean
        for t in range(4):
            arriving = values[source_site][t]
            stand_in = mean
            if target_site.endswith("attn.out"):
                pattern = values[f"{target_site[0]}.attn.pattern"]  # (H, T, T)
                heads = [pattern[c // 4, t] for c in range(12)]
                arriving = torch.stack([heads[c] @ values[source_site][:, c] for c in range(12)])
                stand_in = torch.stack([heads[c].sum() * mean[c] for c in range(12)])
            expected = bias.clone()
            for target in range(len(bias)):
                for source in range(len(mean)):
                    here = arriving[source] if keep[target, source] else stand_in[source]
                    expected[target] += weight[target, source] * here
            if target_site.endswith("neuron"):
                expected = F.gelu(expected)
            torch.testing.assert_close(values[target_site][t], expected, atol=1e-4, rtol=1e-4)


def test_edges_are_removed_before_abs_topk() -> None:
    """With all edges into 0.attn.q gone, what AbsTopK sees is bias + W mean: its 3 largest of 12 are kept."""
    model, x = lively(), tokens(1, 2)
    name = "blocks.0.attn.q.weight"
    mean = torch.arange(12.0) / 10
    seen = {}

    def record(site: str, value: Tensor) -> Tensor:
        seen[site] = value
        return value

    model(x, record, {name: EdgeMask(torch.zeros(12, 12, dtype=torch.bool), mean)})
    constant = model.get_parameter(name) @ mean + model.get_parameter("blocks.0.attn.q.bias")
    kept = constant.abs().topk(3).indices.sort().values
    for t in range(2):
        q = seen["0.attn.q"][0, t]
        assert q.nonzero().flatten().tolist() == kept.tolist()
        torch.testing.assert_close(q[kept], constant[kept])


def test_edge_matrices_are_the_block_matrices() -> None:
    model = lively()
    expected = {n for n, p in model.named_parameters() if n.startswith("blocks.") and p.ndim == 2}
    assert set(matrix_ends(2)) == expected
    widths = model.space.widths
    for name, (source, target) in matrix_ends(2).items():
        assert model.get_parameter(name).shape == (widths[target], widths[source])


# --- last position --------------------------------------------------------------------------------------------------


def test_last_logits_are_the_forward_at_the_last_position() -> None:
    model, x, lengths = lively(), tokens(), torch.tensor([7, 2, 5])
    for hook in (identity, unchanged):
        for edges in (None, masks(model, 0.5)):
            whole = model(x, hook, edges)[torch.arange(3), lengths - 1]
            torch.testing.assert_close(model.last_logits(x, lengths, hook, edges), whole, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("positions", ["none", "learned"])
def test_padding_to_the_right_does_not_matter(positions) -> None:
    model, x, lengths = lively(replace(CONFIG, positions=positions)), tokens(), torch.tensor([7, 2, 5])
    y = x.clone()
    for row, length in enumerate(lengths):
        y[row, length:] = 22
    longer = torch.cat([y, torch.full((3, 2), 4)], dim=1)
    expected = model.last_logits(x, lengths)
    torch.testing.assert_close(model.last_logits(y, lengths), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model.last_logits(longer, lengths), expected, atol=1e-5, rtol=1e-5)
    alone = torch.cat([model.last_logits(x[i : i + 1, :n], lengths[i : i + 1]) for i, n in enumerate(lengths)])
    torch.testing.assert_close(alone, expected, atol=1e-5, rtol=1e-5)


def test_a_sequence_longer_than_the_context_is_refused() -> None:
    model = lively()
    model(tokens(1, 9))
    with pytest.raises(ValueError, match="sequence of 10 tokens is longer than the context 9"):
        model(tokens(1, 10))
    with pytest.raises(ValueError, match="longer than the context 9"):
        model.last_logits(tokens(1, 10), torch.tensor([10]))
