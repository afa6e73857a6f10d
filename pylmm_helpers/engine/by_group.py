"""The names by grouping factor for a fit that has a single one."""

from __future__ import annotations

from typing import Any


class ByGroup:
    """Dicts from the grouping factor to what the plain name gives, as fits with several factors
    have them."""

    def _by_group(self, name: str) -> dict[str, Any]:
        return {str(getattr(self, "groups")): getattr(self, name)}  # noqa: B009

    @property
    def cov_re_by_group(self) -> dict[str, Any]:
        """`cov_re`, by factor."""
        return self._by_group("cov_re")

    @property
    def random_effects_by_group(self) -> dict[str, Any]:
        """`random_effects`, by factor."""
        return self._by_group("random_effects")

    @property
    def random_effects_var_by_group(self) -> dict[str, Any]:
        """`random_effects_var`, by factor."""
        return self._by_group("random_effects_var")

    @property
    def ngroups_by_group(self) -> dict[str, Any]:
        """`ngroups`, by factor."""
        return self._by_group("ngroups")
