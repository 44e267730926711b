"""Functions that a printed program brings along where it calls them, as source."""

HELPERS = {
    "matrix": """\
def matrix(rows, columns, entries):
    found = np.zeros((rows, columns))
    for row, column, value in entries:
        found[row, column] = value
    return found""",
    "top": """\
def top(values, n):  # AbsTopK: all but the n largest magnitudes become 0
    order = np.argsort(-np.abs(values), axis=-1, kind="stable")[..., :n]
    kept = np.zeros_like(values)
    np.put_along_axis(kept, order, np.take_along_axis(values, order, -1), -1)
    return kept""",
    "gelu": """\
def gelu(x):
    return 0.5 * x * (1 + np.vectorize(math.erf)(x / 2**0.5))""",
    "gelu_tanh": """\
def gelu_tanh(x):
    return 0.5 * x * (1 + np.tanh((2 / math.pi) ** 0.5 * (x + 0.044715 * x**3)))""",
    "relu": """\
def relu(x):
    return np.maximum(x, 0)""",
    "weighted_mean": """\
def weighted_mean(values, scores):
    weights = np.exp(scores - np.max(scores))
    return weights @ values / weights.sum()""",
    "weighted_means": """\
def weighted_means(values, scores):  # a row of scores for every token that looks
    rows = range(len(values))
    return np.array([weighted_mean(values[: i + 1], scores[i, : i + 1]) for i in rows])""",
    "running_mean": """\
def running_mean(values):
    return np.cumsum(values) / np.arange(1, len(values) + 1)""",
}
"""Name -> source, in the order in which they are printed."""
CALLS = {"weighted_means": ("weighted_mean",)}
"""Helper -> those that it calls."""
