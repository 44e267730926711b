import pytest

from thinwire.errors import UserError
from thinwire.training.recipes import RECIPES, recipe
from thinwire.workflows.train import dry_run


@pytest.mark.parametrize("name", list(RECIPES))
def test_a_recipe_knows_its_name_and_can_be_planned(name: str) -> None:
    config = recipe(name)
    assert config.recipe == name
    plan = dry_run(config)
    t, m = config.train, config.model
    assert plan.tokens >= t.n_tokens and plan.tokens - t.n_tokens < t.batch_size * m.context
    assert (plan.nonzero == plan.parameters) is (t.density == 1.0)
    assert (t.density == 1.0) is (m.activation_frac == 1.0)  # a dense twin has no AbsTopK either


def test_the_papers_models_have_the_published_constants() -> None:
    """Shapes, tokens and rates as the released example has them."""
    narrow, wide = recipe("paper-4x"), recipe("paper-8x")
    for config in (narrow, wide):
        m, t = config.model, config.train
        assert (m.n_layer, m.context, m.vocab_size, m.d_head, m.mlp_ratio) == (8, 256, 2048, 16, 4)
        assert (m.activation_frac, m.positions, m.bigram) == (0.25, "none", True)
        assert (t.batch_size, t.n_tokens, t.learning_rate, t.weight_decay) == (512, 32_000_000_000, 1.28e-2, 0.1)
        assert (t.warmup_frac, t.anneal_start_frac, t.anneal_end_frac, t.min_per_line) == (0.01, 0.01, 0.5, 4)
        assert (t.anneal, t.mode) == ("linear", "exact")
    assert (narrow.model.d_model, narrow.train.density) == (1024, 1 / 64)
    assert (wide.model.d_model, wide.train.density) == (2048, 1 / 256)
    # 8 layers of 12 D^2 weights and 9 D biases + 2 D gains, two embeddings V D, the bigram table V^2, a last gain D
    assert dry_run(wide).parameters == 8 * (12 * 2048**2 + 11 * 2048) + 2 * 2048 * 2048 + 2048**2 + 2048


def test_small_is_small() -> None:
    config = recipe("small")
    assert (config.model.n_layer, config.model.d_model) == (4, 512)
    assert recipe("small-dense").model.n_layer == 4


def test_an_unknown_recipe_names_those_there_are() -> None:
    with pytest.raises(UserError, match="unknown recipe 'paper'; there are: demo, .*paper-4x, paper-8x"):
        recipe("paper")
