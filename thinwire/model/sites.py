"""Names of the places where a node can be read, gated or replaced. Plain strings, no torch.

A node is one channel at one site (Gao et al. 2025, section 2.2). Hooks are called at every node site, and besides at
three kinds of places that carry no nodes: RMSNorm scales (`0.attn.scale`, `final.scale`), attention patterns
(`0.attn.pattern`) and the residual stream around attention and MLP (`0.resid.pre`), where it is no node site itself.
"""

from thinwire.errors import UserError

LAYER_SITES = ("attn.in", "attn.q", "attn.k", "attn.v", "attn.out", "mlp.in", "mlp.neuron", "mlp.out")
RESIDUAL_SITES = ("resid.pre", "resid.mid", "resid.post")
"""Places on the residual stream before attention, before and after the MLP; node sites where a model acts on it."""
EMBED = "embed"
FINAL = "final"
SCALE, PATTERN = ".scale", ".pattern"


def node_sites(n_layer: int, residual_sites: tuple[str, ...] = ()) -> tuple[str, ...]:
    """All node sites of a model in the order in which the forward pass reaches them."""
    pre, mid, post = RESIDUAL_SITES
    order = (pre, *LAYER_SITES[:5], mid, *LAYER_SITES[5:], post)
    here = [site for site in order if site in LAYER_SITES or site in residual_sites]
    return (EMBED, *(f"{layer}.{site}" for layer in range(n_layer) for site in here), FINAL)


def other_sites(n_layer: int, residual_sites: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Places where hooks are called besides: RMSNorm scales, attention patterns, the residual stream."""
    pre, mid, post = RESIDUAL_SITES
    order = (pre, "attn.scale", "attn.pattern", mid, "mlp.scale", post)
    here = [place for place in order if place not in residual_sites]
    return (*(f"{layer}.{place}" for layer in range(n_layer) for place in here), f"{FINAL}{SCALE}")


def matrix_ends(n_layer: int) -> dict[str, tuple[str, str]]:
    """Weight matrix name -> (source site, target site) of the edges that it carries.

    A matrix has shape (target width, source width): entry [t, s] is the edge s -> t.
    """
    ends = {}
    for layer in range(n_layer):
        for head_input in ("q", "k", "v"):
            ends[f"blocks.{layer}.attn.{head_input}.weight"] = (f"{layer}.attn.in", f"{layer}.attn.{head_input}")
        ends[f"blocks.{layer}.attn.out.weight"] = (f"{layer}.attn.v", f"{layer}.attn.out")
        ends[f"blocks.{layer}.mlp.neuron.weight"] = (f"{layer}.mlp.in", f"{layer}.mlp.neuron")
        ends[f"blocks.{layer}.mlp.out.weight"] = (f"{layer}.mlp.neuron", f"{layer}.mlp.out")
    return ends


def layer_of(site: str) -> int | None:
    """Layer of a site; None for `embed` and `final`."""
    return None if site in (EMBED, FINAL) else int(site.partition(".")[0])


def part_of(site: str) -> str:
    """Site without its layer, such as `attn.q`."""
    return site if site in (EMBED, FINAL) else site.partition(".")[2]


def is_read(site: str) -> bool:
    """Whether a site reads the residual stream: `attn.in`, `mlp.in`, `final`."""
    return part_of(site) in ("attn.in", "mlp.in", FINAL)


def is_write(site: str) -> bool:
    """Whether a site writes to the residual stream: `embed`, `attn.out`, `mlp.out`."""
    return part_of(site) in (EMBED, "attn.out", "mlp.out")


def is_residual(site: str) -> bool:
    """Whether the channels of a site are those of the residual stream."""
    return is_read(site) or is_write(site) or part_of(site) in RESIDUAL_SITES


def is_in_head(site: str) -> bool:
    """Whether the channels of a site belong to attention heads: `attn.q`, `attn.k`, `attn.v`."""
    return part_of(site) in ("attn.q", "attn.k", "attn.v")


def head_of(site: str, channel: int, d_head: int) -> tuple[int, int]:
    """(layer, head) of a query, key or value channel."""
    layer = layer_of(site)
    assert layer is not None and is_in_head(site)
    return layer, channel // d_head


def node_key(site: str, channel: int) -> str:
    """A node as one string, such as `0.mlp.neuron:412`."""
    return f"{site}:{channel}"


def parse_key(key: str) -> tuple[str, int]:
    """(site, channel) of a node's string. Raises `UserError` when it is none."""
    site, colon, channel = key.partition(":")
    if not colon or not (channel.isascii() and channel.isdecimal()):
        raise UserError(f"{key!r} is no node; write it as SITE:CHANNEL, such as 0.mlp.neuron:412")
    return site, int(channel)
