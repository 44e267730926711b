"""Words along the direct path, also where a variant has other sites and wider readers."""

import torch
from model_builders import random_model

from thinwire.evidence.logit_lens import N_WORDS, node_words, read_products, top_words, write_products
from thinwire.model.config import Variant

ANY = Variant(residual="relu", d_positions=5, n_head=3, d_mlp=20)


def test_every_node_of_every_variant_has_words_or_none() -> None:
    for variant in (Variant(), ANY, Variant(topk_sites=("resid.pre",), norm="layer")):
        model = random_model(positions="learned", variant=variant)
        everything = {site: list(channels) for site, channels in model.space.everything().items()}
        found = node_words(model, everything, str)
        assert len(found) == model.space.n_nodes
        assert all(said.circuit == said.model for said in found.values())  # everything is kept


def test_a_residual_channel_has_the_embedding_s_words_and_the_unembedding_s() -> None:
    model = random_model(positions="learned", variant=ANY)
    assert torch.equal(read_products(model, "0.resid.mid", [3])[:, 0], model.embed.weight[:, 3])
    assert torch.equal(write_products(model, "1.resid.post", [3])[:, 0], model.unembed.weight[:, 3])


def test_positions_have_no_words_and_queries_read_past_them() -> None:
    model = random_model(positions="learned", variant=ANY)
    width = model.config.d_model
    assert not read_products(model, "0.attn.in", [width, width + 4]).any()
    product = model.embed.weight @ model.get_parameter("blocks.0.attn.q.weight")[7, :width]
    assert torch.allclose(read_products(model, "0.attn.q", [7])[:, 0], product)


def test_words_are_the_largest_of_either_sign_and_never_zeros() -> None:
    (found,) = top_words(torch.tensor([[0.0], [0.5], [-2.0], [0.5]]), str)
    assert found == [("2", -2.0), ("1", 0.5), ("3", 0.5)]
    assert len(top_words(torch.arange(1.0, 20.0)[:, None], str)[0]) == N_WORDS
