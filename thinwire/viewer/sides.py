"""How a page calls the two models of a report."""

from thinwire.viewer.contract import Side

NAMES: dict[Side, str] = {"sparse": "sparse model", "dense": "dense twin"}
