"""Names of the places where a node can be read, gated or replaced.

A node is one channel at one site (Gao et al. 2025, section 2.2). Hooks are called at every
node site, and besides at the seams that carry no nodes: RMSNorm scales and attention patterns.
"""

LAYER_SITES = ("attn.in", "attn.q", "attn.k", "attn.v", "attn.out", "mlp.in", "mlp.neuron", "mlp.out")
EMBED = "embed"
FINAL = "final"


def node_sites(n_layer: int) -> tuple[str, ...]:
    """All node sites of a model in the order in which the forward pass reaches them."""
    layers = [f"{layer}.{site}" for layer in range(n_layer) for site in LAYER_SITES]
    return (EMBED, *layers, FINAL)


def site_width(site: str, d_model: int, d_mlp: int) -> int:
    """Number of nodes (channels) at a site."""
    return d_mlp if site.endswith("mlp.neuron") else d_model


def edge_matrices(n_layer: int) -> dict[str, tuple[str, str]]:
    """Weight matrix name -> (source site, target site) of the edges that it carries.

    A matrix has shape (target width, source width): entry [t, s] is the edge s -> t.
    """
    edges = {}
    for layer in range(n_layer):
        for head_input in ("q", "k", "v"):
            edges[f"blocks.{layer}.attn.{head_input}.weight"] = (f"{layer}.attn.in", f"{layer}.attn.{head_input}")
        edges[f"blocks.{layer}.attn.out.weight"] = (f"{layer}.attn.v", f"{layer}.attn.out")
        edges[f"blocks.{layer}.mlp.neuron.weight"] = (f"{layer}.mlp.in", f"{layer}.mlp.neuron")
        edges[f"blocks.{layer}.mlp.out.weight"] = (f"{layer}.mlp.neuron", f"{layer}.mlp.out")
    return edges
